//! Versions that depend on each other (a ranker and the diversity layer made for it) are admitted together or not at all.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Admission, Dossier, admit};
use crate::Reason;
use crate::policy::AdmissionPolicy;

/// One of a set.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its part in the set, such as `ranker`. Each part once.
    pub part: &'a str,
    /// What it must show.
    pub policy: &'a AdmissionPolicy,
    /// What is known of it.
    pub dossier: Dossier<'a>,
    /// The other parts that it was made for, as its provenance names them.
    pub needs: &'a [Needed<'a>],
}

/// What a member was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed<'a> {
    /// The part.
    pub part: &'a str,
    /// The version that it must be.
    pub digest: &'a str,
}

/// Whether a set may serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetAdmission {
    /// Each member by its part, in the order given.
    pub members: Vec<(String, Admission)>,
    /// Why the members do not fit together. Empty: they do.
    pub misfits: Vec<Reason>,
}

impl SetAdmission {
    /// Whether all of it may serve; there is no half of a set.
    pub fn admitted(&self) -> bool {
        self.misfits.is_empty() && self.members.iter().all(|(_, admission)| admission.admitted())
    }

    /// Everything that is missing, with the part that lacks it.
    pub fn missing(&self) -> Vec<Reason> {
        let of_member = |(part, admission): &(String, Admission)| -> Vec<Reason> {
            let told = |reason: &Reason| Reason::new(&reason.code, format!("{part}: {}", reason.message));
            admission.missing().map(told).collect()
        };
        self.misfits.iter().cloned().chain(self.members.iter().flat_map(of_member)).collect()
    }
}

/// Judges a set: each member by its own policy, and whether they were made for each other. A member that names nobody and
/// is named by nobody is not known to fit.
pub fn admit_set(members: &[Member<'_>], now: Timestamp) -> SetAdmission {
    let mut misfits = Vec::new();
    if members.is_empty() {
        misfits.push(Reason::new("EmptySet", "the set has no member"));
    }
    for (at, member) in members.iter().enumerate() {
        if members[..at].iter().any(|earlier| earlier.part == member.part) {
            misfits.push(Reason::new("PartTwice", format!("`{}` is in the set twice; leave one out", member.part)));
        }
        misfits.extend(member.needs.iter().filter_map(|needed| misfit(member, needed, members)));
        let named = |other: &Member<'_>| other.needs.iter().any(|needed| needed.part == member.part);
        if members.len() > 1 && member.needs.is_empty() && !members.iter().any(named) {
            let message =
                format!("nothing says that `{}` fits the others: its provenance names none of them", member.part);
            misfits.push(Reason::new("NotLinked", message));
        }
    }
    let admitted = |member: &Member<'_>| (member.part.to_owned(), admit(member.policy, &member.dossier, now));
    SetAdmission { members: members.iter().map(admitted).collect(), misfits }
}

fn misfit(member: &Member<'_>, needed: &Needed<'_>, members: &[Member<'_>]) -> Option<Reason> {
    let Needed { part, digest } = needed;
    let found = members.iter().find(|other| other.part == *part);
    let (code, has) = match found {
        Some(other) if other.dossier.digest == *digest => return None,
        Some(other) => ("Incompatible", format!("the set has {}", other.dossier.digest)),
        None => ("PartMissing", "the set has none".to_owned()),
    };
    let message = format!(
        "`{}` was made for `{part}` {digest}, but {has}: put that version into the set, or train `{}` again",
        member.part, member.part
    );
    Some(Reason::new(code, message))
}
