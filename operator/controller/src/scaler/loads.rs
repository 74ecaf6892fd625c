//! What each version's servers did lately: told by the endpoints' loops, asked by KEDA. Only a leader has any.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fairway_core::scaling::Sample;

use crate::board::Key;

/// Most versions; whoever comes then is not scaled by requests.
const VERSIONS_MAX: usize = 50_000;

/// What a version is scaled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    InFlight,
    RequestsPerSecond,
}

impl Metric {
    /// As triggers name it, and the autoscaler that KEDA makes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InFlight => "in-flight",
            Self::RequestsPerSecond => "requests-per-second",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::InFlight, Self::RequestsPerSecond].into_iter().find(|metric| metric.name() == name)
    }

    /// Its value in a sample, over all servers of the version.
    pub(crate) fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::InFlight => sample.in_flight,
            Self::RequestsPerSecond => sample.requests_per_second,
        }
    }
}

/// The newest sample of each version, by the namespace and name of its Deployment.
#[derive(Debug, Default)]
pub(crate) struct Loads(Mutex<BTreeMap<Key, Sample>>);

impl Loads {
    fn inner(&self) -> MutexGuard<'_, BTreeMap<Key, Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, key: Key, sample: Sample) {
        let mut loads = self.inner();
        if loads.len() < VERSIONS_MAX || loads.contains_key(&key) {
            loads.insert(key, sample);
        }
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.inner().remove(key);
    }

    /// Forgets those that are not to be kept.
    pub(crate) fn keep(&self, keeps: impl Fn(&Key) -> bool) {
        self.inner().retain(|key, _| keeps(key));
    }

    pub(crate) fn of(&self, key: &Key) -> Option<Sample> {
        self.inner().get(key).copied()
    }
}
