//! From the manifest's endpoint to the policy that core decides by, with every contradiction named. All are reported, not
//! only the first.

use std::collections::BTreeSet;
use std::time::Duration as StdDuration;

use fairway_core::policy::{
    EndpointPolicy, Freeze, OnInconclusive as PolicyInconclusive, OnLowTraffic as PolicyLowTraffic,
    OnMissingTelemetry as PolicyMissing, PolicyError, Probability, Step as PolicyStep, Steps,
};
use fairway_wire::Weight;

use super::gates::gates;
use super::{ModelEndpointSpec, OnInconclusive, OnLowTraffic, OnMissingTelemetry, Rollout, Rung};
use crate::error::{FieldError, positive};
use crate::values::{Duration, Moment};
use crate::workload::{environment, is_default, pod, resources};

/// What counts as slow when no gate says so.
const SLOW_OVER: StdDuration = StdDuration::from_millis(50);

impl ModelEndpointSpec {
    /// The policy that core decides by. `reward_within` is the model's: how long feedback may take.
    ///
    /// # Errors
    /// All fields that contradict each other or that this version does not support.
    pub fn policy(&self, reward_within: StdDuration) -> Result<EndpointPolicy, Vec<FieldError>> {
        let mut errors = Vec::new();
        let rollout = &self.rollout;
        let steps = steps(rollout, &mut errors);
        let gates = gates(rollout, &mut errors);
        let false_alarm_rate = false_alarm_rate(rollout, &mut errors);
        let freezes = freezes(rollout, &mut errors);
        self.check_server(gates.slow_over, &mut errors);
        let (Some(steps), Some(false_alarm_rate), true) = (steps, false_alarm_rate, errors.is_empty()) else {
            return Err(errors);
        };
        Ok(EndpointPolicy {
            steps,
            min_requests: rollout.min_requests,
            gates: gates.gates,
            require_proof: rollout.require_proof,
            shadow: gates.shadow,
            false_alarm_rate,
            max_duration: rollout.max_duration.std(),
            on_inconclusive: match rollout.on_inconclusive {
                OnInconclusive::Pause => PolicyInconclusive::Pause,
                OnInconclusive::Promote => PolicyInconclusive::Promote,
                OnInconclusive::Rollback => PolicyInconclusive::Rollback,
            },
            on_missing_telemetry: match rollout.on_missing_telemetry {
                OnMissingTelemetry::Hold => PolicyMissing::Hold,
                OnMissingTelemetry::Continue => PolicyMissing::Continue,
                OnMissingTelemetry::Rollback => PolicyMissing::Rollback,
            },
            on_low_traffic: match rollout.on_low_traffic {
                OnLowTraffic::Pause => PolicyLowTraffic::Pause,
                OnLowTraffic::Rollback => PolicyLowTraffic::Rollback,
            },
            freezes,
            bake: rollout.bake.std(),
            reward_within,
            promotes: self.promotes,
            holdback: self.holdback.weight(),
            slow_over: gates.slow_over.map_or(SLOW_OVER, Duration::std),
            deadline: self.server.deadline.std(),
            // One process serves in `fairway up`; on a cluster it is what `spec.scaling` comes to.
            scaling: None,
        })
    }

    /// What is written down and understood, but not acted on by `fairway up`.
    pub fn warnings(&self) -> Vec<FieldError> {
        let mut notes = Vec::new();
        if self.server.container.is_some() {
            let problem =
                "container servers are started on Kubernetes only: in `fairway up` the built-in server answers";
            notes.push(FieldError::new("spec.server.container", problem, "use server: {builtin: {}}"));
        }
        self.cluster_notes(&mut notes);
        if self.decision_log.retention != super::DecisionLog::default().retention {
            let problem = "decisions are never deleted in this version";
            notes.push(FieldError::new("spec.decisionLog.retention", problem, "leave it out"));
        }
        if self.rollout.gates.iter().all(|gate| gate.metric.is_none()) {
            let problem = "without a gate no harm can be proved: every version is promoted when its steps are done";
            notes.push(FieldError::new(
                "spec.rollout.gates",
                problem,
                "leave gates out to get errors 10% and reward 2%",
            ));
        }
        notes
    }

    /// What only a cluster can do.
    fn cluster_notes(&self, notes: &mut Vec<FieldError>) {
        let server = &self.server;
        let set = [
            ("spec.scaling", self.scaling != super::Scaling::default()),
            ("spec.router", self.router != super::Router::default()),
            ("spec.server.resources", server.resources.is_some()),
            ("spec.server.podTemplate", !is_default(&server.pod_template)),
            ("spec.notifications", !self.notifications.is_empty()),
            ("spec.networkPolicy", !is_default(&self.network_policy)),
            ("spec.httpRoute", self.http_route.is_some()),
            ("spec.deletionPolicy", !is_default(&self.deletion_policy)),
            ("spec.suspend", self.suspend),
        ];
        let problem = "this is acted on by Kubernetes only: in `fairway up` one process serves";
        notes.extend(set.iter().filter(|(_, set)| *set).map(|(field, _)| FieldError::new(*field, problem, "")));
    }

