//! Drift of what goes in, of what the model answers, and of what users then consume, against the champion's profile.
//! Faults in the data look like drift and come first ([`super::QualityMonitor`]): a window with one never counts.

use std::collections::{BTreeMap, BTreeSet};

use fairway_stats::drift::{DriftReport, DriftRule, FeatureCounts, assess};
use fairway_stats::{Histogram, Persistence};
use fairway_wire::{Profile, Track, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::QualityMonitor;
use crate::Reason;
use crate::plan::elapsed;
use crate::policy::ModelPolicy;

/// Longest wait for the rarer features to have enough observations, in drift windows.
const WINDOWS_MAX: u32 = 7;

/// What the drift monitor has gathered since the last assessment, and how the last ones went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftMonitor {
    since: Timestamp,
    features: BTreeMap<String, Histogram>,
    consumed: Histogram,
    /// Features that were ever counted for this champion: one that stops coming is gone, one that never came is not.
    #[serde(default)]
    seen: BTreeSet<String>,
    /// Alarms of the last windows without a fault in the data.
    pub alarms: Persistence,
    /// The last assessment.
    pub last: Option<DriftReport>,
    /// Whether the last alarm was (also) of the model's own scores.
    #[serde(default)]
    pub prediction: bool,
}

impl DriftMonitor {
    /// Starts over, for a new champion (the baseline moves with the promotion).
    pub fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            features: BTreeMap::new(),
            consumed: Histogram::default(),
            seen: BTreeSet::new(),
            alarms: Persistence::default(),
            last: None,
            prediction: false,
        }
    }

    /// Adds a closed window's counts for the champion.
    pub fn absorb(&mut self, window: &Window, champion: &str) {
        for (key, arm) in &window.arms {
            if key.digest == champion && key.track == Track::Stable {
                for (name, histogram) in &arm.features {
                    merge(self.features.entry(name.clone()).or_default(), histogram);
                }
            }
        }
        if let Some(consumed) = &window.consumed {
            merge(&mut self.consumed, consumed);
        }
    }

    /// Assesses when the window is complete: its length at least, and enough of everything or seven times that. Faults in its data go
    /// to `quality`, and then the window says nothing about drift.
    pub fn assess(&mut self, policy: &ModelPolicy, profile: &Profile, quality: &mut QualityMonitor, now: Timestamp) {
        let rule = DriftRule { effect: policy.drift_psi, ..DriftRule::default() };
        let span = elapsed(self.since, now);
        if span < policy.drift_window {
            return;
        }
        let counts = self.counts(profile);
        let totals: Vec<u64> = counts.iter().map(|feature| feature.current.iter().sum()).collect();
        let all = totals.iter().all(|n| *n >= rule.minimum);
        let any = totals.iter().any(|n| *n >= rule.minimum);
        if counts.is_empty() || !(all || any && span >= policy.drift_window * WINDOWS_MAX) {
            return;
        }
        let report = assess(&rule, &counts);
        let score = |name: &str| profile.features.get(name).is_some_and(|feature| feature.is_score);
        let prediction = report.features.iter().any(|feature| feature.alarming && score(&feature.name));
        self.seen.extend(self.features.keys().filter(|name| profile.features.contains_key(*name)).cloned());
        quality.examine(profile, &self.features, &self.seen);
        if quality.findings.is_empty() {
            self.alarms.push(report.alarm);
            if report.alarm {
                self.prediction = prediction;
            }
        }
        self.last = Some(report);
        self.since = now;
        self.features.clear();
        self.consumed = Histogram::default();
    }

    fn counts<'a>(&'a self, profile: &'a Profile) -> Vec<FeatureCounts<'a>> {
        let of = |name: &'a str, reference: &'a Histogram, current: &'a Histogram, is_score: bool| {
            let same_bins = reference.counts().len() == current.counts().len();
            let (reference, current) = (reference.counts(), current.counts());
            same_bins.then_some(FeatureCounts { name, is_score, reference, current })
        };
        let mut counts: Vec<FeatureCounts<'a>> = profile
            .features
            .iter()
            .filter_map(|(name, feature)| of(name, &feature.reference, self.features.get(name)?, feature.is_score))
            .collect();
        if let Some(consumed) = &profile.consumed {
            // What users consume is the outcome that the model must foresee: a shift there alarms alone, as scores do.
            counts.extend(of("consumed", &consumed.reference, &self.consumed, true));
        }
        counts
    }

    /// The trigger, if drift has held.
    pub fn trigger(&self) -> Option<Reason> {
        let report = self.last.as_ref()?;
        self.alarms.holds().then(|| {
            let (needed, of) = (self.alarms.needed, self.alarms.of);
            Reason::new(
                if self.prediction { "PredictionDrift" } else { "Drift" },
                format!("{} ({needed} of {of} windows)", report.sentence()),
            )
        })
    }
}

/// Counts on other bins (another version's) replace what was gathered.
fn merge(mine: &mut Histogram, other: &Histogram) {
    if mine.merge(other).is_err() {
        *mine = other.clone();
    }
}
