//! The data plane of a backtest: it serves recorded traffic by the route in force, and counts it in windows as routers do.
//! It keeps the truth about harm beside what it reports.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fairway_core::plan::elapsed;
use fairway_core::policy::EndpointPolicy;
use fairway_stats::cells::CELLS;
use fairway_stats::{Cells, Fixed};
use fairway_wire::{Arm, ArmKey, ErrorKind, Pair, PairKey, Rival, Route, Target, Track, Unseen, Window};
use jiff::Timestamp;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::clumps::Clumps;
use super::harm::Harm;
use super::traffic::{CellSum, Flow, Traffic};
use super::users::{Order, binomial, met, share_of_requests};

/// The name that it reports under.
const REPLICA: &str = "backtest";
/// Of the requests that stable earns something on, the share on which a good candidate earns the same (`shadow` only).
const SHARED: f64 = 0.5;

/// A router that plays a record.
pub(super) struct Router<'a> {
    traffic: &'a Traffic,
    harm: &'a Harm,
    candidate: Target,
    slow: usize,
    within: usize,
    /// When the rollout began: harm is timed from there.
    pub(super) started: Option<Timestamp>,
    eras: Vec<Era>,
    lease_until: Option<Timestamp>,
    order: Order,
    chance: ChaCha8Rng,
    seq: u64,
    /// What truly happened.
    pub(super) truth: Truth,
}

/// What the candidate truly did, beyond what stable would have done in its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    /// Requests to the canary.
    pub(super) on_canary: u64,
    /// Errors and slow answers beyond stable's, as expected from the rates.
    pub(super) bad: f64,
    /// Reward lost, as expected from the record's mean.
    pub(super) lost: f64,
    /// Requests to the canary by segment.
    by_segment: Vec<f64>,
    /// The largest share that the canary had of each cell.
    reach: Vec<f64>,
    /// Requests to the promoted candidate, by segment.
    promoted: Vec<f64>,
}

/// A route, from a period on.
struct Era {
    from: usize,
    generation: u64,
    stable: Option<Target>,
    canary: Option<Split>,
    /// Of each segment, where it is told apart: of the canary, and of stable beside it or without it.
    clumps: Arc<Vec<[Option<Clumps>; 3]>>,
}

/// How a route splits users.
struct Split {
    eligible: Vec<bool>,
    shadow: bool,
    /// By cell, and what that makes of each segment's requests.
    shares: Vec<f64>,
    of_segment: Vec<f64>,
}

