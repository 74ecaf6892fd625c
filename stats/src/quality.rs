//! Faults in the data, told apart from drift: a column that is gone, nulls, new names, wrong clocks, too little traffic.
//!
//! Bad data look like drift, and a model trained on them is worse than none. So findings are a type of their own, which
//! no drift report is made of and which nothing that asks for a training takes; and a feature with a finding must be
//! left out of the drift test of that window ([`is_sound`]). What to do about a fault is for people.
//!
//! Every rule compares a count of the window with what the profile (or the usual traffic) has, and fires only when even
//! the end of the 99.9 % interval on the side of health is beyond the limit: small windows make no noise.

use serde::{Deserialize, Serialize};

use crate::confidence::wilson_score;

/// The one-sided 99.9 % point of the normal distribution.
const Z: f64 = 3.090_232_306_167_813_5;

/// What is wrong.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// A feature that training had is in no event.
    MissingColumn,
    /// A feature is missing far more often than at training.
    NullBurst,
    /// A feature has far more names without a bin than at training.
    NewCategories,
    /// Events carry times in the future.
    FutureTimes,
    /// Events carry times older than the window allows.
    StaleTimes,
    /// There are far fewer events than usual.
    VolumeDrop,
}

/// A fault in a window's data, with its numbers. It can ask for a person, never for a training.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct QualityFinding {
    /// What is wrong.
    pub fault: Fault,
    /// The feature that it is about; `None` if it is about all events.
    pub feature: Option<String>,
    /// Events with the fault; of a volume drop, the events that came.
    pub count: u64,
    /// Out of so many: the window's events; of a volume drop, the events that usually come.
    pub of: u64,
    /// The share of such events at training, in [0, 1]; 0 for times, 1 for volume.
    pub usual: f64,
    /// The share that was tolerated, in [0, 1].
    pub limit: f64,
}

/// What is tolerated.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct QualityRule {
    /// Missing values beyond the share at training.
    pub null_burst: f64,
    /// Names without a bin beyond the share at training.
    pub new_categories: f64,
    /// Events from the future.
    pub future: f64,
    /// Events older than the window allows.
    pub stale: f64,
    /// Events of the usual number that may stay away.
    pub volume_drop: f64,
    /// Events that a window needs before a share is judged.
    pub minimum: u64,
}

impl Default for QualityRule {
    /// Five points of nulls, ten of new names, one event in a hundred from the future, five stale, half of the traffic;
    /// 100 events. Conventions, not theory.
    fn default() -> Self {
        Self { null_burst: 0.05, new_categories: 0.1, future: 0.01, stale: 0.05, volume_drop: 0.5, minimum: 100 }
    }
}

/// One feature's counts at training and in the window, on the same bins; the last bin is MISSING.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// What people call it.
    pub name: &'a str,
    /// Counts at training.
    pub reference: &'a [u64],
    /// Counts in the window; empty if the feature was not sent at all.
    pub current: &'a [u64],
    /// The bin of names without one of their own: UNSEEN of [`crate::categories`], OTHER of [`crate::Bins`]; `None` for
    /// numbers.
    pub new_names: Option<usize>,
}

/// What a window held, whatever the feature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Events in the window.
    pub events: u64,
    /// Events that a window of this length (and hour) usually has; 0 if not known yet.
    pub usual: u64,
    /// Events whose time is after the window's end (and the tolerated clock error).
    pub future: u64,
    /// Events whose time is before the window's start by more than the tolerated delay.
    pub stale: u64,
}

