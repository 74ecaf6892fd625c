//! What scaling, experiments and approvals come to for those who decide.

use std::time::Duration;

use fairway_api::values::VersionRef;
use fairway_api::{Manifest, ModelEndpointSpec, ModelExperimentSpec, ModelSpec, parse_documents};
use fairway_core::experiment::{Guardrail, Treatment};
use fairway_core::policy::{OnInconclusive, OnMissingTelemetry};
use fairway_wire::Target;

const DAY: Duration = Duration::from_secs(86_400);

fn document(kind: &str, spec: &str) -> Manifest {
    let text = format!("{{apiVersion: fairway.dev/v1alpha1, kind: {kind}, metadata: {{name: x}}, spec: {{{spec}}}}}");
    parse_documents(&text, "f").unwrap_or_else(|errors| panic!("{}", errors[0])).remove(0).value
}

fn experiment(more: &str) -> ModelExperimentSpec {
    let spec = format!(
        "endpoint: e, share: 10%, control: old, arms: [{{name: old, version: '3'}}, {{name: new, version: '@challenger', \
         weight: 2}}, {{name: none, baseline: {{}}}}]{more}"
    );
    match document("ModelExperiment", &spec) {
        Manifest::ModelExperiment(experiment) => experiment.spec,
        other => panic!("{other:?}"),
    }
}

/// Version 3 is there, and the challenger is version 4.
fn resolve(version: &VersionRef) -> Option<Target> {
    let number = match version {
        VersionRef::Number(3) => 3,
        VersionRef::Alias(name) if name == "challenger" => 4,
        _ => return None,
    };
    Some(Target { version: number, digest: format!("sha256:{number}") })
}

#[test]
fn high_risk_only_tightens() {
    let spec = "data: {interactions: {url: d, sql: 'SELECT * FROM interactions'}}, reward: {event: purchase, within: 1d}, trainer: {builtin: {family: ease}}";
    let model = |more: &str| match document("Model", &format!("{spec}{more}")) {
        Manifest::Model(model) => model.spec,
        other => panic!("{other:?}"),
    };
    let endpoint =
        |rollout: &str| match document("ModelEndpoint", &format!("model: m, {rollout}decisionLog: {{sample: 10%}}")) {
            Manifest::ModelEndpoint(endpoint) => endpoint.spec,
            other => panic!("{other:?}"),
        };
    let (standard, high, by_two) = (model(""), model(", risk: High"), model(", risk: High, approval: {required: 2}"));
    let approvals = [&standard, &high, &by_two].map(|model| model.policy().unwrap().admission.approvals);
    assert_eq!(approvals, [0, 1, 2]);
    let lax = endpoint("rollout: {onMissingTelemetry: Continue, onInconclusive: Promote}, ");
    let of = |model: &ModelSpec, endpoint: &ModelEndpointSpec| {
        let policy = model.endpoint_policy(endpoint).unwrap();
        (policy.on_missing_telemetry, policy.on_inconclusive, model.decision_sample(endpoint))
    };
    assert_eq!(of(&standard, &lax), (OnMissingTelemetry::Continue, OnInconclusive::Promote, 0.1));
    assert_eq!(of(&high, &lax), (OnMissingTelemetry::Rollback, OnInconclusive::Pause, 1.0));
    let strict = endpoint("rollout: {onMissingTelemetry: Rollback, onInconclusive: Rollback}, ");
    assert_eq!(of(&high, &strict), (OnMissingTelemetry::Rollback, OnInconclusive::Rollback, 1.0));
    assert!(high.warnings().is_empty(), "it is acted on: {:?}", high.warnings());
}

#[test]
fn of_scaling() {
    let scaling = |more: &str| match document("ModelEndpoint", &format!("model: m{more}")) {
        Manifest::ModelEndpoint(endpoint) => endpoint.spec.scaling,
        other => panic!("{other:?}"),
    };
    let policy = scaling("").policy().unwrap();
    assert_eq!((policy.min, policy.max, policy.in_flight.get()), (1, 4, 8));
    assert_eq!((policy.requests_per_second, policy.p95, policy.scale_down_delay.as_secs()), (None, None, 300));
    let said =
        scaling(", scaling: {min: 2, max: 9, inFlight: 3, requestsPerSecond: 200, p95: 50ms, scaleDownDelay: 10s}");
    let policy = said.policy().unwrap();
    assert_eq!((policy.min, policy.max, policy.in_flight.get()), (2, 9, 3));
    assert_eq!(policy.requests_per_second.map(std::num::NonZeroU32::get), Some(200));
    assert_eq!((policy.p95, policy.scale_down_delay.as_secs()), (Some(Duration::from_millis(50)), 10));
    let cpu = |more: &str| {
        scaling(&format!(", server: {{resources: {{cpu: '1'}}}}, scaling: {{mode: HPA{more}}}")).cpu_or_default()
    };
    assert_eq!((cpu(""), cpu(", cpuUtilization: 50"), cpu(", inFlight: 8")), (70, 50, 70));
}

#[test]
fn of_an_experiment() {
    let policy = experiment("").policy("ranking", resolve).unwrap();
    assert_eq!((policy.name.as_str(), policy.layer.as_str(), policy.control.as_str()), ("ranking", "default", "old"));
    assert_eq!((policy.share.ppm(), policy.goal.as_str(), policy.false_alarm_rate.get()), (100_000, "reward", 0.05));
    assert_eq!((policy.min_users, policy.min_requests, policy.max_duration), (1000, 1000, Some(28 * DAY)));
    let arms: Vec<_> = policy.arms.iter().map(|arm| (arm.name.as_str(), arm.weight, arm.treatment.clone())).collect();
    let version = |number| Treatment::Version(Target { version: number, digest: format!("sha256:{number}") });
    assert_eq!(arms, [("old", 1, version(3)), ("new", 2, version(4)), ("none", 1, Treatment::Baseline)]);
    assert_eq!(policy.gates, [Guardrail::Errors { tolerance: 0.1 }]);

    let holdback = experiment(", purpose: Holdback, gates: [{metric: slow}]").policy("off", resolve).unwrap();
    assert_eq!((holdback.max_duration, &holdback.gates[..]), (None, &[Guardrail::Slow { tolerance: 0.2 }][..]));
}

#[test]
fn an_experiment_needs_versions_that_are_there() {
    let errors = experiment("").policy("1st", |_| None).unwrap_err();
    let said: Vec<_> = errors.iter().map(|error| (error.field.as_str(), error.problem.as_str())).collect();
    let expected = [
        ("metadata.name", "`1st` cannot name an experiment"),
        ("spec.arms[0]", "there is no version `3`"),
        ("spec.arms[1]", "there is no version `@challenger`"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn of_an_approval() {
    let spec = format!(
        "model: m, digest: 'sha256:{}', word: Reject, approver: ann, reason: no, expires: '2027-01-01T00:00:00Z'",
        "0a".repeat(32)
    );
    let Manifest::ModelApproval(approval) = document("ModelApproval", &spec.replace("reason: no", "reason: 'no'"))
    else {
        panic!("{spec}");
    };
    let given = "2026-11-27T12:00:00Z".parse().unwrap();
    let word = approval.spec.word(given);
    assert_eq!((word.actor, word.approves, word.time), ("ann", false, given));
    assert_eq!(word.expires.map(|time| time.to_string()).as_deref(), Some("2027-01-01T00:00:00Z"));
    assert!(word.digest.starts_with("sha256:0a"));
}
