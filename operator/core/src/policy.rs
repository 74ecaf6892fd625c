//! What people ask for, parsed into types that cannot be wrong. Manifests become these in `fairway-api`; nothing here
//! knows how they were written.

mod gates;
mod training;

use std::time::Duration;

use fairway_wire::Weight;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::scaling::ScalingPolicy;

pub use gates::{AdmissionPolicy, Demand, EvaluationGate, FairnessGate, Metric, MetricKind, Segments, Versus};
pub use training::{Degradation, Mode, ModelPolicy, RunPolicy};

/// A policy value that cannot be used, and what is allowed instead.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PolicyError {
    /// A probability outside (0, 1).
    #[error("{0} is not a probability: between 0 % and 100 %, both excluded")]
    Probability(f64),
    /// A margin that is negative or not finite.
    #[error("{0} is not a tolerance: a finite number, 0 or more")]
    Tolerance(f64),
    /// No steps.
    #[error("at least one step is needed")]
    NoSteps,
    /// Weights that do not grow.
    #[error("step {step}: weight {weight} must be above the step before ({before})")]
    StepsMustGrow {
        /// Index of the step, from 0.
        step: usize,
        /// Its weight.
        weight: Weight,
        /// The weight before.
        before: Weight,
    },
    /// A step with weight 0.
    #[error("step {0}: weight must be above 0 %")]
    EmptyStep(usize),
    /// A duration of zero where one is needed.
    #[error("{0} must be longer than zero")]
    ZeroDuration(&'static str),
}

/// A probability strictly between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Probability(f64);

impl Probability {
    /// Checks and wraps.
    ///
    /// # Errors
    /// Outside (0, 1) or not a number.
    pub fn new(p: f64) -> Result<Self, PolicyError> {
        if p > 0.0 && p < 1.0 { Ok(Self(p)) } else { Err(PolicyError::Probability(p)) }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Probability {
    type Error = PolicyError;
    fn try_from(p: f64) -> Result<Self, PolicyError> {
        Self::new(p)
    }
}

impl From<Probability> for f64 {
    fn from(p: Probability) -> Self {
        p.0
    }
}

/// How much worse still counts as not worse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Margin {
    /// As a fraction of the other side's value: `2%` is 0.02.
    Relative(f64),
    /// In the metric's own unit.
    Absolute(f64),
}

impl Margin {
    /// Checks a margin.
    ///
    /// # Errors
    /// Negative or not finite.
    pub fn checked(self) -> Result<Self, PolicyError> {
        let (Self::Relative(x) | Self::Absolute(x)) = self;
        if x.is_finite() && x >= 0.0 { Ok(self) } else { Err(PolicyError::Tolerance(x)) }
    }
}

/// One step of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Share of the eligible users.
    pub weight: Weight,
    /// At least so long.
    pub hold: Duration,
    /// Eligible segments; empty means all.
    pub segments: Vec<String>,
}

/// Steps of a rollout: at least one, weights growing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Step>", into = "Vec<Step>")]
pub struct Steps(Vec<Step>);

impl Steps {
    /// Checks and wraps.
    ///
    /// # Errors
    /// None, a weight of 0, or weights that do not grow.
    pub fn new(steps: Vec<Step>) -> Result<Self, PolicyError> {
        if steps.is_empty() {
            return Err(PolicyError::NoSteps);
        }
        for (i, step) in steps.iter().enumerate() {
            if step.weight == Weight::ZERO {
                return Err(PolicyError::EmptyStep(i));
            }
            if i > 0 && step.weight <= steps[i - 1].weight {
                let before = steps[i - 1].weight;
                return Err(PolicyError::StepsMustGrow { step: i, weight: step.weight, before });
            }
        }
        Ok(Self(steps))
    }

    /// The steps in order.
    pub fn as_slice(&self) -> &[Step] {
        &self.0
    }
}

impl TryFrom<Vec<Step>> for Steps {
    type Error = PolicyError;
    fn try_from(steps: Vec<Step>) -> Result<Self, PolicyError> {
        Self::new(steps)
    }
}

impl From<Steps> for Vec<Step> {
    fn from(steps: Steps) -> Self {
        steps.0
    }
}

/// A gate of the rollout. Proof of harm beyond the tolerance rolls back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutGate {
    /// Requests that the version did not answer; the tolerance is on the ratio of rates.
    Errors {
        /// Relative: 0.10 allows 10 % more errors.
        tolerance: f64,
    },
    /// Requests answered later than the limit; the tolerance is on the ratio of rates.
    Slow {
        /// The limit.
        over: Duration,
        /// Relative.
        tolerance: f64,
    },
    /// Mean reward of matured exposures.
    Reward {
        /// Relative to stable, or a bound on the difference.
        tolerance: Margin,
    },
}

/// What happens when the time is over and nothing is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnInconclusive {
    /// Freeze and wait for a person (for at most another `max_duration`, then roll back).
    Pause,
    /// Promote.
    Promote,
    /// Roll back.
    Rollback,
}

/// What happens while routers report nothing. A step never goes on by it: that takes answered requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnMissingTelemetry {
    /// Keep the weight, and never promote, however much was seen before.
    Hold,
    /// Take no notice: what was seen before may be enough.
    Continue,
    /// Take the canary back.
    Rollback,
}

/// What happens when the time is over and the canary has answered too few requests to be judged at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnLowTraffic {
    /// Freeze and wait for a person (for at most another `max_duration`, then roll back).
    Pause,
    /// Roll back.
    Rollback,
}

