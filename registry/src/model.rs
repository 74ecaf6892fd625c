//! The record of a model, to be read: its log, its versions and their trees, its runs and plans.
//! What changes it is in `register.rs`, `change.rs`, `signing.rs` and `gc.rs`. It does not decide what
//! becomes champion.

use crate::commit::{Next, Slot, Step};
use crate::log::Log;
use crate::manifest::PROVENANCE;
use crate::progress::Progress;
use crate::state::{FORMAT, text};
use crate::store::{LIST_MAX, Store};
use crate::{
    Created, Digest, Entry, Error, Manifest, Operation, PlanLog, Reference, Result, RunLog, State, Timestamp, Version,
    fetch, names,
};
use object_store::path::Path;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The record of one model.
#[derive(Clone, Debug)]
pub struct ModelLog {
    pub(crate) store: Store,
    pub(crate) folder: Path,
    name: String,
    pub(crate) log: Log,
    /// The entry that was read or written last, beside the sha-256 of its bytes: parsing a full state takes longer than asking
    /// whether it is still the newest.
    last: Arc<Mutex<Option<Parsed>>>,
    plans: PlanLog,
}

/// An entry beside the sha-256 of the bytes that it was parsed from.
type Parsed = (String, Arc<Entry>);

/// Who does something, why and when.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// Who.
    pub actor: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Now.
    pub time: Timestamp,
}

impl Author<'_> {
    /// The time of an entry: history never goes back, whatever clocks say.
    pub(crate) fn not_before(&self, entry: Option<&Entry>) -> Timestamp {
        entry.map_or(self.time, |entry| self.time.max(entry.time))
    }

    pub(crate) fn check(&self) -> Result<()> {
        text("actor", self.actor)?;
        text("reason", self.reason)
    }
}

impl ModelLog {
    pub(crate) fn new(store: Store, folder: Path, name: &str) -> ModelLog {
        let log = Log::new(store.clone(), folder.clone().join("log"));
        let plans = PlanLog::new(store.clone(), &folder);
        ModelLog { store, folder, name: name.to_owned(), log, last: Arc::default(), plans }
    }

    /// Its name, without the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The newest entry, with the whole state; `None` before the first. One request when nothing
    /// happened since this value last looked.
    pub async fn head(&self) -> Result<Option<Entry>> {
        Ok(self.newest().await?.map(Arc::unwrap_or_clone))
    }

    /// [`ModelLog::head`], shared with this value and its clones: for whoever looks again and again.
    pub async fn newest(&self) -> Result<Option<Arc<Entry>>> {
        self.log.head().await?.as_ref().map(|slot| self.entry(slot)).transpose()
    }

    /// [`ModelLog::newest`] as it was within this time: no request if this value or a clone of it has looked since.
    pub async fn newest_within(&self, age: Duration) -> Result<Option<Arc<Entry>>> {
        if !self.log.was_looked_at(age) {
            return self.newest().await;
        }
        self.log.remembered().as_ref().map(|slot| self.entry(slot)).transpose()
    }

    /// The newest state; an empty one before the first entry.
    pub async fn state(&self) -> Result<State> {
        Ok(self.head().await?.map(|entry| entry.state).unwrap_or_default())
    }

    /// The newest entries, newest first, with the chain between them checked.
    pub async fn entries(&self, limit: usize) -> Result<Vec<Entry>> {
        self.log.descending(None, limit).await?.iter().map(|slot| self.parse(slot)).collect()
    }

