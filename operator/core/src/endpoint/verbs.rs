//! What people ask of a rollout: pause, resume, promote, abort, retry, undo.

use fairway_wire::{Target, Weight};

use super::{Ended, Look, Returning, RolloutRequest, RolloutResult};
use crate::Reason;
use crate::plan::{elapsed, spell};
use crate::planted::{Bug, planted};
use crate::rollout::Pause;

impl Look<'_> {
    pub(super) fn obey(&mut self) {
        for (who, request) in self.observed.requests {
            match request {
                RolloutRequest::Pause => self.pause(&format!("paused by {who}")),
                RolloutRequest::Resume => self.resume(who),
                RolloutRequest::Promote { full } => self.promote_by_hand(*full, who),
                RolloutRequest::Abort => self.roll_back(Reason::new("Aborted", format!("aborted by {who}"))),
                RolloutRequest::Retry => self.retry(who),
                RolloutRequest::Undo { to } => self.undo(to.as_ref(), who),
            }
        }
    }

    pub(super) fn pause(&mut self, why: &str) {
        let since = self.now;
        match &mut self.status.rollout {
            Some(rollout) => {
                rollout.paused.get_or_insert(Pause { since, why: why.to_owned() });
                self.say("Paused", why);
            }
            None => self.say("NothingToPause", "there is no rollout to pause"),
        }
    }

    fn resume(&mut self, who: &str) {
        let (limit, now) = (self.policy.max_duration, self.now);
        match self.status.rollout.as_mut().filter(|rollout| rollout.paused.is_some()) {
            Some(rollout) => {
                rollout.paused = None;
                if elapsed(rollout.limit_from, now) > limit {
                    rollout.limit_from = now;
                }
                self.say("Resumed", format!("resumed by {who}"));
            }
            None => self.say("NothingToResume", "no rollout is paused"),
        }
    }

    fn promote_by_hand(&mut self, full: bool, who: &str) {
        let Some(candidate) = self.status.rollout.as_ref().map(|rollout| rollout.candidate.clone()) else {
            return self.say("NothingToPromote", "there is no rollout to promote");
        };
        // Nobody may pass these (I5).
        if !self.is_ready(&candidate) && !planted(Bug::UnreadyPromoted) {
            let message = format!("version {} is not loaded: ask again when it is", candidate.version);
            return self.say("Loading", message);
        }
        if let Some(why) = self.observed.unapproved.get(&candidate.digest) {
            return self.say("AwaitingApproval", format!("version {}: {why}", candidate.version));
        }
        let Some(rollout) = &self.status.rollout else { return };
        let next = if full { Weight::FULL } else { rollout.next_weight(self.policy) };
        if let Some(why) = self.lacks(&candidate, next) {
            return self.order(next, Reason::new("Scaling", format!("{why}: they are ordered, ask again then")));
        }
        let Some(rollout) = &mut self.status.rollout else { return };
        rollout.paused = None;
        if full || rollout.is_last_step(self.policy) {
            self.promote(Reason::new("Promoted", format!("promoted by {who}")));
        } else {
            self.next_step(&format!("sent to the next step by {who}"));
        }
    }

    fn retry(&mut self, who: &str) {
        let wanted = self.observed.wanted.map(|target| target.digest.clone());
        match wanted.and_then(|digest| self.status.barred.remove(&digest)) {
            Some(_) => self.say("Retried", format!("the barred version may be tried again, says {who}")),
            None => self.say("NothingToRetry", "the wanted version is not barred"),
        }
    }

    fn undo(&mut self, to: Option<&Target>, who: &str) {
        if self.status.rollout.is_some() {
            return self.roll_back(Reason::new("Undone", format!("undone by {who}")));
        }
        let previous = to.cloned().or_else(|| self.status.bake.as_ref().map(|bake| bake.previous.clone()));
        match previous.or_else(|| self.last_promoted_before_stable()) {
            Some(to) if self.status.stable.as_ref().is_some_and(|stable| stable.digest == to.digest) => {
                self.status.returning = None;
                self.say("NothingToUndo", format!("version {} serves already", to.version));
            }
            Some(to) => self.status.returning = Some(Returning { to, who: who.to_owned(), since: self.now }),
            None => self.say("NothingToUndo", "no earlier version is known"),
        }
    }

    /// Goes back to what a person asked for, as soon as it is loaded.
    pub(super) fn come_back(&mut self) {
        let Some(Returning { to, who, since }) = self.status.returning.take() else {
            return;
        };
        let limit = self.observed.lease * super::wanted::LOADED_WITHIN_LEASES;
        if self.is_ready(&to) && self.lacks(&to, Weight::FULL).is_none() {
            return self.replace_stable(to, Reason::new("Undone", format!("undone by {who}")));
        }
        if let Some(why) = self.observed.broken.get(&to.digest) {
            return self.say("BlockedByFailedLoad", format!("no way back to version {}: {why}", to.version));
        }
        if elapsed(since, self.now) > limit {
            let message = format!("no way back to version {}: not loaded within {}", to.version, spell(limit));
            return self.say("BlockedByFailedLoad", message);
        }
        self.say("Loading", format!("version {} is being loaded; it takes over when it is ready", to.version));
        self.status.returning = Some(Returning { to, who, since });
    }

    fn last_promoted_before_stable(&self) -> Option<Target> {
        let stable = self.status.stable.as_ref()?;
        let promoted = self.status.history.iter().rev().filter(|ended| ended.result == RolloutResult::Promoted);
        let is_bad = |digest: &String| *digest == stable.digest || self.status.barred.contains_key(digest);
        promoted.map(|ended| ended.target.clone()).find(|target| !is_bad(&target.digest))
    }

    fn replace_stable(&mut self, target: Target, reason: Reason) {
        self.reasons.push(reason.clone());
        // Beside another stable version it would be judged by what it did beside this one.
        self.end(RolloutResult::Superseded, reason.clone());
        self.status.barred.remove(&target.digest);
        if let Some(bake) = self.status.bake.take().filter(|bake| bake.previous == target) {
            return self.revert(bake, reason);
        }
        if let Some(stable) = self.status.stable.take() {
            self.bar(&stable.digest, &reason.message);
            self.status.rollouts += 1;
            self.remember(Ended {
                id: format!("{}-v{}", self.status.rollouts, stable.version),
                target: stable,
                result: RolloutResult::RolledBack,
                reason: reason.clone(),
                started: self.now,
                ended: self.now,
                canary_requests: 0,
            });
        }
        self.status.stable = Some(target);
    }
}
