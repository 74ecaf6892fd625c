//! Calls to the object store, each with a bound on time and size.
//! It does not judge doubtful answers: `commit.rs` does.

use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
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

/// How the newest entry of a log is found when no hint helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Names come in byte order, so that the first name of a log is its newest entry.
    Ordered,
    /// Names come in any order, and listing all of them is cheap: a directory.
    Cheap,
    /// Names come in any order, a page at a time: numbers are tried instead.
    Avoid,
}

/// What a loss of power must leave of a write. Only a directory asks: a bucket keeps all that it answered with success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Durable {
    /// Bytes and name.
    #[default]
    Name,
    /// Its bytes, once it has a name. The name is only certain once the tree's manifest is written, without which the
    /// file counts for nothing.
    Bytes,
    /// A manifest: its bytes and name, and the names of everything in its folder.
    Tree,
    /// Nothing.
    Nothing,
    /// Nothing, and readers bear half of it: it is advice.
    Advice,
}

/// Mistakes that tests make on purpose, to see that the simulation finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// A create that is answered with `AlreadyExists` is taken for lost without reading back.
    NoReadBack,
    /// A writer that lost a round tries a later number without looking.
    NumberSkipped,
    /// A registration does not look whether trees were condemned meanwhile.
    NoFence,
    /// A collection does not look at pins.
    PinIgnored,
    /// An alias is moved whatever it points to.
    AliasWithoutCas,
    /// A manifest is written before the files that it names.
    ManifestFirst,
}

/// Where transaction ids and jitter come from: the system, or a seed, so that a simulation can be repeated.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chance(Option<Arc<Mutex<StdRng>>>);

impl Chance {
    /// The same numbers for the same seed.
    #[cfg_attr(not(test), allow(dead_code))]
    pub fn seeded(seed: u64) -> Chance {
        Chance(Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut dyn rand::RngCore) -> T) -> T {
        match &self.0 {
            Some(seeded) => draw(&mut *seeded.lock().unwrap_or_else(PoisonError::into_inner)),
            None => draw(&mut rand::rng()),
        }
    }

    /// A new transaction id: 128 random bits in hex.
    pub fn transaction(&self) -> String {
        self.draw(|chance| format!("{:032x}", chance.random::<u128>()))
    }
}

/// The object store of a registry.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    /// Where the objects are.
    pub objects: Arc<dyn ObjectStore>,
    /// How patient to be.
    pub limits: Limits,
    /// How names are listed.
    pub listing: Listing,
    /// Where ids and jitter come from.
    pub chance: Chance,
    /// The local folder that the store is, if it is one.
    pub local: Option<PathBuf>,
    /// Tells stores apart; empty: like no other.
    pub place: String,
    /// A mistake made on purpose.
    #[cfg(test)]
    pub planted: Option<Planted>,
}

impl Store {
    /// A store with the usual patience.
    pub fn new(objects: Arc<dyn ObjectStore>, listing: Listing) -> Store {
        Store {
            objects,
            limits: Limits::default(),
            listing,
            chance: Chance::default(),
            local: None,
            place: String::new(),
            #[cfg(test)]
            planted: None,
        }
    }

    /// Whether the other store is this one, so that it can copy by itself.
    pub fn same(&self, other: &Store) -> bool {
        Arc::ptr_eq(&self.objects, &other.objects) || (!self.place.is_empty() && self.place == other.place)
    }

    /// Whether a test makes this mistake on purpose. Never outside of tests.
    pub fn planted(&self, mistake: Planted) -> bool {
        #[cfg(test)]
        return self.planted == Some(mistake);
        #[cfg(not(test))]
        return {
            let _ = mistake;
            false
        };
    }

    /// Removes what a local folder holds besides objects: files of writers that were killed keep
    /// bytes under other names, and listings pass over them.
    pub async fn remove_leftovers(&self, folder: &Path) -> Result<()> {
        let Some(root) = &self.local else { return Ok(()) };
        let place = root.join(folder.as_ref());
        let removed = tokio::fs::remove_dir_all(&place).await;
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(place)(error)),
            _ => Ok(()),
        }
    }

    /// The pause before try `attempt` (1 is the first repeat): full jitter below a doubling bound.
    pub fn pause(&self, attempt: u32) -> Duration {
        let Limits { pause, pause_max, .. } = self.limits;
        let bound = pause.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(pause_max);
        bound.mul_f64(self.chance.draw(|chance| chance.random::<f64>()))
    }

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
        // A local file comes in one piece; as a stream it would come in thousands of small ones.
        let got = match got.payload {
            GetResultPayload::File(file, _) => {
                let read = move || {
                    let mut body = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
                    file.take(most.saturating_add(1)).read_to_end(&mut body).map(|_| Bytes::from(body))
                };
                let failed = |source| object_store::Error::Generic { store: "Directory", source };
                let body = async {
                    match tokio::task::spawn_blocking(read).await {
                        Ok(Ok(body)) => Ok(body),
                        Ok(Err(error)) => Err(failed(Box::new(error))),
                        Err(error) => Err(failed(Box::new(error))),
                    }
                };
                return within(path, self.bounded(path, body).await?, most).map(Some);
            }
            payload => GetResult { payload, ..got },
        };
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
        within(path, self.bounded(path, read).await?, most).map(Some)
    }

    /// Writes an object, whatever was there. Atomic: readers see the old or the new bytes.
    pub async fn overwrite(&self, path: &Path, body: Bytes) -> Result<()> {
        self.put(path, body, Durable::Name).await
    }

    /// [`Store::overwrite`], and says what a loss of power must leave of it.
    pub async fn put(&self, path: &Path, body: Bytes, durable: Durable) -> Result<()> {
        let mut options = PutOptions::default();
        options.extensions.insert(durable);
        self.bounded(path, self.objects.put_opts(path, body.into(), options)).await.map(drop)
    }

    /// Asks once for an object to be created. `None` when no answer came within `patience`.
    pub async fn create(&self, path: &Path, body: Bytes, patience: Duration) -> Option<object_store::Result<()>> {
        let options = PutOptions::from(PutMode::Create);
        let call = self.objects.put_opts(path, body.into(), options);
        tokio::time::timeout(patience, call).await.ok().map(|answer| answer.map(drop))
    }

    /// Removes an object; one that is not there is no error.
    pub async fn delete(&self, path: &Path) -> Result<()> {
        match self.bounded(path, self.objects.delete(path)).await {
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => Ok(()),
            other => other,
        }
    }

    /// Whether there is an object, without reading it.
    pub async fn exists(&self, path: &Path) -> Result<bool> {
        match self.bounded(path, self.objects.head(path)).await {
            Ok(_) => Ok(true),
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The first name in listing order of which `pick` makes something.
    pub async fn first<T>(&self, folder: &Path, mut pick: impl FnMut(&Path) -> Option<T>) -> Result<Option<T>> {
        let walk = async {
            let mut objects = self.objects.list(Some(folder));
            while let Some(object) = objects.next().await {
                if let Some(found) = pick(&object?.location) {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        };
        self.bounded(folder, walk).await
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

fn within(path: &Path, body: Bytes, most: u64) -> Result<Bytes> {
    if body.len() as u64 > most {
        return Err(Error::corrupt(path, format!("more than {most} bytes")));
    }
    Ok(body)
}
