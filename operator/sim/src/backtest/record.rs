//! Recorded windows, taken in one by one in any order, and laid on a grid of periods. It keeps of each window only what a
//! backtest needs, so that a long record fits in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_stats::{Cells, Fixed};
use fairway_wire::{Arm, ArmKey, Track, Window};
use jiff::Timestamp;
use thiserror::Error;

use super::traffic::{CellSum, Flow, Period, Traffic};

/// Most periods of one record: a longer one is read in longer periods, so that a rollout stays quick to play.
const PERIODS_MAX: i64 = 40_000;
/// Shortest period, in milliseconds.
const PERIOD_MIN: i64 = 1_000;

/// A record that nothing can be played on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// No windows.
    #[error("there are no windows in the record")]
    Empty,
    /// Windows, but no request to a version.
    #[error("no request of the record's {0} windows was assigned to a stable version, so there is nothing to go by")]
    NoStable(usize),
}

/// Windows that were taken in.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Limits of slow answers that policies ask for.
    limits: Vec<Duration>,
    seen: BTreeSet<(String, u64)>,
    segments: BTreeMap<String, usize>,
    /// Stable's requests of each segment by cell, each 1 if it failed, and each 1 if it was answered late.
    by_cell: Vec<[Cells; 2]>,
    slices: Vec<Slice>,
}

#[derive(Clone, Debug)]
struct Slice {
    start: i64,
    end: i64,
    counts: Vec<Counts>,
}

/// What a window says of one segment.
#[derive(Clone, Debug, Default)]
struct Counts {
    segment: usize,
    requests: u64,
    /// Those of stable, and its bad answers; slow ones by limit.
    judged: u64,
    errors: u64,
    slow: Vec<u64>,
    matured: BTreeMap<u8, (u64, Fixed)>,
}

impl Record {
    /// An empty record. `limits` are the limits of slow answers that will be asked for (`slow_over` of each policy).
    pub fn new(limits: impl IntoIterator<Item = Duration>) -> Self {
        let limits = limits.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        Self { limits, ..Self::default() }
    }

    /// Takes a window in; one that was taken before counts once.
    pub fn take(&mut self, window: &Window) {
        if !self.seen.insert((window.replica.clone(), window.seq)) {
            return;
        }
        let mut counts: BTreeMap<usize, Counts> = BTreeMap::new();
        // Users who are held back or in an experiment would be on no rollout.
        let rolled = |key: &ArmKey| matches!(key.track, Track::Stable | Track::Canary) && !key.digest.is_empty();
        for (key, arm) in window.arms.iter().filter(|(key, _)| rolled(key)) {
            let next = self.segments.len();
            let segment = *self.segments.entry(key.segment.clone()).or_insert(next);
            self.by_cell.resize_with(self.segments.len(), Default::default);
            let sum = counts.entry(segment).or_insert_with(|| Counts { segment, ..Counts::default() });
            sum.requests = sum.requests.saturating_add(arm.requests);
            if key.track == Track::Stable {
                sum.add_stable(arm, &self.limits);
                self.by_cell[segment][0].merge(&arm.errors_by_cell);
                self.by_cell[segment][1].merge(&arm.slow_by_cell);
            }
        }
        let (start, end) = (window.start.as_millisecond(), window.end.as_millisecond());
        self.slices.push(Slice { start, end: end.max(start), counts: counts.into_values().collect() });
    }

    /// Windows taken in so far.
    pub fn windows(&self) -> usize {
        self.slices.len()
    }

