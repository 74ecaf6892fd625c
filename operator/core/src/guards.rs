//! What holds a trigger back, so that a retrain storm is impossible by construction (invariant I9). Each refusal has a
//! reason that people see. What asks is decided in [`crate::triggers`].

use jiff::Timestamp;

use crate::Reason;
use crate::model::{ModelObserved, ModelStatus};
use crate::plan::{elapsed, spell};
use crate::planted::{Bug, planted};
use crate::policy::ModelPolicy;
use crate::triggers::{ERASURE, MAX_AGE};

/// Who asks for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker<'a> {
    /// A trigger of this code.
    Trigger(&'a str),
    /// A person or CI.
    Person {
        /// Whether everything but a suspension and the checks of the training data is passed over.
        force: bool,
    },
}

/// The first guard that forbids a run now, or none.
pub fn forbids(
    policy: &ModelPolicy,
    status: &ModelStatus,
    observed: &ModelObserved<'_>,
    asker: Asker<'_>,
    now: Timestamp,
) -> Option<Reason> {
    if let Some(reason) = suspended(policy) {
        return Some(reason);
    }
    if let Some(fault) = observed.data_fault {
        return Some(fault.clone());
    }
    if asker == (Asker::Person { force: true }) {
        return None;
    }
    rollout(observed, asker)
        .or_else(|| breaker(policy, status, now))
        // A finding is about requests, not about what is trained on: whoever forces a run has looked, an erasure has a
        // deadline, and each run checks its own data. Without a way out a country that is new for good would stop all
        // training.
        .or_else(|| status.quality.fault().filter(|_| asker != Asker::Trigger(ERASURE)))
        .or_else(|| quiet(policy, status, now))
        .or_else(|| immature(policy, status, asker, now))
        .or_else(|| cooldown(status, now))
        .or_else(|| budget(policy, status, now))
}

/// That somebody has stopped all training of the model, if they have.
pub fn suspended(policy: &ModelPolicy) -> Option<Reason> {
    policy.suspended.then(|| Reason::new("Suspended", "spec.suspend is true: no run is started, whoever asks"))
}

/// The breaker's refusal, if it is open and no trial is due.
pub fn breaker(policy: &ModelPolicy, status: &ModelStatus, now: Timestamp) -> Option<Reason> {
    if status.rejections < policy.breaker {
        return None;
    }
    let trial = half_opens(policy, status).filter(|_| !planted(Bug::BreakerNeverHalfOpens));
    if trial.is_some_and(|trial| trial <= now) {
        return None;
    }
    let wait = match trial {
        Some(trial) => format!("one run is tried in {}, or ", spell(elapsed(now, trial))),
        None => String::new(),
    };
    let message = format!(
        "{} candidates in a row were rejected or rolled back (breaker: {}); {wait}`fairway run start --force` resets it",
        status.rejections, policy.breaker
    );
    Some(Reason::new("BreakerOpen", message))
}

/// When one single run may be tried behind the open breaker: a while after the last rejection, and after the last trial,
/// whose verdict may still be out.
pub fn half_opens(policy: &ModelPolicy, status: &ModelStatus) -> Option<Timestamp> {
    let since = status.last_rejection?.max(status.trial.unwrap_or(Timestamp::MIN));
    since.checked_add(jiff::SignedDuration::try_from(policy.half_open_after?).ok()?).ok()
}

/// The budget's promise: no period of its length holds more automatic starts than it has. A named function for the
/// tests, the simulation and `debug_assert!`.
pub fn within_budget(policy: &ModelPolicy, status: &ModelStatus, now: Timestamp) -> bool {
    recent(policy, status, now) <= policy.budget_runs as usize
}

fn rollout(observed: &ModelObserved<'_>, asker: Asker<'_>) -> Option<Reason> {
    let Asker::Trigger(code) = asker else {
        return observed.rollout_active.then(in_progress);
    };
    if (observed.rollout_active || observed.candidate_waiting) && !planted(Bug::RunWhileRolling) {
        return Some(in_progress());
    }
    // A board that does not meet may not let a model rot, nor break the law.
    let reason = observed.awaiting_approval.filter(|_| ![ERASURE, MAX_AGE].contains(&code))?;
    Some(Reason::new("ApprovalPending", format!("a version waits already: {}", reason.message)))
}

fn in_progress() -> Reason {
    Reason::new("RolloutActive", "a rollout of this model is in progress; its verdict comes first")
}

fn quiet(policy: &ModelPolicy, status: &ModelStatus, now: Timestamp) -> Option<Reason> {
    let since = elapsed(status.rollout_ended?, now);
    let left = policy.after_rollout.checked_sub(since).filter(|left| !left.is_zero())?;
    let message = format!(
        "a rollout ended {} ago; afterRollout is {}, possible again in {}",
        spell(since),
        spell(policy.after_rollout),
        spell(left)
    );
    Some(Reason::new("AfterRollout", message))
}

fn immature(policy: &ModelPolicy, status: &ModelStatus, asker: Asker<'_>, now: Timestamp) -> Option<Reason> {
    if !matches!(asker, Asker::Trigger(code) if code != ERASURE) {
        return None;
    }
    let since = elapsed(status.watched_since?, now);
    let left = policy.reward_within.checked_sub(since).filter(|left| !left.is_zero())?;
    let message = format!(
        "the champion serves since {}, and feedback may take {}; its rewards are mature in {}",
        spell(since),
        spell(policy.reward_within),
        spell(left)
    );
    Some(Reason::new("LabelsImmature", message))
}

fn cooldown(status: &ModelStatus, now: Timestamp) -> Option<Reason> {
    let until = status.cooldown_until.filter(|until| now < *until)?;
    let left = spell(elapsed(now, until));
    let unjudged = status.last_run.as_ref().is_some_and(|(_, end)| end.is_unjudged());
    let cure = if unjudged { "when data or trainer of the manifest are mended, or by " } else { "by " };
    let message = format!(
        "the last run ended too recently; possible again in {left}, or at once {cure}`fairway run start --force`"
    );
    Some(Reason::new("Cooldown", message))
}

fn budget(policy: &ModelPolicy, status: &ModelStatus, now: Timestamp) -> Option<Reason> {
    let recent = recent(policy, status, now);
    (recent >= policy.budget_runs as usize && !planted(Bug::BudgetIgnored)).then(|| {
        let message =
            format!("{recent} of {} automatic runs in {} are used up", policy.budget_runs, spell(policy.budget_per));
        Reason::new("BudgetSpent", message)
    })
}

fn recent(policy: &ModelPolicy, status: &ModelStatus, now: Timestamp) -> usize {
    status.automatic_runs.iter().filter(|started| elapsed(**started, now) < policy.budget_per).count()
}
