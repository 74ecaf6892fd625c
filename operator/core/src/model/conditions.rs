//! What is true of a model now, for people. Nothing is decided here.

use std::time::Duration;

use jiff::Timestamp;

use super::{ModelObserved, ModelStatus, RunEnd};
use crate::guards;
use crate::plan::{Condition, Reason, elapsed, spell};
use crate::policy::ModelPolicy;

/// Without a window for so long the monitors are blind. Routers report every few seconds, idle ones too.
const SILENT_AFTER: Duration = Duration::from_secs(86_400);

/// How long nothing was heard from a champion's routers, if that is too long.
pub(super) fn silence(status: &ModelStatus, now: Timestamp) -> Option<Duration> {
    let since = status.signal.max(status.watched_since)?;
    Some(elapsed(since, now)).filter(|silent| *silent >= SILENT_AFTER)
}

pub(super) fn of(
    policy: &ModelPolicy,
    observed: &ModelObserved<'_>,
    status: &ModelStatus,
    now: Timestamp,
) -> Vec<Condition> {
    let parts = [
        Some(ready(observed, status)),
        data_ready(observed, status),
        observed.champion.and_then(|_| signal_fresh(policy, status, now)),
        drifted(status),
        suppressed(policy, status).map(|reason| condition("RetrainSuppressed", true, reason)),
        guards::breaker(policy, status, now).map(|reason| condition("AutomationSuspended", true, reason)),
        observed.awaiting_approval.map(|reason| condition("AwaitingApproval", true, reason.clone())),
        erasure_overdue(observed, now),
    ];
    parts.into_iter().flatten().collect()
}

/// What holds runs back; a suspension also while nothing asks for one.
fn suppressed(policy: &ModelPolicy, status: &ModelStatus) -> Option<Reason> {
    status.suppressed.clone().or_else(|| guards::suspended(policy))
}

fn condition(kind: &str, holds: bool, reason: Reason) -> Condition {
    Condition { kind: kind.to_owned(), status: holds, reason }
}

fn ready(observed: &ModelObserved<'_>, status: &ModelStatus) -> Condition {
    match (&observed.champion, status.serve_baseline) {
        (None, _) => condition("Ready", false, Reason::new("ServingBaseline", "no version has passed yet")),
        (Some(_), true) => {
            condition("Ready", false, Reason::new("ServingBaseline", "the champion earns less than popularity"))
        }
        (Some(champion), false) => {
            condition("Ready", true, Reason::new("Serving", format!("version {} serves", champion.target.version)))
        }
    }
}

fn data_ready(observed: &ModelObserved<'_>, status: &ModelStatus) -> Option<Condition> {
    let refused = match &status.last_run {
        Some((_, RunEnd::DataRefused { code, why })) => Some(Reason::new(code, why.clone())),
        _ => None,
    };
    let fault = observed.data_fault.cloned().or(refused).or_else(|| status.quality.fault())?;
    Some(condition("DataReady", false, fault))
}

fn signal_fresh(policy: &ModelPolicy, status: &ModelStatus, now: Timestamp) -> Option<Condition> {
    let Some(silent) = silence(status, now) else {
        let heard = elapsed(status.signal?, now);
        return Some(condition(
            "SignalFresh",
            true,
            Reason::new("Reporting", format!("routers reported {} ago", spell(heard))),
        ));
    };
    let age = policy
        .max_age
        .map_or("nothing will retrain it".to_owned(), |age| format!("only maxAge ({}) still retrains it", spell(age)));
    let message = format!(
        "no router has reported for {} (limit {}): drift and reward are not watched, {age}; see whether routers run and \
         reach this process",
        spell(silent),
        spell(SILENT_AFTER)
    );
    Some(condition("SignalFresh", false, Reason::new("SignalLost", message)))
}

fn drifted(status: &ModelStatus) -> Option<Condition> {
    let drift = status.drift.as_ref()?;
    let report = drift.last.as_ref()?;
    let held = drift.alarms.holds();
    Some(condition("Drifted", held, Reason::new(if held { "Drift" } else { "NoDrift" }, report.sentence())))
}

fn erasure_overdue(observed: &ModelObserved<'_>, now: Timestamp) -> Option<Condition> {
    let erasure = observed.erasure.filter(|erasure| erasure.pending > 0 && erasure.due <= now)?;
    let message = format!(
        "{} erasures are not honoured, the first was due {} ago: retrain (`fairway run start --force`), or take the \
         model out of service",
        erasure.pending,
        spell(elapsed(erasure.due, now))
    );
    Some(condition("ErasureOverdue", true, Reason::new("DeadlineMissed", message)))
}
