//! Sends an event to a webhook until the receiver takes it: how often that is tried, and what ends a watch. What one
//! attempt is and means is `fairway_controller::Webhook`. It reads no log and keeps no cursor.
//!
//! Neither the secret nor the path of the URL, which may hold a token, is ever shown.

use anyhow::{Context, Result, bail};
use fairway_controller::{Answer, Webhook as Receiver, webhook_client};
use fairway_registry::events::{self, CloudEvent, Secret};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(super) use fairway_controller::pause;

use crate::exit::Invalid;
use crate::runtime::Clock;

/// Requests that are out at once, of all models together.
const REQUESTS_MAX: usize = 8;

/// A receiver.
pub(super) struct Webhook {
    receiver: Receiver,
    requests: Semaphore,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The receiver has it.
    Delivered,
    /// The watch was stopped before that.
    Stopped,
}

impl Webhook {
    /// A receiver at this URL.
    pub(super) fn new(url: &str, secrets: Vec<Secret>) -> Result<Self> {
        let client = webhook_client().context("reading this machine's certificates")?;
        let Some(receiver) = Receiver::new(client, url, secrets) else {
            bail!(Invalid("--webhook: must be a URL that starts with https:// or http://".to_owned()));
        };
        Ok(Self { receiver, requests: Semaphore::new(REQUESTS_MAX) })
    }

    /// Sends an event until it is taken. A request that is out when the watch is stopped is waited for.
    ///
    /// # Errors
    /// The receiver refuses it for good.
    pub(super) async fn deliver(&self, event: &CloudEvent, stop: &CancellationToken) -> Result<Sent> {
        let body = serde_json::to_vec(event)?;
        let shown = self.receiver.shown();
        let mut failures = 0;
        loop {
            let permit = tokio::select! {
                permit = self.requests.acquire() => permit?,
                () = stop.cancelled() => return Ok(Sent::Stopped),
            };
            let now = Clock::real().now();
            let answer = self.receiver.attempt(&event.id, events::CONTENT_TYPE, body.clone(), now).await;
            drop(permit);
            let (reason, after) = match answer {
                Answer::Taken => return Ok(Sent::Delivered),
                Answer::Later { reason, after } => (reason, after),
                Answer::Never { reason, said } => bail!(
                    "webhook {shown}: refused event {}: {reason}{}; the watch stops before it and nothing is skipped: \
                     mend the receiver and start again with the same --cursor",
                    event.id,
                    if said.is_empty() { said } else { format!(" ({said})") }
                ),
            };
            let time = pause(failures, after);
            failures += 1;
            tracing::warn!(
                "webhook {shown}: event {}: {reason}; failed {failures} times, again in {:.1} s",
                event.id,
                time.as_secs_f64()
            );
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = stop.cancelled() => return Ok(Sent::Stopped),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        for bad in ["", "ci.example/hook", "ftp://ci.example", "file:///tmp/x", "http://"] {
            assert!(Webhook::new(bad, Vec::new()).err().unwrap().is::<Invalid>(), "{bad}");
        }
    }
}
