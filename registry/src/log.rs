//! A numbered, create-only, hash-chained log: where its entries are and which is the newest.
//!
//! Names count down, so that a listing in byte order starts with the newest entry. A reader that
//! has seen an entry asks for the next one; a reader that has seen none starts at `_hint`, which
//! is advisory, and without one at the first name of a listing, or (where listings have no order)
//! by trying numbers. Entries are never removed. How they come to be is in `commit.rs`.

use crate::commit::{Header, Slot, json};
use crate::store::{Durable, JSON_BYTES_MAX, LIST_MAX, Listing, Store};
use crate::{Error, Result};
use futures::TryStreamExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How far a reader walks from where it starts before it starts again elsewhere.
const WALK_MAX: u64 = 16;
/// How often a reader looks again when the log grows faster than it walks.
const LOOKS_MAX: u32 = 4;
/// Entries read at once.
const READS_AT_ONCE: usize = 8;

/// A log. Clones share what was seen last.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    store: Store,
    folder: Path,
    seen: Arc<Mutex<Seen>>,
    keeps_bytes: bool,
}

/// What was seen of a log.
#[derive(Debug, Default)]
struct Seen {
    /// The newest entry.
    newest: Option<Slot>,
    /// Since when nothing newer was there, at the least.
    looked: Option<Instant>,
}

#[derive(Serialize, Deserialize)]
struct Hint {
    seq: u64,
}

impl Log {
    /// The log in this folder.
    pub fn new(store: Store, folder: Path) -> Log {
        Log { store, folder, seen: Arc::default(), keeps_bytes: true }
    }

    /// A log that is mostly written: of the newest entry it remembers the number and the hash.
    pub fn of_writer(store: Store, folder: Path) -> Log {
        Log { keeps_bytes: false, ..Log::new(store, folder) }
    }

    /// Where it is kept.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of an entry: its distance from the highest number, so that newer names sort first.
    pub fn path(&self, seq: u64) -> Path {
        self.folder.clone().join(format!("{:020}.json", u64::MAX - seq))
    }

    fn sequence(&self, path: &Path) -> Option<u64> {
        let name: u64 = path.filename()?.strip_suffix(".json")?.parse().ok()?;
        let seq = u64::MAX - name;
        (seq > 0 && *path == self.path(seq)).then_some(seq)
    }

    fn hint_path(&self) -> Path {
        self.folder.clone().join("_hint")
    }

    /// The newest entry that this log has seen; there may be newer ones. [`Log::of_writer`] has not kept its bytes.
    pub fn remembered(&self) -> Option<Slot> {
        self.seen().newest.clone()
    }

    /// Whether somebody has looked for a newer entry within this time.
    pub fn was_looked_at(&self, within: Duration) -> bool {
        self.seen().looked.is_some_and(|looked| looked.elapsed() < within)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an entry if it is newer than what was seen.
    pub fn remember(&self, slot: &Slot) {
        let mut seen = self.seen();
        if seen.newest.as_ref().is_none_or(|newest| newest.seq < slot.seq) {
            let body = slot.body.clone().filter(|_| self.keeps_bytes);
            seen.newest = Some(Slot { body, ..slot.clone() });
        }
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
        Ok(Some(Slot::new(seq, body, path, header.previous)))
    }

    /// The newest entry: 1 request when nothing happened since this log last looked, 3 from a hint.
    pub async fn head(&self) -> Result<Option<Slot>> {
        let mut start = self.remembered();
        for look in 0..LOOKS_MAX {
            let began = Instant::now();
            if look == 0 && start.is_none() {
                start = self.hinted().await;
            }
            if start.is_none() {
                start = self.found().await?;
            }
            let (newest, more) = self.walk(start.take()).await?;
            if let Some(slot) = &newest {
                self.remember(slot);
            }
            if !more {
                self.seen().looked = Some(began);
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
        self.read(hint.seq.max(1)).await.ok()?
    }

    /// The newest entry without a hint.
    async fn found(&self) -> Result<Option<Slot>> {
        let seq = match self.store.listing {
            Listing::Ordered => self.store.first(&self.folder, |path| self.sequence(path)).await?,
            Listing::Cheap => {
                let mut highest = None;
                self.store.each(&self.folder, |object| highest = highest.max(self.sequence(&object.location))).await?;
                highest
            }
            Listing::Avoid => self.searched().await?,
        };
        match seq {
            Some(seq) => self.read(seq).await,
            None => Ok(None),
        }
    }

    /// The highest number, by doubling and halving: 2 log2(n) requests. Entries have no gaps.
    async fn searched(&self) -> Result<Option<u64>> {
        let (mut there, mut beyond) = (0_u64, 1_u64);
        while self.store.exists(&self.path(beyond)).await? {
            (there, beyond) = (beyond, beyond.saturating_mul(2));
        }
        while beyond - there > 1 {
            let middle = there + (beyond - there) / 2;
            if self.store.exists(&self.path(middle)).await? {
                there = middle;
            } else {
                beyond = middle;
            }
        }
        Ok((there > 0).then_some(there))
    }

    /// [`Log::head`] with its bytes, whatever this log keeps.
    pub async fn latest(&self) -> Result<Option<Slot>> {
        match self.head().await? {
            Some(Slot { seq, body: None, .. }) => self.read(seq).await,
            slot => Ok(slot),
        }
    }

    /// Whether anything was ever committed here.
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(!self.store.exists(&self.path(1)).await?)
    }

    /// Entries in falling order from `from` (the newest when `None`), with the chain between them checked.
    pub async fn descending(&self, from: Option<u64>, limit: usize) -> Result<Vec<Slot>> {
        let head = match from {
            None => self.latest().await?,
            Some(seq) => self.read(seq).await?,
        };
        let Some(head) = head else {
            return Ok(Vec::new());
        };
        let count = (limit.min(LIST_MAX) as u64).min(head.seq);
        let older = (head.seq + 1 - count..head.seq).rev();
        let mut slots: Vec<Slot> = Vec::new();
        if count > 0 {
            slots.push(head);
        }
        let read = |seq| async move {
            self.read(seq).await?.ok_or_else(|| Error::corrupt(self.path(seq), "missing from the log"))
        };
        let mut rest =
            futures::StreamExt::buffered(futures::StreamExt::map(futures::stream::iter(older), read), READS_AT_ONCE);
        while let Some(slot) = rest.try_next().await? {
            if let Some(newer) = slots.last() {
                chained(Some(&slot), newer)?;
            }
            slots.push(slot);
        }
        Ok(slots)
    }

    /// Best effort: an entry counts whether or not the hint is written.
    pub async fn leave_hint(&self, seq: u64) {
        let path = self.hint_path();
        let written = match json(&path, &Hint { seq }) {
            Ok(body) => self.store.put(&path, body, Durable::Advice).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::debug!(%path, %error, "hint not written");
        }
    }
}

fn chained(older: Option<&Slot>, newer: &Slot) -> Result<()> {
    if newer.previous.as_deref() == older.map(|slot| slot.sha256.as_str()) {
        return Ok(());
    }
    Err(Error::corrupt(&newer.path, "does not follow from the entry before it: one of the two was changed"))
}
