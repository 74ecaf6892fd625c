//! What asks for a successor: drift of what goes in and comes out, a champion that earns less than popularity, age.
//! A trigger only asks; [`crate::guards`] may hold it back.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_stats::drift::{DriftReport, DriftRule, FeatureCounts, assess};
use fairway_stats::{Cells, Histogram, Persistence, confidence};
use fairway_wire::{PairKey, Profile, Rival, Track, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Reason;
use crate::plan::{elapsed, spell};
use crate::policy::ModelPolicy;

/// Shortest drift window: a day, so that the hours of the day do not look like drift.
const DRIFT_WINDOW: Duration = Duration::from_secs(86_400);
/// Longest wait for the rarer features to have enough observations.
const DRIFT_WINDOW_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Fewest paired outcomes in a period of degradation.
const PAIRS_MIN: u64 = 100;
/// Each period may err in one of ten; two of three then err in about three of a hundred.
const PERIOD_ERROR: f64 = 0.10;

/// What the drift monitor has gathered since the last assessment, and how the last ones went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftMonitor {
    since: Timestamp,
    features: BTreeMap<String, Histogram>,
    consumed: Histogram,
    /// Alarms of the last windows.
    pub alarms: Persistence,
    /// The last assessment.
    pub last: Option<DriftReport>,
}

impl DriftMonitor {
    /// Starts over, for a new champion (the baseline moves with the promotion).
    pub fn new(now: Timestamp) -> Self {
        let (features, consumed) = (BTreeMap::new(), Histogram::default());
        Self { since: now, features, consumed, alarms: Persistence::default(), last: None }
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

    /// Assesses when the window is complete: a day at least, and enough of everything or a week.
    pub fn assess(&mut self, policy: &ModelPolicy, profile: &Profile, now: Timestamp) {
        let rule = DriftRule { effect: policy.drift_psi, ..DriftRule::default() };
        let span = elapsed(self.since, now);
        if span < DRIFT_WINDOW {
            return;
        }
        let counts = self.counts(profile);
        let totals: Vec<u64> = counts.iter().map(|feature| feature.current.iter().sum()).collect();
        let all = totals.iter().all(|n| *n >= rule.minimum);
        let any = totals.iter().any(|n| *n >= rule.minimum);
        if counts.is_empty() || !(all || any && span >= DRIFT_WINDOW_MAX) {
            return;
        }
        let report = assess(&rule, &counts);
        self.alarms.push(report.alarm);
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
            Reason::new("Drift", format!("{} ({needed} of {of} windows)", report.sentence()))
        })
    }
}

/// Whether the champion earns more than popularity, period by period, on what users then consumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DegradationMonitor {
    since: Timestamp,
    difference: Cells,
    base: Cells,
    /// Which of the last periods the champion lost.
    pub lost: Persistence,
    /// Mean reward of champion and popularity in the last period.
    pub last: Option<(f64, f64)>,
}

impl DegradationMonitor {
    /// Starts over, for a new champion.
    pub fn new(now: Timestamp) -> Self {
        let (difference, base) = (Cells::default(), Cells::default());
        Self { since: now, difference, base, lost: Persistence::default(), last: None }
    }

    /// Adds a closed window's pairs for the champion.
    pub fn absorb(&mut self, window: &Window, champion: &str) {
        for (PairKey { digest, against, .. }, pair) in &window.pairs {
            if digest == champion && *against == Rival::Popularity {
                self.difference.merge(&pair.difference);
                self.base.merge(&pair.base);
            }
        }
    }

    /// Closes the period when it is long enough and has enough pairs.
    pub fn assess(&mut self, period: Duration, now: Timestamp) {
        if elapsed(self.since, now) < period || self.difference.n() < PAIRS_MIN {
            return;
        }
        if let (Some(difference), Some(base)) = (self.difference.mean(), self.base.mean()) {
            let error = self.difference.standard_error().unwrap_or(f64::INFINITY);
            self.lost.push(difference + confidence::z_quantile(1.0 - PERIOD_ERROR) * error < 0.0);
            self.last = Some((base + difference, base));
        }
        self.since = now;
        self.difference = Cells::default();
        self.base = Cells::default();
    }

    /// The trigger, if the champion has lost to popularity in two of three periods.
    pub fn trigger(&self) -> Option<Reason> {
        let (champion, popularity) = self.last?;
        let (needed, of) = (self.lost.needed, self.lost.of);
        self.lost.holds().then(|| {
            let message = format!(
                "the champion earns less than popularity in {needed} of {of} periods (last: {champion:.3} against {popularity:.3})"
            );
            Reason::new("Degradation", message)
        })
    }
}

/// The trigger of age, if the champion's data are too old.
pub fn too_old(policy: &ModelPolicy, trained_through: Timestamp, now: Timestamp) -> Option<Reason> {
    let limit = policy.max_age?;
    let age = elapsed(trained_through, now);
    (age >= limit).then(|| {
        Reason::new(
            "MaxAge",
            format!("the champion knows nothing after {} ago; maxAge is {}", spell(age), spell(limit)),
        )
    })
}

/// Counts on other bins (another version's) replace what was gathered.
fn merge(mine: &mut Histogram, other: &Histogram) {
    if mine.merge(other).is_err() {
        *mine = other.clone();
    }
}
