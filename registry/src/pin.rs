//! A pin says that somebody is uploading a tree, so that it is not taken for an abandoned one.
//! It is written before the first byte, renewed while the upload goes on, and expires by itself.
//! It is a courtesy: that nothing half-deleted is ever registered rests on the log (`gc.rs`).

use crate::commit::json;
use crate::store::{Durable, Store};
use crate::{Digest, Error, Result, Timestamp};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long a pin holds.
const HOLDS: Duration = Duration::from_secs(24 * 3600);
/// How often it is renewed.
const RENEWED_EVERY: Duration = Duration::from_secs(3600);
const PIN_BYTES_MAX: u64 = 64 << 10;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Body {
    txn: String,
    digest: Digest,
    run: String,
    actor: String,
    expires: Timestamp,
}

/// A pin of this process.
#[derive(Debug)]
pub(crate) struct Pin {
    path: Path,
    body: Body,
    began: (Instant, Timestamp),
}

/// The folder of a model's pins.
pub(crate) fn folder(model: &Path) -> Path {
    model.clone().join("pins")
}

impl Pin {
    /// Writes a pin.
    pub async fn set(
        store: &Store,
        model: &Path,
        digest: &Digest,
        run: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<Pin> {
        let txn = store.chance.transaction();
        let path = folder(model).join(format!("{txn}.json"));
        let body =
            Body { txn, digest: digest.clone(), run: run.to_owned(), actor: actor.to_owned(), expires: later(now) };
        let bytes = json(&path, &body)?;
        // Nobody else writes under this random name. A machine that loses power also loses the upload.
        store.put(&path, bytes, Durable::Nothing).await?;
        Ok(Pin { path, body, began: (Instant::now(), now) })
    }

    /// Does the work, and renews the pin meanwhile.
    pub async fn hold<T>(&self, store: &Store, work: impl Future<Output = Result<T>>) -> Result<T> {
        let renew = async {
            loop {
                tokio::time::sleep(RENEWED_EVERY).await;
                let now = self.began.1.checked_add(self.began.0.elapsed()).unwrap_or(self.began.1);
                let body = Body { expires: later(now), ..self.body.clone() };
                // It may fail now and then: it holds much longer than the time between two renewals.
                if let Ok(bytes) = json(&self.path, &body)
                    && let Err(error) = store.overwrite(&self.path, bytes).await
                {
                    tracing::warn!(path = %self.path, %error, "pin not renewed");
                }
            }
        };
        tokio::select! {
            done = work => done,
            () = renew => Err(Error::NotFound("an end of renewing".to_owned())),
        }
    }

    /// Takes the pin away. Best effort: it expires.
    pub async fn release(self, store: &Store) {
        if let Err(error) = store.delete(&self.path).await {
            tracing::debug!(path = %self.path, %error, "pin not removed");
        }
    }
}

fn later(now: Timestamp) -> Timestamp {
    now.checked_add(HOLDS).unwrap_or(Timestamp::MAX)
}

/// The trees that are pinned now. Expired pins are removed when `tidy`. One that cannot be read, as a machine that lost power
/// may leave it, keeps nothing: its upload is lost as well. It goes when a whole one would have expired.
pub(crate) async fn pinned(store: &Store, model: &Path, now: Timestamp, tidy: bool) -> Result<BTreeSet<Digest>> {
    let mut pins = Vec::new();
    store.each(&folder(model), |object| pins.push((object.location, object.last_modified))).await?;
    let mut digests = BTreeSet::new();
    for (path, written) in pins {
        let expires = match read(store, &path).await {
            // Released between listing and reading.
            Ok(None) => continue,
            Ok(Some(body)) => {
                if body.expires > now {
                    digests.insert(body.digest);
                }
                body.expires
            }
            Err(error @ Error::Corrupt { .. }) => {
                tracing::warn!(%error, "a pin keeps nothing");
                Timestamp::from_millisecond(written.timestamp_millis()).map_or(Timestamp::MAX, later)
            }
            Err(error) => return Err(error),
        };
        if tidy && expires <= now {
            store.delete(&path).await?;
        }
    }
    Ok(digests)
}

async fn read(store: &Store, path: &Path) -> Result<Option<Body>> {
    let Some(bytes) = store.read(path, PIN_BYTES_MAX).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::corrupt(path, error))
}
