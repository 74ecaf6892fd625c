//! Requests of invented users during one rollout, with what would come of each under either version.
//!
//! Both versions share every accident: a request fails under the candidate if it fails under stable, and besides in the
//! cases that the harm adds. All methods see the same requests; who is assigned to the candidate is their own rule.

use std::f64::consts::TAU;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution, LogNormal, Poisson};

use crate::plan::Plan;

/// Users who come at all.
pub const USERS: usize = 8_000;
const REQUESTS_A_DAY: f64 = 200_000.0;
/// The rate of requests varies by (1 + SEASON) / (1 − SEASON) over the day.
const SEASON: f64 = 0.6;
/// σ of the logarithm of a user's rate of requests.
const UNEQUAL: f64 = 1.0;
/// Errors per request under stable.
pub const ERRORS: f64 = 0.01;
/// Reward per exposure under stable.
pub const REWARD: f64 = 0.2;
/// Rewards of a user: Beta with this sum of its parameters (a standard deviation of .12 around .2).
const TASTE: f64 = 10.0;

/// What the candidate does, as factors on the rates.
#[derive(Clone, Copy, Debug)]
pub struct Harm {
    /// For the tables.
    pub name: &'static str,
    /// On errors.
    pub errors: f64,
    /// On reward.
    pub reward: f64,
    /// On the errors of both versions.
    pub both: f64,
}

/// A candidate that is as good as stable.
pub const GOOD: Harm = Harm { name: "good", errors: 1.0, reward: 1.0, both: 1.0 };
/// The same when something behind both versions has become worse.
pub const LATER: Harm = Harm { name: "good, both 1.5 % errors", errors: 1.0, reward: 1.0, both: 1.5 };
/// The harms, mildest first of each kind.
pub const HARMS: [Harm; 5] = [
    Harm { name: "errors x1.3", errors: 1.3, reward: 1.0, both: 1.0 },
    Harm { name: "errors x2", errors: 2.0, reward: 1.0, both: 1.0 },
    Harm { name: "errors x5", errors: 5.0, reward: 1.0, both: 1.0 },
    Harm { name: "reward -5 %", errors: 1.0, reward: 0.95, both: 1.0 },
    Harm { name: "reward -20 %", errors: 1.0, reward: 0.8, both: 1.0 },
];
/// Those of [`HARMS`] that the bar is about.
pub const GOALS: [usize; 3] = [1, 2, 4];

/// Whether errors and rewards of a user depend on the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// 4 % of the users have half of the errors, and tastes differ.
    Clumped,
    /// 1 % of the users have 80 % of the errors: the version fails four of five of their requests. Tastes differ.
    Broken,
    /// Every request is like any other.
    Even,
}

impl Crowd {
    /// The share of the users who are unlucky, and the part of all errors that all users share alike.
    fn luck(self) -> (f64, f64) {
        match self {
            Self::Clumped => (0.04, 0.5),
            Self::Broken => (0.01, 0.2),
            Self::Even => (0.0, 1.0),
        }
    }
}

/// What comes of a request under a version.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The version fails to answer.
    pub error: bool,
    /// The user does what is rewarded.
    pub reward: bool,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// When, in minutes since the rollout began.
    pub minute: u16,
    /// Whose.
    pub user: u16,
    /// Where the split is by request: assigned to the candidate if this is below its weight.
    pub lot: u8,
    /// Under stable.
    pub stable: Outcome,
    /// Under the candidate.
    pub candidate: Outcome,
}

/// One user.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// Where the split is by user: assigned to the candidate if this is below its weight.
    pub lot: u8,
    /// One of 256 cells.
    pub cell: u8,
    /// The user's requests are `requests[start..end]`.
    pub start: usize,
    /// See `start`.
    pub end: usize,
}

/// All requests of a rollout.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Those who came.
    pub users: Vec<User>,
    /// By user, in no order of time.
    pub requests: Vec<Request>,
    /// Minutes.
    pub horizon: usize,
}

