//! Whether the requests can be trusted at all: [`fairway_stats::quality`] on the windows, before drift is looked at.
//!
//! What users consume is not examined: items that the model does not know are what drift is about.

use std::collections::{BTreeMap, BTreeSet};

use fairway_stats::quality::{Column, QualityFinding, QualityRule, Traffic, examine};
use fairway_stats::{Bins, Histogram};
use fairway_wire::{Profile, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Reason;
use crate::plan::elapsed;

/// Findings that a sentence names; the status has them all.
const NAMED: usize = 2;
/// How much of the usual traffic each examined window is: a drop for good is usual after a week or two.
const NEWEST_SHARE: f64 = 0.25;
/// Traffic that may stay away. The end of a season halves it and is no fault; when four of five requests are gone,
/// something upstream is.
const VOLUME_DROP: f64 = 0.8;
const DAY_SECONDS: f64 = 86_400.0;

/// What was gathered about the traffic since the last examination, and what that one found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QualityMonitor {
    /// Requests of all versions: a canary takes nothing from the traffic.
    requests: u64,
    /// Time that windows cover, in milliseconds. While this process is down nobody counts, and that is not a drop.
    covered_ms: u64,
    covered_until: Option<Timestamp>,
    /// Requests a day, as they usually are.
    usual: Option<f64>,
    /// What is wrong with the last examined window. Bounded by the features of a profile.
    pub findings: Vec<QualityFinding>,
}

impl QualityMonitor {
    /// Adds a closed window's traffic.
    pub fn absorb(&mut self, window: &Window) {
        self.requests = window.arms.values().fold(self.requests, |sum, arm| sum.saturating_add(arm.requests));
        // Windows of several replicas cover the same time once.
        let from = self.covered_until.map_or(window.start, |until| until.max(window.start));
        let covered = u64::try_from(elapsed(from, window.end).as_millis()).unwrap_or(0);
        self.covered_ms = self.covered_ms.saturating_add(covered);
        self.covered_until = self.covered_until.max(Some(window.end));
    }

    /// Looks for faults in what was gathered, and begins anew. `features` are the champion's counts of the same time,
    /// `seen` those that ever came.
    pub fn examine(&mut self, profile: &Profile, features: &BTreeMap<String, Histogram>, seen: &BTreeSet<String>) {
        let rule = QualityRule { volume_drop: VOLUME_DROP, ..QualityRule::default() };
        let days = self.covered_ms as f64 / 1_000.0 / DAY_SECONDS;
        let usual = (self.usual.unwrap_or(0.0) * days).round() as u64;
        let volume = Traffic { events: self.requests, usual, ..Traffic::default() };
        // All features of a request are counted together, so the fullest tells how many requests were counted.
        let answered = features.values().map(Histogram::total).max().unwrap_or(0);
        let mut findings = examine(&rule, &volume, &[]);
        let columns = columns(profile, features, seen);
        findings.extend(examine(&rule, &Traffic { events: answered, ..Traffic::default() }, &columns));
        self.findings = findings;
        if days > 0.0 {
            let rate = self.requests as f64 / days;
            self.usual = Some(self.usual.map_or(rate, |usual| usual + NEWEST_SHARE * (rate - usual)));
        }
        (self.requests, self.covered_ms) = (0, 0);
    }

    /// Forgets what was found: it spoke of a champion, or a time, that is past. What traffic is usual stays known.
    pub fn forget(&mut self) {
        self.findings.clear();
    }

    /// What is wrong, if anything is.
    pub fn fault(&self) -> Option<Reason> {
        let told: Vec<String> = self.findings.iter().take(NAMED).map(QualityFinding::sentence).collect();
        let more = match self.findings.len().saturating_sub(NAMED) {
            0 => String::new(),
            n => format!("; and {n} more"),
        };
        (!told.is_empty()).then(|| {
            let cure = "mend what sends it; once a window is sound, triggers count again";
            Reason::new("DataInvalid", format!("the requests' data are at fault: {}{more} ({cure})", told.join("; ")))
        })
    }
}

fn columns<'a>(
    profile: &'a Profile,
    features: &'a BTreeMap<String, Histogram>,
    seen: &BTreeSet<String>,
) -> Vec<Column<'a>> {
    let inputs = profile.features.iter().filter(|(name, feature)| !feature.is_score && seen.contains(*name));
    let column = |(name, feature): (&'a String, &'a fairway_wire::FeatureProfile)| {
        let current = features.get(name).map_or(&[][..], Histogram::counts);
        let reference = feature.reference.counts();
        let new_names = matches!(feature.bins, Bins::Categories { .. }).then(|| feature.bins.len() - 2);
        // Another version's bins cannot be compared.
        (current.is_empty() || current.len() == reference.len()).then_some(Column {
            name,
            reference,
            current,
            new_names,
        })
    };
    inputs.filter_map(column).collect()
}
