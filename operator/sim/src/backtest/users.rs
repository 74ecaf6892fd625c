//! Who gets the canary: each user has a place in the rollout's order for as long as it lasts, so that a growing weight
//! only adds users. And how many users so many requests meet.

use fairway_stats::cells::CELLS;
use fairway_wire::Weight;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution};

use super::traffic::Traffic;

/// Most users of a cell that are told apart: with more, the canary's share of a cell is close to its weight anyway.
const TOLD_APART_MAX: f64 = 128.0;

/// The places of all users in the canary's order, by cell and ascending, in millionths.
#[derive(Clone, Debug)]
pub(super) struct Order(Vec<Vec<u32>>);

impl Order {
    /// Another rollout has another order.
    pub(super) fn draw(traffic: &Traffic, chance: &mut ChaCha8Rng) -> Self {
        let mut place = |cell: usize| {
            let known: Option<f64> = (0..traffic.segments.len()).map(|segment| traffic.users(segment, cell)).sum();
            let users = known.unwrap_or(TOLD_APART_MAX).round().clamp(1.0, TOLD_APART_MAX) as usize;
            let mut places: Vec<u32> = (0..users).map(|_| chance.random_range(0..1_000_000)).collect();
            places.sort_unstable();
            places
        };
        Self((0..CELLS).map(&mut place).collect())
    }

    /// The share of each cell's users who have the canary at a weight.
    pub(super) fn shares(&self, weight: Weight) -> Vec<f64> {
        let share = |places: &Vec<u32>| {
            places.partition_point(|place| *place < weight.ppm()) as f64 / places.len().max(1) as f64
        };
        self.0.iter().map(share).collect()
    }
}

/// The canary's share of a segment's requests, which fall on the cells as its exposures did; evenly where nothing matured.
pub(super) fn share_of_requests(exposures: &[u64], shares: &[f64]) -> f64 {
    let total: f64 = exposures.iter().map(|n| *n as f64).sum();
    if total <= 0.0 {
        return shares.iter().sum::<f64>() / shares.len().max(1) as f64;
    }
    exposures.iter().zip(shares).map(|(n, share)| *n as f64 * share).sum::<f64>() / total
}

/// How many different users `requests` meet, if they fall evenly on `users` of them: `u (1 - (1 - 1/u)^r)`.
pub(super) fn met(users: f64, requests: f64) -> f64 {
    if users <= 1.0 {
        return users.max(0.0).min(requests);
    }
    users * -f64::exp_m1(requests * f64::ln_1p(-1.0 / users))
}

/// How many of `n` happen, each with probability `p`.
pub(super) fn binomial(chance: &mut ChaCha8Rng, n: u64, p: f64) -> u64 {
    if n == 0 || p <= 0.0 || p.is_nan() {
        return 0;
    }
    if p >= 1.0 {
        return n;
    }
    if n <= 4 {
        return (0..n).map(|_| u64::from(chance.random_bool(p))).sum();
    }
    Binomial::new(n, p).map_or(0, |binomial| binomial.sample(chance))
}
