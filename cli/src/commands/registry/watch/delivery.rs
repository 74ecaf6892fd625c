//! Sends an event to a webhook until the receiver takes it: what is tried again, how long a pause is, and what ends a
//! watch. It reads no log and keeps no cursor.
//!
//! Neither the secret nor the path of the URL, which may hold a token, is ever shown.

use std::time::Duration;

use anyhow::{Result, bail};
use fairway_registry::events::{self, CloudEvent, Secret};
use jiff::Timestamp;
use rand::Rng;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::exit::Invalid;
use crate::runtime::Clock;

/// The longest a receiver may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Requests that are out at once, of all models together.
const REQUESTS_MAX: usize = 8;
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LEAST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(300);
/// The longest pause that a receiver may ask for.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(3_600);
/// How much of a refusal is shown.
const SHOWN_BYTES: usize = 500;

/// A receiver.
pub(super) struct Webhook {
    client: reqwest::Client,
    url: Url,
    /// Scheme and host only.
    shown: String,
    secrets: Vec<Secret>,
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

/// What one attempt came to.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    Later { reason: String, after: Option<Duration> },
    Never { reason: String },
}

impl Webhook {
    /// A receiver at this URL.
    pub(super) fn new(url: &str, secrets: Vec<Secret>) -> Result<Self> {
        let wrong = || Invalid("--webhook: must be a URL that starts with https:// or http://".to_owned());
        let url = Url::parse(url).map_err(|_| wrong())?;
        let (Some(host), "http" | "https") = (url.host_str(), url.scheme()) else { bail!(wrong()) };
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let shown = format!("{}://{host}{port}", url.scheme());
        let client = reqwest::Client::builder()
            .timeout(ANSWER_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("fairway/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, url, shown, secrets, requests: Semaphore::new(REQUESTS_MAX) })
    }

    /// Sends an event until it is taken. A request that is out when the watch is stopped is waited for.
    ///
    /// # Errors
    /// The receiver refuses it for good.
    pub(super) async fn deliver(&self, event: &CloudEvent, stop: &CancellationToken) -> Result<Sent> {
        let body = serde_json::to_vec(event)?;
        let mut failures = 0;
        loop {
            let permit = tokio::select! {
                permit = self.requests.acquire() => permit?,
                () = stop.cancelled() => return Ok(Sent::Stopped),
            };
            let answer = self.attempt(event, body.clone()).await;
            drop(permit);
            let (reason, after) = match answer {
                Answer::Taken => return Ok(Sent::Delivered),
                Answer::Later { reason, after } => (reason, after),
                Answer::Never { reason } => bail!(
                    "webhook {}: refused event {}: {reason}; the watch stops before it and nothing is skipped: mend the \
                     receiver and start again with the same --cursor",
                    self.shown,
                    event.id
                ),
            };
            let time = pause(failures, after);
            failures += 1;
            tracing::warn!(
                "webhook {}: event {}: {reason}; failed {failures} times, again in {:.1} s",
                self.shown,
                event.id,
                time.as_secs_f64()
            );
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = stop.cancelled() => return Ok(Sent::Stopped),
            }
        }
    }

    async fn attempt(&self, event: &CloudEvent, body: Vec<u8>) -> Answer {
        // Of the attempt: a receiver refuses what is old, but an event may have to wait for days.
        let now = Clock::real().now();
        let signature = events::header(&self.secrets, &event.id, now, &body);
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, events::CONTENT_TYPE)
            .header(events::ID, &event.id)
            .header(events::TIMESTAMP, now.as_second())
            .header(events::SIGNATURE, signature)
            .body(body);
        match request.send().await {
            Ok(response) => {
                let (status, headers) = (response.status(), response.headers().clone());
                match judged(status, &headers, now) {
                    Answer::Never { reason } => Answer::Never { reason: reason + &beginning(response).await },
                    answer => answer,
                }
            }
            Err(error) if error.is_builder() => Answer::Never { reason: causes(error) },
            Err(error) => Answer::Later { reason: causes(error), after: None },
        }
    }
}

