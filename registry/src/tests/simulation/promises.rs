//! What must be true after a schedule, whatever happened in it.

use super::programs::collection;
use super::{HOUR, Schedule, Told};
use crate::{Digest, Entry, ModelLog, Operation, State};
use object_store::ObjectStoreExt;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl Schedule {
    pub(super) async fn judge(&self) -> Result<(), String> {
        let model = self.truth();
        let mut entries = model.entries(10_000).await.map_err(|e| format!("the log cannot be read: {e}"))?;
        entries.reverse();
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        history_is_append_only(&entries)?;
        nobody_shares_a_number(&entries, &told)?;
        aliases_move_in_line(&entries, &told)?;
        self.pinned_trees_are_spared(&entries, &told)?;
        let state = entries.last().map(|entry| entry.state.clone()).unwrap_or_default();
        self.what_is_registered_is_whole(&model, &state).await?;
        self.deletion_is_honest(&model).await
    }

    /// Every version of the newest state has all its bytes, and every alias points to one.
    async fn what_is_registered_is_whole(&self, model: &ModelLog, state: &State) -> Result<(), String> {
        for version in state.versions.values() {
            self.whole(model, &version.digest).await.map_err(|e| format!("version {}: {e}", version.number))?;
        }
        if let Some((alias, number)) = state.aliases.iter().find(|(_, number)| !state.versions.contains_key(number)) {
            return Err(format!("@{alias} points to version {number}, which is gone"));
        }
        for tree in model.trees().await.map_err(|e| e.to_string())? {
            let condemned = state.condemned.contains_key(&tree.digest);
            let path = model.versions().join(tree.digest.directory()).join("manifest.json");
            if !condemned && self.world.objects.head(&path).await.is_ok() {
                self.whole(model, &tree.digest).await.map_err(|e| format!("a tree with a manifest: {e}"))?;
            }
        }
        Ok(())
    }

    async fn whole(&self, model: &ModelLog, digest: &Digest) -> Result<(), String> {
        let manifest = model.manifest(digest).await.map_err(|e| e.to_string())?;
        for file in &manifest.files {
            let path = model.versions().join(digest.directory()).join(file.path.as_str());
            let got = self.world.objects.get(&path).await.map_err(|e| format!("{} is lost: {e}", file.path))?;
            let bytes = got.bytes().await.map_err(|e| e.to_string())?;
            if crate::digest::sha256(&bytes) != file.sha256 {
                return Err(format!("{} has other bytes", file.path));
            }
        }
        Ok(())
    }

    /// A collection that began while a pin held its tree must not have condemned it.
    fn pinned_trees_are_spared(&self, entries: &[Entry], told: &Told) -> Result<(), String> {
        let pins = self.world.pins.lock().unwrap();
        for entry in entries {
            let Operation::Condemned { digests, .. } = &entry.operation else { continue };
            let began = told.collections[&entry.reason];
            for pin in pins.iter().filter(|pin| pin.from < began && pin.until > entry.time) {
                let text = String::from_utf8_lossy(&pin.body);
                if let Some(digest) = digests.iter().find(|digest| text.contains(digest.as_str())) {
                    return Err(format!("{digest} was condemned in entry {} under a pin", entry.seq));
                }
            }
        }
        Ok(())
    }

    /// When everybody has gone and every quarantine is over, nothing is left that nothing keeps.
    async fn deletion_is_honest(&self, model: &ModelLog) -> Result<(), String> {
        // A run without an end keeps what its result names; whoever should have ended it is gone.
        for run in model.unfinished().await.map_err(|e| e.to_string())? {
            model.run(&run).unwrap().finish(&"over").await.map_err(|e| e.to_string())?;
        }
        for round in 0..3 {
            tokio::time::sleep(HOUR * 24 * 40).await;
            let request = collection(self.world.now(), Duration::ZERO, &format!("last-{round}"));
            model.collect(&request).await.map_err(|e| format!("the last collection: {e}"))?;
        }
        let state = model.state().await.map_err(|e| e.to_string())?;
        let live: BTreeSet<&Digest> = state.versions.values().map(|version| &version.digest).collect();
        let trees = model.trees().await.map_err(|e| e.to_string())?;
        match trees.iter().find(|tree| !live.contains(&tree.digest)) {
            Some(tree) => Err(format!("{} is left, {} objects", tree.digest, tree.objects)),
            None => self.what_is_registered_is_whole(model, &state).await,
        }
    }
}

fn history_is_append_only(entries: &[Entry]) -> Result<(), String> {
    let numbered = entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq);
    if !numbered || !entries.is_sorted_by(|a, b| a.time <= b.time) {
        return Err("entries are not numbered from 1 on, or time goes back".to_owned());
    }
    Ok(())
}

/// Each run has one number, each number one run, numbers only grow, and what was told is true.
fn nobody_shares_a_number(entries: &[Entry], told: &Told) -> Result<(), String> {
    let mut by_run: BTreeMap<&str, u64> = BTreeMap::new();
    let mut last = 0;
    for entry in entries {
        let Operation::Registered { version } = entry.operation else { continue };
        let run = entry.state.versions[&version].run.as_str();
        if version <= last || by_run.insert(run, version).is_some() {
            return Err(format!("run {run} got number {version} after {last}, or has two"));
        }
        last = version;
    }
    match told.registered.iter().find(|(run, number)| by_run.get(run.as_str()) != Some(number)) {
        Some((run, number)) => Err(format!("run {run} was told {number}, the log says {:?}", by_run.get(run.as_str()))),
        None => Ok(()),
    }
}

fn aliases_move_in_line(entries: &[Entry], told: &Told) -> Result<(), String> {
    let (mut at, mut kept) = (None, Vec::new());
    for entry in entries {
        if let Operation::Aliased { alias, from, to, reason } = &entry.operation {
            if alias == "champion" && *from != at {
                return Err(format!("entry {} moves @champion from {from:?}, which was at {at:?}", entry.seq));
            }
            if alias == "champion" && !reason.contains(&format!("from {:?} ", at)) {
                return Err(format!("entry {} was decided on something else: {reason}, at {at:?}", entry.seq));
            }
            at = *to;
            kept.push(reason.clone());
        }
    }
    for reason in &told.moved {
        if kept.iter().filter(|it| *it == reason).count() != 1 {
            return Err(format!("a move that was acknowledged is not there once: {reason}"));
        }
    }
    match told.refused.iter().find(|reason| kept.contains(reason)) {
        Some(reason) => Err(format!("a move that was refused is there: {reason}")),
        None => Ok(()),
    }
}
