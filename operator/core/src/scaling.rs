//! How many servers a track (the servers of one version) gets: capacity first, traffic second.
//!
//! One scaler per track, with bounds of its own, so that a canary and an autoscaler cannot fight over one pool
//! (argoproj/argo-rollouts#2857, #3849, #4607, kedacore/keda#6058). Work in flight over a stable and a panic window
//! decides, as Knative's pod autoscaler does it (`pkg/autoscaler/scaling/autoscaler.go`); slow answers only guard;
//! a step's capacity is ordered before its weight is set. Without fresh data nothing follows the load.
//!
//! It measures nothing, starts nothing and knows no rollout: whoever calls says what stable must be able to take back
//! (invariant I7) as [`Bounds::floor`], and carries the number out.

mod history;
mod policy;
mod windows;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Reason;
use crate::plan::{elapsed, spell};
use history::Highest;
use policy::{Limits, whole};
pub use policy::{ScalingError, ScalingPolicy, needed, worth};
use windows::Windows;

/// Loads within a tenth of what the replicas are meant for leave them alone, and going down keeps a tenth of headroom:
/// a load that flaps by less never moves the replicas. A tenth is the tolerance of the horizontal pod autoscaler.
const TOLERANCE: f64 = 0.1;
/// Below this part of the target more replicas do not make answers faster: each has few at once already.
const BUSY: f64 = 0.5;

/// What a track's servers did since the sample before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Its end.
    pub at: Timestamp,
    /// Requests at work on average, with those that waited and those that were shed: what was shed was demand.
    pub in_flight: f64,
    /// Requests offered a second, with those that were shed.
    pub requests_per_second: f64,
    /// The 95th percentile of the time to an answer.
    pub p95: Option<Duration>,
    /// Servers that can answer.
    pub ready: u32,
}

/// What the rollout asks of a track at this moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Never fewer: what stable needs to take everybody back during a canary and its bake (invariant I7). Above
    /// [`ScalingPolicy::max`] it counts as that.
    pub floor: u32,
    /// Never more; 0 for a track that was taken back (argoproj/argo-rollouts#4973). The floor comes first.
    pub ceiling: u32,
    /// The load that the track will get when the next weight is set, in replicas' worth: ordered beforehand.
    pub expected: Option<f64>,
    /// Since when the route has sent it nobody; `None` while it carries traffic.
    pub idle_since: Option<Timestamp>,
}

impl Bounds {
    /// Those of a track that carries traffic outside any rollout.
    pub fn free() -> Self {
        Self { floor: 0, ceiling: u32::MAX, expected: None, idle_since: None }
    }
}

/// How many replicas, and why. Codes: `Steady`, `ScaledUp`, `ScaledDown`, `ScaleDownDelayed`, `Panic`, `SlowAnswers`,
/// `Prescaled`, `AtFloor`, `AtCeiling`, `Idle`, `NoData`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// So many.
    pub replicas: u32,
    /// The number against its limit.
    pub reason: Reason,
}

/// What is remembered of a track between looks: at most 64 slots of load and 66 of past demand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scaler {
    replicas: u32,
    ready: u32,
    windows: Windows,
    /// The last time that the panic window was over the threshold; `None` outside panic.
    panic: Option<Timestamp>,
    highest: Highest,
    /// The last time that the replicas grew.
    raised: Option<Timestamp>,
    /// Something was measured since the last decision.
    #[serde(default)]
    fresh: bool,
}

/// The load of one look, in replicas' worth.
struct Load {
    stable: f64,
    panic: f64,
    now: Timestamp,
}

/// The load of all tracks together, in replicas' worth: of its signals the one that asks for more.
pub fn load_of_all(policy: &ScalingPolicy, scalers: &BTreeMap<String, Scaler>) -> f64 {
    let sum = |of: fn(&Scaler, &ScalingPolicy) -> f64| scalers.values().map(|scaler| of(scaler, policy)).sum();
    worth(policy, sum(Scaler::in_flight), sum(Scaler::requests_per_second))
}

impl Scaler {
    /// Begins with the replicas that there are. Where it began, or has lost its memory, it waits for
    /// [`ScalingPolicy::scale_down_delay`] before it takes any away.
    pub fn new(replicas: u32) -> Self {
        let (windows, highest) = (Windows::default(), Highest::default());
        Self { replicas, ready: replicas, windows, panic: None, highest, raised: None, fresh: false }
    }

    /// The replicas of the last decision.
    pub fn replicas(&self) -> u32 {
        self.replicas
    }