/// What a status means: the receiver is down or busy, or will never take this event.
fn judged(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Answer {
    match status.as_u16() {
        200..300 => Answer::Taken,
        // Too slow, too early, too many, or broken: all pass.
        408 | 425 | 429 | 500..600 => Answer::Later { reason: status.to_string(), after: retry_after(headers, now) },
        410 => Answer::Never { reason: "410 Gone: it wants no more events".to_owned() },
        300..400 => Answer::Never { reason: format!("{status}: redirects are not followed, name the last URL") },
        _ => Answer::Never { reason: status.to_string() },
    }
}

/// How long the receiver asks to be left alone: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(until.duration_since(now)).unwrap_or_default()
        }
    };
    Some(asked.min(RETRY_AFTER_MOST))
}

/// The pause after so many failures before: twice as long each time, of which a random part is taken so that many
/// senders do not come back together ("full jitter"); at least what the receiver asked for.
pub(super) fn pause(failures: u32, asked: Option<Duration>) -> Duration {
    let most = PAUSE_FIRST.saturating_mul(1 << failures.min(16)).min(PAUSE_MOST);
    let drawn = rand::rng().random_range(PAUSE_LEAST..=most);
    drawn.max(asked.unwrap_or_default())
}

/// The beginning of a refusal's body, safe to show.
async fn beginning(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < SHOWN_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk[..chunk.len().min(SHOWN_BYTES - bytes.len())]);
    }
    let text: String =
        String::from_utf8_lossy(&bytes).trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.is_empty() { text } else { format!(" ({text})") }
}

/// An error with its causes, without the URL.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-27T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn what_is_tried_again() {
        let none = HeaderMap::new();
        for status in 100..600 {
            let answer = judged(StatusCode::from_u16(status).unwrap(), &none, now());
            let found = match answer {
                Answer::Taken => "taken",
                Answer::Later { .. } => "later",
                Answer::Never { .. } => "never",
            };
            let expected = match status {
                200..300 => "taken",
                408 | 425 | 429 | 500.. => "later",
                _ => "never",
            };
            assert_eq!(found, expected, "{status}");
        }
    }

    #[test]
    fn how_long_a_receiver_may_ask_for() {
        for (text, seconds) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("86400", Some(3_600)),
            ("Fri, 27 Nov 2026 10:01:30 GMT", Some(90)),
            ("Fri, 27 Nov 2026 09:00:00 GMT", Some(0)),
            ("Fri, 27 Nov 2099 09:00:00 GMT", Some(3_600)),
            ("soon", None),
            ("-1", None),
            ("99999999999999999999999", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now()), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now()), None);
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        for failures in [0, 1, 2, 5, 9, 40, u32::MAX] {
            let most = Duration::from_secs(2_u64.saturating_pow(failures).min(300));
            let drawn: Vec<Duration> = (0..200).map(|_| pause(failures, None)).collect();
            assert!(drawn.iter().all(|time| (PAUSE_LEAST..=most).contains(time)), "{failures}");
            assert!(
                drawn.iter().any(|time| *time > most / 2),
                "{failures}: 200 draws of a half are never all in the other"
            );
        }
        assert!(pause(0, Some(Duration::from_secs(20))) == Duration::from_secs(20));
    }

    #[test]
    fn urls_are_checked_and_their_paths_not_shown() {
        for bad in ["", "ci.example/hook", "ftp://ci.example", "file:///tmp/x", "http://"] {
            assert!(Webhook::new(bad, Vec::new()).err().unwrap().is::<Invalid>(), "{bad}");
        }
        let webhook = Webhook::new("https://u:password@ci.example:8443/token?key=x", Vec::new()).unwrap();
        assert_eq!(webhook.shown, "https://ci.example:8443");
    }
}
