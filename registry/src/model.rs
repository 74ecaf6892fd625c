//! A model's log: versions come in, aliases move, and every entry says who did it and why.
//! It does not decide what becomes champion.

use crate::commit::{Log, Next, Slot, Step, json};
use crate::manifest::PROVENANCE;
use crate::state::{FORMAT, VERSIONS_MAX, text};
use crate::store::{LIST_MAX, Store};
use crate::upload::Uploaded;
use crate::{
    Created, Digest, Entry, Error, Manifest, Operation, PlanLog, Reference, Registration, Result, RunLog, State,
    Target, Timestamp, Version, fetch, names, upload,
};
use object_store::path::Path;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path as FilePath, PathBuf};

/// The record of one model.
#[derive(Clone, Debug)]
pub struct ModelLog {
    store: Store,
    folder: Path,
    name: String,
    log: Log,
    plans: PlanLog,
}

/// Who does something, why and when.
struct Author<'a> {
    actor: &'a str,
    reason: &'a str,
    time: Timestamp,
}

impl ModelLog {
    pub(crate) fn new(store: Store, folder: Path, name: &str) -> ModelLog {
        let log = Log::new(store.clone(), folder.clone().join("log"));
        let plans = PlanLog::new(store.clone(), &folder);
        ModelLog { store, folder, name: name.to_owned(), log, plans }
    }

    /// The newest entry, with the whole state; `None` before the first.
    pub async fn head(&self) -> Result<Option<Entry>> {
        self.log.head().await?.as_ref().map(|slot| self.entry(slot)).transpose()
    }

    /// The newest entries, newest first, with the chain between them checked.
    pub async fn entries(&self, limit: usize) -> Result<Vec<Entry>> {
        self.log.newest(limit).await?.iter().map(|slot| self.entry(slot)).collect()
    }

    /// Uploads the tree in `dir` and registers it as the next version, in one commit. A run that
    /// has registered before gets its version back, and nothing is uploaded.
    pub async fn register(&self, dir: &FilePath, registration: Registration) -> Result<Version> {
        registration.check()?;
        let state = self.head().await?.map(|entry| entry.state).unwrap_or_default();
        if let Some(version) = state.by_run(&registration.run) {
            return Ok(version.clone());
        }
        self.room(&state)?;
        let uploaded = upload::upload(&self.store, &self.versions(), dir, &registration.provenance).await?;
        let author = Author { actor: &registration.actor, reason: &registration.reason, time: registration.time };
        self.append(author, |state| self.add(state, &registration, &uploaded)).await
    }

    /// Adds the version to the state, unless its run was faster elsewhere.
    fn add(
        &self,
        state: &mut State,
        registration: &Registration,
        uploaded: &Uploaded,
    ) -> Result<(Option<Operation>, Version)> {
        if let Some(version) = state.by_run(&registration.run) {
            return Ok((None, version.clone()));
        }
        self.room(state)?;
        let version = Version {
            number: state.next_number(),
            digest: uploaded.digest.clone(),
            run: registration.run.clone(),
            registered: registration.time,
            bytes: uploaded.manifest.bytes(),
            files: uploaded.manifest.files.len() as u32,
            metrics: registration.metrics.clone(),
            labels: registration.labels.clone(),
        };
        state.versions.insert(version.number, version.clone());
        if let Some(alias) = &registration.alias {
            state.point(alias, Some(version.number))?;
        }
        Ok((Some(Operation::Registered { version: version.number }), version))
    }

