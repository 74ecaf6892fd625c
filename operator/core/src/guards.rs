//! What holds a trigger back, so that a retrain storm is impossible by construction (invariant I9). Each refusal has a
//! reason that people see.

use jiff::Timestamp;

use crate::Reason;
use crate::model::ModelStatus;
use crate::plan::{elapsed, spell};
use crate::policy::ModelPolicy;

/// The first guard that forbids an automatic run now, or none.
pub fn forbids(policy: &ModelPolicy, status: &ModelStatus, rollout_active: bool, now: Timestamp) -> Option<Reason> {
    if rollout_active {
        return Some(Reason::new("RolloutActive", "a rollout of this model is in progress; its verdict comes first"));
    }
    if status.rejections >= policy.breaker {
        let message = format!(
            "{} candidates in a row were rejected or rolled back (breaker: {}); `fairway run start --force` resets it",
            status.rejections, policy.breaker
        );
        return Some(Reason::new("BreakerOpen", message));
    }
    if let Some(until) = status.cooldown_until.filter(|until| now < *until) {
        let left = spell(elapsed(now, until));
        return Some(Reason::new("Cooldown", format!("the last run ended too recently; possible again in {left}")));
    }
    let recent = status.automatic_runs.iter().filter(|started| elapsed(**started, now) < policy.budget_per).count();
    if recent >= policy.budget_runs as usize {
        let message =
            format!("{recent} of {} automatic runs in {} are used up", policy.budget_runs, spell(policy.budget_per));
        return Some(Reason::new("BudgetSpent", message));
    }
    None
}
