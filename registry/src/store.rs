//! Calls to the object store, each with a bound on time and size.
//! It does not judge doubtful answers: `commit.rs` does.

use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use std::sync::Arc;
use std::time::Duration;

/// The most a JSON object of the registry may have: log entries, plans, outcomes, manifests.
pub(crate) const JSON_BYTES_MAX: u64 = 16 << 20;
/// The most a window, a decision file, a snapshot or a checkpoint may have.
pub(crate) const BLOB_BYTES_MAX: u64 = 2 << 30;
/// The most names that one listing returns.
pub(crate) const LIST_MAX: usize = 100_000;

/// How long and how often to try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Tries to get a clear answer about one object.
    pub tries: u32,
    /// The end of all tries.
    pub deadline: Duration,
    /// The bound of the first pause; each next one is twice as long.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// The end of one call that reads, lists or moves bytes.
    pub call: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            tries: 10,
            deadline: Duration::from_secs(30),
            pause: Duration::from_millis(20),
            pause_max: Duration::from_secs(2),
            call: Duration::from_secs(300),
        }
    }
}

impl Limits {
    /// The pause before try `attempt` (1 is the first repeat): full jitter below a doubling bound.
    pub fn pause(&self, attempt: u32) -> Duration {
        let bound = self.pause.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.pause_max);
        bound.mul_f64(rand::random::<f64>())
    }
}

/// The object store of a registry.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    /// Where the objects are.
    pub objects: Arc<dyn ObjectStore>,
    /// How patient to be.
    pub limits: Limits,
}

impl Store {
    /// Runs one call that is harmless to repeat, and bounds its time.
    pub async fn bounded<T>(&self, path: &Path, call: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        let limit = self.limits.call;
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(|source| Error::Store { path: path.to_string(), source }),
            Err(_) => Err(Error::Timeout { path: path.to_string(), seconds: limit.as_secs() }),
        }
    }

    /// The bytes of an object, or `None` when there is none. Reads no more than `most` bytes.
    pub async fn read(&self, path: &Path, most: u64) -> Result<Option<Bytes>> {
        let got = match self.bounded(path, self.objects.get(path)).await {
            Ok(got) => got,
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = got.meta.size;
        if size > most {
            return Err(Error::corrupt(path, format!("{size} bytes, the most is {most}")));
        }
        let read = async {
            let mut body = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
            let mut parts = got.into_stream();
            while let Some(part) = parts.try_next().await? {
                body.extend_from_slice(&part);
                if body.len() as u64 > most {
                    break;
                }
            }
            Ok(body.freeze())
        };
        let body = self.bounded(path, read).await?;
        if body.len() as u64 > most {
            return Err(Error::corrupt(path, format!("more than {most} bytes")));
        }
        Ok(Some(body))
    }

    /// Writes an object, whatever was there. Atomic: readers see the old or the new bytes.
    pub async fn overwrite(&self, path: &Path, body: Bytes) -> Result<()> {
        self.bounded(path, self.objects.put(path, body.into())).await.map(drop)
    }

    /// Asks once for an object to be created. `None` when no answer came within `patience`.
    pub async fn create(&self, path: &Path, body: Bytes, patience: Duration) -> Option<object_store::Result<()>> {
        let options = PutOptions::from(PutMode::Create);
        let call = self.objects.put_opts(path, body.into(), options);
        tokio::time::timeout(patience, call).await.ok().map(|answer| answer.map(drop))
    }

    /// Calls `see` for every object below a folder, in no particular order.
    pub async fn each(&self, folder: &Path, mut see: impl FnMut(ObjectMeta)) -> Result<()> {
        let walk = async {
            let mut objects = self.objects.list(Some(folder));
            while let Some(object) = objects.next().await {
                see(object?);
            }
            Ok(())
        };
        self.bounded(folder, walk).await
    }

    /// The names of the folders directly in a folder, sorted.
    pub async fn folders(&self, folder: &Path) -> Result<Vec<String>> {
        let listed = self.bounded(folder, self.objects.list_with_delimiter(Some(folder))).await?;
        let mut names: Vec<String> =
            listed.common_prefixes.iter().filter_map(|p| p.filename().map(str::to_owned)).collect();
        names.sort_unstable();
        names.truncate(LIST_MAX);
        Ok(names)
    }
}
