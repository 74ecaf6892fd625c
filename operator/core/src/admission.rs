//! May this version serve? Two gates and the people: it must be *deployable* (the artifact is what it says, works on this
//! machine and is fast enough), *worth deploying* (better than what is there, for every group that is asked about), and
//! approved. Pure; whoever calls brings the evidence.
//!
//! What it does not do: it measures nothing, and it says nothing about live traffic; the canary does.

mod segments;
mod set;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use set::{Member, Needed, SetAdmission, admit_set};

use crate::Reason;
use crate::approvals::{self, Approvals, Word};
use crate::evaluation::{CONFIDENCE, Scores, shortfall};
use crate::plan::spell;
use crate::policy::AdmissionPolicy;

/// All that is known of a version that wants to serve.
#[derive(Clone, Copy, Debug)]
pub struct Dossier<'a> {
    /// Its digest.
    pub digest: &'a str,
    /// Who made and registered it: does not count among those who approve.
    pub producer: &'a str,
    /// What the artifact's checks found.
    pub artifact: Artifact<'a>,
    /// How it did on the holdout; `None` if it was never evaluated.
    pub trial: Option<Trial<'a>>,
    /// What people said.
    pub words: &'a [Word<'a>],
}

/// What the checks of an artifact found. The default is that nothing was checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Artifact<'a> {
    /// Its signature.
    pub signature: Signature<'a>,
    /// Golden requests whose answers came out again, and all of them; `None` if they were not asked.
    pub golden: Option<(u32, u32)>,
    /// Time within which 95 of 100 golden requests were answered on this machine; `None` if it was not measured.
    pub latency_p95: Option<Duration>,
}

/// What is known of a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signature<'a> {
    /// Nobody looked.
    #[default]
    NotChecked,
    /// A trusted key verifies it.
    Verified,
    /// There is none, or no trusted key verifies it: why.
    Refused(&'a str),
}

/// How a version did on the holdout, next to champion and popularity on the same users.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// Everybody together.
    pub overall: Scores<'a>,
    /// Each segment, in any order but always the same.
    pub segments: &'a [SegmentScores<'a>],
}

/// How a version did for the users of one segment.
#[derive(Clone, Copy, Debug)]
pub struct SegmentScores<'a> {
    /// Its name.
    pub name: &'a str,
    /// Users of the holdout in it.
    pub users: u64,
    /// The three sides.
    pub scores: Scores<'a>,
}

/// Whether a gate lets a version through, and everything that it found wanting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// What is missing: the number against its limit, and the cure. Empty: passed.
    pub refusals: Vec<Reason>,
    /// What could not be judged and was let through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Reason>,
}

impl Gate {
    /// Whether nothing is missing.
    pub fn passed(&self) -> bool {
        self.refusals.is_empty()
    }

    /// All refusals in one sentence, for an outcome that has room for one.
    pub fn sentence(&self) -> String {
        self.refusals.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// Whether a version may serve, and all that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admission {
    /// The version.
    pub digest: String,
    /// Whether it can be served.
    pub deployable: Gate,
    /// Whether it should be.
    pub worth: Gate,
    /// Whether people agree.
    pub approvals: Approvals,
}

impl Admission {
    /// Whether nothing is missing.
    pub fn admitted(&self) -> bool {
        self.deployable.passed() && self.worth.passed() && self.approvals.approved()
    }

    /// Whether only people stand between the version and its users.
    pub fn waits_for_people(&self) -> bool {
        self.deployable.passed() && self.worth.passed() && !self.approvals.approved()
    }

