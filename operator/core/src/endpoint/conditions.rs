//! An endpoint's conditions: the facts that people see of it.

use jiff::Timestamp;

use super::{EndpointStatus, RolloutResult};
use crate::feasible;
use crate::plan::{Condition, Reason};
use crate::policy::EndpointPolicy;

pub(super) fn conditions(
    policy: &EndpointPolicy,
    status: &EndpointStatus,
    reasons: &[Reason],
    stable_is_ready: bool,
    now: Timestamp,
) -> Vec<Condition> {
    let condition =
        |kind: &str, holds: bool, reason: Reason| Condition { kind: kind.to_owned(), status: holds, reason };
    let last = |codes: &[&str]| reasons.iter().rev().find(|reason| codes.contains(&reason.code.as_str())).cloned();
    let mut all = Vec::new();
    match &status.stable {
        Some(stable) if !stable_is_ready => {
            let message = format!("no server has version {} loaded: the baseline serves", stable.version);
            all.push(condition("Ready", false, Reason::new("StableNotLoaded", message)));
        }
        Some(stable) => {
            all.push(condition("Ready", true, Reason::new("Serving", format!("version {} serves", stable.version))))
        }
        // What keeps a first version from serving is what people look for here.
        None => all.push(condition(
            "Ready",
            false,
            last(&["Barred", "BlockedByFailedLoad", "AwaitingApproval", "Frozen", "Loading"])
                .unwrap_or_else(|| Reason::new("NoVersion", "the baseline serves until a first version passes")),
        )),
    }
    if let Some(rollout) = &status.rollout {
        let weight = rollout.weight(policy);
        let message = format!("version {} on {weight} of the users", rollout.candidate.version);
        let progress = last(&["Progressing", "StepUp", "RolloutStarted", "AwaitingProof", "Frozen", "Loading"]);
        all.push(condition(
            "Progressing",
            rollout.paused.is_none(),
            progress.unwrap_or_else(|| Reason::new("Rollout", message)),
        ));
        if let Some(pause) = &rollout.paused {
            all.push(condition("Paused", true, Reason::new("Paused", pause.why.clone())));
        }
        all.push(feasible::condition(policy, rollout, now));
    }
    if let Some(missing) = last(&["TelemetryMissing"]) {
        all.push(condition("TelemetryMissing", true, missing));
    }
    if let Some(ended) = status.history.last().filter(|ended| ended.result == RolloutResult::RolledBack) {
        all.push(condition("RolledBack", true, ended.reason.clone()));
    }
    all
}
