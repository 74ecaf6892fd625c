//! Plans: what was decided and why, appended in order and chained by hash. Models and endpoints
//! keep theirs in the same way. It does not know what a plan says.

use crate::commit::{Slot, Step, json};
use crate::log::Log;
use crate::store::Store;
use crate::{Created, Error, Result};
use object_store::path::Path;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The plans of one model or endpoint: `plans/`, numbered from 1.
#[derive(Clone, Debug)]
pub struct PlanLog {
    log: Log,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    seq: u64,
    previous: Option<String>,
    txn: String,
    body: T,
}

impl PlanLog {
    pub(crate) fn new(store: Store, folder: &Path) -> PlanLog {
        PlanLog { log: Log::of_writer(store, folder.clone().join("plans")) }
    }

    /// Appends a plan as number `seq`, which must be the next one: 1, or the latest plus 1.
    /// The same plan already there under `seq` is `Already` (a repeat after a lost answer); any
    /// other number is a [`Error::Conflict`] that names the latest.
    pub async fn append<T: Serialize>(&self, seq: u64, body: &T) -> Result<Created> {
        let path = self.log.path(seq);
        let Some(before) = seq.checked_sub(1) else {
            return Err(Error::Invalid { what: path.to_string(), reason: "plans are numbered from 1".to_owned() });
        };
        let refused = self
            .log
            .commit(|head, next| {
                if seq != next.seq {
                    return Ok(Step::Done(Some(head.map(|slot| slot.seq))));
                }
                let envelope = Envelope { seq, previous: next.previous, txn: next.txn.to_owned(), body };
                Ok(Step::Append(json(&path, &envelope)?, None))
            })
            .await?;
        let Some(found) = refused else {
            self.log.leave_hint(seq).await;
            return Ok(Created::Now);
        };
        if found.is_some_and(|latest| seq <= latest) && self.holds(seq, body).await? {
            return Ok(Created::Already);
        }
        let what = format!("the latest plan before {path}");
        Err(Error::Conflict { what, expected: (before > 0).then_some(before), found })
    }

    /// Whether this very body is kept under this number. Compared as parsed JSON, so that the way
    /// numbers were written does not matter.
    async fn holds<T: Serialize>(&self, seq: u64, body: &T) -> Result<bool> {
        let Some(slot) = self.log.read(seq).await? else {
            return Ok(false);
        };
        let kept: Envelope<serde_json::Value> = slot.parse()?;
        let given: serde_json::Value = serde_json::from_slice(&json(&self.log.path(seq), body)?)
            .map_err(|e| Error::corrupt(self.log.path(seq), e))?;
        Ok(kept.body == given)
    }

    /// The newest plan with its number, or `None` when there is none.
    pub async fn latest<T: DeserializeOwned>(&self) -> Result<Option<(u64, T)>> {
        self.log.latest().await?.as_ref().map(opened).transpose()
    }

    /// The newest plans with their numbers, newest first, with the chain between them checked.
    pub async fn newest<T: DeserializeOwned>(&self, limit: usize) -> Result<Vec<(u64, T)>> {
        self.log.descending(None, limit).await?.iter().map(opened).collect()
    }
}

fn opened<T: DeserializeOwned>(slot: &Slot) -> Result<(u64, T)> {
    let envelope: Envelope<T> = slot.parse()?;
    Ok((slot.seq, envelope.body))
}