impl Traffic {
    /// Invents the users and requests of one rollout. The same seed gives the same users, with the same luck, whatever the harm.
    pub fn new(plan: Plan, crowd: Crowd, harm: Harm, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let horizon = plan.horizon();
        let begins: f64 = rng.random();
        let draws = Draws::new();
        let mut traffic = Self { users: Vec::with_capacity(USERS), requests: Vec::new(), horizon };
        for user in 0..USERS {
            let person = draws.person(&mut rng, crowd);
            let (lot, cell) = (rng.random_range(0..100), rng.random());
            let start = traffic.requests.len();
            let most = person.requests_a_minute * (1.0 + SEASON) * horizon as f64;
            let candidates = Poisson::new(most).map_or(0.0, |poisson| poisson.sample(&mut rng)) as u64;
            for _ in 0..candidates {
                let minute = rng.random::<f64>() * horizon as f64;
                let season = 1.0 + SEASON * (TAU * (minute / 1_440.0 + begins)).sin();
                if rng.random::<f64>() * (1.0 + SEASON) < season {
                    traffic.requests.push(request(&mut rng, minute as u16, user as u16, &person, harm));
                }
            }
            traffic.users.push(User { lot, cell, start, end: traffic.requests.len() });
        }
        traffic
    }

    /// The requests of each minute.
    pub fn by_minute(&self) -> Vec<Vec<Request>> {
        let mut minutes = vec![Vec::new(); self.horizon];
        self.requests.iter().for_each(|request| minutes[usize::from(request.minute)].push(*request));
        minutes
    }
}

struct Person {
    requests_a_minute: f64,
    errors: f64,
    reward: f64,
}

struct Draws {
    rate: Option<LogNormal<f64>>,
    taste: Option<Beta<f64>>,
}

impl Draws {
    fn new() -> Self {
        // A mean of 1.
        let rate = LogNormal::new(-UNEQUAL * UNEQUAL / 2.0, UNEQUAL).ok();
        Self { rate, taste: Beta::new(REWARD * TASTE, (1.0 - REWARD) * TASTE).ok() }
    }

    fn person(&self, rng: &mut ChaCha8Rng, crowd: Crowd) -> Person {
        let rate = self.rate.map_or(1.0, |rate| rate.sample(rng));
        let taste = self.taste.map_or(REWARD, |taste| taste.sample(rng));
        let (unlucky, usual) = crowd.luck();
        let is_unlucky = rng.random::<f64>() < unlucky;
        let usual = ERRORS * usual;
        let errors = if is_unlucky { (ERRORS - usual * (1.0 - unlucky)) / unlucky } else { usual };
        let requests_a_minute = rate * REQUESTS_A_DAY / USERS as f64 / 1_440.0;
        Person { requests_a_minute, errors, reward: if crowd == Crowd::Even { REWARD } else { taste } }
    }
}

fn request(rng: &mut ChaCha8Rng, minute: u16, user: u16, person: &Person, harm: Harm) -> Request {
    let (error, reward): (f64, f64) = (rng.random(), rng.random());
    let outcome = |errors: f64, rewards: f64| Outcome {
        error: error < person.errors * errors,
        reward: reward < person.reward * rewards,
    };
    let (stable, candidate) = (outcome(harm.both, 1.0), outcome(harm.both * harm.errors, harm.reward));
    Request { minute, user, lot: rng.random_range(0..100), stable, candidate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_are_what_they_should_be() {
        for crowd in [Crowd::Clumped, Crowd::Even] {
            let plan = Plan { hold: 240 };
            let (mut n, mut errors, mut worse, mut rewards) = (0.0, 0.0, 0.0, 0.0);
            for seed in 0..20 {
                let traffic = Traffic::new(plan, crowd, HARMS[2], seed);
                n += traffic.requests.len() as f64;
                for request in &traffic.requests {
                    errors += f64::from(u8::from(request.stable.error));
                    worse += f64::from(u8::from(request.candidate.error));
                    rewards += f64::from(u8::from(request.stable.reward));
                }
            }
            let hours = plan.horizon() as f64 / 60.0;
            assert!((n / 20.0 / (REQUESTS_A_DAY / 24.0 * hours) - 1.0).abs() < 0.15, "{n}");
            assert!((errors / n / ERRORS - 1.0).abs() < 0.1 && (worse / errors - 5.0).abs() < 0.25);
            assert!((rewards / n / REWARD - 1.0).abs() < 0.05);
        }
    }
}
