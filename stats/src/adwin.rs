//! Streaming mean shift: has the mean of a metric moved, and since when? For metrics that come one by one as labels
//! mature (a loss, a click, an error).
//!
//! [`Adwin`] (Bifet & Gavaldà, SDM 2007, ADWIN2) keeps a window of the values that still look alike and drops its old
//! end when that has another mean. It is fast and promises no error rate over an endless stream: let [`crate::risk`]
//! confirm before acting. Its limit has a part that does not scale with the values: bring them to about [0, 1].
//!
//! Alarms fall on the same values as those of river 0.26.1 with the same settings. Like there, the detector begins anew
//! with the value after an alarm. It cannot be merged: feed one stream in its order.

use serde::{Deserialize, Serialize};

/// Values beyond this are counted as this, so that squares stay finite.
const LARGEST: f64 = 1e100;
/// Rows of buckets: the last holds 2⁶³ values each, more than any stream has.
const ROWS: usize = 64;

/// The settings of [`Adwin`]; the defaults are river's.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct AdwinRule {
    /// Confidence of one comparison, in (0, 1): smaller alarms less.
    pub delta: f64,
    /// Values between two checks; 0 never checks.
    pub clock: u32,
    /// Buckets of one size before the two oldest are merged; 0 counts as 1.
    pub max_buckets: u8,
    /// Values that either side of a cut needs; 0 counts as 1.
    pub minimum_side: u32,
    /// Values that the window must exceed before it is checked.
    pub grace: u32,
}

impl Default for AdwinRule {
    fn default() -> Self {
        Self { delta: 0.002, clock: 32, max_buckets: 5, minimum_side: 5, grace: 10 }
    }
}

/// A change of the mean, with the numbers behind it. Means and `limit` are in the unit of the values.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// Mean of the old part of the window.
    pub before: f64,
    /// Values in the old part.
    pub before_n: u64,
    /// Mean of the recent part.
    pub after: f64,
    /// Values in the recent part: about so many have come since the change.
    pub after_n: u64,
    /// What the difference of the means exceeded.
    pub limit: f64,
}

impl Shift {
    /// How far the means are from each other.
    pub fn apart(&self) -> f64 {
        (self.before - self.after).abs()
    }

    /// What a person should read.
    pub fn sentence(&self) -> String {
        let Self { before, before_n, after, after_n, limit } = self;
        let apart = self.apart();
        format!(
            "the mean moved from {before:.4} ({before_n} values) to {after:.4} ({after_n} values): {apart:.4} apart, \
             more than {limit:.4}"
        )
    }
}

/// Some consecutive values: their sum, and the sum of their squared deviations from their mean.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
struct Bucket {
    sum: f64,
    m2: f64,
}

/// An adaptive window. A window of n values has O(log n) buckets; an update takes O(log n), amortised by the clock.
///
/// Rows are allocated when the window first grows into them, at most 64 of `max_buckets + 1` buckets; no update
/// allocates otherwise.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Adwin {
    rule: AdwinRule,
    ticks: u64,
    width: f64,
    total: f64,
    m2: f64,
    alarmed: bool,
    /// Row i has buckets of 2^i values each, oldest first; the last row is the oldest.
    rows: Vec<Vec<Bucket>>,
}

impl Adwin {
    /// An empty window. A `delta` outside (0, 1) counts as the default.
    pub fn new(rule: AdwinRule) -> Self {
        let delta = if rule.delta > 0.0 && rule.delta < 1.0 { rule.delta } else { AdwinRule::default().delta };
        let rule = AdwinRule { delta, minimum_side: rule.minimum_side.max(1), ..rule };
        Self { rule, ticks: 0, width: 0.0, total: 0.0, m2: 0.0, alarmed: false, rows: Vec::with_capacity(ROWS) }
    }

    /// Adds one value and answers the change that it reveals, if any, cut where it is clearest. A value that is not
    /// finite is ignored.
    pub fn update(&mut self, value: f64) -> Option<Shift> {
        if !value.is_finite() {
            return None;
        }
        if self.alarmed {
            self.restart();
        }
        self.insert(value.clamp(-LARGEST, LARGEST));
        self.ticks += 1;
        if !self.ticks.is_multiple_of(u64::from(self.rule.clock)) || self.width <= f64::from(self.rule.grace) {
            return None;
        }
        if !self.has_changed() {
            return None;
        }
        let clearest = self.clearest_cut();
        while self.has_changed() {
            self.drop_oldest();
        }
        self.alarmed = true;
        clearest
    }

    fn restart(&mut self) {
        (self.ticks, self.alarmed) = (0, false);
        (self.width, self.total, self.m2) = (0.0, 0.0, 0.0);
        // The rows stay, empty, so that nothing is allocated again; an empty row at the end holds no values.
        self.rows.iter_mut().for_each(Vec::clear);
    }