/// All faults of a window, those of all events first, then by feature in the order given.
pub fn examine(rule: &QualityRule, traffic: &Traffic, columns: &[Column<'_>]) -> Vec<QualityFinding> {
    let enough = traffic.events >= rule.minimum.max(1);
    let times = [(Fault::FutureTimes, traffic.future, rule.future), (Fault::StaleTimes, traffic.stale, rule.stale)];
    let late = times.into_iter().filter_map(|(fault, count, limit)| {
        let beyond = enough && wilson(count, traffic.events).0 > limit;
        beyond.then_some(QualityFinding { fault, feature: None, count, of: traffic.events, usual: 0.0, limit })
    });
    let columns = columns.iter().filter(|_| enough).filter_map(|column| column_fault(rule, traffic, column));
    volume_drop(rule, traffic).into_iter().chain(late).chain(columns).collect()
}

/// Whether nothing speaks against judging a feature's drift in this window: neither a finding of its own nor one of all
/// events.
pub fn is_sound(findings: &[QualityFinding], feature: &str) -> bool {
    !findings.iter().any(|finding| finding.feature.as_deref().is_none_or(|name| name == feature))
}

fn volume_drop(rule: &QualityRule, traffic: &Traffic) -> Option<QualityFinding> {
    let limit = 1.0 - rule.volume_drop.clamp(0.0, 1.0);
    // The upper end of a Poisson count, a little too high for small ones.
    let events = traffic.events as f64;
    let at_most = events + Z * events.sqrt() + Z * Z;
    (at_most < limit * traffic.usual as f64).then_some(QualityFinding {
        fault: Fault::VolumeDrop,
        feature: None,
        count: traffic.events,
        of: traffic.usual,
        usual: 1.0,
        limit,
    })
}

/// The worst fault of a column; a missing column is not also a burst of nulls.
fn column_fault(rule: &QualityRule, traffic: &Traffic, column: &Column<'_>) -> Option<QualityFinding> {
    let total = |counts: &[u64]| counts.iter().fold(0_u64, |sum, &n| sum.saturating_add(n));
    let at = |counts: &[u64], bin: Option<usize>| bin.and_then(|bin| counts.get(bin)).copied().unwrap_or(0);
    let (trained_on, counted) = (total(column.reference), total(column.current));
    let missing = column.reference.len().checked_sub(1);
    let finding = |fault, count, of, usual, limit| QualityFinding {
        fault,
        feature: Some(column.name.to_owned()),
        count,
        of,
        usual,
        limit,
    };
    let usually_missing = share(at(column.reference, missing), trained_on);
    let nulls = at(column.current, missing);
    if nulls == counted {
        // Not sent at all, or always null: it depends on the client which of both it looks like.
        let of = if counted > 0 { counted } else { traffic.events };
        let gone = trained_on > 0 && wilson(of, of).0 > usually_missing + rule.null_burst;
        return gone.then(|| finding(Fault::MissingColumn, of, of, usually_missing, usually_missing));
    }
    let table =
        [(Fault::NullBurst, missing, rule.null_burst), (Fault::NewCategories, column.new_names, rule.new_categories)];
    table.into_iter().find_map(|(fault, bin, more)| {
        let (then, now) = (at(column.reference, bin), at(column.current, bin));
        let beyond = trained_on > 0 && wilson(now, counted).0 > wilson(then, trained_on).1 + more;
        let usual = share(then, trained_on);
        beyond.then(|| finding(fault, now, counted, usual, (usual + more).min(1.0)))
    })
}

fn share(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}

/// Both ends of Wilson's interval (1927) of a share, each wrong once in a thousand. Nothing counted gives [0, 1].
fn wilson(count: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    wilson_score(share(count, of).min(1.0), of as f64, Z)
}

impl QualityFinding {
    /// What a person should read: what is wrong, how often, and what was tolerated.
    pub fn sentence(&self) -> String {
        let Self { count, of, usual, limit, .. } = self;
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let now = format!("{count} of {of} events ({})", percent(share(*count, *of)));
        let against = format!("{} at training, tolerated to {}", percent(*usual), percent(*limit));
        let name = self.feature.as_deref().unwrap_or("the window");
        match self.fault {
            Fault::MissingColumn => {
                format!("{name} is gone: missing in all {of} events, {} at training", percent(*usual))
            }
            Fault::NullBurst => format!("{name} is missing in {now}; {against}"),
            Fault::NewCategories => format!("{name} has names without a bin in {now}; {against}"),
            Fault::FutureTimes => format!("{now} carry a time in the future, tolerated to {}", percent(*limit)),
            Fault::StaleTimes => format!("{now} are older than the window allows, tolerated to {}", percent(*limit)),
            Fault::VolumeDrop => {
                format!("only {count} events where {of} are usual, tolerated down to {}", percent(*limit))
            }
        }
    }
}

#[cfg(test)]
mod tests;
