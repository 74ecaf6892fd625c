//! The commit protocol, in one place: how a write becomes the one that counts.
//!
//! A log is a folder of entries numbered from 1 without gaps. An entry counts once it exists, and
//! whoever creates it wins. A store may answer a successful create with an error (it retried
//! inside, or the answer was lost), or `AlreadyExists` with nothing written. So every answer but
//! a plain success is doubtful: the object is read back and judged by the transaction id in its
//! body. A writer never goes to a later sequence while the one that it tried is empty, as its own
//! write may still land there; repeating the same body at the same place is harmless.
//!
//! It does not know what an entry means, and does not find the newest one: `log.rs` does.

use crate::digest::sha256;
use crate::log::Log;
use crate::store::{BLOB_BYTES_MAX, JSON_BYTES_MAX, Planted, Store};
use crate::{Created, Error, Result};
use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Lost rounds per try that a writer bears: losing means that others get on.
const ROUNDS_PER_TRY: u32 = 10;

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
            tokio::time::sleep(store.pause(tries)).await;
        }
        let patience = end.saturating_duration_since(Instant::now());
        if patience.is_zero() {
            break;
        }
        tries += 1;
        if !unseen {
            match store.create(path, body.clone(), patience).await {
                Some(Ok(())) => return Ok(Settled::Ours { read_back: false }),
                Some(Err(object_store::Error::AlreadyExists { .. })) if store.planted(Planted::NoReadBack) => {
                    return Ok(Settled::Theirs);
                }
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
pub(crate) fn refused(error: &object_store::Error) -> bool {
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
    let txn = store.chance.transaction();
    let bytes = json(path, &Sealed { txn: txn.clone(), body })?;
    match create(store, path, &bytes, |found| Ok(Header::read(path, found)?.txn == txn)).await? {
        Settled::Ours { .. } => Ok(Created::Now),
        Settled::Theirs => Ok(Created::Already),
    }
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
pub(crate) struct Header {
    /// The entry's number.
    #[serde(default)]
    pub seq: u64,
    /// The sha-256 of the entry before.
    #[serde(default)]
    pub previous: Option<String>,
    /// Who wrote it.
    pub txn: String,
}

impl Header {
    /// Reads it from the bytes of an object.
    pub fn read(path: &Path, body: &[u8]) -> Result<Header> {
        serde_json::from_slice(body).map_err(|e| Error::corrupt(path, e))
    }
}

/// One entry of a log, as bytes.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Its number.
    pub seq: u64,
    /// Its bytes; none where a log keeps only the chain of what it has seen.
    pub body: Option<Bytes>,
    /// Where it is.
    pub path: Path,
    /// What it is chained to.
    pub previous: Option<String>,
    /// The sha-256 of its bytes, to which the next entry is chained.
    pub sha256: String,
}

impl Slot {
    /// An entry with these bytes.
    pub fn new(seq: u64, body: Bytes, path: Path, previous: Option<String>) -> Slot {
        let sha256 = sha256(&body);
        Slot { seq, body: Some(body), path, previous, sha256 }
    }

    /// Its content.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        let body = self.body.as_ref().ok_or_else(|| Error::corrupt(&self.path, "its bytes were not kept"))?;
        serde_json::from_slice(body).map_err(|e| Error::corrupt(&self.path, e))
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

impl Log {
    /// Appends one entry. `step` sees the newest entry and says what to write after it; it is
    /// asked again whenever another writer was faster, so that it must check its assumptions.
    ///
    /// The first round goes by the entry that this log saw last: a create that succeeds after it
    /// proves that it was the newest, and any other answer of `step` is only taken from a fresh look.
    /// The hint is left to the caller, who may do it beside other work.
    /// [`Error::Contended`]: no round was won in time and nothing was written.
    pub async fn commit<T>(&self, mut step: impl FnMut(Option<&Slot>, Next<'_>) -> Result<Step<T>>) -> Result<T> {
        let store = self.store();
        let limits = store.limits;
        let end = Instant::now() + limits.deadline;
        let txn = store.chance.transaction();
        let mut remembered = self.remembered();
        let mut rounds = 0;
        while rounds < limits.tries * ROUNDS_PER_TRY && Instant::now() < end {
            if rounds > 0 {
                tokio::time::sleep(store.pause(rounds.min(5))).await;
            }
            let fresh = remembered.is_none();
            let head = match remembered.take() {
                Some(slot) => Some(slot),
                None => match tokio::time::timeout_at(end, self.head()).await {
                    Ok(head) => head?,
                    Err(_) => break,
                },
            };
            let seq = head.as_ref().map_or(1, |slot| slot.seq + 1);
            let previous = head.as_ref().map(|slot| slot.sha256.clone());
            let next = Next { seq, previous: previous.clone(), txn: &txn };
            let (body, value) = match step(head.as_ref(), next) {
                Ok(Step::Append(body, value)) => (body, value),
                _ if !fresh => continue,
                Ok(Step::Done(value)) => return Ok(value),
                Err(error) => return Err(error),
            };
            rounds += 1;
            let path = self.path(if store.planted(Planted::NumberSkipped) { seq + rounds as u64 - 1 } else { seq });
            let ours = |found: &[u8]| Ok(Header::read(&path, found)?.txn == txn);
            if let Settled::Ours { .. } = create(store, &path, &body, ours).await? {
                self.remember(&Slot::new(seq, body, path, previous));
                return Ok(value);
            }
        }
        Err(Error::Contended { path: self.folder().to_string(), tries: rounds })
    }
}
