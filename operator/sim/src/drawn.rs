//! What differs from schedule to schedule: policies, users, and what goes wrong how often. No number of a policy carries
//! the promises, so each is drawn.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use fairway_core::policy::{
    AdmissionPolicy, Degradation, EndpointPolicy, Freeze, Margin, ModelPolicy, OnInconclusive, OnLowTraffic,
    OnMissingTelemetry, Probability, RolloutGate, Step, Steps,
};
use fairway_core::scaling::ScalingPolicy;
use fairway_stats::{Bins, Histogram};
use fairway_wire::{FeatureProfile, Profile, Weight};
use jiff::Timestamp;

use crate::bucket::{EndpointPart, ModelPart};
use crate::fleet::Fleet;
use crate::plane::{Router, Users};
use crate::tape::Tape;
use crate::world::{Endpoint, Faults, Model};

const HOUR: Duration = Duration::from_secs(3_600);

/// The parts of a world.
pub(crate) struct World {
    pub faults: Faults,
    pub models: Vec<Model>,
    pub endpoints: Vec<Endpoint>,
}

/// Draws a world.
pub(crate) fn world(tape: &mut Tape, now: Timestamp) -> World {
    let faults = faults(tape);
    let (mut models, mut endpoints) = (Vec::new(), Vec::new());
    for index in 0..1 + tape.pick(2) as usize {
        let mut of_model = Vec::new();
        for nth in 0..1 + tape.pick(2) as usize {
            of_model.push(endpoints.len());
            endpoints.push(endpoint(tape, index, nth == 0, now));
        }
        models.push(model(tape, of_model));
    }
    World { faults, models, endpoints }
}

/// Each kind of fault is there or not, often or seldom.
fn faults(tape: &mut Tape) -> Faults {
    let mut rate = |most: u32| if tape.fault(600) { 1 + tape.pick(most) } else { 0 };
    Faults {
        bucket: rate(250),
        fleet: rate(150),
        plane: rate(200),
        controllers: rate(200),
        clock: rate(20),
        people: rate(60),
        training: rate(300),
    }
}

fn model(tape: &mut Tape, endpoints: Vec<usize>) -> Model {
    let mut consumed = Histogram::with_len(2);
    consumed.add_n(0, 9_000);
    consumed.add_n(1, 1_000);
    let bins = Bins::Categories { names: vec!["old".to_owned(), "new".to_owned()] };
    let consumed = Some(FeatureProfile { bins, reference: consumed, is_score: false });
    Model {
        policy: ModelPolicy {
            admission: AdmissionPolicy::default(),
            run: Default::default(),
            drift_psi: 0.25,
            drift_window: Duration::from_secs(86_400),
            degradation: Degradation::Ignore,
            period: 168 * HOUR,
            schedule: None,
            new_data: None,
            max_age: Some((6 + tape.pick(48)) * HOUR),
            erasure_lead: Duration::ZERO,
            cooldown: (1 + tape.pick(24)) * HOUR,
            after_rollout: tape.pick(6) * HOUR,
            reward_within: (1 + tape.pick(4)) * HOUR,
            budget_runs: 1 + tape.pick(6),
            budget_per: (24 + tape.pick(72)) * HOUR,
            breaker: 2 + tape.pick(4),
            half_open_after: tape.fault(600).then(|| (12 + tape.pick(48)) * HOUR),
            run_deadline: (1 + tape.pick(4)) * HOUR,
            run_prefix: String::new(),
            suspended: false,
        },
        part: ModelPart::default(),
        profile: Profile { consumed, ..Profile::default() },
        endpoints,
        unapproved: BTreeMap::new(),
        data_fault: None,
        bad_ends: 0,
        ended: None,
        asked: Vec::new(),
        started: Vec::new(),
    }
}

fn endpoint(tape: &mut Tape, model: usize, promotes: bool, now: Timestamp) -> Endpoint {
    let routers = (0..1 + tape.pick(3)).map(|i| Router::new(&format!("router-{i}"), now)).collect();
    let policy = policy(tape, promotes, now);
    let rewarded = policy.gates.len() > 1;
    let users = Users {
        requests: u64::from(20 + tape.pick(400)),
        reward_within: policy.reward_within,
        rewarded,
        taste: if tape.fault(300) { 600 } else { 100 },
    };
    Endpoint::new(model, policy, routers, users)
}

fn policy(tape: &mut Tape, promotes: bool, now: Timestamp) -> EndpointPolicy {
    let hold = |tape: &mut Tape| HOUR / 2 + HOUR / 2 * tape.pick(4);
    let mut steps = vec![Step { weight: Weight::from_percent(10), hold: hold(tape), segments: Vec::new() }];
    for percent in [30, 60] {
        if tape.fault(600) {
            steps.push(Step { weight: Weight::from_percent(percent), hold: hold(tape), segments: Vec::new() });
        }
    }
    let mut gates = vec![RolloutGate::Errors { tolerance: 0.1 }];
    if tape.fault(400) {
        gates.push(RolloutGate::Reward { tolerance: Margin::Relative(0.05) });
    }
    let freezes = if tape.fault(200) {
        let from = now + HOUR * tape.pick(60);
        vec![Freeze::Once { from, until: from + HOUR * tape.pick(30) }, Freeze::Weekly { from: 9_000, until: 300 }]
    } else {
        Vec::new()
    };
    let in_flight = NonZeroU32::MIN.saturating_add(7);
    let scaling = tape.fault(500).then(|| {
        let mut scaling = ScalingPolicy::new(1 + tape.pick(2), 4 + tape.pick(40), in_flight);
        scaling.stable_window = HOUR / 2;
        scaling.panic_window = HOUR / 6;
        scaling.scale_down_delay = HOUR;
        scaling
    });
    EndpointPolicy {
        steps: Steps::new(steps).unwrap_or_else(|_| unreachable!("weights grow")),
        min_requests: u64::from(20 + tape.pick(200)),
        gates,
        require_proof: tape.fault(150),
        shadow: false,
        false_alarm_rate: Probability::new(0.02).unwrap_or_else(|_| unreachable!("a probability")),
        max_duration: (8 + tape.pick(24)) * HOUR,
        on_inconclusive: [OnInconclusive::Pause, OnInconclusive::Promote, OnInconclusive::Rollback]
            [tape.pick(3) as usize],
        on_missing_telemetry: [OnMissingTelemetry::Hold, OnMissingTelemetry::Continue, OnMissingTelemetry::Rollback]
            [tape.pick(3) as usize],
        on_low_traffic: [OnLowTraffic::Pause, OnLowTraffic::Rollback][tape.pick(2) as usize],
        freezes,
        bake: HOUR * tape.pick(8),
        reward_within: HOUR * (1 + tape.pick(4)),
        promotes,
        holdback: Weight::ZERO,
        slow_over: Duration::from_millis(50),
        deadline: Duration::from_millis(250),
        scaling,
    }
}

impl Endpoint {
    fn new(model: usize, policy: EndpointPolicy, routers: Vec<Router>, users: Users) -> Self {
        Self {
            model,
            follows: if policy.promotes { "challenger" } else { "champion" },
            policy,
            part: EndpointPart::default(),
            fleet: Fleet::default(),
            config: None,
            routers,
            users,
            asked: Vec::new(),
            truth: Default::default(),
            ghost: Default::default(),
        }
    }
}
