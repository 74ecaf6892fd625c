//! Which version the endpoint should move towards: what its reference names, as far as people agree. The words are the
//! registry's, what they come to is core's; here both are brought together.

use fairway_api::values::VersionRef;
use fairway_core::Reason;
use fairway_core::approvals::{self, Approvals, Word};
use fairway_registry::{State, Version};
use fairway_wire::Target;
use jiff::Timestamp;

use super::Runtime;
use super::effects::ACTOR;

impl Runtime {
    /// What the endpoint's reference stands for now, as far as people agree; and what a version that they have not yet
    /// agreed to waits for. `@challenger` falls back to the champion while there is none that may serve.
    pub(super) fn wanted(&self, registered: Option<&State>, now: Timestamp) -> (Option<Target>, Option<Reason>) {
        let Some(state) = registered else { return (None, None) };
        let named = match &self.spec.version {
            VersionRef::Alias(alias) => state.by_alias(alias),
            VersionRef::Number(number) => state.versions.get(number),
            VersionRef::Digest(digest) => state.versions.values().find(|version| version.digest.as_str() == digest),
        };
        let approvals = named.map(|version| self.approvals(version, now)).unwrap_or_default();
        let follows_alias = matches!(self.spec.version, VersionRef::Alias(_));
        let agreed = |version: &&Version| follows_alias && self.approvals(version, now).approved();
        let champion = || state.by_alias("champion").filter(agreed);
        let version = named.filter(|_| approvals.approved()).or_else(champion);
        let awaiting = approvals.waiting_for.first().filter(|_| !approvals.objected()).cloned();
        let target = |version: &Version| Target { version: version.number, digest: version.digest.to_string() };
        (version.map(target), awaiting)
    }

    /// Who agrees that this version serves. One that is stable has been agreed to; one on trial needs no second approval
    /// when its first runs out, but a no takes it back.
    fn approvals(&self, version: &Version, now: Timestamp) -> Approvals {
        let (policy, status) = (&self.spec.model_policy.admission, &self.endpoint.status);
        let digest = version.digest.as_str();
        if status.stable.as_ref().is_some_and(|stable| stable.digest == digest) {
            return Approvals::default();
        }
        let on_trial = status.rollout.as_ref().is_some_and(|rollout| rollout.candidate.digest == digest);
        let valid_for = policy.approval_valid_for.filter(|_| !on_trial);
        let words: Vec<Word<'_>> = version
            .verdicts
            .iter()
            .map(|verdict| Word {
                actor: &verdict.actor,
                approves: verdict.approved,
                digest,
                time: verdict.time,
                expires: valid_for.filter(|_| verdict.approved).map(|valid| verdict.time + valid),
            })
            .collect();
        // Versions are registered under one name here; who pushed one from elsewhere is in the log, not in the state.
        approvals::count(policy.approvals, digest, ACTOR, &words, now)
    }
}
