//! What people ask of a scaler, the bounds that hold whatever is measured, and what a share of the load needs.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Bounds, Decision};
use crate::Reason;
use crate::plan::{elapsed, spell};

/// How a track is scaled. Defaults are Knative's and the horizontal pod autoscaler's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPolicy {
    /// Fewest replicas of a track that carries traffic.
    pub min: u32,
    /// Most replicas of a track, whatever is measured or asked.
    pub max: u32,
    /// Requests in flight that one replica is meant for.
    pub in_flight: NonZeroU32,
    /// Requests a second that one replica is meant for. The signal that asks for more replicas decides.
    pub requests_per_second: Option<NonZeroU32>,
    /// Answers slower than this hold the replicas up; they are a guard, not a target: cold servers distort them.
    pub p95: Option<Duration>,
    /// The window that decides in calm.
    pub stable_window: Duration,
    /// The window that notices a burst.
    pub panic_window: Duration,
    /// Panic begins when the panic window asks for so many times the ready replicas.
    pub panic_threshold: f64,
    /// After a look at most so many times the ready replicas.
    pub scale_up_rate: NonZeroU32,
    /// After a look at least the replicas divided by this; 1 never takes any away.
    pub scale_down_rate: NonZeroU32,
    /// The highest demand of this time counts on the way down.
    pub scale_down_delay: Duration,
    /// A track to which the route sends nobody goes to zero after this; never without.
    pub idle_after: Option<Duration>,
}

/// A scaling policy that cannot be used, and what is allowed instead.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ScalingError {
    /// More at least than at most.
    #[error("scaling.min {min} is above scaling.max {max}: lower min or raise max")]
    MinAboveMax {
        /// At least.
        min: u32,
        /// At most.
        max: u32,
    },
    /// Room for nobody.
    #[error("scaling.max is 0: nobody could be served; 1 or more")]
    NoRoom,
    /// A window of no length, or a panic window that is not the shorter one.
    #[error("scaling.panicWindow {panic} must be longer than zero and not longer than scaling.stableWindow {stable}")]
    Windows {
        /// The panic window, spelled.
        panic: String,
        /// The stable window, spelled.
        stable: String,
    },
    /// A threshold that is always or never reached.
    #[error("scaling.panicThreshold {0} must be a finite number above 1")]
    Threshold(f64),
}

impl ScalingPolicy {
    /// With defaults: windows of 60 s and 6 s, panic at twice the ready replicas, at most ten times up and by half down
    /// at a look, five minutes before any are taken away, never to zero.
    pub fn new(min: u32, max: u32, in_flight: NonZeroU32) -> Self {
        Self {
            min,
            max,
            in_flight,
            requests_per_second: None,
            p95: None,
            stable_window: Duration::from_secs(60),
            panic_window: Duration::from_secs(6),
            panic_threshold: 2.0,
            scale_up_rate: NonZeroU32::MIN.saturating_add(9),
            scale_down_rate: NonZeroU32::MIN.saturating_add(1),
            scale_down_delay: Duration::from_secs(300),
            idle_after: None,
        }
    }

    /// Checks what the types allow. A policy that was not checked still cannot break the scaler: `max` holds.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn checked(self) -> Result<Self, ScalingError> {
        let Self { min, max, stable_window, panic_window, panic_threshold, .. } = self;
        if max == 0 {
            return Err(ScalingError::NoRoom);
        }
        if min > max {
            return Err(ScalingError::MinAboveMax { min, max });
        }
        if panic_window.is_zero() || panic_window > stable_window {
            return Err(ScalingError::Windows { panic: spell(panic_window), stable: spell(stable_window) });
        }
        if !(panic_threshold.is_finite() && panic_threshold > 1.0) {
            return Err(ScalingError::Threshold(panic_threshold));
        }
        Ok(self)
    }
}

/// The load of so much work in flight and so many requests a second, in replicas' worth: the signal that asks for more decides.
pub fn worth(policy: &ScalingPolicy, in_flight: f64, requests_per_second: f64) -> f64 {
    let by_rate = policy.requests_per_second.map_or(0.0, |target| requests_per_second / f64::from(target.get()));
    (in_flight / f64::from(policy.in_flight.get())).max(by_rate)
}

/// The replicas that a `share` (0 to 1) of a load of so many replicas' worth needs, at least `min`.
///
/// Not cut off at `max`: where it is above, the weight needs more than the policy allows, and a step should say so
/// rather than wait for ever. A load that is not a number needs `min`.
pub fn needed(policy: &ScalingPolicy, load: f64, share: f64) -> u32 {
    whole(load * share.clamp(0.0, 1.0)).max(policy.min)
}

/// Whole replicas for a load of so many replicas' worth. A mean that is a trace of rounding above a whole number must not
/// cost a replica.
pub(super) fn whole(worth: f64) -> u32 {
    // A cast saturates, and what is not a number becomes 0.
    (worth - 1e-6).ceil() as u32
}

/// Between these the replicas stay, whatever is measured.
pub(super) struct Limits {
    pub(super) lower: u32,
    upper: u32,
    floor: u32,
    idle: Option<Duration>,
}

impl Limits {
    pub(super) fn of(policy: &ScalingPolicy, bounds: &Bounds, now: Timestamp) -> Self {
        let floor = bounds.floor.min(policy.max);
        let idle = bounds.idle_since.map(|since| elapsed(since, now));
        let idle = idle.filter(|idle| floor == 0 && policy.idle_after.is_some_and(|after| *idle >= after));
        let upper = if idle.is_some() { 0 } else { policy.max.min(bounds.ceiling.max(floor)) };
        Self { lower: policy.min.max(floor).min(upper), upper, floor, idle }
    }

    /// The decision within the limits; where they change it they are the reason.
    pub(super) fn hold(&self, decision: Decision) -> Decision {
        let Decision { replicas, reason } = decision;
        let held = replicas.clamp(self.lower, self.upper);
        if held == replicas {
            return Decision { replicas, reason };
        }
        let (code, why) = match self.idle {
            Some(idle) => ("Idle", format!("the route has sent it nobody for {}", spell(idle))),
            None if held < replicas => ("AtCeiling", format!("{replicas} would be needed, {held} are allowed")),
            None if self.lower == self.floor => {
                ("AtFloor", format!("{held} are kept to take everybody back, {replicas} would do for the load"))
            }
            None => ("AtFloor", format!("{held} is the least (scaling.min), {replicas} would do for the load")),
        };
        let message = format!("{held} replicas: {why}; {}", reason.message);
        Decision { replicas: held, reason: Reason::new(code, message) }
    }
}