    /// The entries after number `cursor`, oldest first, at most `limit`: how a follower goes on.
    pub async fn entries_after(&self, cursor: u64, limit: usize) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while entries.len() < limit.min(LIST_MAX) {
            let Some(slot) = self.log.read(cursor + 1 + entries.len() as u64).await? else { break };
            self.log.remember(&slot);
            entries.push(self.parse(&slot)?);
        }
        Ok(entries)
    }

    /// The entry with this number.
    pub async fn entry_at(&self, seq: u64) -> Result<Option<Entry>> {
        self.log.read(seq).await?.as_ref().map(|slot| self.parse(slot)).transpose()
    }

    /// The entry that held at a time: the newest one that is not later. `None`: there was none yet.
    /// About log2(entries) requests, as the times of a log never go back.
    pub async fn as_of(&self, time: Timestamp) -> Result<Option<Entry>> {
        let Some(head) = self.head().await? else { return Ok(None) };
        if head.time <= time {
            return Ok(Some(head));
        }
        let (mut before, mut after) = (0, head.seq);
        let mut found = None;
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            let missing = || Error::corrupt(self.log.path(middle), "missing from the log");
            let entry = self.entry_at(middle).await?.ok_or_else(missing)?;
            if entry.time <= time {
                (before, found) = (middle, Some(entry));
            } else {
                after = middle;
            }
        }
        Ok(found)
    }

    /// The signature beside a tree, unverified.
    pub async fn signature(&self, digest: &Digest) -> Result<Option<bytes::Bytes>> {
        fetch::signature(&self.store, &self.versions(), digest).await
    }

    pub(crate) fn signature_path(&self, digest: &Digest) -> Path {
        self.versions().join(digest.directory()).join(crate::manifest::SIGNATURE)
    }

    /// Commits an entry and leaves a hint.
    pub(crate) async fn append<T>(&self, step: impl FnMut(Option<&Slot>, Next<'_>) -> Result<Step<T>>) -> Result<T> {
        let before = self.log.remembered().map(|slot| slot.seq);
        let value = self.log.commit(step).await?;
        if let Some(slot) = self.log.remembered().filter(|slot| Some(slot.seq) != before) {
            self.log.leave_hint(slot.seq).await;
        }
        Ok(value)
    }

    /// The version that a reference names. A reference to another model is refused.
    pub async fn resolve(&self, reference: &Reference) -> Result<Version> {
        if reference.model.as_ref().is_some_and(|model| *model != self.name) {
            return Err(Error::NotFound(format!("version {reference} of {}", self.folder)));
        }
        match self.newest().await? {
            Some(entry) => entry.state.resolve(reference, &self.name),
            None => State::default().resolve(reference, &self.name),
        }
    }

    /// Makes `cache/sha256-<hex>/` hold the tree of this digest, every file checked, and returns
    /// it. What is there already is checked too, and fetched again when it is damaged.
    pub async fn fetch(&self, digest: &Digest, cache: &FilePath) -> Result<PathBuf> {
        self.fetch_telling(digest, cache, &Progress::default()).await
    }

    /// [`ModelLog::fetch`], and tells how far it is.
    pub async fn fetch_telling(&self, digest: &Digest, cache: &FilePath, progress: &Progress) -> Result<PathBuf> {
        fetch::fetch(&self.store, &self.versions(), digest, cache, progress).await
    }

    /// The manifest of a tree, checked against its digest.
    pub async fn manifest(&self, digest: &Digest) -> Result<Manifest> {
        Ok(fetch::manifest(&self.store, &self.versions(), digest).await?.0)
    }

    /// Where a tree comes from, as its trainer wrote it, checked against the digest.
    pub async fn provenance(&self, digest: &Digest) -> Result<serde_json::Value> {
        let bytes = fetch::file(&self.store, &self.versions(), digest, PROVENANCE).await?;
        serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(format!("{PROVENANCE} of {digest}"), e))
    }

    /// One file of a tree, checked against the digest. For small files: it is held in memory.
    pub async fn file(&self, digest: &Digest, name: &str) -> Result<bytes::Bytes> {
        fetch::file(&self.store, &self.versions(), digest, name).await
    }

    /// The record of a run, which need not exist yet.
    pub fn run(&self, run: &str) -> Result<RunLog> {
        names::name("run", run)?;
        Ok(RunLog::new(self.store.clone(), self.folder.clone().join("runs").join(run)))
    }

    /// The runs that have a plan or an outcome, sorted.
    pub async fn runs(&self) -> Result<Vec<String>> {
        Ok(self.run_files().await?.into_keys().collect())
    }

    /// The runs that have a plan and no outcome.
    pub(crate) async fn unfinished(&self) -> Result<Vec<String>> {
        let runs = self.run_files().await?;
        Ok(runs.into_iter().filter(|(_, finished)| !finished).map(|(run, _)| run).collect())
    }

    /// Whether each run has an outcome.
    async fn run_files(&self) -> Result<BTreeMap<String, bool>> {
        let folder = self.folder.clone().join("runs");
        let mut runs = BTreeMap::new();
        let see = |object: object_store::ObjectMeta| {
            let Some(parts) = object.location.prefix_match(&folder) else {
                return;
            };
            let parts: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
            if let [run, file] = &parts[..]
                && (file == "plan.json" || file == "outcome.json")
                && runs.len() < LIST_MAX
            {
                *runs.entry(run.clone()).or_insert(false) |= file == "outcome.json";
            }
        };
        self.store.each(&folder, see).await?;
        Ok(runs)
    }

    /// Appends a plan of the model's loop as number `seq`; see [`PlanLog::append`].
    pub async fn append_plan<T: Serialize>(&self, seq: u64, body: &T) -> Result<Created> {
        self.plans.append(seq, body).await
    }

    /// The newest plan with its number.
    pub async fn latest_plan<T: DeserializeOwned>(&self) -> Result<Option<(u64, T)>> {
        self.plans.latest().await
    }

    /// The newest plans with their numbers, newest first.
    pub async fn plans<T: DeserializeOwned>(&self, limit: usize) -> Result<Vec<(u64, T)>> {
        self.plans.newest(limit).await
    }

    pub(crate) fn versions(&self) -> Path {
        self.folder.clone().join("versions")
    }

    /// What the newest entry says. The same bytes are parsed once.
    pub(crate) fn entry(&self, slot: &Slot) -> Result<Arc<Entry>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, entry)) = last.as_ref().filter(|(sha256, _)| *sha256 == slot.sha256) {
            return Ok(Arc::clone(entry));
        }
        drop(last);
        let entry = Arc::new(self.parse(slot)?);
        self.keep(slot.sha256.clone(), &entry);
        Ok(entry)
    }

    /// Remembers what bytes with this sha-256 say.
    pub(crate) fn keep(&self, sha256: String, entry: &Arc<Entry>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((sha256, Arc::clone(entry)));
    }

    fn parse(&self, slot: &Slot) -> Result<Entry> {
        #[derive(serde::Deserialize)]
        struct Format {
            format: u32,
        }
        // First the format alone: a later one may hold what this version cannot read.
        let Format { format } = slot.parse()?;
        if format > FORMAT {
            return Err(Error::Newer { path: self.log.path(slot.seq).to_string(), found: format, known: FORMAT });
        }
        slot.parse()
    }
}

pub(crate) fn compose(
    next: Next<'_>,
    author: &Author<'_>,
    time: Timestamp,
    operation: Operation,
    state: State,
) -> Entry {
    Entry {
        format: FORMAT,
        seq: next.seq,
        previous: next.previous,
        txn: next.txn.to_owned(),
        actor: author.actor.to_owned(),
        reason: author.reason.to_owned(),
        time,
        operation,
        state,
    }
}