    /// Everything that is missing, what a machine found first.
    pub fn missing(&self) -> impl Iterator<Item = &Reason> {
        self.deployable.refusals.iter().chain(&self.worth.refusals).chain(&self.approvals.waiting_for)
    }
}

/// Judges a version by all that is known of it. What nobody checked is missing, not passed.
pub fn admit(policy: &AdmissionPolicy, dossier: &Dossier<'_>, now: Timestamp) -> Admission {
    let worth = dossier.trial.as_ref().map_or_else(not_evaluated, |trial| worth(policy, trial));
    let Dossier { digest, producer, words, .. } = *dossier;
    Admission {
        digest: digest.to_owned(),
        deployable: deployable(policy, &dossier.artifact),
        worth,
        approvals: approvals::count(policy.approvals, digest, producer, words, now),
    }
}

/// Whether the artifact can be served: signature (if asked), golden answers (always), latency (if asked).
pub fn deployable(policy: &AdmissionPolicy, artifact: &Artifact<'_>) -> Gate {
    let refusals = [signature(policy, artifact.signature), golden(artifact.golden), latency(policy, artifact)];
    Gate { refusals: refusals.into_iter().flatten().collect(), notes: Vec::new() }
}

/// Whether the version should be served: every gate, on everybody and on each segment where that is asked, and the gap
/// between segments. Nothing ends at the first failure: one look tells all that must be mended.
pub fn worth(policy: &AdmissionPolicy, trial: &Trial<'_>) -> Gate {
    let mut found = Gate::default();
    for gate in &policy.gates {
        found.refusals.extend(shortfall(gate, trial.overall, "", CONFIDENCE));
        segments::judge(gate, trial.segments, &mut found);
    }
    if let Some(fairness) = &policy.fairness {
        segments::judge_gap(fairness, trial.segments, &mut found);
    }
    found
}

fn not_evaluated() -> Gate {
    let message =
        "it was never evaluated on a holdout: train it here, or give its metrics with `fairway registry push`";
    Gate { refusals: vec![Reason::new("NotEvaluated", message)], notes: Vec::new() }
}

fn signature(policy: &AdmissionPolicy, signature: Signature<'_>) -> Option<Reason> {
    let (code, what) = match signature {
        _ if !policy.signature => return None,
        Signature::Verified => return None,
        Signature::NotChecked => ("SignatureNotChecked", "its signature was not checked".to_owned()),
        Signature::Refused(why) => ("SignatureRefused", format!("no trusted key has signed it: {why}")),
    };
    let cure = "`fairway registry sign` it with a key that spec.signing trusts";
    Some(Reason::new(code, format!("{what}; {cure}")))
}

fn golden(golden: Option<(u32, u32)>) -> Option<Reason> {
    let (code, message) = match golden {
        Some((reproduced, of)) if reproduced >= of && of > 0 => return None,
        None => ("GoldenNotChecked", "its golden answers were not checked; `fairway bundle check` does".to_owned()),
        Some((_, 0)) => {
            ("GoldenMissing", "it has no golden requests: nothing shows that it answers as its trainer saw".to_owned())
        }
        Some((reproduced, of)) => {
            let what = format!("{reproduced} of {of} golden answers came out again, all must");
            ("GoldenDiffers", format!("{what}: it was built by other code, or damaged; train it again"))
        }
    };
    Some(Reason::new(code, message))
}

fn latency(policy: &AdmissionPolicy, artifact: &Artifact<'_>) -> Option<Reason> {
    let limit = policy.latency_p95?;
    match artifact.latency_p95 {
        Some(p95) if p95 <= limit => None,
        Some(p95) => {
            let message = format!(
                "95 of 100 golden requests took up to {}, the limit is {}: fewer items or dimensions, or a faster machine",
                fine(p95),
                spell(limit)
            );
            Some(Reason::new("TooSlow", message))
        }
        None => {
            let message = format!("its latency on this machine was not measured; the limit is {}", spell(limit));
            Some(Reason::new("LatencyNotMeasured", message))
        }
    }
}

/// Latencies need more digits than holds do.
fn fine(duration: Duration) -> String {
    if duration < Duration::from_secs(1) { format!("{:.1}ms", duration.as_secs_f64() * 1e3) } else { spell(duration) }
}

#[cfg(test)]
mod tests;
