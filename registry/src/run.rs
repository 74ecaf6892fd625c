//! The record of one training run: its plan, its checkpoints, its trainer's result and its outcome. All but the
//! checkpoints are created once and never change. It does not say what they mean.

use crate::commit::{Sealed, create_once};
use crate::store::{BLOB_BYTES_MAX, JSON_BYTES_MAX, Store};
use crate::{Created, Error, Result, names};
use bytes::Bytes;
use object_store::path::Path;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The record of one run.
#[derive(Clone, Debug)]
pub struct RunLog {
    store: Store,
    folder: Path,
}

impl RunLog {
    pub(crate) fn new(store: Store, folder: Path) -> RunLog {
        RunLog { store, folder }
    }

    /// Writes the plan unless there is one, which is then kept, be it the same or another.
    pub async fn create_plan<T: Serialize>(&self, plan: &T) -> Result<Created> {
        create_once(&self.store, &self.object("plan.json"), plan).await
    }

    /// The plan, or `None` before there is one.
    pub async fn plan<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.sealed("plan.json").await
    }

    /// Writes what the trainer has come to, unless a result is there, which is then kept: of two trainers of one run, the
    /// first counts. A trainer writes this and no outcome: whether a version comes of it, whoever registers says.
    pub async fn put_result<T: Serialize>(&self, result: &T) -> Result<Created> {
        create_once(&self.store, &self.object("result.json"), result).await
    }

    /// What the trainer has come to, or `None` while it has not ended.
    pub async fn result<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.sealed("result.json").await
    }

    /// Writes the outcome unless there is one, which is then kept: a run finishes once.
    pub async fn finish<T: Serialize>(&self, outcome: &T) -> Result<Created> {
        create_once(&self.store, &self.object("outcome.json"), outcome).await
    }

    /// The outcome, or `None` while the run is not finished.
    pub async fn outcome<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.sealed("outcome.json").await
    }

    /// Writes a checkpoint, in place of one with the same name. Readers see the old or the new one.
    pub async fn put_checkpoint(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.store.overwrite(&self.checkpoint(name)?, bytes).await
    }

    /// A checkpoint, or `None` when there is none with this name.
    pub async fn get_checkpoint(&self, name: &str) -> Result<Option<Bytes>> {
        self.store.read(&self.checkpoint(name)?, BLOB_BYTES_MAX).await
    }

    fn object(&self, name: &str) -> Path {
        self.folder.clone().join(name)
    }

    fn checkpoint(&self, name: &str) -> Result<Path> {
        names::key("checkpoint", name)?;
        Ok(below(&self.folder, "checkpoints", name))
    }

    async fn sealed<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.object(name);
        let Some(bytes) = self.store.read(&path, JSON_BYTES_MAX).await? else {
            return Ok(None);
        };
        let sealed: Sealed<T> = serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(&path, e))?;
        Ok(Some(sealed.body))
    }
}

/// The path of a checked key in a folder's folder.
pub(crate) fn below(folder: &Path, kind: &str, key: &str) -> Path {
    under(&folder.clone().join(kind), key)
}

/// The path of a checked key in a folder.
pub(crate) fn under(folder: &Path, key: &str) -> Path {
    key.split('/').fold(folder.clone(), |path, part| path.join(part))
}
