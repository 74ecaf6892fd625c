//! Deletes versions that no rule keeps and trees that nobody registered. Honestly: first the log
//! says so, for good, and then the bytes go.
//!
//! Three things make it safe beside writers and other collectors:
//! - What may go is written down as a plan, and goes only if it still may after the grace.
//! - The log is the fence. An entry condemns trees before their first byte goes; whoever is about
//!   to register must win the next entry, and sees there that its tree is condemned, or that others
//!   were since it looked, so that it looks again.
//! - A condemned tree cannot be registered again before [`QUARANTINE`] is over, because a collector
//!   that was stopped half-way may still wake up. A collector stops by itself after [`SWEEP_MAX`].
//!
//! Which trees may go is decided in `gc/mark.rs`.

mod mark;

pub use mark::{Candidate, Tree};

use crate::commit::{Sealed, Step, create_once, json};
use crate::manifest::MANIFEST;
use crate::model::{Author, compose};
use crate::retention::{Kept, kept};
use crate::run::under;
use crate::store::{JSON_BYTES_MAX, Planted, Store};
use crate::{Digest, Error, ModelLog, Operation, Result, State, Timestamp, pin};
use futures::{FutureExt, StreamExt, TryStreamExt};
use mark::{Plan, candidates, due};
use object_store::path::Path;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How long a deleted tree cannot come back under the same digest.
pub const QUARANTINE: Duration = Duration::from_secs(30 * 86_400);
/// How long a collector may delete before it has to look at the log again.
const SWEEP_MAX: Duration = Duration::from_secs(3600);
const DELETES_AT_ONCE: usize = 8;

/// What a collection is asked to do.
#[derive(Clone, Debug)]
pub struct Collection {
    /// How long something must have been deletable before it is deleted. Longer than any upload,
    /// rollout or download takes; 7 days is the usual.
    pub grace: Duration,
    /// Only say what would happen.
    pub dry_run: bool,
    /// The most trees that are deleted this time.
    pub most: usize,
    /// Who deletes.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Now.
    pub time: Timestamp,
    /// Digests that something outside this model relies on.
    pub in_use: BTreeSet<Digest>,
}

impl Collection {
    fn author(&self) -> Author<'_> {
        Author { actor: &self.actor, reason: &self.reason, time: self.time }
    }
}

/// What a collection found and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// Why each version that stays is kept.
    pub kept: BTreeMap<u64, BTreeSet<Kept>>,
    /// What may go, and from when on. With `dry_run` nothing was deleted.
    pub waiting: Vec<Candidate>,
    /// What went.
    pub deleted: Vec<Candidate>,
    /// The bytes of what went.
    pub bytes_deleted: u64,
}

impl ModelLog {
    /// Deletes what may go. See the head of this file for what makes that safe.
    pub async fn collect(&self, request: &Collection) -> Result<Collected> {
        let state = self.state().await?;
        let trees = self.trees().await?;
        // After the trees were listed: a pin is set before its tree appears.
        let in_use = self.in_use(request).await?;
        let found = candidates(&state, &trees, &in_use, request.time, request.grace);
        let earlier = self.plans_of_deletion().await?;
        let plan = Plan { time: request.time, digests: found.iter().map(|it| it.digest.clone()).collect() };
        let mut plans: BTreeMap<Timestamp, &Plan> = earlier.iter().map(|(_, plan)| (plan.time, plan)).collect();
        plans.insert(request.time, &plan);
        let (mut now, waiting) = due(found, &plans, request.time, request.grace);
        now.truncate(request.most);
        let mut collected = Collected { kept: kept(&state, &in_use, request.time), waiting, ..Collected::default() };
        collected.kept.retain(|_, reasons| !reasons.is_empty());
        if request.dry_run {
            collected.waiting.splice(0..0, now);
            return Ok(collected);
        }
        // An empty plan says that what an earlier one names was kept meanwhile: its grace begins anew.
        if !plan.digests.is_empty() || !earlier.is_empty() {
            let name = format!("{:013}-{}.json", request.time.as_millisecond(), self.store.chance.transaction());
            create_once(&self.store, &self.gc_folder().join(name), &plan).await?;
        }
        let condemned = self.condemn(&now, &in_use, request).await?;
        self.sweep(&condemned, request.author()).await?;
        self.forget_old_plans(&earlier, request).await?;
        now.retain(|it| condemned.contains(&it.digest));
        collected.bytes_deleted = now.iter().map(|it| it.bytes).sum();
        collected.deleted = now;
        Ok(collected)
    }

