//! What a manifest means when it says as little as it may.

use std::time::Duration;

use fairway_api::{Manifest, ModelEndpointSpec, ModelSpec, parse_documents};
use fairway_core::policy::{
    AdmissionPolicy, Degradation, Demand, FairnessGate, Margin, Metric, MetricKind, Mode, OnInconclusive,
    OnMissingTelemetry, RolloutGate, Segments, Versus,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn model(more: &str) -> ModelSpec {
    let text = format!(
        "apiVersion: fairway.dev/v1alpha1\nkind: Model\nmetadata: {{name: m}}\nspec:\n  data: {{interactions: {{url: a, sql: SELECT 1}}}}\n  \
         reward: {{event: purchase, within: 1h}}\n  trainer: {{builtin: {{family: ease}}}}\n{more}"
    );
    match parse_documents(&text, "f").unwrap().remove(0).value {
        Manifest::Model(model) => model.spec,
        other => panic!("{other:?}"),
    }
}

fn endpoint(more: &str) -> ModelEndpointSpec {
    let text = format!(
        "apiVersion: fairway.dev/v1alpha1\nkind: ModelEndpoint\nmetadata: {{name: e}}\nspec:\n  model: m\n{more}"
    );
    match parse_documents(&text, "f").unwrap().remove(0).value {
        Manifest::ModelEndpoint(endpoint) => endpoint.spec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_a_model() {
    let spec = model("");
    assert_eq!(spec.data.history.std(), 180 * DAY);
    assert_eq!((spec.evaluation.holdout.std(), spec.evaluation.refit), (14 * DAY, true));
    assert_eq!((spec.reward.cap.get(), spec.approval.required), (10.0, 0));
    assert_eq!((spec.retention.versions, spec.retention.erasure.std()), (20, 30 * DAY));
    assert_eq!((spec.data.freshness, spec.registry.as_deref()), (None, None));
    assert!(spec.warnings().is_empty());
    let policy = spec.policy().unwrap();
    assert_eq!(policy.drift_psi, 0.25);
    assert_eq!(policy.degradation, Degradation::ServeBaselineAndRetrain);
    assert_eq!((policy.period, policy.max_age, policy.cooldown), (7 * DAY, Some(60 * DAY), 7 * DAY));
    assert_eq!((policy.budget_runs, policy.budget_per, policy.breaker), (6, 30 * DAY, 3));
    assert_eq!(policy.run_deadline, HOUR);
    let gates: Vec<_> = policy.admission.gates.iter().map(|g| (g.metric.to_string(), g.versus, g.demand)).collect();
    let expected = [
        ("recall@20".to_owned(), Versus::Champion, Demand::AtMostWorse(Margin::Relative(0.0))),
        ("recall@20".to_owned(), Versus::Popularity, Demand::AtLeastBetter(Margin::Absolute(0.0))),
    ];
    assert_eq!(gates, expected);
    assert!(policy.admission.gates.iter().all(|gate| gate.segments == Segments::Overall));
    let AdmissionPolicy { fairness, signature, latency_p95, approvals, approval_valid_for, .. } = policy.admission;
    assert_eq!((fairness, signature, latency_p95, approvals, approval_valid_for), (None, false, None, 0, None));
    assert_eq!((policy.schedule, policy.new_data, policy.half_open_after), (None, None, Some(30 * DAY)));
    assert_eq!((policy.after_rollout, policy.reward_within, policy.erasure_lead), (DAY, HOUR, 15 * DAY));
    assert_eq!((policy.run.mode, policy.run.history_after_drift), (Mode::Full, None));
}

/// What a person changes after a run that came to nothing, and what says nothing about such a run.
#[test]
fn the_recipe_changes_with_data_and_trainer_and_with_nothing_else() {
    let recipe = |spec: &ModelSpec| spec.policy().unwrap().run.recipe;
    let (before, mut data, mut trainer) = (model(""), model(""), model(""));
    data.data.interactions.url = "b".to_owned();
    trainer.trainer.builtin.as_mut().unwrap().parameters.insert("minUsers".to_owned(), "3".to_owned());
    assert_eq!(recipe(&before), recipe(&model("  retrain: {cooldown: 1d}\n  retention: {versions: 3}\n")));
    assert!(recipe(&data) != recipe(&before) && recipe(&trainer) != recipe(&before));
    assert_eq!(recipe(&before).len(), 16);
}

#[test]
fn of_an_endpoint() {
    let spec = endpoint("");
    assert_eq!(spec.version.to_string(), "@challenger");
    assert_eq!((spec.decision_log.sample.fraction(), spec.decision_log.retention.std()), (1.0, 90 * DAY));
    assert_eq!(spec.fallback.len(), 4);
    // Routers are told nothing of the usual order.
    assert!(spec.fallback.iter().copied().map(fairway_wire::Rung::from).eq(fairway_wire::FALLBACK));
    assert!(spec.warnings().is_empty());
    let policy = spec.policy(HOUR).unwrap();
    let steps: Vec<_> = policy.steps.as_slice().iter().map(|s| (s.weight.ppm(), s.hold, s.segments.len())).collect();
    assert_eq!(steps, [(50_000, HOUR / 2, 0), (250_000, HOUR, 0), (500_000, HOUR, 0)]);
    let gates = [RolloutGate::Errors { tolerance: 0.1 }, RolloutGate::Reward { tolerance: Margin::Relative(0.02) }];
    assert_eq!(policy.gates, gates);
    assert_eq!((policy.min_requests, policy.require_proof, policy.shadow, policy.promotes), (500, false, false, true));
    assert_eq!(policy.false_alarm_rate.get(), 0.05);
    assert_eq!((policy.max_duration, policy.bake, policy.reward_within), (3 * DAY, 2 * HOUR, HOUR));
    assert_eq!(
        (policy.on_inconclusive, policy.on_missing_telemetry),
        (OnInconclusive::Pause, OnMissingTelemetry::Hold)
    );
    assert_eq!((policy.holdback.ppm(), policy.slow_over.as_millis(), policy.deadline.as_millis()), (0, 50, 250));
}

#[test]
fn what_is_said_of_admission_and_triggers_is_meant() {
    let spec = model(
        "  retrain: {schedule: {cron: 0 3 * * mon}, newData: {share: 20%}, breaker: {halfOpenAfter: 9d}, afterRollout: 3d, \
         drift: {history: 60d}}\n  approval: {required: 2, validFor: 90d}\n  retention: {erasure: 20d}\n  evaluation:\n    \
         fairness: {metric: recall@20, gap: 0.05}\n    latency: {p95: 20ms}\n    gates:\n    \
         - {metric: recall@20, versus: Champion, tolerance: 2%, segments: Each, minCount: 300}\n    \
         - {metric: ndcg@10, versus: Popularity, minGain: 0, segments: Each}\n",
    );
    let policy = spec.policy().unwrap();
    assert_eq!(policy.schedule.map(|cron| cron.to_string()).as_deref(), Some("0 3 * * mon"));
    assert_eq!((policy.new_data, policy.half_open_after, policy.after_rollout), (Some(0.2), Some(9 * DAY), 3 * DAY));
    assert_eq!((policy.run.history_after_drift, policy.erasure_lead), (Some(60 * DAY), 10 * DAY));
    let admission = policy.admission;
    let segments: Vec<_> = admission.gates.iter().map(|gate| gate.segments).collect();
    assert_eq!(segments, [Segments::Each { min_count: 300 }, Segments::Each { min_count: 500 }]);
    let recall = Metric { kind: MetricKind::Recall, k: 20 };
    assert_eq!(admission.fairness, Some(FairnessGate { metric: recall, gap: 0.05, min_count: 500 }));
    assert_eq!(admission.latency_p95, Some(Duration::from_millis(20)));
    assert_eq!((admission.approvals, admission.approval_valid_for), (2, Some(90 * DAY)));

    let mut spec = model("  signing: {publicKeys: [x]}\n");
    spec.trainer.mode = fairway_api::model::TrainingMode::WarmStart;
    let policy = spec.policy().unwrap();
    assert!(policy.admission.signature);
    assert_eq!(policy.run.mode, Mode::WarmStart { full_every: 5 });
}

#[test]
fn what_is_said_is_meant() {
    let spec = model(
        "  retrain: {drift: {psi: 0.1}, degradation: {then: Ignore}, maxAge: 9d, cooldown: 0s, budget: {runs: 2}}\n  evaluation:\n    \
         gates: [{metric: ndcg@10, versus: Popularity, minGain: 1%}]\n",
    );
    let policy = spec.policy().unwrap();
    assert_eq!((policy.drift_psi, policy.degradation, policy.max_age), (0.1, Degradation::Ignore, Some(9 * DAY)));
    assert_eq!((policy.cooldown, policy.budget_runs, policy.budget_per), (Duration::ZERO, 2, 30 * DAY));
    assert_eq!(policy.after_rollout, Duration::ZERO, "no longer than the cooldown");
    assert_eq!(policy.admission.gates[0].demand, Demand::AtLeastBetter(Margin::Relative(0.01)));

    let spec = endpoint(
        "  version: 7\n  promotes: false\n  holdback: 2%\n  server: {builtin: {}, deadline: 1s}\n  rollout:\n    steps: [{weight: 100, hold: 0s, \
         segments: [UK]}]\n    gates: [{metric: slow, over: 300ms}, {metric: reward, tolerance: 0.005}, {shadow: true}]\n    \
         requireProof: true\n    onInconclusive: Rollback\n    onMissingTelemetry: Rollback\n",
    );
    let policy = spec.policy(HOUR).unwrap();
    assert_eq!((policy.slow_over.as_millis(), policy.deadline.as_millis(), policy.holdback.ppm()), (300, 1000, 20_000));
    assert_eq!(policy.gates[1], RolloutGate::Reward { tolerance: Margin::Absolute(0.005) });
    assert!(policy.shadow && policy.require_proof && !policy.promotes);
    assert_eq!(policy.steps.as_slice()[0].segments, ["UK"]);
    assert_eq!(
        (policy.on_inconclusive, policy.on_missing_telemetry),
        (OnInconclusive::Rollback, OnMissingTelemetry::Rollback)
    );
}
