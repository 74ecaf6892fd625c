//! What asks for a successor: a deadline of an erasure, a champion that earns less than popularity, drift of what goes in
//! and comes out, new data, fixed times, age. A trigger only asks; [`crate::guards`] may hold it back.

mod degradation;
mod drift;
mod quality;

pub use degradation::DegradationMonitor;
pub use drift::DriftMonitor;
pub use fairway_stats::drift::{DriftReport, FeatureDrift};
use jiff::Timestamp;
pub use quality::QualityMonitor;
use serde::{Deserialize, Serialize};

use crate::Reason;
use crate::model::{Erasure, ModelObserved, ModelStatus, NewRows};
use crate::plan::{elapsed, spell};
use crate::policy::{Degradation, ModelPolicy};
use crate::schedule::Cron;

/// The code of the trigger that a law stands behind.
pub(crate) const ERASURE: &str = "Erasure";
/// The code of the trigger of age.
pub(crate) const MAX_AGE: &str = "MaxAge";
/// The code of the trigger of fixed times.
pub(crate) const SCHEDULE: &str = "Schedule";

/// All that ask now, the most urgent first.
pub fn asking(policy: &ModelPolicy, status: &ModelStatus, observed: &ModelObserved<'_>, now: Timestamp) -> Vec<Reason> {
    let Some(champion) = observed.champion else {
        let nothing_yet = !observed.candidate_waiting && observed.awaiting_approval.is_none();
        return nothing_yet.then(|| Reason::new("First", "there is no version yet")).into_iter().collect();
    };
    let degraded = status.degradation.as_ref().filter(|_| policy.degradation != Degradation::Ignore);
    [
        observed.erasure.and_then(|erasure| erasure_due(policy, erasure, now)),
        degraded.and_then(DegradationMonitor::trigger),
        status.drift.as_ref().and_then(DriftMonitor::trigger),
        observed.new_rows.and_then(|rows| much_is_new(policy, rows)),
        status.tick.as_ref().and_then(|tick| tick.due(policy.schedule.as_ref()?, now)),
        too_old(policy, champion.trained_through, now),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The trigger of an erasure whose deadline comes near.
pub fn erasure_due(policy: &ModelPolicy, erasure: Erasure, now: Timestamp) -> Option<Reason> {
    let Erasure { pending, due } = erasure;
    if pending == 0 || elapsed(now, due) > policy.erasure_lead {
        return None;
    }
    let left = match elapsed(now, due) {
        left if left.is_zero() => format!("was due {} ago", spell(elapsed(due, now))),
        left => format!("is due in {}", spell(left)),
    };
    let message = format!("{pending} erasures are not yet in the champion, and the first {left}");
    Some(Reason::new(ERASURE, message))
}

/// The trigger of new data, if there is enough of it.
pub fn much_is_new(policy: &ModelPolicy, rows: NewRows) -> Option<Reason> {
    let limit = policy.new_data?;
    let share = rows.since as f64 / rows.trained_on as f64;
    (rows.trained_on > 0 && share >= limit).then(|| {
        let NewRows { since, trained_on } = rows;
        let (share, limit) = (100.0 * share, 100.0 * limit);
        let message = format!("{since} rows are new beside {trained_on} in training: {share:.0} % of {limit:.0} %");
        Reason::new("NewData", message)
    })
}

/// The trigger of age, if the champion's data are too old.
pub fn too_old(policy: &ModelPolicy, trained_through: Timestamp, now: Timestamp) -> Option<Reason> {
    let limit = policy.max_age?;
    let age = elapsed(trained_through, now);
    (age >= limit).then(|| {
        Reason::new(MAX_AGE, format!("the champion knows nothing after {} ago; maxAge is {}", spell(age), spell(limit)))
    })
}

/// Up to when the ticks of a schedule have been answered.
///
/// Only the newest tick counts: however many were missed while nothing ran, they ask once. A tick that a guard holds back
/// goes on asking until a run starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tick {
    /// The schedule that this is about: another one begins anew, with the next tick.
    pub cron: String,
    /// Ticks up to here are answered.
    pub answered: Timestamp,
}

impl Tick {
    /// Follows the policy: no schedule, no ticks; another one counts from now on.
    pub fn follow(tick: Option<Self>, schedule: Option<&Cron>, now: Timestamp) -> Option<Self> {
        let cron = schedule?.to_string();
        Some(tick.filter(|tick| tick.cron == cron).unwrap_or(Self { cron, answered: now }))
    }

    /// The trigger, if a tick has come that no run has answered.
    pub fn due(&self, schedule: &Cron, now: Timestamp) -> Option<Reason> {
        let last = schedule.previous(now).filter(|last| *last > self.answered)?;
        Some(Reason::new(SCHEDULE, format!("schedule `{}` was due at {last:.0}", self.cron)))
    }

    /// A run that began then came to nothing by no fault of the model: its tick asks again.
    pub fn ask_again(&mut self, schedule: &Cron, began: Timestamp) {
        if let Some(tick) = schedule.previous(began) {
            self.answered = self.answered.min(tick - std::time::Duration::from_secs(1));
        }
    }
}
