//! When something that has failed is tried again: after a second, then after twice as long each time, up to a minute.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Failures in a row. In real time: under a faster clock no bucket mends sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
    until: Instant,
}

impl Backoff {
    /// Another failure, after those `before`.
    pub(super) fn after(before: Option<Self>) -> Self {
        let failures = before.map_or(0, |before| before.failures) + 1;
        Self { failures, until: Instant::now() + pause(failures) }
    }

    /// Whether the next try is due.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.until
    }

    /// How long the pause is.
    pub(super) fn pause(&self) -> Duration {
        pause(self.failures)
    }

    /// How often it has failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

fn pause(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let mut backoff = None;
        let pauses: Vec<u64> = (0..9)
            .map(|_| {
                let next = Backoff::after(backoff);
                backoff = Some(next);
                next.pause().as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(!backoff.unwrap().is_due());
        assert_eq!(pause(u32::MAX), LONGEST);
    }
}