impl<'a> Router<'a> {
    pub(super) fn new(
        policy: &EndpointPolicy,
        traffic: &'a Traffic,
        harm: &'a Harm,
        candidate: Target,
        seed: u64,
    ) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let order = Order::draw(traffic, &mut chance);
        let none = vec![0.0; traffic.segments.len()];
        let truth = Truth { by_segment: none.clone(), promoted: none, ..Truth::default() };
        Self {
            traffic,
            harm,
            candidate,
            slow: traffic.limit(policy.slow_over),
            within: traffic.periods_in(policy.reward_within),
            started: None,
            eras: Vec::new(),
            lease_until: None,
            order,
            chance,
            seq: 0,
            truth,
        }
    }

    /// Takes a route that is in force from period `from` on.
    pub(super) fn take(&mut self, route: &Route, from: usize) {
        self.lease_until = route.lease_until;
        if self.generation() == Some(route.generation) {
            return;
        }
        let segments = &self.traffic.segments;
        let canary = route.canary.as_ref().map(|canary| {
            let shares = self.order.shares(canary.weight);
            let of_segment = self.traffic.exposures.iter().map(|cells| share_of_requests(cells, &shares)).collect();
            let listed = |segment: &String| canary.segments.is_empty() || canary.segments.contains(segment);
            Split { eligible: segments.iter().map(listed).collect(), shadow: canary.shadow, shares, of_segment }
        });
        if let Some(split) = &canary {
            self.truth.reach.clone_from(&split.shares);
        }
        let clumps = Arc::new(self.traffic.by_cell.iter().map(|cells| clumps(cells, canary.as_ref())).collect());
        self.eras.push(Era { from, generation: route.generation, stable: route.stable.clone(), canary, clumps });
    }

    /// The generation in force.
    pub(super) fn generation(&self) -> Option<u64> {
        self.eras.last().map(|era| era.generation)
    }

    /// Serves these periods, and reports them in one window; none if nobody reported then.
    pub(super) fn serve(&mut self, periods: Range<usize>) -> Option<Window> {
        let (start, end) = (self.traffic.time(periods.start), self.traffic.time(periods.end));
        let traffic = self.traffic;
        self.seq += 1;
        let mut window = Window::new(REPLICA, self.seq, start, end);
        window.generation = self.generation().unwrap_or_default();
        let mut heard = false;
        for at in periods {
            let period = &traffic.periods[at];
            heard |= period.heard;
            for flow in &period.flows {
                self.answer(&mut window, flow, at);
                self.mature(&mut window, flow, at);
            }
        }
        heard.then_some(window)
    }

    /// So long after the rollout's start; before it, nothing is wrong with anybody.
    fn since(&self, period: usize) -> Duration {
        self.started.map_or(Duration::ZERO, |started| elapsed(started, self.traffic.time(period)))
    }

    fn answer(&mut self, window: &mut Window, flow: &Flow, at: usize) {
        let held = self.lease_until.is_none_or(|until| self.traffic.time(at) <= until);
        let Some(era) = self.eras.last() else { return };
        let canary = era.canary.as_ref().filter(|split| held && split.eligible[flow.segment]);
        let share = canary.map_or(0.0, |split| split.of_segment[flow.segment]);
        let unseen = canary.is_some_and(|split| split.shadow);
        let (clumps, beside) = (Arc::clone(&era.clumps), if canary.is_some() { 1 } else { 2 });
        let stable = era.stable.clone();
        let on_canary = binomial(&mut self.chance, flow.requests, share);
        let parts = [
            (Some(self.candidate.clone()), Track::Canary, on_canary),
            (stable, Track::Stable, flow.requests - on_canary),
        ];
        for (target, track, requests) in parts.into_iter().filter_map(|(target, track, n)| Some((target?, track, n))) {
            if requests == 0 {
                continue;
            }
            let usual = (flow.errors, flow.slow.get(self.slow).copied().unwrap_or_default());
            let (mut errors, mut slow) = usual;
            if target == self.candidate {
                (errors, slow) = self.harmed(flow, requests, usual, at);
                self.count(flow.segment, track, requests);
            }
            let failed = binomial(&mut self.chance, requests, errors);
            let late = binomial(&mut self.chance, requests, slow).min(requests - failed);
            let arm = window.arms.entry(arm_of(&target, track, &self.traffic.segments[flow.segment])).or_default();
            arm.requests += requests;
            arm.slow += late;
            if failed > 0 {
                *arm.errors.entry(ErrorKind::Error).or_default() += failed;
            }
            if let Some(clumps) = &clumps[flow.segment][if track == Track::Canary { 0 } else { beside }] {
                let mut part =
                    |bad: u64, usual: f64, rate: f64| binomial(&mut self.chance, bad, usual / rate.max(usual));
                let as_usual = (part(failed, usual.0, errors), part(late, usual.1, slow));
                arm.errors_by_cell.merge(&clumps.errors(&mut self.chance, requests, failed, as_usual.0));
                arm.slow_by_cell.merge(&clumps.slow(&mut self.chance, requests, late, as_usual.1));
            }
        }
        if unseen && flow.requests > on_canary {
            self.answer_unseen(window, flow, flow.requests - on_canary, at);
        }
    }

    /// The candidate's answers to stable's requests: whom they harm is nobody.
    fn answer_unseen(&mut self, window: &mut Window, flow: &Flow, requests: u64, at: usize) {
        let rate = self.harm.errors(flow.errors, self.since(at));
        let errors = binomial(&mut self.chance, requests, rate);
        let key = arm_of(&self.candidate, Track::Canary, &self.traffic.segments[flow.segment]);
        window.arms.entry(key).or_default().unseen.merge(&Unseen { requests, errors, ..Unseen::default() });
    }

    /// The candidate's rates of errors and slow answers; what they cost is kept.
    fn harmed(&mut self, flow: &Flow, requests: u64, base: (f64, f64), at: usize) -> (f64, f64) {
        let since = self.since(at);
        let rates = (self.harm.errors(base.0, since), self.harm.slow(base.1, since));
        self.truth.bad += requests as f64 * (rates.0 - base.0 + rates.1 - base.1);
        self.truth.lost += requests as f64 * self.traffic.mean_reward[flow.segment] * (1.0 - self.harm.earned(since));
        rates
    }

    fn count(&mut self, segment: usize, track: Track, requests: u64) {
        match track {
            Track::Canary => {
                self.truth.on_canary += requests;
                self.truth.by_segment[segment] += requests as f64;
            }
            Track::Stable | Track::Holdback | Track::Experiment => self.truth.promoted[segment] += requests as f64,
        }
    }

    /// Rewards that mature in a period are those of exposures under the route that was in force then.
    fn mature(&mut self, window: &mut Window, flow: &Flow, at: usize) {
        let Some(exposed) = at.checked_sub(self.within) else { return };
        let Some(index) = self.eras.partition_point(|era| era.from <= exposed).checked_sub(1) else { return };
        let since = self.since(exposed);
        let earned = self.harm.earned(since);
        let (era, chance) = (&self.eras[index], &mut self.chance);
        // Only exposures beside a canary are compared; all others would be counted for nobody.
        let (Some(split), Some(stable)) = (&era.canary, &era.stable) else { return };
        if !split.eligible[flow.segment] {
            return;
        }
        let segment = &self.traffic.segments[flow.segment];
        let (mut of_canary, mut of_stable, mut pair) = (Arm::default(), Arm::default(), Pair::default());
        let [canary_cells, stable_cells] =
            [&mut of_canary, &mut of_stable].map(|arm| arm.reward.entry(era.generation).or_default());
        for part in &flow.matured {
            let n = binomial(chance, part.n, split.shares[usize::from(part.cell)]);
            let rewards = Rewards::of(part, self.traffic.unit);
            let share = n as f64 / part.n.max(1) as f64;
            let would = binomial(chance, rewards.number, share);
            let got = binomial(chance, would, earned);
            canary_cells.add(part.cell, n, rewards.worth(got));
            stable_cells.add(part.cell, part.n - n, rewards.worth(rewards.number - would));
            if split.shadow {
                // What the candidate finds instead of stable's makes up for what it misses, less the harm.
                let shared = binomial(chance, rewards.number, SHARED * earned);
                let own = binomial(chance, rewards.number, (1.0 - SHARED) * earned);
                let found = rewards.worth(shared + own);
                pair.difference.add(part.cell, part.n, Fixed(found.0.saturating_sub(part.sum.0)));
                pair.base.add(part.cell, part.n, part.sum);
            }
        }
        window.arms.entry(arm_of(&self.candidate, Track::Canary, segment)).or_default().merge(&of_canary);
        window.arms.entry(arm_of(stable, Track::Stable, segment)).or_default().merge(&of_stable);
        if split.shadow {
            let against = Rival::Stable(stable.digest.clone());
            let key = PairKey { digest: self.candidate.digest.clone(), against, generation: era.generation };
            let sum = window.pairs.entry(key).or_default();
            sum.difference.merge(&pair.difference);
            sum.base.merge(&pair.base);
        }
    }
}