    fn insert(&mut self, value: f64) {
        self.width += 1.0;
        if self.width > 1.0 {
            let off = value - self.total / (self.width - 1.0);
            self.m2 += (self.width - 1.0) * off * off / self.width;
        }
        self.total += value;
        let mut carried = Bucket { sum: value, m2: 0.0 };
        let capacity = usize::from(self.rule.max_buckets.max(1)) + 1;
        for row in 0..ROWS {
            if row == self.rows.len() {
                self.rows.push(Vec::with_capacity(capacity));
            }
            let Some(buckets) = self.rows.get_mut(row) else { return };
            buckets.push(carried);
            if buckets.len() < capacity {
                return;
            }
            let (a, b) = (buckets[0], buckets[1]);
            let n = size(row);
            let apart = a.sum / n - b.sum / n;
            // n n / (n + n) = n / 2.
            carried = Bucket { sum: a.sum + b.sum, m2: a.m2 + b.m2 + n * 0.5 * apart * apart };
            buckets.drain(..2);
        }
    }

    /// The window cut at each place that leaves enough values on either side, oldest first: values and sum before,
    /// values and sum after.
    fn cuts(&self) -> impl Iterator<Item = [f64; 4]> {
        let least = f64::from(self.rule.minimum_side);
        let (mut n0, mut sum0, mut n1, mut sum1) = (0.0, 0.0, self.width, self.total);
        let rows = self.rows.iter().enumerate().rev();
        let buckets = rows.flat_map(|(row, buckets)| buckets.iter().map(move |bucket| (size(row), bucket.sum)));
        let cuts = buckets.map(move |(n, sum)| {
            (n0, n1) = (n0 + n, n1 - n);
            (sum0, sum1) = (sum0 + sum, sum1 - sum);
            [n0, sum0, n1, sum1]
        });
        cuts.filter(move |[n0, _, n1, _]| *n0 >= least && *n1 >= least)
    }

    /// What the means of two sides may differ by: the square of a first part, and a second part to be added.
    fn limit(&self, n0: f64, n1: f64, d: f64) -> (f64, f64) {
        let least = f64::from(self.rule.minimum_side);
        let m = 1.0 / (n0 - least + 1.0) + 1.0 / (n1 - least + 1.0);
        (2.0 * m * (self.m2 / self.width) * d, 2.0 / 3.0 * d * m)
    }

    /// The confidence of one comparison, in nats, shared out over a window of this width.
    fn d(&self) -> f64 {
        (2.0 * self.width.ln() / self.rule.delta).ln()
    }

    fn has_changed(&self) -> bool {
        let d = self.d();
        self.cuts().any(|[n0, sum0, n1, sum1]| {
            let apart = (sum0 / n0 - sum1 / n1).abs();
            let (square, more) = self.limit(n0, n1, d);
            // Most cuts are cleared by the cheap half.
            apart > more && apart > square.sqrt() + more
        })
    }

    /// The cut at which the means differ most, relative to their limit.
    fn clearest_cut(&self) -> Option<Shift> {
        let d = self.d();
        let shifts = self.cuts().map(|[n0, sum0, n1, sum1]| {
            let (square, more) = self.limit(n0, n1, d);
            let limit = square.max(0.0).sqrt() + more;
            Shift { before: sum0 / n0, before_n: n0 as u64, after: sum1 / n1, after_n: n1 as u64, limit }
        });
        let strength = |cut: &Shift| cut.apart() / cut.limit;
        shifts.max_by(|a, b| strength(a).total_cmp(&strength(b)))
    }

    fn drop_oldest(&mut self) {
        let Some(row) = self.rows.iter().rposition(|buckets| !buckets.is_empty()) else { return };
        let bucket = self.rows[row].remove(0);
        let n = size(row);
        self.width -= n;
        self.total -= bucket.sum;
        let off = bucket.sum / n - self.total / self.width;
        self.m2 -= bucket.m2 + n * self.width * off * off / (n + self.width);
    }

    /// Values in the window.
    pub fn width(&self) -> u64 {
        self.width as u64
    }

    /// The mean of the window, in the unit of the values; 0 while it is empty.
    pub fn mean(&self) -> f64 {
        if self.width > 0.0 { self.total / self.width } else { 0.0 }
    }

    /// The sum of squared deviations from the mean over the window (not divided by its width).
    pub fn squared_deviations(&self) -> f64 {
        self.m2.max(0.0)
    }
}

impl Default for Adwin {
    fn default() -> Self {
        Self::new(AdwinRule::default())
    }
}

/// Values in a bucket of a row.
fn size(row: usize) -> f64 {
    (1_u64 << row.min(ROWS - 1)) as f64
}

#[cfg(test)]
mod tests;
