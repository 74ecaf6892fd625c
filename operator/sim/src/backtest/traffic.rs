//! Traffic as it was recorded: period by period and segment by segment. It says what came and what stable made of it;
//! [`super::router`] cuts it into canary and stable.

use std::time::Duration;

use fairway_stats::cells::CELLS;
use fairway_stats::{Cells, Fixed};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Recorded traffic on a grid of periods; made by [`super::Record::traffic`].
#[derive(Clone, Debug)]
pub struct Traffic {
    pub(super) from: Timestamp,
    pub(super) period: Duration,
    pub(super) periods: Vec<Period>,
    pub(super) segments: Vec<String>,
    /// Limits of slow answers, shortest first; [`Flow::slow`] is in their order.
    limits: Vec<Duration>,
    windows: usize,
    /// Stable's requests of each segment by cell of users, each 1 if it failed, and each 1 if it was answered late; empty where
    /// the record does not tell.
    pub(super) by_cell: Vec<[Cells; 2]>,
    /// Matured exposures by segment and cell.
    pub(super) exposures: Vec<Vec<u64>>,
    /// Mean reward of an exposure, by segment.
    pub(super) mean_reward: Vec<f64>,
    /// The usual size of one reward.
    pub(super) unit: f64,
    visits_per_user: Option<f64>,
}

/// What came in one period.
#[derive(Clone, Debug, Default)]
pub(super) struct Period {
    /// Whether any router reported.
    pub(super) heard: bool,
    pub(super) flows: Vec<Flow>,
}

/// What came from one segment in one period.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) segment: usize,
    pub(super) requests: u64,
    /// Stable's errors per request.
    pub(super) errors: f64,
    /// Stable's slow answers per request, by limit.
    pub(super) slow: Vec<f64>,
    /// Rewards that matured in this period, of exposures as long ago as feedback may take.
    pub(super) matured: Vec<CellSum>,
}

/// Exposures of one cell's users, and their rewards.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellSum {
    pub(super) cell: u8,
    pub(super) n: u64,
    pub(super) sum: Fixed,
}

/// What a record holds, for people and for reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
    /// Length of a period, seconds.
    pub period_seconds: f64,
    /// Windows that were read.
    pub windows: usize,
    /// Requests to stable and to recorded canaries.
    pub requests: u64,
    /// Errors of stable per request.
    pub error_rate: f64,
    /// Slow answers of stable per request, by limit in milliseconds.
    pub slow_rates: Vec<(u64, f64)>,
    /// Matured exposures of stable.
    pub exposures: u64,
    /// Their mean reward.
    pub mean_reward: f64,
    /// Users, estimated from how unevenly exposures fall on the cells; none where nothing matured.
    pub users: Option<f64>,
    /// Segments by name; empty is unknown.
    pub segments: Vec<String>,
}

impl Traffic {
    pub(super) fn new(
        from: Timestamp,
        period: Duration,
        periods: Vec<Period>,
        segments: Vec<String>,
        limits: Vec<Duration>,
        windows: usize,
    ) -> Self {
        let mut exposures = vec![vec![0_u64; CELLS]; segments.len()];
        let mut sums = vec![Fixed::ZERO; segments.len()];
        for flow in periods.iter().flat_map(|period| &period.flows) {
            for part in &flow.matured {
                let cell = &mut exposures[flow.segment][usize::from(part.cell)];
                *cell = cell.saturating_add(part.n);
                sums[flow.segment] += part.sum;
            }
        }
        let total = |cells: &[u64]| cells.iter().fold(0, |sum: u64, n| sum.saturating_add(*n)).max(1) as f64;
        let mean_reward = exposures.iter().zip(&sums).map(|(cells, sum)| sum.to_f64() / total(cells)).collect();
        let visits_per_user = visits_per_user(&exposures);
        let unit = unit(&periods);
        let by_cell = vec![Default::default(); segments.len()];
        Self {
            from,
            period,
            periods,
            segments,
            limits,
            windows,
            by_cell,
            exposures,
            mean_reward,
            unit,
            visits_per_user,
        }
    }

    /// With what the record says of cells of users.
    pub(super) fn told_apart(self, by_cell: Vec<[Cells; 2]>) -> Self {
        Self { by_cell, ..self }
    }

