//! Nothing is in progress: is another version to be tried? And the version that serves first.

use fairway_wire::{Target, Weight};

use super::{Ended, Loading, Look, RolloutResult};
use crate::plan::{Reason, elapsed, spell};
use crate::planted::{Bug, planted};
use crate::policy::frozen;
use crate::rollout::Rollout;

/// Leases after which a version that is still not loaded is given up: an hour, where a lease is half a minute.
pub(super) const LOADED_WITHIN_LEASES: u32 = 120;

impl Look<'_> {
    pub(super) fn consider_wanted(&mut self) {
        let Some(wanted) = self.observed.wanted.cloned() else {
            self.status.loading = None;
            if self.status.stable.is_none() {
                self.say("NoVersion", "no version is registered yet: the baseline serves");
            }
            return;
        };
        if self.status.stable.as_ref().is_some_and(|stable| stable.digest == wanted.digest) {
            self.status.loading = None;
            return;
        }
        if let Some(why) = self.status.barred.get(&wanted.digest) {
            self.status.loading = None;
            let message =
                format!("version {} was taken back ({why}); `fairway rollout retry` tries it again", wanted.version);
            return self.say("Barred", message);
        }
        if let Some(why) = self.observed.unapproved.get(&wanted.digest).filter(|_| !planted(Bug::UnapprovedServed)) {
            self.status.loading = None;
            return self.say("AwaitingApproval", format!("version {}: {why}", wanted.version));
        }
        if let Some(why) = self.observed.broken.get(&wanted.digest).cloned() {
            return self.give_up(&wanted, &why);
        }
        if !self.is_ready(&wanted) {
            let why = format!("version {} is being fetched and verified", wanted.version);
            return self.wait_for(&wanted, false, &why);
        }
        if let (Some(until), false) = (frozen(&self.policy.freezes, self.now), planted(Bug::FrozenIgnored)) {
            // It is loaded: what the freeze takes is no fault of it.
            self.status.loading = None;
            let message = format!("version {} waits for the end of the freeze, {until}", wanted.version);
            return self.say("Frozen", message);
        }
        let share = self.status.stable.as_ref().map_or(Weight::FULL, |_| self.policy.steps.as_slice()[0].weight);
        if let Some(why) = self.lacks(&wanted, share) {
            return self.wait_for(&wanted, true, &why);
        }
        self.status.loading = None;
        match self.status.stable.clone() {
            None => self.serve_first(wanted),
            Some(stable) => self.start(wanted, &stable),
        }
    }

    /// The version that is wanted, unless it was taken back or misses an approval.
    pub(super) fn wanted_and_allowed(&self) -> Option<&Target> {
        self.observed.wanted.filter(|wanted| {
            let digest = &wanted.digest;
            !self.status.barred.contains_key(digest) && !self.observed.unapproved.contains_key(digest)
        })
    }

    /// Invariant I12, before a version has any user: it has so long to be loaded, and then as long to get its servers. One whose
    /// servers come and go does not begin anew.
    fn wait_for(&mut self, wanted: &Target, scaling: bool, why: &str) {
        let before = self.status.loading.take().filter(|loading| loading.digest == wanted.digest);
        let digest = wanted.digest.clone();
        let loading = match before {
            Some(loading) if loading.scaling || !scaling => loading,
            _ => Loading { digest, since: self.now, scaling },
        };
        let limit = self.observed.lease * LOADED_WITHIN_LEASES;
        if elapsed(loading.since, self.now) > limit && !planted(Bug::LoadForever) {
            return self.give_up(wanted, &format!("after {}: {why}", spell(limit)));
        }
        self.status.loading = Some(loading);
        self.say(if scaling { "Scaling" } else { "Loading" }, why);
    }

    fn give_up(&mut self, wanted: &Target, why: &str) {
        self.status.loading = None;
        self.bar(&wanted.digest, why);
        self.say("BlockedByFailedLoad", format!("version {} could not be loaded: {why}", wanted.version));
    }

    /// A first version has nothing to be compared with: it serves at once.
    fn serve_first(&mut self, target: Target) {
        let message = format!("version {} is the first one: it serves everybody", target.version);
        self.remember(Ended {
            id: "first".to_owned(),
            target: target.clone(),
            result: RolloutResult::Promoted,
            reason: Reason::new("FirstVersion", message.clone()),
            started: self.now,
            ended: self.now,
            canary_requests: 0,
        });
        self.status.stable = Some(target);
        self.say("FirstVersion", message);
    }

    fn start(&mut self, candidate: Target, stable: &Target) {
        self.status.rollouts += 1;
        let id = format!("{}-v{}", self.status.rollouts, candidate.version);
        let step = &self.policy.steps.as_slice()[0];
        let message = format!(
            "version {} starts on {} of the users beside version {}",
            candidate.version, step.weight, stable.version
        );
        self.status.rollout = Some(Rollout::new(id, candidate, stable, self.policy, self.now));
        self.say("RolloutStarted", message);
    }
}
