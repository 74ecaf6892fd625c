//! The commit protocol, in one place: how a write becomes the one that counts.
//!
//! A log is a folder of `<seq:020>.json`, numbered from 1 without gaps. An entry counts once it
//! exists, and whoever creates it wins. A store may answer a successful create with an error (it
//! retried inside, or the answer was lost), or `AlreadyExists` with nothing written. So every
//! answer but a plain success is doubtful: the object is read back and judged by the transaction
//! id in its body. A writer never goes to a later sequence while the one that it tried is empty,
//! as its own write may still land there; repeating the same body at the same place is harmless.
//!
//! It does not know what an entry means. `_hint` only says where to start looking.

use crate::digest::sha256;
use crate::store::{BLOB_BYTES_MAX, JSON_BYTES_MAX, Store};
use crate::{Created, Error, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How far a reader walks from a hint before it lists the folder instead.
const WALK_MAX: u64 = 64;
/// How often a reader looks again when the log grows faster than it walks.
const LOOKS_MAX: u32 = 4;
/// Lost rounds per try that a writer bears: losing means that others get on.
const ROUNDS_PER_TRY: u32 = 10;
/// Entries read at once.
const READS_AT_ONCE: usize = 8;

/// What a create-only write came to.
pub(crate) enum Settled {
    /// It is there and ours; `read_back` when that was learned by reading it.
    Ours { read_back: bool },
    /// Somebody else's is there.
    Theirs,
}

/// Creates an object and finds out for sure whose it is. `ours` tells this call's body from others.
pub(crate) async fn create(
    store: &Store,
    path: &Path,
    body: &Bytes,
    ours: impl Fn(&[u8]) -> Result<bool>,
) -> Result<Settled> {
    let limits = store.limits;
    let end = Instant::now() + limits.deadline;
    let mut reason = String::new();
    let mut tries = 0;
    let mut unseen = false; // the object was asked for, and has not been read since
    let mut sent = false; // some earlier request may still land
    while tries < limits.tries {
        if tries > 0 {
            tokio::time::sleep(limits.pause(tries)).await;
        }
        let patience = end.saturating_duration_since(Instant::now());
        if patience.is_zero() {
            break;
        }
        tries += 1;
        if !unseen {
            match store.create(path, body.clone(), patience).await {
                Some(Ok(())) => return Ok(Settled::Ours { read_back: false }),
                Some(Err(source)) if refused(&source) && !sent => {
                    return Err(Error::Store { path: path.to_string(), source });
                }
                Some(Err(source)) => reason = source.to_string(),
                None => reason = "timed out".to_owned(),
            }
            (unseen, sent) = (true, true);
        }
        let left = end.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, store.read(path, BLOB_BYTES_MAX)).await {
            Ok(Ok(Some(found))) if ours(&found)? => return Ok(Settled::Ours { read_back: true }),
            Ok(Ok(Some(_))) => return Ok(Settled::Theirs),
            Ok(Ok(None)) => unseen = false,
            Ok(Err(error @ Error::Corrupt { .. })) => return Err(error),
            Ok(Err(error)) => reason = error.to_string(),
            Err(_) => reason = "reading back timed out".to_owned(),
        }
        tracing::debug!(%path, tries, reason, "doubtful answer to a create");
    }
    Err(Error::Unresolved { path: path.to_string(), tries, reason })
}

/// Answers after which nothing was written and nothing will be.
fn refused(error: &object_store::Error) -> bool {
    use object_store::Error::{
        InvalidPath, NotImplemented, NotSupported, PermissionDenied, Unauthenticated, UnknownConfigurationKey,
    };
    matches!(
        error,
        InvalidPath { .. }
            | NotImplemented { .. }
            | NotSupported { .. }
            | PermissionDenied { .. }
            | Unauthenticated { .. }
            | UnknownConfigurationKey { .. }
    )
}

/// A body with a transaction id in front, for objects that are created once and are no log.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sealed<T> {
    /// Who wrote it: tells a writer its own write.
    pub txn: String,
    /// What was written.
    pub body: T,
}

