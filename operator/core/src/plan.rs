//! What a decision is made of: effects to carry out, the status to keep, when to look again, and why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why something was done, or was not (invariant I11: every suppressed action has a reason).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// One CamelCase word, for conditions, events and metrics.
    pub code: String,
    /// A sentence for people: what, the number against its limit, what happens next.
    pub message: String,
}

impl Reason {
    /// A reason from its code and sentence.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// One fact about a resource, as Kubernetes writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its name, for example `Drifted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: bool,
    /// Why.
    pub reason: Reason,
}

/// A decision. Effects are carried out in order, after the status has been stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan<Effect, Status> {
    /// What to do.
    pub effects: Vec<Effect>,
    /// What to remember.
    pub status: Status,
    /// The latest time for the next look; earlier when something happens.
    pub next_look: Timestamp,
    /// Why, newest last.
    pub reasons: Vec<Reason>,
    /// The facts as they stand now.
    pub conditions: Vec<Condition>,
}

/// A length of time for people: `3d 4h`, `30m`, `50ms`; two units at most.
pub fn spell(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    let parts =
        [(seconds / 86_400, "d"), (seconds % 86_400 / 3_600, "h"), (seconds % 3_600 / 60, "m"), (seconds % 60, "s")];
    let spelled: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).take(2).map(|(n, unit)| format!("{n}{unit}")).collect();
    if spelled.is_empty() { format!("{}ms", duration.subsec_millis()) } else { spelled.join(" ") }
}

/// The time from `earlier` to `later`; zero if it is not later.
pub fn elapsed(earlier: Timestamp, later: Timestamp) -> std::time::Duration {
    later.duration_since(earlier).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lengths_are_spelled_with_two_units_at_most() {
        let table = [(0, "0ms"), (59, "59s"), (60, "1m"), (3_661, "1h 1m"), (90_000, "1d 1h"), (86_400 * 7, "7d")];
        for (seconds, expected) in table {
            assert_eq!(spell(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(spell(Duration::from_millis(50)), "50ms");
    }

    #[test]
    fn elapsed_never_runs_backwards() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(elapsed(now + Duration::from_secs(5), now), Duration::ZERO);
        assert_eq!(elapsed(now, now + Duration::from_secs(5)), Duration::from_secs(5));
    }
}
