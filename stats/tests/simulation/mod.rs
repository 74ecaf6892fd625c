//! Simulated canaries: how often does a rule call an identical canary harmful, and how soon a harmful one?
//!
//! Requests come in looks; each look has a canary share and a base rate of bad answers that may both move. Rules see each
//! look once, as an operator would. The same code at full size is the bench's table. Nothing here is part of the crate.
#![allow(dead_code, reason = "the test and the bench use different parts")]

pub mod crowd;
pub mod random;
pub mod verdicts;

use random::Random;

/// The canary's share of the requests.
#[derive(Clone, Copy, Debug)]
pub enum Share {
    Constant(f64),
    /// 1, 5, 25 and 50 %, a quarter of the looks each.
    Ramp,
}

impl Share {
    pub fn at(self, look: usize, looks: usize) -> f64 {
        match self {
            Self::Constant(share) => share,
            Self::Ramp => [0.01, 0.05, 0.25, 0.5][(4 * look / looks.max(1)).min(3)],
        }
    }
}

/// Stable's rate of bad answers.
#[derive(Clone, Copy, Debug)]
pub enum Base {
    Constant(f64),
    /// 1 %, and 3 % from half time on.
    Rising,
    /// Four waves between a fifth and nine fifths of the rate.
    Seasonal(f64),
}

impl Base {
    pub fn at(self, look: usize, looks: usize) -> f64 {
        let part = look as f64 / looks as f64;
        match self {
            Self::Constant(rate) => rate,
            Self::Rising => {
                if part < 0.5 {
                    0.01
                } else {
                    0.03
                }
            }
            Self::Seasonal(rate) => rate * (1.0 + 0.8 * (8.0 * std::f64::consts::PI * part).sin()),
        }
    }
}

/// What comes in.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    pub looks: usize,
    /// Requests of both arms in each look.
    pub requests: u64,
    pub share: Share,
    pub base: Base,
}

/// One look; arms are canary, stable.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub index: usize,
    pub requests: [u64; 2],
    pub bad: [u64; 2],
}

impl Look {
    pub fn share(&self) -> f64 {
        self.requests[0] as f64 / (self.requests[0] + self.requests[1]) as f64
    }
}

/// Answers whether it would end the rollout after this look.
pub type Rule = Box<dyn FnMut(&Look) -> bool>;

/// A rule that can start anew for each run.
pub struct Named {
    pub name: String,
    pub start: Box<dyn Fn() -> Rule>,
}

pub fn named<R: FnMut(&Look) -> bool + 'static>(name: impl Into<String>, start: impl Fn() -> R + 'static) -> Named {
    Named { name: name.into(), start: Box::new(move || Box::new(start())) }
}

/// What a rule did over all runs.
#[derive(Clone, Debug)]
pub struct Found {
    pub name: String,
    /// Runs that it ended.
    pub ended: u64,
    pub runs: u64,
    /// Medians over all runs (`None` if fewer than half ended): requests and bad answers that the canary gave until then.
    pub canary_requests: Option<u64>,
    pub canary_bad: Option<u64>,
}

impl Found {
    pub fn rate(&self) -> f64 {
        self.ended as f64 / self.runs as f64
    }
}

/// Runs the rules side by side on the same traffic; the canary's rate is `ratio` times that of stable.
pub fn simulate(traffic: &Traffic, ratio: f64, runs: u64, seed: u64, rules: &[Named]) -> Vec<Found> {
    let mut ends: Vec<Vec<(u64, u64)>> = rules.iter().map(|_| Vec::new()).collect();
    for run in 0..runs {
        let mut random = Random::new(seed, run);
        let mut open: Vec<(usize, Rule)> = rules.iter().map(|rule| (rule.start)()).enumerate().collect();
        let (mut requests, mut bad) = (0, 0);
        for index in 0..traffic.looks {
            let look = draw(traffic, ratio, index, &mut random);
            requests += look.requests[0];
            bad += look.bad[0];
            open.retain_mut(|(rule, ends_now)| {
                let ends_now = ends_now(&look);
                if ends_now {
                    ends[*rule].push((requests, bad));
                }
                !ends_now
            });
            if open.is_empty() {
                break;
            }
        }
    }
    rules.iter().zip(ends).map(|(rule, ends)| found(rule, ends, runs)).collect()
}

fn draw(traffic: &Traffic, ratio: f64, index: usize, random: &mut Random) -> Look {
    let (share, base) = (traffic.share.at(index, traffic.looks), traffic.base.at(index, traffic.looks));
    let canary = (traffic.requests as f64 * share) as u64;
    let requests = [canary, traffic.requests - canary];
    let rates = [(base * ratio).min(1.0), base];
    Look { index, requests, bad: [0, 1].map(|arm| random.binomial(requests[arm], rates[arm])) }
}

fn found(rule: &Named, ends: Vec<(u64, u64)>, runs: u64) -> Found {
    let median = |of: fn(&(u64, u64)) -> u64| {
        let mut values: Vec<u64> = ends.iter().map(of).collect();
        values.sort_unstable();
        values.get((runs as usize - 1) / 2).copied()
    };
    Found {
        name: rule.name.clone(),
        ended: ends.len() as u64,
        runs,
        canary_requests: median(|end| end.0),
        canary_bad: median(|end| end.1),
    }
}

/// The most errors in `runs` that a test of level `alpha` exceeds with less than 1 %: the upper 99 % quantile of the
/// binomial distribution.
pub fn binomial_bound(runs: u64, alpha: f64) -> u64 {
    let (mut mass, mut below, mut k) = ((1.0 - alpha).powf(runs as f64), 0.0, 0);
    loop {
        below += mass;
        if below >= 0.99 || k >= runs {
            return k;
        }
        mass *= (runs - k) as f64 / (k + 1) as f64 * alpha / (1.0 - alpha);
        k += 1;
    }
}