    /// Work in flight on average over the stable window, or over the panic window where that is more.
    pub fn in_flight(&self, policy: &ScalingPolicy) -> f64 {
        self.windows.in_flight(policy.stable_window).max(self.windows.in_flight(policy.panic_window))
    }

    /// Requests a second, in the same way.
    pub fn requests_per_second(&self, policy: &ScalingPolicy) -> f64 {
        let of = |window| self.windows.requests_per_second(window);
        of(policy.stable_window).max(of(policy.panic_window))
    }

    /// Whether the load outran the replicas lately. Evidence about a canary should wait while either track is: cold
    /// and overloaded servers are not what is compared.
    pub fn in_panic(&self) -> bool {
        self.panic.is_some()
    }

    /// Takes a sample in; the next [`Scaler::decide`] follows it. False if it came twice, late or broken.
    pub fn measure(&mut self, policy: &ScalingPolicy, sample: &Sample, now: Timestamp) -> bool {
        self.fresh = self.take(policy, sample, now);
        self.fresh
    }

    /// Decides by what was measured since the last decision. Without a sample, or with one that came twice, late or broken,
    /// the load is not followed and the replicas stay as they are, within the bounds. The same input gives the same
    /// decision (invariant I6).
    pub fn decide(&mut self, policy: &ScalingPolicy, bounds: &Bounds, now: Timestamp) -> Decision {
        let limits = Limits::of(policy, bounds, now);
        let fresh = std::mem::take(&mut self.fresh);
        let followed = if fresh { self.follow(policy, bounds, &limits, now) } else { self.stay_blind() };
        let decision = limits.hold(self.prepare(policy, bounds, followed));
        if decision.replicas > self.replicas {
            self.raised = Some(now);
        }
        self.replicas = decision.replicas;
        decision
    }

    /// [`Scaler::measure`] and [`Scaler::decide`] at once.
    pub fn look(
        &mut self,
        policy: &ScalingPolicy,
        sample: Option<&Sample>,
        bounds: &Bounds,
        now: Timestamp,
    ) -> Decision {
        if let Some(sample) = sample {
            self.measure(policy, sample, now);
        }
        self.decide(policy, bounds, now)
    }

    fn take(&mut self, policy: &ScalingPolicy, sample: &Sample, now: Timestamp) -> bool {
        let taken = self.windows.take(policy, sample, now);
        if taken {
            self.ready = sample.ready;
        }
        taken
    }

    fn stay_blind(&self) -> Decision {
        self.stay("NoData", "nothing was measured, or it came late, twice or broken: the load is not followed")
    }

    fn stay(&self, code: &str, why: impl std::fmt::Display) -> Decision {
        let replicas = self.replicas;
        Decision { replicas, reason: Reason::new(code, format!("{replicas} replicas stay: {why}")) }
    }

    /// Follows the load that was measured.
    fn follow(&mut self, policy: &ScalingPolicy, bounds: &Bounds, limits: &Limits, now: Timestamp) -> Decision {
        let worth = |window| self.windows.worth(policy, window);
        let load = Load { stable: worth(policy.stable_window), panic: worth(policy.panic_window), now };
        self.note_panic(policy, &load);
        let expected = bounds.expected.map_or(0, |expected| needed(policy, expected, 1.0));
        let most = if self.in_panic() { load.stable.max(load.panic) } else { load.stable };
        let roomy = whole(most * (1.0 + TOLERANCE));
        // Capacity that a step or the floor asked for counts as demand, so that it is not taken away between the order
        // and the traffic.
        let demand = roomy.max(expected).max(limits.lower);
        self.highest.record(demand, self.replicas, policy.scale_down_delay, now);
        if most > f64::from(self.replicas) * (1.0 + TOLERANCE) {
            return self.up(policy, most, &load);
        }
        self.guard(policy, &load).unwrap_or_else(|| self.down(policy, demand, &load))
    }

    /// Knative: panic begins when the panic window asks for `panic_threshold` times the ready replicas, and ends after a
    /// whole stable window without. One server within the tolerance of its target is no emergency.
    fn note_panic(&mut self, policy: &ScalingPolicy, load: &Load) {
        let ready = f64::from(self.ready.max(1));
        let over =
            f64::from(whole(load.panic)) >= policy.panic_threshold * ready && load.panic > ready * (1.0 + TOLERANCE);
        if over {
            self.panic = Some(load.now);
        } else if self.panic.is_some_and(|last| elapsed(last, load.now) >= policy.stable_window) {
            self.panic = None;
        }
    }