    /// Moves an alias from `expected` to `to` (`None`: absent) in one commit, and returns the entry
    /// after it. Moving `champion` makes the former champion `previous`. Where `expected` and `to`
    /// are the same and true, nothing is written and the newest entry is returned.
    pub async fn move_alias(
        &self,
        alias: &str,
        expected: Option<u64>,
        to: Option<u64>,
        actor: &str,
        reason: &str,
        time: Timestamp,
    ) -> Result<Entry> {
        names::name("alias", alias)?;
        text("actor", actor)?;
        text("reason", reason)?;
        let author = Author { actor, reason, time };
        self.log
            .commit(|head, next| {
                let before = head.map(|slot| self.entry(slot)).transpose()?;
                let mut state = before.as_ref().map(|entry| entry.state.clone()).unwrap_or_default();
                let found = state.aliases.get(alias).copied();
                if found != expected {
                    return Err(Error::Conflict { what: format!("@{alias} of {}", self.folder), expected, found });
                }
                if let (Some(entry), true) = (before, found == to) {
                    return Ok(Step::Done(entry));
                }
                state.point(alias, to)?;
                let (alias, reason) = (alias.to_owned(), reason.to_owned());
                let entry = compose(next, &author, Operation::Aliased { alias, from: found, to, reason }, state);
                Ok(Step::Append(json(&self.folder, &entry)?, entry))
            })
            .await
    }

    /// Appends what `change` does to the state; nothing when it gives no operation.
    async fn append<T>(
        &self,
        author: Author<'_>,
        mut change: impl FnMut(&mut State) -> Result<(Option<Operation>, T)>,
    ) -> Result<T> {
        self.log
            .commit(|head, next| {
                let before = head.map(|slot| self.entry(slot)).transpose()?;
                let mut state = before.map(|entry| entry.state).unwrap_or_default();
                match change(&mut state)? {
                    (None, value) => Ok(Step::Done(value)),
                    (Some(operation), value) => {
                        let entry = compose(next, &author, operation, state);
                        Ok(Step::Append(json(&self.folder, &entry)?, value))
                    }
                }
            })
            .await
    }

    /// The version that a reference names. A reference to another model is refused.
    pub async fn resolve(&self, reference: &Reference) -> Result<Version> {
        let missing = || Error::NotFound(format!("version {reference} of {}", self.folder));
        if reference.model.as_ref().is_some_and(|model| *model != self.name) {
            return Err(missing());
        }
        let state = self.head().await?.ok_or_else(missing)?.state;
        let version = match &reference.target {
            Target::Alias(alias) => state.by_alias(alias),
            Target::Number(number) => state.versions.get(number),
            Target::Digest(digest) => state.by_digest(digest),
        };
        version.cloned().ok_or_else(missing)
    }

    /// Makes `cache/sha256-<hex>/` hold the tree of this digest, every file checked, and returns
    /// it. What is there already is checked too, and fetched again when it is damaged.
    pub async fn fetch(&self, digest: &Digest, cache: &FilePath) -> Result<PathBuf> {
        fetch::fetch(&self.store, &self.versions(), digest, cache).await
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

    /// The record of a run, which need not exist yet.
    pub fn run(&self, name: &str) -> Result<RunLog> {
        names::name("run", name)?;
        Ok(RunLog::new(self.store.clone(), self.folder.clone().join("runs").join(name)))
    }

    /// The names of the runs that have a plan or an outcome, sorted.
    pub async fn runs(&self) -> Result<Vec<String>> {
        let folder = self.folder.clone().join("runs");
        let mut runs = std::collections::BTreeSet::new();
        let see = |object: object_store::ObjectMeta| {
            let Some(parts) = object.location.prefix_match(&folder) else {
                return;
            };
            let parts: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
            if let [run, file] = &parts[..]
                && (file == "plan.json" || file == "outcome.json")
                && runs.len() < LIST_MAX
            {
                runs.insert(run.clone());
            }
        };
        self.store.each(&folder, see).await?;
        Ok(runs.into_iter().collect())
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

    fn versions(&self) -> Path {
        self.folder.clone().join("versions")
    }

    fn room(&self, state: &State) -> Result<()> {
        if state.versions.len() < VERSIONS_MAX {
            return Ok(());
        }
        Err(Error::Full { model: self.folder.to_string(), limit: VERSIONS_MAX })
    }

    fn entry(&self, slot: &Slot) -> Result<Entry> {
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

fn compose(next: Next<'_>, author: &Author<'_>, operation: Operation, state: State) -> Entry {
    Entry {
        format: FORMAT,
        seq: next.seq,
        previous: next.previous,
        txn: next.txn.to_owned(),
        actor: author.actor.to_owned(),
        reason: author.reason.to_owned(),
        time: author.time,
        operation,
        state,
    }
}
