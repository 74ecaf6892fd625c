//! Which version an endpoint should move towards: what its reference names, as far as people agree. The words are the
//! registry's, what they come to is core's; here both are brought together.

use std::collections::BTreeMap;

use fairway_api::values::VersionRef;
use fairway_core::Reason;
use fairway_core::approvals::{self, Approvals, Word};
use fairway_core::endpoint::{AskedExperiment, EndpointStatus};
use fairway_core::policy::AdmissionPolicy;
use fairway_registry::{State, Version};
use fairway_wire::Target;
use jiff::Timestamp;

use crate::model::producer;
use crate::words;

/// Where the endpoint should go, and what people have not agreed to.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The version that its reference stands for.
    pub target: Option<Target>,
    /// Versions that may not serve, and why.
    pub unapproved: BTreeMap<String, String>,
    /// What a version waits for that nobody has objected to.
    pub awaiting: Option<Reason>,
}

impl Wanted {
    /// Whether there is a version that neither serves nor is kept from it: it waits for its rollout, or is in it.
    pub fn waits(&self, status: &EndpointStatus) -> bool {
        self.target.as_ref().is_some_and(|target| {
            let digest = &target.digest;
            let serves = status.stable.as_ref().is_some_and(|stable| stable.digest == *digest);
            !serves && !status.barred.contains_key(digest) && !self.unapproved.contains_key(digest)
        })
    }
}

/// What the endpoint's reference stands for now. `@challenger` falls back to the champion while there is none; and
/// where nothing serves yet, while people have not agreed to it. Arms of `experiments` that they have not agreed to are told too.
pub fn wanted(
    reference: &VersionRef,
    admission: &AdmissionPolicy,
    status: &EndpointStatus,
    registered: Option<&State>,
    experiments: &[AskedExperiment],
    now: Timestamp,
) -> Wanted {
    let Some(state) = registered else { return Wanted::default() };
    let words = |version: &Version| approvals(admission, status, version, now);
    let named = version_named(state, reference);
    let revocable: Vec<&str> = status.revocable().collect();
    let revocable = state.versions.values().filter(|version| revocable.contains(&version.digest.as_str()));
    let mut unapproved = BTreeMap::new();
    let mut awaiting = None;
    for version in revocable.chain(named) {
        let approvals = words(version);
        if let Some(reason) = approvals.waiting_for.first() {
            unapproved.insert(version.digest.to_string(), reason.message.clone());
            awaiting = (!approvals.objected()).then(|| reason.clone());
        }
    }
    for target in experiments.iter().flat_map(|asked| &asked.policy.arms).filter_map(|arm| arm.treatment.target()) {
        let version = state.versions.get(&target.version).filter(|it| it.digest.as_str() == target.digest);
        if let Some(reason) = version.and_then(|it| words(it).waiting_for.into_iter().next()) {
            unapproved.entry(target.digest.clone()).or_insert(reason.message);
        }
    }
    let follows_alias = matches!(reference, VersionRef::Alias(_));
    let agreed = |version: &&Version| words(version).approved();
    let champion = || state.by_alias("champion").filter(|_| follows_alias).filter(agreed);
    let version = named.filter(|version| status.stable.is_some() || agreed(version)).or_else(champion).or(named);
    Wanted { target: version.map(target_of), unapproved, awaiting }
}

/// The version that a reference names now.
pub(crate) fn version_named<'a>(state: &'a State, reference: &VersionRef) -> Option<&'a Version> {
    match reference {
        VersionRef::Alias(alias) => state.by_alias(alias),
        VersionRef::Number(number) => state.versions.get(number),
        VersionRef::Digest(digest) => state.versions.values().find(|version| version.digest.as_str() == digest),
    }
}

/// A version as decisions name it.
pub(crate) fn target_of(version: &Version) -> Target {
    Target { version: version.number, digest: version.digest.to_string() }
}

/// Who agrees that this version serves, and what it misses where it has come to.
fn approvals(policy: &AdmissionPolicy, status: &EndpointStatus, version: &Version, now: Timestamp) -> Approvals {
    let digest = version.digest.as_str();
    let valid_for = policy.approval_valid_for;
    let words: Vec<Word<'_>> = version
        .verdicts
        .iter()
        .map(|verdict| {
            let valid = valid_for.filter(|_| verdict.approved).map(|valid| verdict.time + valid);
            let expires = [valid, words::until(&verdict.reason)].into_iter().flatten().min();
            Word { actor: &verdict.actor, approves: verdict.approved, digest, time: verdict.time, expires }
        })
        .collect();
    approvals::missed_at(status.stage(digest), policy.approvals, digest, producer(version), &words, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_cluster_end() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let policy = AdmissionPolicy { approvals: 1, ..AdmissionPolicy::default() };
        let status = EndpointStatus::default();
        let count = |said: (&str, bool, &str), now: i64| approvals(&policy, &status, &words::judged(&[said]), at(now));
        let until = "ModelApproval a until 1970-01-01T00:00:10Z: fine";
        assert!(count(("ann", true, until), 5).approved());
        let over = count(("ann", true, until), 15);
        assert!(!over.approved() && !over.objected(), "{over:?}");
        assert!(count(("ann", false, "ModelApproval a: no"), 5).objected());
    }
}