    fn up(&self, policy: &ScalingPolicy, most: f64, load: &Load) -> Decision {
        let wanted = whole(most);
        let replicas = wanted.min(self.up_limit(policy));
        let (before, code) = (self.replicas, if self.in_panic() { "Panic" } else { "ScaledUp" });
        let held = if replicas < wanted {
            format!(", {wanted} needed but at most {} times the {} ready at once", policy.scale_up_rate, self.ready)
        } else {
            String::new()
        };
        let message = format!("{before} to {replicas} replicas: {}{held}", self.numbers(policy, load));
        Decision { replicas, reason: Reason::new(code, message) }
    }

    /// At most so many after this look: a factor on what is ready, but never fewer than now.
    fn up_limit(&self, policy: &ScalingPolicy) -> u32 {
        self.replicas.max(self.ready.max(1).saturating_mul(policy.scale_up_rate.get()))
    }

    /// Why the replicas may not fall although the load would allow it, or must grow by one.
    fn guard(&self, policy: &ScalingPolicy, load: &Load) -> Option<Decision> {
        let slow = policy.p95.and_then(|limit| self.windows.slow(policy, limit).map(|slow| (limit, slow)));
        if let Some((limit, slow)) = slow.as_ref().filter(|(_, slow)| slow.still && self.may_add_one(policy, load)) {
            let replicas = self.replicas.saturating_add(1);
            let message = format!(
                "{} to {replicas} replicas: p95 {} is over {}, although the load is not: {}",
                self.replicas,
                spell(slow.p95),
                spell(*limit),
                self.numbers(policy, load)
            );
            return Some(Decision { replicas, reason: Reason::new("SlowAnswers", message) });
        }
        if let Some(last) = self.panic {
            let left = spell(policy.stable_window.saturating_sub(elapsed(last, load.now)));
            let why = format!("none is taken away for another {left} of calm: {}", self.numbers(policy, load));
            return Some(self.stay("Panic", why));
        }
        let (limit, slow) = slow?;
        let why = format!("p95 was {}, over {}: {}", spell(slow.p95), spell(limit), self.numbers(policy, load));
        Some(self.stay("SlowAnswers", why))
    }

    /// Slow answers add one replica in a stable window at most, so that cold servers do not call for the next; and only
    /// where the replicas are busy and those ordered before got ready.
    fn may_add_one(&self, policy: &ScalingPolicy, load: &Load) -> bool {
        let rested = self.raised.is_none_or(|raised| elapsed(raised, load.now) >= policy.stable_window);
        let busy = self.replicas > 0 && load.stable >= BUSY * f64::from(self.replicas);
        rested && busy && self.up_limit(policy) > self.replicas
    }

    fn down(&self, policy: &ScalingPolicy, demand: u32, load: &Load) -> Decision {
        if demand >= self.replicas {
            return self.stay("Steady", self.numbers(policy, load));
        }
        let highest = self.highest.within(policy.scale_down_delay, load.now).max(demand);
        if highest >= self.replicas {
            let delay = spell(policy.scale_down_delay);
            let why = format!("{highest} were needed within {delay}, {demand} are now: {}", self.numbers(policy, load));
            return self.stay("ScaleDownDelayed", why);
        }
        let replicas = highest.max(self.replicas.div_ceil(policy.scale_down_rate.get()));
        let message = format!("{} to {replicas} replicas: {}", self.replicas, self.numbers(policy, load));
        Decision { replicas, reason: Reason::new("ScaledDown", message) }
    }

    /// Orders the next step's capacity before its weight is set: Knative's gradual cut-over does not, and queues.
    fn prepare(&self, policy: &ScalingPolicy, bounds: &Bounds, followed: Decision) -> Decision {
        let Some(expected) = bounds.expected else {
            return followed;
        };
        let wanted = needed(policy, expected, 1.0);
        let replicas = wanted.min(self.up_limit(policy));
        if replicas <= followed.replicas {
            return followed;
        }
        let message = format!(
            "{} to {replicas} replicas: the next weight brings a load worth {expected:.1} replicas, {wanted} are needed",
            self.replicas
        );
        Decision { replicas, reason: Reason::new("Prescaled", message) }
    }

    fn numbers(&self, policy: &ScalingPolicy, load: &Load) -> String {
        format!(
            "the load is worth {:.2} replicas over {} and {:.2} over {} ({:.1} in flight at {} each), {} ready",
            load.stable,
            spell(policy.stable_window),
            load.panic,
            spell(policy.panic_window),
            self.windows.in_flight(policy.stable_window),
            policy.in_flight,
            self.ready
        )
    }
}
