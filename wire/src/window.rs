//! What one router saw in one period. Counts are u64 and sums are fixed-point, so adding windows is exact and any
//! number of replicas gives the same verdict.

use std::collections::BTreeMap;

use fairway_stats::{Cells, Histogram, LatencyHistogram};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Reason, Track};

/// How a version failed to answer. Requests that the caller got wrong (4xx) are not failures of the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorKind {
    /// It returned an error.
    Error,
    /// It did not answer in time.
    Timeout,
    /// It answered nonsense.
    Invalid,
}

/// Which requests an [`Arm`] counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArmKey {
    /// Digest of the assigned version; empty for the baseline.
    pub digest: String,
    /// The assigned group.
    pub track: Track,
    /// The user's segment; empty if unknown.
    pub segment: String,
    /// `experiment/arm` of users in an experiment; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arm: String,
}

/// Requests of others that a version answered too, without anybody seeing it. One that it did not answer in time counts nowhere: its
/// servers may have been too few for everybody's requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unseen {
    /// Those that it answered, well or not.
    pub requests: u64,
    /// Those to which it had no answer, or nonsense.
    pub errors: u64,
    /// The same by user-hash cell, as [`Arm::errors_by_cell`].
    #[serde(default, skip_serializing_if = "Cells::is_empty")]
    pub errors_by_cell: Cells,
}

impl Unseen {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.requests == 0
    }

    /// Adds one.
    pub fn record(&mut self, cell: u8, error: bool) {
        self.requests += 1;
        self.errors += u64::from(error);
        self.errors_by_cell.record(cell, f64::from(u8::from(error)));
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.errors_by_cell.merge(&other.errors_by_cell);
    }
}

/// Requests assigned to one version, group and segment, and what came of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Requests assigned.
    pub requests: u64,
    /// Requests that the assigned version did not answer, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Requests answered by the assigned version, but later than the route's limit.
    #[serde(default)]
    pub slow: u64,
    /// Requests by user-hash cell, each 1 if it was not answered and 0 if it was: errors that come clumped by user prove
    /// less than as many that do not.
    #[serde(default, skip_serializing_if = "Cells::is_empty")]
    pub errors_by_cell: Cells,
    /// Requests by user-hash cell, each 1 if its answer was late and 0 if not.
    #[serde(default, skip_serializing_if = "Cells::is_empty")]
    pub slow_by_cell: Cells,
    /// Requests of users of other groups that the version answered beside what they were shown.
    #[serde(default, skip_serializing_if = "Unseen::is_empty")]
    pub unseen: Unseen,
    /// Answers from a lower rung, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fallbacks: BTreeMap<Reason, u64>,
    /// Time that the assigned version took, microseconds.
    #[serde(default)]
    pub latency: LatencyHistogram,
    /// Matured exposures and their reward, by generation of the route under which the exposure happened: the weight
    /// may have changed since, and exposures of different weights must not be pooled.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reward: BTreeMap<u64, Cells>,
    /// Features of the requests on the bins of the assigned version's profile, by feature name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<String, Histogram>,
    /// Users that this router saw in the experiment for the first time, by their place among 65,536 (a hash of their own):
    /// a place that was seen before, by any router, counts for nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_users: Vec<u16>,
}

impl Arm {
    /// Requests that the assigned version failed to answer.
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Adds another arm's counts. Feature histograms of another shape (another version's bins) are left out.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.slow += other.slow;
        self.unseen.merge(&other.unseen);
        for (kind, n) in &other.errors {
            *self.errors.entry(*kind).or_default() += n;
        }
        for (reason, n) in &other.fallbacks {
            *self.fallbacks.entry(*reason).or_default() += n;
        }
        self.errors_by_cell.merge(&other.errors_by_cell);
        self.slow_by_cell.merge(&other.slow_by_cell);
        self.latency.merge(&other.latency);
        for (generation, cells) in &other.reward {
            self.reward.entry(*generation).or_default().merge(cells);
        }
        for (name, histogram) in &other.features {
            match self.features.get_mut(name) {
                Some(mine) => drop(mine.merge(histogram)),
                None => drop(self.features.insert(name.clone(), histogram.clone())),
            }
        }
        if !other.new_users.is_empty() {
            self.new_users.extend(&other.new_users);
            self.new_users.sort_unstable();
            self.new_users.dedup();
        }
    }
}

/// One side of a paired comparison.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rival {
    /// What sold lately.
    Popularity,
    /// The stable version, by digest.
    Stable(String),
}

/// Which lists a [`Pair`] compares on the same requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PairKey {
    /// Digest of the version that is judged.
    pub digest: String,
    /// What it is judged against.
    pub against: Rival,
    /// Generation of the route under which the exposures happened.
    pub generation: u64,
}

/// Paired outcomes: for each matured request, what the user then consumed is looked up in both lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Reward of the judged list minus reward of the other, by user-hash cell.
    pub difference: Cells,
    /// Reward of the other list, by user-hash cell (the base of relative limits).
    pub base: Cells,
}

/// One replica's counts over `[start, end)`. Idempotent by `(replica, seq)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Incarnation of the router that counted.
    pub replica: String,
    /// Number of the window within the incarnation.
    pub seq: u64,
    /// Start, aligned to the period.
    pub start: Timestamp,
    /// End, exclusive.
    pub end: Timestamp,
    /// Generation of the route in force at the end.
    pub generation: u64,
    /// Counts by version, group and segment.
    #[serde(with = "pairs_as_list")]
    pub arms: BTreeMap<ArmKey, Arm>,
    /// Paired outcomes.
    #[serde(default, with = "pairs_as_list")]
    pub pairs: BTreeMap<PairKey, Pair>,
    /// Consumed items on the bins of stable's profile (catalogue and taste), if stable has a profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed: Option<Histogram>,
    /// Decisions that the log could not take and dropped.
    #[serde(default)]
    pub decisions_dropped: u64,
}

impl Window {
    /// An empty window.
    pub fn new(replica: &str, seq: u64, start: Timestamp, end: Timestamp) -> Self {
        Self {
            replica: replica.to_owned(),
            seq,
            start,
            end,
            generation: 0,
            arms: BTreeMap::new(),
            pairs: BTreeMap::new(),
            consumed: None,
            decisions_dropped: 0,
        }
    }

    /// Adds another window's counts and widens the period to hold both.
    pub fn merge(&mut self, other: &Self) {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        self.generation = self.generation.max(other.generation);
        self.decisions_dropped += other.decisions_dropped;
        for (key, arm) in &other.arms {
            self.arms.entry(key.clone()).or_default().merge(arm);
        }
        for (key, pair) in &other.pairs {
            let mine = self.pairs.entry(key.clone()).or_default();
            mine.difference.merge(&pair.difference);
            mine.base.merge(&pair.base);
        }
        match (&mut self.consumed, &other.consumed) {
            (Some(mine), Some(theirs)) => drop(mine.merge(theirs)),
            (None, Some(theirs)) => self.consumed = Some(theirs.clone()),
            _ => {}
        }
    }
}

/// JSON objects take only string keys; maps with structured keys travel as lists of pairs, in key order.
mod pairs_as_list {
    use std::collections::BTreeMap;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: DeserializeOwned + Ord,
        V: DeserializeOwned,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
