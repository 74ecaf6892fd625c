//! A crowd whose users come often and differ: some hit an error every other time, some buy ten times as much. Users are
//! split by a hash, so a ramp only adds users to the canary. Canary and stable are the same, so every claim is an error.

use fairway_stats::combine::Family;
use fairway_stats::confidence::Interval;
use fairway_stats::effect::{BeforeAndAfter, Effect, Linear, LoggedArm, Scale, alike, cuped};
use fairway_stats::odds::design_effects;
use fairway_stats::srm::SampleRatio;
use fairway_stats::verdict::{LnE, MeanGate, RateGate};
use fairway_stats::{Cells, confidence};

use super::Share;
use super::random::Random;

/// Who comes how often.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    pub users: usize,
    pub looks: usize,
    /// Visits of both arms in each look.
    pub visits: usize,
    pub share: Share,
    /// Share of the visits that end in an error, all of them of unlucky users.
    pub bad: f64,
    /// An unlucky user's chance of an error at each visit: 1/clump of it is luck. `bad` itself for no clumps.
    pub unlucky: f64,
    /// What the base level of the reward is multiplied by from stage to stage of a ramp.
    pub growth: f64,
}

/// How often each claim was proved though nothing is different, over `runs`.
#[derive(Clone, Debug)]
pub struct Claims {
    pub runs: u64,
    pub counts: Vec<(&'static str, u64)>,
}

#[derive(Clone, Default)]
struct Arm {
    bad: Cells,
    reward: Cells,
    clicks: Cells,
    shown: Cells,
    before: Cells,
    logged: LoggedArm,
}

struct User {
    bucket: f64,
    cell: u8,
    unlucky: bool,
    level: f64,
}

/// Simulates `runs` crowds and asks every verdict after every look, each at level `alpha` (the sample-ratio check at its
/// own 1/1000).
pub fn simulate(crowd: &Crowd, alpha: f64, runs: u64, seed: u64) -> Claims {
    let mut counts: Vec<(&'static str, u64)> = Vec::new();
    for run in 0..runs {
        let mut random = Random::new(seed, run);
        for (index, (name, proved)) in one_run(crowd, alpha, &mut random).into_iter().enumerate() {
            if counts.len() <= index {
                counts.push((name, 0));
            }
            counts[index].1 += u64::from(proved);
        }
    }
    Claims { runs, counts }
}

fn one_run(crowd: &Crowd, alpha: f64, random: &mut Random) -> Vec<(&'static str, bool)> {
    let users: Vec<User> = (0..crowd.users).map(|_| user(crowd, random)).collect();
    let mut strata: Vec<[Arm; 2]> = Vec::new();
    let mut seen = vec![usize::MAX; crowd.users];
    let mut share = f64::NAN;
    let mut gates = Gates::new(crowd, alpha);
    for look in 0..crowd.looks {
        if crowd.share.at(look, crowd.looks) != share {
            share = crowd.share.at(look, crowd.looks);
            strata.push([Arm::default(), Arm::default()]);
            gates.ratio.stage(&[share, 1.0 - share]);
        }
        let stage = strata.len() - 1;
        let level = crowd.growth.powi(stage as i32);
        let (mut requests, mut bad, mut new_users) = ([0; 2], [0; 2], [0; 2]);
        for _ in 0..crowd.visits {
            // A fifth of the visits comes from one user in fifty.
            let among = if random.uniform() < 0.2 { crowd.users / 50 } else { crowd.users };
            let who = (random.uniform() * among as f64) as usize;
            let arm = usize::from(users[who].bucket >= share);
            requests[arm] += 1;
            bad[arm] +=
                u64::from(visit(&users[who], &mut strata[stage][arm], [share, 1.0 - share][arm], level, crowd, random));
            if std::mem::replace(&mut seen[who], stage) != stage {
                new_users[arm] += 1;
            }
        }
        gates.ratio.update(&new_users);
        gates.look(requests, bad, &strata);
    }
    gates.proved(alpha)
}

fn user(crowd: &Crowd, random: &mut Random) -> User {
    User {
        bucket: random.uniform(),
        cell: (random.bits() >> 56) as u8,
        unlucky: random.uniform() < crowd.bad / crowd.unlucky,
        level: random.exponential(),
    }
}

/// Answers whether it ended in an error.
fn visit(user: &User, arm: &mut Arm, propensity: f64, level: f64, crowd: &Crowd, random: &mut Random) -> bool {
    let bad = user.unlucky && random.uniform() < crowd.unlucky;
    let reward = level * user.level * random.exponential();
    let shown = 1.0 + (random.uniform() * 5.0).floor();
    let clicks = random.binomial(shown as u64, (0.1 * level * user.level).min(0.9)) as f64;
    arm.bad.record(user.cell, f64::from(u8::from(bad)));
    arm.reward.record(user.cell, reward);
    arm.clicks.record(user.cell, clicks);
    arm.shown.record(user.cell, shown);
    arm.before.record(user.cell, user.level * random.exponential());
    arm.logged.record(user.cell, reward, propensity);
    bad
}

struct Gates {
    ratio: SampleRatio,
    raw: RateGate,
    errors: RateGate,
    means: Vec<(&'static str, &'static str, MeanGate)>,
    family: Family,
    family_harm: bool,
    interval_missed: bool,
    alpha: f64,
    t_opt: f64,
}

impl Gates {
    fn new(crowd: &Crowd, alpha: f64) -> Self {
        let t_opt = crowd.visits as f64 * crowd.looks as f64 / 8.0;
        let gate = || MeanGate::new(0.0, 0.0, alpha, t_opt);
        Self {
            ratio: SampleRatio::new(&[]),
            raw: RateGate::new(0.0, alpha),
            errors: RateGate::new(0.0, alpha),
            means: vec![
                ("mean, harm", "mean, better", gate()),
                ("ratio, harm", "ratio, better", gate()),
                ("logged propensities, harm", "logged propensities, better", gate()),
                ("CUPED, harm", "CUPED, better", gate()),
                ("errors as a mean, fewer", "errors as a mean, more", gate()),
            ],
            family: Family::equal(alpha, 3),
            family_harm: false,
            interval_missed: false,
            alpha,
            t_opt,
        }
    }

    fn look(&mut self, requests: [u64; 2], bad: [u64; 2], strata: &[[Arm; 2]]) {
        self.raw.look(requests, bad);
        let all = |of: fn(&Arm) -> &Cells, arm: usize| {
            let mut sum = Cells::new();
            strata.iter().for_each(|stratum| sum.merge(of(&stratum[arm])));
            sum
        };
        self.errors.set_design_effects(design_effects(&all(|a| &a.bad, 0), &all(|a| &a.bad, 1)));
        self.errors.look(requests, bad);
        let effects = [
            over_strata(strata, |arm| Linear::mean(&arm.reward)),
            over_strata(strata, |arm| Linear::ratio(&arm.clicks, &arm.shown)),
            logged(strata),
            strata.last().and_then(adjusted),
            over_strata(strata, |arm| Linear::mean(&arm.bad)),
        ];
        for (effect, (_, _, gate)) in effects.iter().zip(&mut self.means) {
            effect.iter().for_each(|effect| gate.look(effect));
        }
        let interval = effects[0].and_then(|effect| confidence::interval(&effect, self.alpha, self.t_opt));
        self.interval_missed |= interval.is_some_and(|i: Interval| i.lower > 0.0 || i.upper < 0.0);
        let verdicts =
            [self.errors.verdict("errors"), self.means[0].2.verdict("reward"), self.means[1].2.verdict("clicks")];
        self.family_harm |= self.family.judge(&verdicts).outcome == fairway_stats::verdict::Outcome::Harmful;
    }

    fn proved(&self, alpha: f64) -> Vec<(&'static str, bool)> {
        let proves = |ln_e: f64| ln_e >= -alpha.ln();
        let pair = |most: LnE| [proves(most.harm), proves(most.better)];
        let mut all = vec![(SAMPLE_RATIO, self.ratio.fails())];
        all.extend([RAW_HARM, "errors request by request, better"].into_iter().zip(pair(self.raw.most())));
        all.extend(
            ["errors with design effect, harm", "errors with design effect, better"]
                .into_iter()
                .zip(pair(self.errors.most())),
        );
        for (harm, better, gate) in &self.means {
            all.extend([*harm, *better].into_iter().zip(pair(gate.most())));
        }
        all.push(("mean, two-sided interval misses 0", self.interval_missed));
        all.push(("three gates together, harm", self.family_harm));
        all
    }
}

/// Of `runs` canaries that are as stable, those that are called worse within five minutes: 50 requests a second in sessions of
/// one user, a tenth of the users on the canary, and 1 % of the sessions fail from their first request to their last. A look
/// each two seconds.
pub fn sessions(session: u64, alpha: f64, runs: u64, seed: u64) -> u64 {
    let called_worse = |run: u64| {
        let (mut random, mut gate) = (Random::new(seed, run), RateGate::new(0.1, alpha));
        let users: Vec<(u8, usize)> =
            (0..5_000).map(|_| ((random.bits() >> 56) as u8, usize::from(random.uniform() >= 0.1))).collect();
        let mut by_cell = [Cells::new(), Cells::new()];
        let mut owed = 0;
        (0..150).any(|_| {
            let (mut requests, mut bad) = ([0; 2], [0; 2]);
            owed += 100;
            while owed >= session {
                owed -= session;
                let (cell, arm) = users[(random.uniform() * users.len() as f64) as usize];
                let fails = random.uniform() < 0.01;
                requests[arm] += session;
                bad[arm] += if fails { session } else { 0 };
                (0..session).for_each(|_| by_cell[arm].record(cell, f64::from(u8::from(fails))));
            }
            gate.set_design_effects(design_effects(&by_cell[0], &by_cell[1]));
            gate.look(requests, bad);
            gate.most().harm >= -alpha.ln()
        })
    };
    (0..runs).filter(|run| called_worse(*run)).count() as u64
}

/// The check whose level is 1/1000.
pub const SAMPLE_RATIO: &str = "sample ratio";
/// The one whose assumption clumps break; shown, not promised.
pub const RAW_HARM: &str = "errors request by request, harm";

fn over_strata(strata: &[[Arm; 2]], of: fn(&Arm) -> Option<Linear>) -> Option<Effect> {
    let linear: Vec<(Linear, Linear)> =
        strata.iter().filter_map(|[canary, stable]| Some((of(canary)?, of(stable)?))).collect();
    Effect::over_strata(&linear, Scale::Relative)
}

/// Pooled over the weights of a ramp: the logged propensities alone keep the crowds comparable.
fn logged(strata: &[[Arm; 2]]) -> Option<Effect> {
    let mean = |arm: usize| {
        let mut sum = LoggedArm::default();
        strata.iter().for_each(|stratum| sum.merge(&stratum[arm].logged));
        sum.mean()
    };
    Effect::over_strata(&[(mean(0)?, mean(1)?)], Scale::Relative)
}

fn adjusted([canary, stable]: &[Arm; 2]) -> Option<Effect> {
    let arm = |arm: &Arm| BeforeAndAfter::of(&Linear::mean(&arm.reward)?, &Linear::mean(&arm.before)?);
    let (canary, stable) = cuped(&arm(canary)?, &arm(stable)?);
    let (canary, stable) = alike(canary, stable);
    Effect::between(canary, stable, Scale::Relative)
}
