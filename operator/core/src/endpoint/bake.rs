//! After the promotion: the former version is kept, and harm that shows only now reverts.

use super::{Look, RolloutResult};
use crate::plan::{Reason, elapsed, spell};
use crate::planted::{Bug, planted};
use crate::rollout::Bake;

impl Look<'_> {
    /// Reward goes on maturing after the promotion; harm that it proves reverts.
    pub(super) fn advance_bake(&mut self) {
        let Some(bake) = self.status.bake.take() else {
            return;
        };
        let back = self.is_ready(&bake.previous);
        if let Some(reason) = self.unfit(&bake.rollout).filter(|_| back) {
            return self.revert(bake, reason);
        }
        if back && self.is_wanted(&bake.previous) {
            let message = format!("version {} is wanted again", bake.previous.version);
            return self.give_back(bake, Reason::new("Withdrawn", message));
        }
        if let Some(why) = bake.harm(self.policy).filter(|_| !planted(Bug::BakeWithoutHarm)) {
            return self.revert(bake, Reason::new("HarmfulInBake", why));
        }
        let until = bake.since + self.policy.bake.max(self.policy.reward_within);
        // A bake that nobody watches proves nothing; but it does not last for ever either (I12).
        let unwatched = self.silence(&bake.rollout).filter(|_| self.now < until + self.policy.max_duration);
        let version = bake.previous.version;
        if self.now < until {
            let left = spell(elapsed(self.now, until));
            self.say("Baking", format!("version {version} is kept for another {left}"));
            self.status.bake = Some(bake);
        } else if let Some(silence) = unwatched {
            self.say("TelemetryMissing", format!("{silence}: version {version} is kept until somebody does"));
            self.status.bake = Some(bake);
        } else {
            self.say("Baked", "the promotion is final: no harm has shown");
            if self.status.returning.is_none() {
                self.consider_wanted();
            }
        }
    }

    /// The former version takes over again, and the digest is barred until a person says `retry`.
    pub(super) fn revert(&mut self, bake: Bake, reason: Reason) {
        let digest = bake.rollout.candidate.digest.clone();
        self.bar(&digest, &reason.message);
        self.give_back(bake, reason);
    }

    fn give_back(&mut self, bake: Bake, reason: Reason) {
        self.status.stable = Some(bake.previous);
        self.status.rollout = Some(bake.rollout);
        self.end(RolloutResult::RolledBack, reason);
    }
}
