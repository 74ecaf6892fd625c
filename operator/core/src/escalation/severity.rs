//! How bad each code is, and which of a plan's reasons and conditions are findings.

use serde::{Deserialize, Serialize};

use super::{Finding, Kind};
use crate::plan::{Condition, Reason};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Worth a line in the history.
    Info,
    /// Somebody should look at it in working hours: automation has handled it, or is held back.
    Warning,
    /// Users are harmed now, or automation has stopped until a person acts.
    Critical,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// Codes that are known, with what they are without a condition. In the order of severity, then of the loop.
const TABLE: &[(&str, Severity, Kind)] = &[
    // Everybody had it, until it was taken back.
    ("HarmfulInBake", Severity::Critical, Kind::Event),
    // Nothing is trained until a person resets it.
    ("BreakerOpen", Severity::Critical, Kind::State),
    ("Degraded", Severity::Critical, Kind::State),
    // Nobody sees what the versions do.
    ("TelemetryMissing", Severity::Critical, Kind::State),
    ("Harmful", Severity::Warning, Kind::Event),
    ("RolledBack", Severity::Warning, Kind::Event),
    // Assignment or counting is broken, so that no verdict counts; what was compared is stopped or held.
    ("SampleRatioMismatch", Severity::Warning, Kind::State),
    ("BlockedByFailedLoad", Severity::Warning, Kind::Event),
    ("PauseTooLong", Severity::Warning, Kind::Event),
    ("Inconclusive", Severity::Warning, Kind::Event),
    ("TooLittleTraffic", Severity::Warning, Kind::State),
    ("Paused", Severity::Warning, Kind::State),
    ("ServingBaseline", Severity::Warning, Kind::State),
    ("NotReady", Severity::Warning, Kind::State),
    ("Degradation", Severity::Warning, Kind::State),
    ("BudgetSpent", Severity::Warning, Kind::State),
    ("DataInvalid", Severity::Warning, Kind::State),
    ("DataStale", Severity::Warning, Kind::State),
    ("TooFewRows", Severity::Warning, Kind::State),
    ("ColumnMissing", Severity::Warning, Kind::State),
    ("SqlInvalid", Severity::Warning, Kind::State),
    ("AccessDenied", Severity::Warning, Kind::State),
    ("CheckFailed", Severity::Warning, Kind::State),
    ("Failed", Severity::Warning, Kind::Event),
    ("AtCeiling", Severity::Warning, Kind::State),
    ("ArmHarmful", Severity::Warning, Kind::Event),
    ("ArmWorse", Severity::Warning, Kind::Event),
    ("Suspended", Severity::Warning, Kind::State),
    ("Invalid", Severity::Warning, Kind::State),
    ("RulesAreFixed", Severity::Warning, Kind::State),
    ("TooManyFindings", Severity::Warning, Kind::State),
    ("Drift", Severity::Info, Kind::State),
    ("Barred", Severity::Info, Kind::State),
    ("NoVersion", Severity::Info, Kind::State),
    ("Rejected", Severity::Info, Kind::Event),
    ("GateRejected", Severity::Info, Kind::Event),
    ("Promoted", Severity::Info, Kind::Event),
    ("FirstVersion", Severity::Info, Kind::Event),
    ("RolloutStarted", Severity::Info, Kind::Event),
    ("StepUp", Severity::Info, Kind::Event),
    ("Superseded", Severity::Info, Kind::Event),
    ("Aborted", Severity::Info, Kind::Event),
    ("Undone", Severity::Info, Kind::Event),
    ("Baked", Severity::Info, Kind::Event),
    ("RunStarted", Severity::Info, Kind::Event),
    ("Registered", Severity::Info, Kind::Event),
    ("ExperimentStarted", Severity::Info, Kind::Event),
    ("ExperimentEnded", Severity::Info, Kind::Event),
];

/// Conditions that are well while they hold; all others are found while they hold. `Progressing` is never found: why it
/// does not has a condition of its own.
const WELL_WHEN_TRUE: [&str; 4] = ["Ready", "DataReady", "EvidenceFeasible", "Complete"];

/// How bad a code is, and whether it lasts; `None` for one that is not known.
pub fn severity(code: &str) -> Option<(Severity, Kind)> {
    TABLE.iter().find(|(known, ..)| *known == code).map(|(_, severity, kind)| (*severity, *kind))
}

/// What a plan has found about `object`, each code once: conditions that are not well, which last, then the other
/// reasons. `evidence` says where the plan's numbers are.
pub fn findings(object: &str, evidence: &str, reasons: &[Reason], conditions: &[Condition]) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    let mut add = |code: &str, message: &str, condition: bool| {
        let (severity, kind) = severity(code).unwrap_or((Severity::Info, Kind::Event));
        let kind = if condition { Kind::State } else { kind };
        if all.iter().all(|finding| finding.code != code) {
            let (code, object) = (code.to_owned(), object.to_owned());
            let (message, evidence) = (message.to_owned(), evidence.to_owned());
            all.push(Finding { code, severity, kind, object, message, evidence });
        }
    };
    for condition in conditions.iter().filter(|condition| is_found(condition)) {
        add(code(condition), &condition.reason.message, true);
    }
    // The newest comes last, and is the one that holds.
    for reason in reasons.iter().rev() {
        add(&reason.code, &reason.message, false);
    }
    all
}

fn is_found(condition: &Condition) -> bool {
    condition.kind != "Progressing" && condition.status != WELL_WHEN_TRUE.contains(&condition.kind.as_str())
}

/// The condition's reason if it is known, else what the condition itself says.
fn code(condition: &Condition) -> &str {
    let reason = condition.reason.code.as_str();
    match condition.kind.as_str() {
        _ if severity(reason).is_some() => reason,
        "DataReady" => "DataInvalid",
        "Ready" => "NotReady",
        kind if severity(kind).is_some() => kind,
        _ => reason,
    }
}
