//! What the load has seen so far: counts by who answered, a bounded sample of latencies, the first failures.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use fairway_wire::{RecommendResponse, Rung, Track};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::sampling::{Stream, stream};

/// Latencies kept for the quantiles.
const SAMPLE_MAX: usize = 100_000;
/// Reasons of failures kept.
const FAILURES_MAX: usize = 10;

/// The load so far. `answered + failed = requests`; a request is one HTTP request of either kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadReport {
    /// Users who came.
    pub visits: u64,
    /// Visits that were due and did not take place because all workers were busy.
    pub late: u64,
    /// HTTP requests made: one for the list, and one for the purchases of a visit that had any.
    pub requests: u64,
    /// Requests answered with success within 2 s.
    pub answered: u64,
    /// All other requests.
    pub failed: u64,
    /// Why the first 10 failed.
    pub failures: Vec<String>,
    /// Lists by the version that made them; 0 is the baseline.
    pub by_version: BTreeMap<u64, u64>,
    /// Distinct users by the version that made a list for them.
    pub users_by_version: BTreeMap<u64, usize>,
    /// Purchases from lists by the version that made them.
    pub bought_by_version: BTreeMap<u64, u64>,
    /// Lists by the rung of the fallback chain.
    pub by_served_by: BTreeMap<Rung, u64>,
    /// Lists by the group that the user was assigned to.
    pub by_track: BTreeMap<Track, u64>,
    /// Purchases from lists.
    pub bought_from_list: u64,
    /// Purchases beside the lists.
    pub bought_beside: u64,
    /// Rows that the transaction writer has written.
    pub rows_written: u64,
    /// Rows given up because they could not be written.
    pub rows_lost: u64,
    /// Median time to a list, in microseconds; 0 before the first.
    pub latency_p50_us: u64,
    /// 99th percentile of the time to a list, in microseconds.
    pub latency_p99_us: u64,
}

/// The counting behind a [`LoadReport`].
pub(crate) struct Tally {
    report: LoadReport,
    users: BTreeMap<u64, HashSet<usize>>,
    latencies: Sample,
}

impl Tally {
    pub(crate) fn new(seed: u64) -> Self {
        let latencies = Sample { kept: Vec::new(), seen: 0, max: SAMPLE_MAX, rng: stream(seed, Stream::Latencies) };
        Self { report: LoadReport::default(), users: BTreeMap::new(), latencies }
    }

    pub(crate) fn visit(&mut self) {
        self.report.visits += 1;
    }

    pub(crate) fn late(&mut self, visits: u64) {
        self.report.late += visits;
    }

    pub(crate) fn answered(&mut self) {
        self.report.requests += 1;
        self.report.answered += 1;
    }

    pub(crate) fn failed(&mut self, why: String) {
        self.report.requests += 1;
        self.report.failed += 1;
        if self.report.failures.len() < FAILURES_MAX {
            self.report.failures.push(why);
        }
    }

    pub(crate) fn list(&mut self, user: usize, answer: &RecommendResponse, took: Duration) {
        self.answered();
        *self.report.by_version.entry(answer.version).or_default() += 1;
        *self.report.by_served_by.entry(answer.served_by).or_default() += 1;
        *self.report.by_track.entry(answer.track).or_default() += 1;
        self.users.entry(answer.version).or_default().insert(user);
        self.latencies.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn bought(&mut self, from_list: u64, beside: u64, version: Option<u64>) {
        self.report.bought_from_list += from_list;
        self.report.bought_beside += beside;
        if let Some(version) = version.filter(|_| from_list > 0) {
            *self.report.bought_by_version.entry(version).or_default() += from_list;
        }
    }

    pub(crate) fn rows(&mut self, written: u64, lost: u64) {
        self.report.rows_written = written;
        self.report.rows_lost = lost;
    }

    pub(crate) fn report(&self) -> LoadReport {
        let [latency_p50_us, latency_p99_us] = self.latencies.quantiles([0.5, 0.99]);
        let users_by_version = self.users.iter().map(|(version, users)| (*version, users.len())).collect();
        LoadReport { users_by_version, latency_p50_us, latency_p99_us, ..self.report.clone() }
    }
}

/// A uniform sample of a stream of numbers (Vitter 1985, algorithm R).
struct Sample {
    kept: Vec<u64>,
    seen: u64,
    max: usize,
    rng: ChaCha8Rng,
}

impl Sample {
    fn push(&mut self, value: u64) {
        self.seen += 1;
        if self.kept.len() < self.max {
            self.kept.push(value);
            return;
        }
        let place = self.rng.random_range(0..self.seen);
        if let Some(kept) = usize::try_from(place).ok().and_then(|place| self.kept.get_mut(place)) {
            *kept = value;
        }
    }

    /// Nearest-rank quantiles; 0 of an empty sample.
    fn quantiles<const N: usize>(&self, levels: [f64; N]) -> [u64; N] {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable();
        levels.map(|level| {
            let rank = (level * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let mut tally = Tally::new(1);
        assert_eq!(tally.report().latency_p99_us, 0);
        (1..=200).for_each(|value| tally.latencies.push(value));
        assert_eq!((tally.report().latency_p50_us, tally.report().latency_p99_us), (100, 198));
    }

    #[test]
    fn the_sample_is_bounded_and_fair() {
        let mut sample = Sample { kept: Vec::new(), seen: 0, max: 1_000, rng: stream(1, Stream::Latencies) };
        (0..100_000).for_each(|value| sample.push(value));
        assert_eq!(sample.kept.len(), 1_000);
        let [median] = sample.quantiles([0.5]);
        assert!((45_000..55_000).contains(&median), "{median}");
    }

    #[test]
    fn failures_are_counted_all_and_kept_some() {
        let mut tally = Tally::new(1);
        (0..25).for_each(|number| tally.failed(format!("failure {number}")));
        let report = tally.report();
        assert_eq!((report.requests, report.failed, report.failures.len()), (25, 25, 10));
        assert_eq!(report.failures[0], "failure 0");
    }

    #[test]
    fn serializes_for_people_and_scripts() {
        let mut tally = Tally::new(1);
        let answer = r#"{"decision":"d","items":[],"version":3,"track":"canary","served_by":"assigned","reason":"ok"}"#;
        let answer: RecommendResponse = serde_json::from_str(answer).unwrap();
        tally.list(7, &answer, Duration::from_micros(40));
        tally.list(7, &answer, Duration::from_micros(60));
        let json = serde_json::to_value(tally.report()).unwrap();
        assert_eq!(json["by_version"]["3"], 2);
        assert_eq!(json["users_by_version"]["3"], 1);
        assert_eq!(json["by_track"]["canary"], 2);
    }
}