    /// When a period begins; that after the last one is the record's end.
    pub fn time(&self, period: usize) -> Timestamp {
        // Periods fit in memory, and so does their number in 32 bits.
        self.from + self.period * u32::try_from(period).unwrap_or(u32::MAX)
    }

    /// Periods of the record.
    pub fn len(&self) -> usize {
        self.periods.len()
    }

    /// Never: a record without requests makes no traffic.
    pub fn is_empty(&self) -> bool {
        self.periods.is_empty()
    }

    /// Periods in so much time, rounded up.
    pub(super) fn periods_in(&self, time: Duration) -> usize {
        usize::try_from(time.as_millis().div_ceil(self.period.as_millis().max(1))).unwrap_or(usize::MAX)
    }

    /// Where a limit of slow answers is in [`Flow::slow`]: the longest known one that is not above it, else the first.
    pub(super) fn limit(&self, over: Duration) -> usize {
        self.limits.partition_point(|limit| *limit <= over).saturating_sub(1)
    }

    /// Users of a segment's cell: exposures over visits of a user. The record holds no users, only 256 cells. Were each
    /// exposure another user's, cells would differ as chance has it, and the variance of their counts would be the mean;
    /// users who come v times make it v times that. So the ratio of the two is the visits of a user (of one who is met by
    /// picking an exposure: users who come often weigh more, and the number of users is a little too low).
    pub fn users(&self, segment: usize, cell: usize) -> Option<f64> {
        let exposures = self.exposures.get(segment)?.get(cell)?;
        Some(*exposures as f64 / self.visits_per_user?)
    }

    /// What the record holds.
    pub fn summary(&self) -> Summary {
        let flows = || self.periods.iter().flat_map(|period| &period.flows);
        let requests = flows().fold(0_u64, |sum, flow| sum.saturating_add(flow.requests));
        let rate = |of: &dyn Fn(&Flow) -> f64| {
            flows().map(|flow| of(flow) * flow.requests as f64).sum::<f64>() / requests.max(1) as f64
        };
        let of_segment = |cells: &Vec<u64>| cells.iter().fold(0_u64, |sum, n| sum.saturating_add(*n));
        let exposures: Vec<u64> = self.exposures.iter().map(of_segment).collect();
        let exposed = exposures.iter().fold(0_u64, |sum, n| sum.saturating_add(*n));
        let earned: f64 = exposures.iter().zip(&self.mean_reward).map(|(n, mean)| *n as f64 * mean).sum();
        let slow = |(at, limit): (usize, &Duration)| {
            let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            (millis, rate(&|flow| flow.slow.get(at).copied().unwrap_or(0.0)))
        };
        Summary {
            from: self.from,
            until: self.time(self.len()),
            period_seconds: self.period.as_secs_f64(),
            windows: self.windows,
            requests,
            error_rate: rate(&|flow| flow.errors),
            slow_rates: self.limits.iter().enumerate().map(slow).collect(),
            exposures: exposed,
            mean_reward: if exposed == 0 { 0.0 } else { earned / exposed as f64 },
            users: self.visits_per_user.map(|visits| exposed as f64 / visits),
            segments: self.segments.clone(),
        }
    }
}

/// See [`Traffic::users`].
fn visits_per_user(exposures: &[Vec<u64>]) -> Option<f64> {
    let cells: Vec<f64> =
        (0..CELLS).map(|cell| exposures.iter().map(|of_segment| of_segment[cell] as f64).sum()).collect();
    let mean = cells.iter().sum::<f64>() / CELLS as f64;
    let variance = cells.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / (CELLS - 1) as f64;
    (mean > 0.0).then(|| (variance / mean).max(1.0))
}

/// The usual size of one reward: the median of those that are known one by one, else of what cells hold; 1 without any.
fn unit(periods: &[Period]) -> f64 {
    let parts = || periods.iter().flat_map(|period| &period.flows).flat_map(|flow| &flow.matured);
    let rewarded = |single: bool| {
        let is_meant = move |part: &&CellSum| part.sum > Fixed::ZERO && (part.n == 1 || !single);
        parts().filter(is_meant).map(|part| part.sum).collect::<Vec<Fixed>>()
    };
    let mut sizes = rewarded(true);
    if sizes.is_empty() {
        // Cells with several exposures hold one reward or more: the least is nearest to one.
        return rewarded(false).into_iter().min().map_or(1.0, Fixed::to_f64);
    }
    sizes.sort_unstable();
    sizes[sizes.len() / 2].to_f64()
}
