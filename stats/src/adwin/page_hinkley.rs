//! The two-sided Page-Hinkley test: a cumulative sum of deviations from the running mean.

use serde::{Deserialize, Serialize};

use super::{LARGEST, Shift};

/// The settings of [`PageHinkley`]; the defaults are river's.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct PageHinkleyRule {
    /// Values before the first check.
    pub minimum: u64,
    /// A deviation a value that is allowed, in the unit of the values.
    pub delta: f64,
    /// The summed deviation that alarms, in the unit of the values: scale it with your metric.
    pub threshold: f64,
    /// What of the sums is kept from one value to the next, in (0, 1].
    pub alpha: f64,
}

impl Default for PageHinkleyRule {
    fn default() -> Self {
        Self { minimum: 30, delta: 0.005, threshold: 50.0, alpha: 1.0 - 0.0001 }
    }
}

/// The state of the test, in constant memory.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct PageHinkley {
    rule: PageHinkleyRule,
    n: u64,
    mean: f64,
    up: f64,
    least_up: Option<f64>,
    down: f64,
    most_down: f64,
    alarmed: bool,
}

impl PageHinkley {
    /// A test without values. A setting that is not finite counts as the default; `alpha` is brought into [0, 1].
    pub fn new(rule: PageHinkleyRule) -> Self {
        let usual = PageHinkleyRule::default();
        let finite = |x: f64, usual: f64| if x.is_finite() { x } else { usual };
        let rule = PageHinkleyRule {
            minimum: rule.minimum,
            delta: finite(rule.delta, usual.delta),
            threshold: finite(rule.threshold, usual.threshold),
            alpha: finite(rule.alpha, usual.alpha).clamp(0.0, 1.0),
        };
        // The start of the downward maximum at -1 is river's.
        Self { rule, n: 0, mean: 0.0, up: 0.0, least_up: None, down: 0.0, most_down: -1.0, alarmed: false }
    }

    /// Adds one value and answers whether the mean has moved; the next value then begins anew. A value that is not
    /// finite is ignored.
    ///
    /// In the answer, `before` is the running mean before this value and `after` the value itself (`after_n` is 1):
    /// the test cannot tell when the mean moved. `limit` is the threshold.
    pub fn update(&mut self, value: f64) -> Option<Shift> {
        if !value.is_finite() {
            return None;
        }
        if self.alarmed {
            *self = Self::new(self.rule.clone());
        }
        let (value, before) = (value.clamp(-LARGEST, LARGEST), self.mean);
        let PageHinkleyRule { minimum, delta, threshold, alpha } = self.rule;
        self.n += 1;
        self.mean += 1.0 / self.n as f64 * (value - self.mean);
        let off = value - self.mean;
        self.up = alpha * self.up + off - delta;
        self.down = alpha * self.down + off + delta;
        let least_up = self.least_up.map_or(self.up, |least| if self.up < least { self.up } else { least });
        self.least_up = Some(least_up);
        if self.down > self.most_down {
            self.most_down = self.down;
        }
        let over = self.up - least_up > threshold || self.most_down - self.down > threshold;
        self.alarmed = self.n >= minimum && over;
        self.alarmed.then_some(Shift { before, before_n: self.n - 1, after: value, after_n: 1, limit: threshold })
    }
}

impl Default for PageHinkley {
    fn default() -> Self {
        Self::new(PageHinkleyRule::default())
    }
}
