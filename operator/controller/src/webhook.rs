//! One attempt to deliver to a webhook, and what its answer means: taken, to be tried again later, or refused for good. Who
//! tries again and when is for the callers: `fairway registry watch`, and the operator's notifications.
//!
//! Neither the secrets nor the path of the URL, which may hold a token, is ever shown.

use std::time::Duration;

use fairway_registry::events::{self, Secret};
use jiff::Timestamp;
use rand::Rng;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};

/// The longest a receiver may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LEAST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(300);
/// The longest pause that a receiver may ask for.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(3_600);
/// How much of a refusal is kept.
const SAID_BYTES: usize = 500;

/// A receiver.
#[derive(Debug)]
pub struct Webhook {
    client: reqwest::Client,
    url: Url,
    shown: String,
    secrets: Vec<Secret>,
}

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The receiver has it.
    Taken,
    /// The receiver is away or busy.
    Later {
        /// How that showed.
        reason: String,
        /// How long it asks to be left alone.
        after: Option<Duration>,
    },
    /// The receiver will never take it.
    Never {
        /// The status, and what it means.
        reason: String,
        /// The beginning of the answer, safe to show to whoever named the URL.
        said: String,
    },
}

/// The client of all attempts. Redirects are not followed.
///
/// # Errors
/// The certificates of this machine cannot be read.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(ANSWER_WITHIN)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("fairway/", env!("CARGO_PKG_VERSION")))
        .build()
}

impl Webhook {
    /// A receiver at this URL; none if that is no `http` or `https` URL.
    pub fn new(client: reqwest::Client, url: &str, secrets: Vec<Secret>) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let (Some(host), "http" | "https") = (url.host_str(), url.scheme()) else { return None };
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let shown = format!("{}://{host}{port}", url.scheme());
        Some(Self { client, url, shown, secrets })
    }

    /// Its scheme and host, for people.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Sends once. The time is the attempt's: a receiver refuses what is old, but an event may have to wait for days.
    pub async fn attempt(&self, id: &str, content_type: &str, body: Vec<u8>, now: Timestamp) -> Answer {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, content_type)
            .header(events::ID, id)
            .header(events::TIMESTAMP, now.as_second());
        if !self.secrets.is_empty() {
            request = request.header(events::SIGNATURE, events::header(&self.secrets, id, now, &body));
        }
        match request.body(body).send().await {
            Ok(response) => {
                let (status, headers) = (response.status(), response.headers().clone());
                match judged(status, &headers, now) {
                    Answer::Never { reason, .. } => Answer::Never { reason, said: beginning(response).await },
                    answer => answer,
                }
            }
            Err(error) if error.is_builder() => Answer::Never { reason: causes(error), said: String::new() },
            Err(error) => Answer::Later { reason: causes(error), after: None },
        }
    }
}

/// What a status means: the receiver is down or busy, or will never take this event.
fn judged(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Answer {
    let never = |reason: String| Answer::Never { reason, said: String::new() };
    match status.as_u16() {
        200..300 => Answer::Taken,
        // Too slow, too early, too many, or broken: all pass.
        408 | 425 | 429 | 500..600 => Answer::Later { reason: status.to_string(), after: retry_after(headers, now) },
        410 => never("410 Gone: it wants no more events".to_owned()),
        300..400 => never(format!("{status}: redirects are not followed, name the last URL")),
        _ => never(status.to_string()),
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
pub fn pause(failures: u32, asked: Option<Duration>) -> Duration {
    let most = PAUSE_FIRST.saturating_mul(1 << failures.min(16)).min(PAUSE_MOST);
    let drawn = rand::rng().random_range(PAUSE_LEAST..=most);
    drawn.max(asked.unwrap_or_default())
}

/// The beginning of a refusal's body, without what a terminal would obey.
async fn beginning(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < SAID_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk[..chunk.len().min(SAID_BYTES - bytes.len())]);
    }
    String::from_utf8_lossy(&bytes).trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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
        let client = client().unwrap();
        for bad in ["", "ci.example/hook", "ftp://ci.example", "file:///tmp/x", "http://"] {
            assert!(Webhook::new(client.clone(), bad, Vec::new()).is_none(), "{bad}");
        }
        let webhook = Webhook::new(client, "https://u:password@ci.example:8443/token?key=x", Vec::new()).unwrap();
        assert_eq!(webhook.shown(), "https://ci.example:8443");
    }
}
