//! A champion that earns less than popularity, period by period.

use std::time::Duration;

use fairway_stats::{Cells, Persistence, confidence};
use fairway_wire::{PairKey, Rival, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Reason;
use crate::plan::elapsed;

/// Fewest paired outcomes in a period of degradation.
const PAIRS_MIN: u64 = 100;
/// Each period may err in one of ten; two of three then err in about three of a hundred.
const PERIOD_ERROR: f64 = 0.10;

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