    /// Lays the windows on a grid. A period is as long as half of the windows with requests are at most, or longer where
    /// that would make too many periods.
    ///
    /// # Errors
    /// There is nothing to go by.
    pub fn traffic(self) -> Result<Traffic, RecordError> {
        let windows = self.slices.len();
        let busy = || self.slices.iter().filter(|slice| slice.counts.iter().any(|counts| counts.requests > 0));
        let mut lengths: Vec<i64> = busy().map(|slice| (slice.end - slice.start).max(PERIOD_MIN)).collect();
        if windows == 0 {
            return Err(RecordError::Empty);
        }
        if self.slices.iter().flat_map(|slice| &slice.counts).all(|counts| counts.judged == 0) {
            return Err(RecordError::NoStable(windows));
        }
        lengths.sort_unstable();
        // Idle stretches before the first request and after the last one are no traffic.
        let first = busy().map(|slice| slice.start).min().unwrap_or_default();
        let last = self.slices.iter().map(|slice| slice.end).max().unwrap_or_default();
        let usual = lengths[(lengths.len() - 1) / 2];
        let period = usual * ((last - first) / usual / PERIODS_MAX + 1);
        let origin = first.div_euclid(period) * period;
        let mut grid: Vec<(bool, BTreeMap<usize, Counts>)> = Vec::new();
        grid.resize_with(usize::try_from((last - 1 - origin) / period + 1).unwrap_or(1).max(1), Default::default);
        for slice in self.slices {
            let Ok(at) = usize::try_from((slice.end - 1 - origin).div_euclid(period)) else { continue };
            let Some((heard, sums)) = grid.get_mut(at) else { continue };
            *heard = true;
            for counts in slice.counts {
                let segment = counts.segment;
                sums.entry(segment).or_insert_with(|| Counts { segment, ..Counts::default() }).merge(counts);
            }
        }
        // By name, so that a record is the same in whatever order its windows came.
        let (segments, numbers): (Vec<String>, Vec<usize>) = self.segments.into_iter().unzip();
        for (_, sums) in &mut grid {
            let by_name = numbers.iter().enumerate().filter_map(|(name, number)| {
                let counts = sums.remove(number)?;
                Some((name, Counts { segment: name, ..counts }))
            });
            *sums = by_name.collect::<Vec<_>>().into_iter().collect();
        }
        let rates = Rates::of(grid.iter().flat_map(|(_, sums)| sums.values()), segments.len(), self.limits.len());
        let periods = grid.into_iter().map(|(heard, sums)| Period {
            heard,
            flows: sums.into_values().map(|counts| rates.flow(counts)).collect(),
        });
        let from = Timestamp::from_millisecond(origin).unwrap_or(Timestamp::UNIX_EPOCH);
        let period = Duration::from_millis(u64::try_from(period).unwrap_or(1));
        let by_cell = numbers.iter().map(|number| self.by_cell[*number].clone()).collect();
        let traffic = Traffic::new(from, period, periods.collect(), segments, self.limits, windows);
        Ok(traffic.told_apart(by_cell))
    }
}

impl Counts {
    fn add_stable(&mut self, arm: &Arm, limits: &[Duration]) {
        let errors = arm.errors_total().min(arm.requests);
        self.judged = self.judged.saturating_add(arm.requests);
        self.errors = self.errors.saturating_add(errors);
        self.slow.resize(limits.len(), 0);
        // What was slow by the limit of the route then need not be slow by the limit of a policy: the histogram knows.
        let is_timed = arm.latency.count() > 0;
        for (sum, limit) in self.slow.iter_mut().zip(limits) {
            let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
            let slow = if is_timed { arm.latency.count_over(micros) } else { arm.slow };
            *sum = sum.saturating_add(slow.min(arm.requests - errors));
        }
        for cells in arm.reward.values() {
            for (cell, (n, sum)) in (0_u8..=255).zip(cells.parts()).filter(|(_, (n, _))| *n > 0) {
                let entry = self.matured.entry(cell).or_default();
                *entry = (entry.0.saturating_add(n), entry.1 + sum);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.judged = self.judged.saturating_add(other.judged);
        self.errors = self.errors.saturating_add(other.errors);
        self.slow.resize(self.slow.len().max(other.slow.len()), 0);
        self.slow.iter_mut().zip(other.slow).for_each(|(sum, n)| *sum = sum.saturating_add(n));
        for (cell, (n, sum)) in other.matured {
            let entry = self.matured.entry(cell).or_default();
            *entry = (entry.0.saturating_add(n), entry.1 + sum);
        }
    }
}

/// Stable's rates over the whole record, for periods in which a recorded canary had everybody.
struct Rates {
    errors: Vec<f64>,
    slow: Vec<Vec<f64>>,
}

impl Rates {
    fn of<'a>(all: impl Iterator<Item = &'a Counts>, segments: usize, limits: usize) -> Self {
        let mut sums = vec![(0_u64, 0_u64, vec![0_u64; limits]); segments];
        for counts in all {
            let (judged, errors, slow) = &mut sums[counts.segment];
            *judged = judged.saturating_add(counts.judged);
            *errors = errors.saturating_add(counts.errors);
            slow.iter_mut().zip(&counts.slow).for_each(|(sum, n)| *sum = sum.saturating_add(*n));
        }
        let rate = |bad: u64, judged: u64| if judged == 0 { 0.0 } else { bad as f64 / judged as f64 };
        Self {
            errors: sums.iter().map(|(judged, errors, _)| rate(*errors, *judged)).collect(),
            slow: sums.iter().map(|(judged, _, slow)| slow.iter().map(|n| rate(*n, *judged)).collect()).collect(),
        }
    }

    fn flow(&self, counts: Counts) -> Flow {
        let judged = counts.judged as f64;
        let (errors, slow) = if counts.judged == 0 {
            (self.errors[counts.segment], self.slow[counts.segment].clone())
        } else {
            (counts.errors as f64 / judged, counts.slow.iter().map(|n| *n as f64 / judged).collect())
        };
        let matured = counts.matured.into_iter().map(|(cell, (n, sum))| CellSum { cell, n, sum }).collect();
        Flow { segment: counts.segment, requests: counts.requests, errors, slow, matured }
    }
}