    fn check_server(&self, slow_over: Option<Duration>, errors: &mut Vec<FieldError>) {
        let server = &self.server;
        if server.builtin.is_some() && server.container.is_some() {
            let help = "keep one of them";
            errors.push(FieldError::new("spec.server", "both builtin and container are named", help));
        }
        positive("spec.server.deadline", server.deadline, errors);
        if let Some(over) = slow_over.filter(|over| *over >= server.deadline) {
            let problem = format!("{} is not longer than the limit of slow answers ({over})", server.deadline);
            let help = "an answer that is given up is an error, so nothing could ever be slow: raise deadline or lower the gate's over";
            errors.push(FieldError::new("spec.server.deadline", problem, help));
        }
        self.check_scaling(errors);
        self.check_network(errors);
        if let Some(container) = &server.container {
            environment("spec.server.container.env", &container.env, errors);
        }
        resources("spec.server.resources", server.resources.as_ref(), errors);
        resources("spec.router.resources", self.router.resources.as_ref(), errors);
        pod("spec.server.podTemplate", &server.pod_template, errors);
        pod("spec.router.podTemplate", &self.router.pod_template, errors);
        let mut seen = BTreeSet::new();
        for (i, rung) in self.fallback.iter().enumerate() {
            if !seen.insert(fairway_wire::Rung::from(*rung)) {
                let field = format!("spec.fallback[{i}]");
                errors.push(FieldError::new(field, format!("{rung:?} is there already"), "each rung at most once"));
            }
        }
        if self.fallback.last() != Some(&Rung::Popularity) {
            let help = "end with Popularity: it always has an answer";
            errors.push(FieldError::new("spec.fallback", "nobody might answer", help));
        }
        if self.holdback.weight() == Weight::FULL {
            let help = "less than 100%; 1% to 5% is usual";
            errors.push(FieldError::new("spec.holdback", "nobody would be left to serve", help));
        }
    }
}

fn steps(rollout: &Rollout, errors: &mut Vec<FieldError>) -> Option<Steps> {
    let holds = rollout.steps.iter().map(|step| step.hold.std()).fold(StdDuration::ZERO, StdDuration::saturating_add);
    if holds >= rollout.max_duration.std() {
        let problem =
            format!("{} is not longer than all holds together ({})", rollout.max_duration, Duration::from_std(holds));
        let help = "the rollout would end before its last step: shorten the holds or raise maxDuration";
        errors.push(FieldError::new("spec.rollout.maxDuration", problem, help));
    }
    let parsed = rollout.steps.iter().map(|step| PolicyStep {
        weight: Weight::from_percent(step.weight),
        hold: step.hold.std(),
        segments: step.segments.clone(),
    });
    match Steps::new(parsed.collect()) {
        Ok(steps) => return Some(steps),
        Err(PolicyError::StepsMustGrow { step, weight, before }) => {
            let problem = format!("{} is not above the step before ({})", weight.percent(), before.percent());
            let help = "weights must grow from step to step: a rollout only ever adds users";
            errors.push(FieldError::new(format!("spec.rollout.steps[{step}].weight"), problem, help));
        }
        Err(PolicyError::EmptyStep(step)) => {
            let field = format!("spec.rollout.steps[{step}].weight");
            errors.push(FieldError::new(field, "a step of 0 tries nothing", "1 to 100"));
        }
        Err(other) => {
            errors.push(FieldError::new("spec.rollout.steps", other.to_string(), "such as - {weight: 5, hold: 30m}"))
        }
    }
    None
}

fn false_alarm_rate(rollout: &Rollout, errors: &mut Vec<FieldError>) -> Option<Probability> {
    let rate = rollout.false_alarm_rate;
    match Probability::new(rate.fraction()) {
        Ok(probability) => Some(probability),
        Err(_) => {
            let problem = format!("{rate} is not a chance that a rollout can have");
            errors.push(FieldError::new(
                "spec.rollout.falseAlarmRate",
                problem,
                "above 0% and below 100%; 5% is usual",
            ));
            None
        }
    }
}

fn freezes(rollout: &Rollout, errors: &mut Vec<FieldError>) -> Vec<Freeze> {
    let mut parsed = Vec::new();
    for (i, freeze) in rollout.freezes.iter().enumerate() {
        let field = format!("spec.rollout.freezes[{i}].until");
        match (freeze.from, freeze.until) {
            (Moment::Once(from), Moment::Once(until)) if from < until => parsed.push(Freeze::Once { from, until }),
            (Moment::Weekly(from), Moment::Weekly(until)) if from != until => {
                parsed.push(Freeze::Weekly { from, until });
            }
            (Moment::Once(_), Moment::Once(_)) | (Moment::Weekly(_), Moment::Weekly(_)) => {
                let problem = format!("{} is not after {}", freeze.until, freeze.from);
                errors.push(FieldError::new(field, problem, "a freeze ends after it begins"));
            }
            _ => {
                let problem = format!("{} and {} are of two kinds", freeze.from, freeze.until);
                let help = "both once (2026-11-27T00:00:00Z) or both of every week (Fri 18:00)";
                errors.push(FieldError::new(field, problem, help));
            }
        }
    }
    parsed
}