/// A time in which nothing goes forward: no rollout starts, no weight grows, nothing is promoted. Harm still rolls back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Freeze {
    /// Once: `[from, until)`.
    Once {
        /// Its first moment.
        from: Timestamp,
        /// The first moment after it.
        until: Timestamp,
    },
    /// Every week, in minutes since Monday 00:00 UTC. One that begins later than it ends goes over Sunday night.
    Weekly {
        /// Its first minute, below 10,080.
        from: u32,
        /// The first minute after it, up to 10,080.
        until: u32,
    },
}

/// Minutes of a week.
const WEEK: u32 = 7 * 24 * 60;
/// The epoch was a Thursday.
const MONDAY_TO_EPOCH: i64 = 3 * 24 * 60;

impl Freeze {
    /// When the freeze that holds at `now` ends; none if it does not hold.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        match *self {
            Self::Once { from, until } => (from <= now && now < until).then_some(until),
            Self::Weekly { from, until } => {
                let minutes = now.as_second().div_euclid(60);
                let at = u32::try_from((minutes + MONDAY_TO_EPOCH).rem_euclid(i64::from(WEEK))).unwrap_or(0);
                let left = if from <= until {
                    (from <= at && at < until).then(|| until - at)
                } else if at >= from {
                    Some(WEEK - at + until)
                } else {
                    (at < until).then(|| until - at)
                };
                left.and_then(|left| Timestamp::from_second((minutes + i64::from(left)) * 60).ok())
            }
        }
    }
}

/// When the last of the freezes that hold at `now` ends; none if nothing is frozen.
pub fn frozen(freezes: &[Freeze], now: Timestamp) -> Option<Timestamp> {
    freezes.iter().filter_map(|freeze| freeze.until(now)).max()
}

/// How to roll out, and when to take back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPolicy {
    /// The steps.
    pub steps: Steps,
    /// Requests answered by the canary at each weight before the next.
    pub min_requests: u64,
    /// The gates.
    pub gates: Vec<RolloutGate>,
    /// Ask for proof of non-inferiority on every gate before promotion.
    pub require_proof: bool,
    /// The candidate answers stable's requests too, unseen; reward is then compared in pairs.
    pub shadow: bool,
    /// Chance of rolling back a version that is as good, over the whole rollout.
    pub false_alarm_rate: Probability,
    /// A rollout, and a pause, ends after this.
    pub max_duration: Duration,
    /// See [`OnInconclusive`].
    pub on_inconclusive: OnInconclusive,
    /// See [`OnMissingTelemetry`].
    pub on_missing_telemetry: OnMissingTelemetry,
    /// See [`OnLowTraffic`].
    pub on_low_traffic: OnLowTraffic,
    /// When nothing goes forward.
    pub freezes: Vec<Freeze>,
    /// After promotion the former version is kept for this long, and harm reverts.
    pub bake: Duration,
    /// How long feedback may take: exposures older than this are matured.
    pub reward_within: Duration,
    /// Its verdicts move the alias `champion`.
    pub promotes: bool,
    /// Share of users on the baseline for ever.
    pub holdback: Weight,
    /// Answers slower than this are slow (from the slow gate; 50 ms without one).
    pub slow_over: Duration,
    /// A version that has not answered after this is given up.
    pub deadline: Duration,
    /// How many servers a version gets; none where nobody scales it, or somebody else does.
    pub scaling: Option<ScalingPolicy>,
}

impl EndpointPolicy {
    /// The tolerance of the gate on errors, if there is one.
    pub fn errors_tolerance(&self) -> Option<f64> {
        self.gates.iter().find_map(|gate| match gate {
            RolloutGate::Errors { tolerance } => Some(*tolerance),
            _ => None,
        })
    }

    /// The tolerance of the gate on slow answers, if there is one.
    pub fn slow_tolerance(&self) -> Option<f64> {
        self.gates.iter().find_map(|gate| match gate {
            RolloutGate::Slow { tolerance, .. } => Some(*tolerance),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freezes_end_when_they_should() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (friday, monday) = (4 * 1440 + 18 * 60, 8 * 60);
        let weekend = Freeze::Weekly { from: friday, until: monday };
        let noon = Freeze::Weekly { from: 12 * 60, until: 13 * 60 };
        let sale = Freeze::Once { from: at("2026-11-27T00:00:00Z"), until: at("2026-12-01T00:00:00Z") };
        // 2026-11-27 is a Friday.
        let cases = [
            (weekend, "2026-11-27T17:59:59Z", None),
            (weekend, "2026-11-27T18:00:00Z", Some("2026-11-30T08:00:00Z")),
            (weekend, "2026-11-29T23:59:59Z", Some("2026-11-30T08:00:00Z")),
            (weekend, "2026-11-30T07:59:00Z", Some("2026-11-30T08:00:00Z")),
            (weekend, "2026-11-30T08:00:00Z", None),
            (noon, "2026-11-30T12:30:00Z", Some("2026-11-30T13:00:00Z")),
            (noon, "2026-12-01T12:30:00Z", None),
            (sale, "2026-11-26T23:59:59Z", None),
            (sale, "2026-11-27T00:00:00Z", Some("2026-12-01T00:00:00Z")),
            (sale, "2026-12-01T00:00:00Z", None),
        ];
        for (freeze, now, until) in cases {
            assert_eq!(freeze.until(at(now)), until.map(at), "{freeze:?} at {now}");
        }
        assert_eq!(frozen(&[noon, weekend, sale], at("2026-11-28T00:00:00Z")), Some(at("2026-12-01T00:00:00Z")));
        assert_eq!(frozen(&[], at("2026-11-28T00:00:00Z")), None);
    }
}
