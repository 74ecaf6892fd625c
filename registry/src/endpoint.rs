//! What an endpoint leaves behind: windows, decisions, plans, records of experiments and snapshots, as bytes.
//! It does not merge windows, read decisions or compact anything.

use crate::commit::{self, Settled};
use crate::run::below;
use crate::store::{BLOB_BYTES_MAX, Store};
use crate::{Created, Error, PlanLog, Result, Timestamp, names};
use bytes::Bytes;
use object_store::path::Path;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// The record of one endpoint.
#[derive(Clone, Debug)]
pub struct EndpointLog {
    pub(crate) store: Store,
    pub(crate) folder: Path,
    plans: PlanLog,
}

impl EndpointLog {
    pub(crate) fn new(store: Store, folder: Path) -> EndpointLog {
        let plans = PlanLog::new(store.clone(), &folder);
        EndpointLog { store, folder, plans }
    }

    /// Appends a plan as number `seq`; see [`PlanLog::append`].
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

    /// Keeps a window as `windows/<key>.json`. A key is written once: a repeat is `Already`, and
    /// what was there is kept.
    pub async fn put_window(&self, key: &str, bytes: Bytes) -> Result<Created> {
        self.keep(&self.window_path(key)?, bytes).await
    }

    /// The keys of the newest windows, highest key first.
    pub async fn windows(&self, limit: usize) -> Result<Vec<String>> {
        let folder = self.folder.clone().join("windows");
        let limit = limit.min(crate::store::LIST_MAX);
        let mut keys = BTreeSet::new();
        let see = |object: object_store::ObjectMeta| {
            let Some(parts) = object.location.prefix_match(&folder) else {
                return;
            };
            let name: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            if let Some(key) = name.join("/").strip_suffix(".json") {
                keys.insert(key.to_owned());
            }
            if keys.len() > limit {
                keys.pop_first();
            }
        };
        self.store.each(&folder, see).await?;
        Ok(keys.into_iter().rev().collect())
    }

    /// The bytes of a window.
    pub async fn window(&self, key: &str) -> Result<Bytes> {
        let path = self.window_path(key)?;
        let found = self.store.read(&path, BLOB_BYTES_MAX).await?;
        found.ok_or_else(|| Error::NotFound(format!("window {path}")))
    }

    /// Keeps a file of decisions as `decisions/dt=YYYY-MM-DD/hr=HH/<replica>-<sequence>.parquet`
    /// (UTC) and returns its path in the registry. Written once: a repeat changes nothing.
    pub async fn put_decisions(&self, time: Timestamp, replica: &str, sequence: u64, bytes: Bytes) -> Result<String> {
        names::name("replica", replica)?;
        let hour = time.strftime("dt=%Y-%m-%d/hr=%H");
        let path = below(&self.folder, "decisions", &format!("{hour}/{replica}-{sequence}.parquet"));
        self.keep(&path, bytes).await?;
        Ok(path.to_string())
    }

    /// Keeps the record of an experiment that has ended as `experiments/<key>.json`. Written once: a repeat changes nothing.
    pub async fn put_experiment(&self, key: &str, bytes: Bytes) -> Result<Created> {
        names::key("experiment", key)?;
        self.keep(&below(&self.folder, "experiments", &format!("{key}.json")), bytes).await
    }

    /// Writes a snapshot, in place of one with the same name. Readers see the old or the new one. One that is too long to be read
    /// again is refused, and the old one stays.
    pub async fn put_state(&self, name: &str, bytes: Bytes) -> Result<()> {
        let (path, size) = (self.snapshot(name)?, bytes.len() as u64);
        if size > BLOB_BYTES_MAX {
            return Err(Error::corrupt(path, format!("{size} bytes, the most is {BLOB_BYTES_MAX}")));
        }
        self.store.overwrite(&path, bytes).await
    }

    /// A snapshot, or `None` when there is none with this name.
    pub async fn get_state(&self, name: &str) -> Result<Option<Bytes>> {
        self.store.read(&self.snapshot(name)?, BLOB_BYTES_MAX).await
    }

    fn window_path(&self, key: &str) -> Result<Path> {
        names::key("window", key)?;
        Ok(below(&self.folder, "windows", &format!("{key}.json")))
    }

    fn snapshot(&self, name: &str) -> Result<Path> {
        names::key("snapshot", name)?;
        Ok(below(&self.folder, "snapshots", name))
    }

    /// Creates an object whose bytes are the caller's own, so that only they can tell whose it is.
    async fn keep(&self, path: &Path, bytes: Bytes) -> Result<Created> {
        match commit::create(&self.store, path, &bytes, |found| Ok(found == bytes)).await? {
            Settled::Ours { read_back: false } => Ok(Created::Now),
            Settled::Ours { read_back: true } => Ok(Created::Already),
            Settled::Theirs => {
                tracing::warn!(%path, "written again with other bytes; the first ones are kept");
                Ok(Created::Already)
            }
        }
    }
}
