//! What the operator tells the routers: which versions, which weights, until when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Slice;

/// A share of users in parts per million; never above 1,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u32);

/// A weight outside 0 to 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("weight {0} ppm is above 1,000,000 (100 %)")]
pub struct WeightError(pub u32);

impl Weight {
    /// Nobody.
    pub const ZERO: Self = Self(0);
    /// Everybody.
    pub const FULL: Self = Self(1_000_000);

    /// From parts per million.
    ///
    /// # Errors
    /// Above 1,000,000.
    pub fn from_ppm(ppm: u32) -> Result<Self, WeightError> {
        if ppm > 1_000_000 { Err(WeightError(ppm)) } else { Ok(Self(ppm)) }
    }

    /// From whole percents; above 100 counts as 100.
    pub fn from_percent(percent: u8) -> Self {
        Self(u32::from(percent.min(100)) * 10_000)
    }

    /// Parts per million.
    pub fn ppm(self) -> u32 {
        self.0
    }

    /// Percents, for people.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// The share `part` of this one.
    #[must_use]
    pub fn of(self, part: Self) -> Self {
        let ppm = (u64::from(self.0) * u64::from(part.0) + 500_000) / 1_000_000;
        Self(ppm as u32)
    }

    /// What is left to the others.
    #[must_use]
    pub fn rest(self) -> Self {
        Self(1_000_000 - self.0)
    }
}

impl TryFrom<u32> for Weight {
    type Error = WeightError;
    fn try_from(ppm: u32) -> Result<Self, WeightError> {
        Self::from_ppm(ppm)
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl std::fmt::Display for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} %", self.percent())
    }
}

/// One version to serve: the unit of every decision is the digest; the number is for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The version's number in its model's log.
    pub version: u64,
    /// `sha256:…` of the artifact's tree.
    pub digest: String,
}

/// The version on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Which version.
    pub target: Target,
    /// Share of the eligible users.
    pub weight: Weight,
    /// Segments whose users are eligible; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<String>,
    /// Let the candidate answer stable's requests too, unseen, so that both are compared in pairs.
    #[serde(default)]
    pub shadow: bool,
}

/// A complete instruction to the routers of one endpoint. Stable serves whoever nothing else does, so the weights
/// over ready tracks add up to 100 % by construction (invariant I1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Grows with each change; a router ignores an older one.
    pub generation: u64,
    /// The trusted version; none before the first one passes.
    pub stable: Option<Target>,
    /// The version on trial, if any.
    pub canary: Option<Canary>,
    /// Salt of the canary's assignment (the rollout's identity), so that the guinea pigs differ from rollout to rollout.
    pub salt: String,
    /// Share of users on the baseline for ever.
    pub holdback: Weight,
    /// Experiments, after the holdback and before the canary. A user takes part in the first whose arm is theirs, and in no
    /// other, so that nobody is shown one version for the sake of two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experiments: Vec<Slice>,
    /// Serve the baseline to everybody: stable was found worse than popularity.
    pub serve_baseline: bool,
    /// An answer slower than this counts as slow, in milliseconds.
    pub slow_over_ms: u32,
    /// A model that has not answered after this is given up, in milliseconds.
    pub deadline_ms: u32,
    /// A router that has heard nothing by then sets the canary to 0 by itself, and holds no experiment (invariant I3). It is the
    /// time of whoever sets the route: a router in a process of its own only takes from it that there is a lease, and polls
    /// ([`Poll::lease_ms`](crate::Poll::lease_ms)) say how long.
    pub lease_until: Option<Timestamp>,
}

impl Route {
    /// The versions that it may send users to.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let portions = self.experiments.iter().flat_map(|slice| &slice.arms);
        let arms = portions.filter_map(|portion| portion.treatment.target());
        self.stable.iter().chain(self.canary.iter().map(|canary| &canary.target)).chain(arms)
    }
}