/// Creates `path` with `body` unless something is there, which is then kept.
pub(crate) async fn create_once<T: Serialize>(store: &Store, path: &Path, body: &T) -> Result<Created> {
    let txn = transaction();
    let bytes = json(path, &Sealed { txn: txn.clone(), body })?;
    match create(store, path, &bytes, |found| Ok(Header::read(path, found)?.txn == txn)).await? {
        Settled::Ours { .. } => Ok(Created::Now),
        Settled::Theirs => Ok(Created::Already),
    }
}

/// A new transaction id: 128 random bits in hex.
pub(crate) fn transaction() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The bytes of an object of the registry.
pub(crate) fn json<T: Serialize>(path: &Path, value: &T) -> Result<Bytes> {
    let bytes = serde_json::to_vec(value).map_err(|source| Error::Json { path: path.to_string(), source })?;
    if bytes.len() as u64 > JSON_BYTES_MAX {
        let reason = format!("{} bytes of JSON, the most is {JSON_BYTES_MAX}", bytes.len());
        return Err(Error::Invalid { what: path.to_string(), reason });
    }
    Ok(bytes.into())
}

/// What every body has, whatever else is in it. Objects outside logs have only the id.
#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    previous: Option<String>,
    txn: String,
}

impl Header {
    fn read(path: &Path, body: &[u8]) -> Result<Header> {
        serde_json::from_slice(body).map_err(|e| Error::corrupt(path, e))
    }
}

/// One entry of a log, as bytes.
pub(crate) struct Slot {
    /// Its number.
    pub seq: u64,
    /// Its bytes.
    pub body: Bytes,
    path: Path,
    previous: Option<String>,
}

impl Slot {
    /// The sha-256 of its bytes, to which the next entry is chained.
    pub fn sha256(&self) -> String {
        sha256(&self.body)
    }

    /// Its content.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|e| Error::corrupt(&self.path, e))
    }
}

/// Where the next entry goes.
pub(crate) struct Next<'a> {
    /// Its number.
    pub seq: u64,
    /// What it must name as `previous`.
    pub previous: Option<String>,
    /// What it must name as `txn`.
    pub txn: &'a str,
}

/// What a writer wants, having seen the newest entry.
pub(crate) enum Step<T> {
    /// Append this body; the value is the answer once it is kept.
    Append(Bytes, T),
    /// Nothing is to be written; this is the answer.
    Done(T),
}

/// A numbered, create-only, hash-chained log.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    store: Store,
    folder: Path,
}

#[derive(Serialize, Deserialize)]
struct Hint {
    seq: u64,
}

impl Log {
    /// The log in this folder.
    pub fn new(store: Store, folder: Path) -> Log {
        Log { store, folder }
    }

    /// The path of an entry.
    pub fn path(&self, seq: u64) -> Path {
        self.folder.clone().join(format!("{seq:020}.json"))
    }

    fn hint_path(&self) -> Path {
        self.folder.clone().join("_hint")
    }

    /// One entry, or `None` when there is none with this number.
    pub async fn read(&self, seq: u64) -> Result<Option<Slot>> {
        let path = self.path(seq);
        let Some(body) = self.store.read(&path, JSON_BYTES_MAX).await? else {
            return Ok(None);
        };
        let header = Header::read(&path, &body)?;
        if header.seq != seq || header.previous.is_some() != (seq > 1) {
            return Err(Error::corrupt(&path, format!("calls itself entry {}", header.seq)));
        }
        Ok(Some(Slot { seq, body, path, previous: header.previous }))
    }

    /// The newest entry: from the hint forward, and from a listing when the hint is of no use.
    pub async fn head(&self) -> Result<Option<Slot>> {
        let mut start = self.hinted().await;
        for _ in 0..LOOKS_MAX {
            if start.is_none() {
                start = match self.listed().await? {
                    Some(seq) => self.read(seq).await?,
                    None => None,
                };
            }
            let (newest, more) = self.walk(start.take()).await?;
            if !more {
                return Ok(newest);
            }
        }
        Err(Error::Contended { path: self.folder.to_string(), tries: LOOKS_MAX })
    }

    /// Walks forward from an entry; `true` when it stopped before the end.
    async fn walk(&self, start: Option<Slot>) -> Result<(Option<Slot>, bool)> {
        let mut newest = start;
        for _ in 0..WALK_MAX {
            let next = newest.as_ref().map_or(1, |slot| slot.seq + 1);
            match self.read(next).await? {
                Some(slot) => {
                    chained(newest.as_ref(), &slot)?;
                    newest = Some(slot);
                }
                None => return Ok((newest, false)),
            }
        }
        Ok((newest, true))
    }

