//! What manifests ask of an endpoint's experiments, as core takes it, and how each stands, as its status says it. Both
//! runtimes use it; what is read and written is theirs.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use fairway_api::experiment::{ArmStatus, ModelExperimentSpec, ModelExperimentStatus};
use fairway_api::values::VersionRef;
use fairway_core::endpoint::{AskedExperiment, EndpointStatus};
use fairway_core::experiment::{ArmRecord, ArmVerdict, ExperimentPolicy, ExperimentStatus, Record};
use fairway_core::{Condition, Reason};
use fairway_registry::{EndpointLog, State};
use fairway_wire::Target;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::wanted::{target_of, version_named};

/// What manifests come to.
#[derive(Clone, Debug, Default)]
pub struct Experiments {
    /// Those that can be decided.
    pub asked: Vec<AskedExperiment>,
    /// Those that cannot, and why.
    pub refused: BTreeMap<String, Reason>,
}

/// Reads the experiments of one endpoint, by name. An alias stands for the version that it named when the experiment began.
/// `archived` are those whose record is in the bucket.
pub fn experiments<'a>(
    manifests: impl IntoIterator<Item = (&'a str, &'a ModelExperimentSpec)>,
    status: &EndpointStatus,
    registered: Option<&State>,
    archived: &BTreeSet<String>,
) -> Experiments {
    let mut all = Experiments::default();
    for (name, spec) in manifests {
        let known = status.experiments.known.get(name);
        let running = known.and_then(|it| it.running.as_ref()).map(|running| &running.rules);
        let rules = running.or_else(|| known.and_then(|it| it.ended.as_ref()).map(|record| &record.rules));
        let policy = spec.policy(name, |version| {
            let pinned =
                rules.filter(|_| matches!(version, VersionRef::Alias(_))).and_then(|it| pinned(spec, it, version));
            pinned.or_else(|| version_named(registered?, version).map(target_of))
        });
        let policy = match (policy, rules) {
            (Ok(policy), _) => policy,
            // One that has users goes on as it began.
            (Err(_), Some(rules)) => ExperimentPolicy { share: spec.share.weight(), ..rules.clone() },
            (Err(errors), None) => {
                let sentence = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                all.refused.insert(name.to_owned(), Reason::new("Invalid", sentence));
                continue;
            }
        };
        let stop = spec.stop.then(|| "spec.stop".to_owned());
        all.asked.push(AskedExperiment { policy, stop, archived: archived.contains(name) });
    }
    all.asked.sort_by(|a, b| a.policy.name.cmp(&b.policy.name));
    all
}

/// What the alias stood for when the experiment began.
fn pinned(spec: &ModelExperimentSpec, rules: &ExperimentPolicy, version: &VersionRef) -> Option<Target> {
    let arm = spec.arms.iter().find(|arm| arm.version.as_ref() == Some(version))?;
    let began = rules.arms.iter().find(|it| it.name == arm.name.as_str())?;
    began.treatment.target().cloned()
}

/// How an experiment stands, without its conditions.
pub fn experiment_status(status: &ExperimentStatus, generation: Option<i64>) -> ModelExperimentStatus {
    let (running, ended) = (status.running.as_ref(), status.ended.as_ref());
    let arms = match (running, ended) {
        (_, Some(record)) => record.arms.clone(),
        (Some(running), None) => running.records(),
        (None, None) => Vec::new(),
    };
    ModelExperimentStatus {
        observed_generation: generation,
        started: running.map(|it| it.started).or(ended.map(|it| it.started)).map(Time),
        ended: ended.map(|it| Time(it.ended)),
        result: ended.map(|it| format!("{:?}", it.result)),
        winner: ended.and_then(|it| it.winner.clone()),
        arms: arms.iter().map(arm_status).collect(),
        conditions: Vec::new(),
    }
}

/// The conditions of an experiment: those of its decisions, or why there are none.
pub fn experiment_conditions(
    status: Option<&ExperimentStatus>,
    refused: Option<&Reason>,
    now: Timestamp,
) -> Vec<Condition> {
    match (refused, status) {
        (Some(reason), _) => {
            vec![Condition { kind: "Progressing".to_owned(), status: false, reason: reason.clone() }]
        }
        (None, Some(status)) => status.conditions(now),
        (None, None) => Vec::new(),
    }
}

/// Keeps the record of an experiment that has ended: one of the same name that is made later has another place.
///
/// # Errors
/// The bucket cannot be written.
pub async fn keep_record(log: &EndpointLog, record: &Record) -> Result<()> {
    let key = format!("{}-{}", record.rules.name, record.started.as_millisecond());
    let kept = log.put_experiment(&key, serde_json::to_vec(record)?.into()).await;
    kept.map(drop).context("keeping an experiment's record")
}

fn arm_status(arm: &ArmRecord) -> ArmStatus {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let verdict = match (&arm.closed, &arm.goal, arm.verdict) {
        (Some(closed), ..) => Some(closed.reason.message.clone()),
        (None, Some(goal), ArmVerdict::None) => Some(format!("Undecided: {}", goal.sentence)),
        (None, Some(goal), verdict) => Some(format!("{verdict:?}: {}", goal.sentence)),
        (None, None, _) => None,
    };
    ArmStatus {
        name: arm.name.clone(),
        digest: arm.treatment.target().map(|target| target.digest.clone()),
        users: count(arm.users),
        requests: count(arm.requests),
        value: arm.value.map(|value| format!("{:.4} ± {:.4}", value.value, value.error)),
        verdict: verdict.map(|text| text.chars().take(1_024).collect()),
    }
}