    /// The digests that something relies on besides the log: what the caller knows of, unfinished runs and pins.
    async fn in_use(&self, request: &Collection) -> Result<BTreeSet<Digest>> {
        let mut in_use = request.in_use.clone();
        in_use.extend(self.named_by_unfinished_runs().await?);
        if !self.store.planted(Planted::PinIgnored) {
            in_use.extend(pin::pinned(&self.store, &self.folder, request.time, !request.dry_run).await?);
        }
        Ok(in_use)
    }

    /// The trees that are in the store, finished or not.
    pub async fn trees(&self) -> Result<Vec<Tree>> {
        let versions = self.versions();
        let mut trees: BTreeMap<Digest, Tree> = BTreeMap::new();
        let see = |object: object_store::ObjectMeta| {
            let folder = object.location.prefix_match(&versions).and_then(|mut parts| parts.next());
            let hex = folder.and_then(|name| name.as_ref().strip_prefix("sha256-").map(str::to_owned));
            let Some(digest) = hex.and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok()) else { return };
            let changed =
                Timestamp::from_millisecond(object.last_modified.timestamp_millis()).unwrap_or(Timestamp::MAX);
            let tree =
                trees.entry(digest.clone()).or_insert(Tree { digest, bytes: 0, objects: 0, newest: Timestamp::MIN });
            tree.bytes += object.size;
            tree.objects += 1;
            tree.newest = tree.newest.max(changed);
        };
        self.store.each(&versions, see).await?;
        Ok(trees.into_values().collect())
    }

    async fn named_by_unfinished_runs(&self) -> Result<BTreeSet<Digest>> {
        let mut named = BTreeSet::new();
        for run in self.unfinished().await? {
            // A result names the tree that its trainer has uploaded and nobody has registered yet.
            for file in ["plan.json", "result.json"] {
                let path = under(&self.folder, &format!("runs/{run}/{file}"));
                if let Some(body) = self.store.read(&path, JSON_BYTES_MAX).await? {
                    named.extend(crate::digests::named(&body));
                }
            }
        }
        Ok(named)
    }

    /// Says in the log what is deleted, if it still may be, and gives the trees that must go now:
    /// these, and those of a collection that was stopped.
    async fn condemn(
        &self,
        candidates: &[Candidate],
        in_use: &BTreeSet<Digest>,
        request: &Collection,
    ) -> Result<BTreeSet<Digest>> {
        self.condemn_what(request.author(), |state, _| {
            let kept = kept(state, in_use, request.time);
            let free = |number: &u64| kept.get(number).is_some_and(BTreeSet::is_empty);
            let versions: Vec<u64> =
                candidates.iter().flat_map(|it| it.versions.iter().copied()).filter(free).collect();
            let needed: BTreeSet<Digest> = state
                .versions
                .values()
                .filter(|version| !versions.contains(&version.number))
                .map(|version| version.digest.clone())
                .collect();
            let new = |digest: &Digest| !needed.contains(digest) && !state.is_going(digest);
            let digests = candidates.iter().map(|it| it.digest.clone()).filter(new).collect();
            Ok((versions, digests))
        })
        .await
    }

    /// Says in the log that the versions and trees that `choose` names are deleted, and gives all trees that must go now:
    /// these, and those of a deletion that was stopped.
    pub(crate) async fn condemn_what(
        &self,
        author: Author<'_>,
        choose: impl Fn(&mut State, Timestamp) -> Result<(Vec<u64>, Vec<Digest>)>,
    ) -> Result<BTreeSet<Digest>> {
        self.append(|head, next| {
            let before = head.map(|slot| self.entry(slot)).transpose()?;
            let time = author.not_before(before.as_deref());
            let mut state = before.map(|entry| entry.state.clone()).unwrap_or_default();
            let (versions, digests) = choose(&mut state, time)?;
            state.condemn(&versions, &digests, next.seq, time);
            let going = state.condemned.keys().filter(|digest| state.is_going(digest)).cloned().collect();
            if versions.is_empty() && digests.is_empty() {
                return Ok(Step::Done(going));
            }
            let entry = compose(next, &author, time, Operation::Condemned { versions, digests }, state);
            Ok(Step::Append(json(&self.folder, &entry)?, going))
        })
        .await
    }

    /// Deletes the bytes of condemned trees, and says so.
    pub(crate) async fn sweep(&self, condemned: &BTreeSet<Digest>, author: Author<'_>) -> Result<()> {
        let began = Instant::now();
        let mut gone = Vec::new();
        for digest in condemned {
            if began.elapsed() > SWEEP_MAX {
                break;
            }
            remove(&self.store, &self.versions().join(digest.directory())).await?;
            gone.push(digest.clone());
        }
        self.append(|head, next| {
            let Some(before) = head.map(|slot| self.entry(slot)).transpose()? else {
                return Ok(Step::Done(()));
            };
            let time = author.not_before(Some(&before));
            let mut state = before.state.clone();
            let digests: Vec<Digest> = gone.iter().filter(|digest| state.is_going(digest)).cloned().collect();
            if digests.is_empty() {
                return Ok(Step::Done(()));
            }
            for digest in &digests {
                if let Some(it) = state.condemned.get_mut(digest) {
                    it.swept = true;
                }
            }
            let over = |it: &crate::state::Condemned| time.duration_since(it.time).unsigned_abs() > QUARANTINE;
            state.condemned.retain(|_, it| !(it.swept && over(it)));
            let entry = compose(next, &author, time, Operation::Swept { digests }, state);
            Ok(Step::Append(json(&self.folder, &entry)?, ()))
        })
        .await
    }

    fn gc_folder(&self) -> Path {
        self.folder.clone().join("gc")
    }

    /// The plans of earlier collections.
    async fn plans_of_deletion(&self) -> Result<Vec<(Path, Plan)>> {
        let mut paths = Vec::new();
        self.store.each(&self.gc_folder(), |object| paths.push(object.location)).await?;
        let mut plans = Vec::new();
        for path in paths {
            let Some(bytes) = self.store.read(&path, JSON_BYTES_MAX).await? else { continue };
            let sealed: Sealed<Plan> = serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(&path, e))?;
            plans.push((path, sealed.body));
        }
        Ok(plans)
    }

    /// Removes plans that are older than the newest one of before the grace: they add nothing.
    async fn forget_old_plans(&self, plans: &[(Path, Plan)], request: &Collection) -> Result<()> {
        let before_grace = |plan: &Plan| request.time.duration_since(plan.time).unsigned_abs() >= request.grace;
        let mut old: Vec<&(Path, Plan)> = plans.iter().filter(|(_, plan)| before_grace(plan)).collect();
        old.sort_by_key(|(_, plan)| plan.time);
        old.pop();
        for (path, _) in old {
            self.store.delete(path).await?;
        }
        Ok(())
    }
}

/// Deletes everything below a folder, the manifest first: what has none counts for nothing.
async fn remove(store: &Store, folder: &Path) -> Result<()> {
    let mut paths = Vec::new();
    store.each(folder, |object| paths.push(object.location)).await?;
    store.delete(&folder.clone().join(MANIFEST)).await?;
    delete_all(store, &paths).await?;
    store.remove_leftovers(folder).await?;
    match store.first(folder, |path| Some(path.to_string())).await? {
        None => Ok(()),
        Some(left) => Err(Error::corrupt(left, "is still there after it was deleted")),
    }
}

/// Deletes objects, several at once.
pub(crate) async fn delete_all(store: &Store, paths: &[Path]) -> Result<()> {
    let mut deletes = Vec::new();
    for path in paths {
        deletes.push(store.delete(path).boxed());
    }
    futures::stream::iter(deletes).buffer_unordered(DELETES_AT_ONCE).try_collect::<()>().await
}