/// What counts the requests of a segment that a version is assigned.
fn arm_of(target: &Target, track: Track, segment: &str) -> ArmKey {
    ArmKey { digest: target.digest.clone(), track, segment: segment.to_owned(), arm: String::new() }
}

/// Of the canary, of stable beside it, and of whoever has everybody.
fn clumps(cells: &[Cells; 2], canary: Option<&Split>) -> [Option<Clumps>; 3] {
    let share = |cell: usize| canary.map_or(0.0, |split| split.shares[cell]);
    [Clumps::of(cells, share), Clumps::of(cells, |cell| 1.0 - share(cell)), Clumps::of(cells, |_| 1.0)]
}

/// The rewards of a cell, taken as so many of one size.
struct Rewards {
    number: u64,
    each: f64,
    sum: Fixed,
}

impl Rewards {
    fn of(part: &CellSum, unit: f64) -> Self {
        let sum = part.sum.to_f64();
        let number = if sum > 0.0 { (sum / unit).round().clamp(1.0, 1e12) as u64 } else { 0 };
        Self { number, each: if number > 0 { sum / number as f64 } else { 0.0 }, sum: part.sum }
    }

    /// So many of them; all of them are exactly what was recorded.
    fn worth(&self, n: u64) -> Fixed {
        if n > 0 && n == self.number { self.sum } else { Fixed::from_f64(self.each * n as f64) }
    }
}

impl Truth {
    /// Users who met the canary, or the promoted candidate: the canary's share of each cell's users, as far as so many
    /// requests reach them (see [`met`]). None where the record does not tell users apart.
    pub(super) fn users(&self, traffic: &Traffic) -> Option<f64> {
        let mut users = 0.0;
        for (segment, exposures) in traffic.exposures.iter().enumerate() {
            // A promoted candidate meets everybody.
            let share = |cell: usize| {
                if self.promoted[segment] > 0.0 { 1.0 } else { self.reach.get(cell).copied().unwrap_or(0.0) }
            };
            let weight = |cell: usize| exposures[cell] as f64 * share(cell);
            let all: f64 = (0..CELLS).map(weight).sum();
            let requests = self.by_segment[segment] + self.promoted[segment];
            for cell in (0..CELLS).filter(|_| all > 0.0) {
                users += met(traffic.users(segment, cell)? * share(cell), requests * weight(cell) / all);
            }
        }
        // Without exposures nobody is told apart.
        (users > 0.0 || self.on_canary == 0).then_some(users)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewards_are_whole_ones_and_add_up() {
        let part = |sum: f64| CellSum { cell: 0, n: 5, sum: Fixed::from_f64(sum) };
        for (sum, number) in [(0.0, 0), (0.2, 1), (1.0, 1), (2.5, 3), (4.0, 4)] {
            let rewards = Rewards::of(&part(sum), 1.0);
            assert_eq!(rewards.number, number, "{sum}");
            assert_eq!(rewards.worth(number), Fixed::from_f64(sum));
            assert_eq!(rewards.worth(0), Fixed::ZERO);
        }
    }
}