    async fn hinted(&self) -> Option<Slot> {
        let body = self.store.read(&self.hint_path(), 1024).await.ok()??;
        let hint: Hint = serde_json::from_slice(&body).ok()?;
        self.read(hint.seq).await.ok()?
    }

    /// The highest number in the folder. Other files, such as those of a killed writer, are passed over.
    async fn listed(&self) -> Result<Option<u64>> {
        let mut highest = None;
        self.store.each(&self.folder, |object| highest = highest.max(self.sequence(&object.location))).await?;
        Ok(highest)
    }

    /// Whether anything was ever committed here.
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.hinted().await.is_none() && self.listed().await?.is_none())
    }

    fn sequence(&self, path: &Path) -> Option<u64> {
        let seq = path.filename()?.strip_suffix(".json")?.parse().ok()?;
        (*path == self.path(seq)).then_some(seq)
    }

    /// The newest entries, newest first, with the chain between them checked.
    pub async fn newest(&self, limit: usize) -> Result<Vec<Slot>> {
        let Some(head) = self.head().await? else {
            return Ok(Vec::new());
        };
        let count = (limit.min(crate::store::LIST_MAX) as u64).min(head.seq);
        let older = (head.seq + 1 - count..head.seq).rev();
        let mut slots: Vec<Slot> = Vec::new();
        if count > 0 {
            slots.push(head);
        }
        let read = |seq| async move {
            self.read(seq).await?.ok_or_else(|| Error::corrupt(self.path(seq), "missing from the log"))
        };
        let mut rest = futures::stream::iter(older).map(read).buffered(READS_AT_ONCE);
        while let Some(slot) = rest.try_next().await? {
            if let Some(newer) = slots.last() {
                chained(Some(&slot), newer)?;
            }
            slots.push(slot);
        }
        Ok(slots)
    }

    /// Appends one entry. `step` sees the newest entry and says what to write after it; it is
    /// asked again whenever another writer was faster, so that it must check its assumptions.
    /// [`Error::Contended`]: no round was won in time and nothing was written.
    pub async fn commit<T>(&self, mut step: impl FnMut(Option<&Slot>, Next<'_>) -> Result<Step<T>>) -> Result<T> {
        let limits = self.store.limits;
        let end = Instant::now() + limits.deadline;
        let txn = transaction();
        let mut rounds = 0;
        while rounds < limits.tries * ROUNDS_PER_TRY && Instant::now() < end {
            if rounds > 0 {
                tokio::time::sleep(limits.pause(rounds.min(5))).await;
            }
            rounds += 1;
            let head = match tokio::time::timeout_at(end, self.head()).await {
                Ok(head) => head?,
                Err(_) => break,
            };
            let seq = head.as_ref().map_or(1, |slot| slot.seq + 1);
            let next = Next { seq, previous: head.as_ref().map(Slot::sha256), txn: &txn };
            let (body, value) = match step(head.as_ref(), next)? {
                Step::Append(body, value) => (body, value),
                Step::Done(value) => return Ok(value),
            };
            let path = self.path(seq);
            let ours = |found: &[u8]| Ok(Header::read(&path, found)?.txn == txn);
            if let Settled::Ours { .. } = create(&self.store, &path, &body, ours).await? {
                self.leave_hint(seq).await;
                return Ok(value);
            }
        }
        Err(Error::Contended { path: self.folder.to_string(), tries: rounds })
    }

    /// Best effort: the entry counts whether or not the hint is written.
    async fn leave_hint(&self, seq: u64) {
        let path = self.hint_path();
        let written = match json(&path, &Hint { seq }) {
            Ok(body) => self.store.overwrite(&path, body).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::debug!(%path, %error, "hint not written");
        }
    }
}

fn chained(older: Option<&Slot>, newer: &Slot) -> Result<()> {
    if newer.previous == older.map(Slot::sha256) {
        return Ok(());
    }
    Err(Error::corrupt(&newer.path, "does not follow from the entry before it: one of the two was changed"))
}
