//! Deletes all that is kept of a model or of an endpoint, because whoever owns it asks for that. A step at a time, each
//! bounded and harmless to repeat: whoever was stopped goes on later.
//!
//! Of a model the log stays. It says first, for good, that every version was deleted (that entry is their tombstone), and
//! keeps numbers from being given twice and trees from coming back while a collector may still wake up: see `gc.rs`. What
//! a retention keeps goes as well; what is under a legal hold does not, nor an alias that the author may not move.

use crate::gc::{Tree, delete_all};
use crate::model::Author;
use crate::store::Store;
use crate::{Digest, EndpointLog, Error, ModelLog, Result};
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet};

impl ModelLog {
    /// Deletes the model's versions, runs and plans, about `most` objects at a time. True: nothing is left but the log.
    /// Nobody may be writing here any more.
    pub async fn erase(&self, author: Author<'_>, most: usize) -> Result<bool> {
        author.check()?;
        let trees = self.trees().await?;
        let condemned = self.condemn_all(&trees, author).await?;
        let objects: BTreeMap<&Digest, usize> = trees.iter().map(|tree| (&tree.digest, tree.objects)).collect();
        let mut left = most;
        let has_room = |digest: &&Digest| {
            let room = left > 0;
            left = left.saturating_sub(1 + objects.get(digest).copied().unwrap_or(0));
            room
        };
        let now: BTreeSet<Digest> = condemned.iter().take_while(has_room).cloned().collect();
        self.sweep(&now, author).await?;
        if now.len() < condemned.len() {
            return Ok(false);
        }
        for kind in self.store.folders(&self.folder).await?.iter().filter(|kind| *kind != "log") {
            if !clear(&self.store, &self.folder.clone().join(kind.as_str()), most).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Says in the log that all versions are deleted, and gives the trees whose bytes must go.
    async fn condemn_all(&self, trees: &[Tree], author: Author<'_>) -> Result<BTreeSet<Digest>> {
        self.condemn_what(author, |state, time| {
            if let Some((number, hold)) =
                state.versions.iter().find_map(|(number, it)| Some((number, it.hold.as_ref()?)))
            {
                let reason =
                    format!("version {number} is under a legal hold ({hold}): `fairway registry release` it first");
                return Err(Error::Invalid { what: format!("deletion of {}", self.folder), reason });
            }
            while let Some(alias) = state.aliases.keys().next().cloned() {
                state.point(&alias, None, author.actor, time)?;
            }
            let versions: Vec<u64> = state.versions.keys().copied().collect();
            let of_versions = state.versions.values().map(|version| &version.digest);
            let all = of_versions.chain(trees.iter().map(|tree| &tree.digest));
            let digests: BTreeSet<Digest> = all.filter(|digest| !state.is_going(digest)).cloned().collect();
            Ok((versions, digests.into_iter().collect()))
        })
        .await
    }
}

impl EndpointLog {
    /// Deletes the endpoint's windows, decisions, snapshots and plans, about `most` objects of each at a time. True:
    /// nothing is left. Nobody may be writing here any more.
    pub async fn erase(&self, most: usize) -> Result<bool> {
        // Plans say what was decided as long as there is anything else.
        for kind in ["windows", "decisions", "snapshots"] {
            if !clear(&self.store, &self.folder.clone().join(kind), most).await? {
                return Ok(false);
            }
        }
        clear(&self.store, &self.folder, most).await
    }
}

/// Deletes objects below a folder, at most so many. True: there are no more.
async fn clear(store: &Store, folder: &Path, most: usize) -> Result<bool> {
    let mut paths = Vec::new();
    let take = |path: &Path| {
        if paths.len() >= most {
            return Some(());
        }
        paths.push(path.clone());
        None
    };
    let more = store.first(folder, take).await?;
    delete_all(store, &paths).await?;
    if more.is_some() {
        return Ok(false);
    }
    store.remove_leftovers(folder).await?;
    Ok(true)
}
