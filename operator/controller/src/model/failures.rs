//! What becomes of a trainer that fails: the manifest's rules and ours, as a Job's failure policy has them; and what a Job
//! cannot be told, which is looked for in its pods. Pure.
//!
//! Kubernetes matches exit codes, and of reasons only that a pod was disrupted: preempted, evicted and lost alike. So rules
//! that fail a run for one of these are carried out here, by ending the run; rules that try again must not tell them apart
//! (`fairway_api` refuses that). A container that used more memory than its limit ends with 137, and a disruption that had to
//! kill it does too: disruptions come first.

use std::sync::Arc;

use fairway_api::model::{FailureAction, FailureReason, Trainer};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::{Value, json};

use crate::held::Held;

/// Of a process that was killed: by the kernel for its memory, if nobody else did.
const KILLED: i32 = 137;
/// Codes of ours by which another try would end the same way: invalid input, or a result that is there already.
const FOR_GOOD: [i32; 4] = [2, 3, 5, 6];
/// The one code of anybody's trainer that says so.
const INVALID: [i32; 1] = [2];

/// The container that trains.
pub(super) fn trains(trainer: &Trainer) -> &'static str {
    if trainer.container.is_some() { super::build::THEIRS } else { super::build::TRAINER }
}

/// The rules of the Job's failure policy.
pub(super) fn policy(trainer: &Trainer) -> Vec<Value> {
    let disrupted = |then: FailureAction| json!({"action": action(then), "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
    let disruption = disrupted(trainer.failures.of_disruptions());
    let mut rules = Vec::new();
    let mut is_told = false;
    for rule in &trainer.failures.rules {
        if !rule.exit_codes.is_empty() {
            rules.push(on_codes(rule.then, trains(trainer), &rule.exit_codes));
            continue;
        }
        // What ends a run for one of them is not for the Job to tell apart.
        if !is_told && rule.reasons.iter().any(|reason| is_disruption(*reason) || *reason == FailureReason::OOMKilled) {
            rules.push(disruption.clone());
            is_told = true;
        }
        if rule.reasons.contains(&FailureReason::OOMKilled) {
            rules.push(on_codes(rule.then, trains(trainer), &[KILLED]));
        }
    }
    if !is_told {
        rules.push(disruption);
    }
    match &trainer.container {
        None => rules.push(on_codes(FailureAction::Fail, super::build::TRAINER, &FOR_GOOD)),
        Some(_) => {
            rules.push(on_codes(FailureAction::Fail, super::build::THEIRS, &INVALID));
            rules.extend(
                [super::build::PREPARES, super::build::TRAINER]
                    .map(|ours| on_codes(FailureAction::Fail, ours, &FOR_GOOD)),
            );
        }
    }
    rules
}

fn on_codes(then: FailureAction, container: &str, codes: &[i32]) -> Value {
    let mut codes = codes.to_vec();
    codes.sort_unstable();
    codes.dedup();
    let codes = json!({"containerName": container, "operator": "In", "values": codes});
    json!({"action": action(then), "onExitCodes": codes})
}

fn action(then: FailureAction) -> &'static str {
    match then {
        FailureAction::Fail => "FailJob",
        FailureAction::Retry => "Count",
        FailureAction::RetryFree => "Ignore",
    }
}

fn is_disruption(reason: FailureReason) -> bool {
    matches!(reason, FailureReason::Evicted | FailureReason::Preempted | FailureReason::NodeLost)
}

/// Why a run has failed by a rule that its Job cannot be told, if one of its pods says so.
pub(super) fn fatal(trainer: &Trainer, pods: &[Arc<Held<Pod>>]) -> Option<String> {
    pods.iter().find_map(|pod| {
        let (reason, message) = reason_of(pod)?;
        let (index, _) = trainer.failures.of(reason).filter(|(_, then)| *then == FailureAction::Fail)?;
        Some(format!("{reason:?}: {message} (spec.trainer.failures.rules[{index}] says Fail)"))
    })
}

/// Why a pod ended or does not begin, where that is one of the reasons that rules name.
fn reason_of(pod: &Held<Pod>) -> Option<(FailureReason, String)> {
    let status = &pod.facts;
    let conditions = status.conditions.iter().flatten();
    let mut disruptions = conditions.filter(|one| one.type_ == "DisruptionTarget" && one.status == "True");
    if let Some(disruption) = disruptions.next() {
        let reason = match disruption.reason.as_deref()? {
            "PreemptionByScheduler" => FailureReason::Preempted,
            "DeletionByTaintManager" | "DeletionByPodGC" => FailureReason::NodeLost,
            // By the eviction API, by the kubelet, and what comes to be.
            _ => FailureReason::Evicted,
        };
        return Some((reason, disruption.message.clone().unwrap_or_default()));
    }
    let containers = || status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let killed = |one: &ContainerStatus| {
        let ended = one.state.as_ref()?.terminated.as_ref()?;
        (ended.reason.as_deref() == Some("OOMKilled")).then(|| format!("container {} used up its memory", one.name))
    };
    let pulls = |one: &ContainerStatus| {
        let waiting = one.state.as_ref()?.waiting.as_ref()?;
        let failed = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"].contains(&waiting.reason.as_deref()?);
        failed.then(|| waiting.message.clone().unwrap_or_else(|| format!("the image {} cannot be had", one.image)))
    };
    let killed = containers().find_map(killed).map(|message| (FailureReason::OOMKilled, message));
    killed.or_else(|| containers().find_map(pulls).map(|message| (FailureReason::ImagePull, message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trainer(rules: Value, container: bool) -> Trainer {
        let mut trainer = json!({"failures": {"rules": rules}});
        let (kind, value) =
            if container { ("container", json!({"image": "i"})) } else { ("builtin", json!({"family": "ease"})) };
        trainer[kind] = value;
        serde_json::from_value(trainer).unwrap()
    }

    /// The policy, short: `action` and what it is for.
    fn told(trainer: &Trainer) -> Vec<String> {
        let one = |rule: Value| {
            let codes = &rule["onExitCodes"];
            let what = match codes["containerName"].as_str() {
                Some(container) => format!("{container} {}", codes["values"]),
                None => "disrupted".to_owned(),
            };
            format!("{} {what}", rule["action"].as_str().unwrap())
        };
        policy(trainer).into_iter().map(one).collect()
    }

    #[test]
    fn rules_become_what_a_job_can_be_told() {
        let last = "FailJob trainer [2,3,5,6]";
        let table: [(Value, &[&str]); 5] = [
            (json!([]), &["Ignore disrupted", last]),
            (json!([{"exitCodes": [9, 4], "then": "Fail"}]), &["FailJob trainer [4,9]", "Ignore disrupted", last]),
            // A trainer that was preempted may have been killed too: that is no lack of memory.
            (json!([{"reasons": ["OOMKilled"], "then": "Fail"}]), &["Ignore disrupted", "FailJob trainer [137]", last]),
            (json!([{"reasons": ["Evicted", "Preempted", "NodeLost"], "then": "Retry"}]), &["Count disrupted", last]),
            (json!([{"reasons": ["Evicted", "ImagePull"], "then": "Fail"}]), &["Ignore disrupted", last]),
        ];
        for (rules, expected) in table {
            assert_eq!(told(&trainer(rules.clone(), false)), expected, "{rules}");
        }
    }

    #[test]
    fn codes_are_those_of_who_trains() {
        let theirs = trainer(json!([{"exitCodes": [7], "then": "RetryFree"}]), true);
        let ours = ["FailJob prepare [2,3,5,6]", "FailJob trainer [2,3,5,6]"];
        assert_eq!(told(&theirs), [&["Ignore train [7]", "Ignore disrupted", "FailJob train [2]"][..], &ours].concat());
    }

    #[test]
    fn what_a_job_cannot_be_told_is_seen_in_its_pods() {
        let pod = |status: Value| Arc::new(serde_json::from_value::<Held<Pod>>(json!({"status": status})).unwrap());
        let disrupted = |reason: &str| {
            pod(
                json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "so"}]}),
            )
        };
        let pulls = pod(json!({"initContainerStatuses": [{
            "name": "train", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
        }]}));
        let rules = json!([
            {"reasons": ["NodeLost"], "then": "RetryFree"},
            {"reasons": ["Preempted", "ImagePull", "NodeLost"], "then": "Fail"},
        ]);
        let trainer = trainer(rules, true);
        let table = [
            (disrupted("PreemptionByScheduler"), Some("Preempted: so (spec.trainer.failures.rules[1] says Fail)")),
            (disrupted("DeletionByTaintManager"), None),
            (disrupted("EvictionByEvictionAPI"), None),
            (pulls, Some("ImagePull: no such image (spec.trainer.failures.rules[1] says Fail)")),
            (pod(json!({"phase": "Running"})), None),
        ];
        for (pod, expected) in table {
            assert_eq!(fatal(&trainer, &[pod]).as_deref(), expected);
        }
    }
}
