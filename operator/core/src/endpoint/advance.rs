//! The rollout goes on, waits, or ends. Harm comes first: it is looked for whatever else holds the rollout up.

use fairway_wire::{Target, Weight};

use super::{Look, RolloutResult};
use crate::evidence::{Outcome, Verdict};
use crate::plan::{Reason, elapsed, spell};
use crate::planted::{Bug, planted};
use crate::policy::{OnInconclusive, OnLowTraffic, OnMissingTelemetry, frozen};
use crate::rollout::{Bake, Rollout, harm, unproved};

/// Without any window for this many leases, telemetry counts as missing.
const MISSING_AFTER_LEASES: u32 = 6;

/// What becomes of a rollout at this look.
enum Next {
    Supersede(Target),
    /// Nobody asks for it any more.
    Withdraw(Reason),
    RollBack(Reason),
    Promote(Reason),
    StepUp,
    Pause(String),
    /// Nothing moves; why.
    Wait(Reason),
    /// The next weight waits for its servers; why.
    Order(Weight, Reason),
}

impl Look<'_> {
    pub(super) fn advance_rollout(&mut self) {
        let Some(mut rollout) = self.status.rollout.take() else {
            return;
        };
        rollout.thaw(&self.policy.freezes, self.now);
        let next = self.next(&rollout);
        self.tell_if_alone(&rollout);
        self.status.rollout = Some(rollout);
        match next {
            Next::Supersede(newer) => self.supersede(&newer),
            Next::Withdraw(reason) => self.end(RolloutResult::Superseded, reason),
            Next::RollBack(reason) => self.roll_back(reason),
            Next::Promote(reason) => self.promote(reason),
            Next::StepUp => self.next_step("held, with enough requests and no proof of harm"),
            Next::Pause(why) => self.pause(&why),
            Next::Wait(reason) => self.reasons.push(reason),
            Next::Order(weight, reason) => self.order(weight, reason),
        }
    }

    /// Nobody has stable: what the gates have to go by then.
    fn tell_if_alone(&mut self, rollout: &Rollout) {
        let Some(route) = self.status.route.as_ref().filter(|route| rollout.alone.contains(&route.generation)) else {
            return;
        };
        let (who, reward) = match route.serve_baseline {
            true => ("the baseline is served in stable's place", "reward is compared with the baseline's"),
            false => ("everybody who is eligible has the candidate", "reward with nobody's"),
        };
        let errors = match rollout.evidence.allowed_alone() {
            Some(rate) => format!("errors are held against {:.2} %", 100.0 * rate),
            None => "errors are held against nothing".to_owned(),
        };
        self.say("NoComparison", format!("{who}: {errors}, late answers against nothing, and {reward}"));
    }

    fn next(&self, rollout: &Rollout) -> Next {
        let wait = |code: &str, message: String| Next::Wait(Reason::new(code, message));
        if let Some(newer) = self.superseding(rollout) {
            return Next::Supersede(newer);
        }
        if let Some(stable) = self.status.stable.as_ref().filter(|stable| self.is_wanted(stable)) {
            let message = format!("version {} is wanted again, which serves", stable.version);
            return Next::Withdraw(Reason::new("Withdrawn", message));
        }
        if let Some(reason) = self.unfit(rollout) {
            return Next::RollBack(reason);
        }
        let verdicts = rollout.evidence.verdicts(self.policy);
        let harmful = harm(&verdicts).filter(|_| rollout.paused.is_none() || !planted(Bug::HarmIgnoredWhilePaused));
        if let Some(verdict) = harmful {
            return Next::RollBack(Reason::new("Harmful", verdict.message.clone()));
        }
        let silence = self.silence(rollout);
        if let (Some(message), OnMissingTelemetry::Rollback) = (&silence, self.policy.on_missing_telemetry) {
            return Next::RollBack(Reason::new("TelemetryMissing", message.clone()));
        }
        if let Some(pause) = &rollout.paused {
            let limit = self.policy.max_duration;
            return if elapsed(pause.since, self.now) > limit && !planted(Bug::PauseForever) {
                Next::RollBack(Reason::new("PauseTooLong", format!("paused for more than {}", spell(limit))))
            } else {
                wait("Paused", format!("{}; the weight stays at {}", pause.why, rollout.weight(self.policy)))
            };
        }
        if let (Some(until), false) = (frozen(&self.policy.freezes, self.now), planted(Bug::FrozenIgnored)) {
            return wait("Frozen", format!("the weight stays at {} until {until}", rollout.weight(self.policy)));
        }
        let silence = silence.filter(|_| self.policy.on_missing_telemetry == OnMissingTelemetry::Hold);
        self.forward(rollout, &verdicts, silence)
    }

    /// Nothing is wrong and nothing is frozen: what keeps the next step, and for how long may it?
    fn forward(&self, rollout: &Rollout, verdicts: &[Verdict], silence: Option<String>) -> Next {
        let waiting = rollout.waiting(self.policy, self.now).filter(|_| !planted(Bug::HoldIgnored));
        let unproved = unproved(verdicts).filter(|_| self.policy.require_proof);
        let reason = if !self.is_ready(&rollout.candidate) {
            Reason::new("Loading", format!("version {} is being loaded", rollout.candidate.version))
        } else if let Some(message) = silence.filter(|_| !planted(Bug::SilenceIgnored)) {
            Reason::new("TelemetryMissing", format!("{message}: the weight stays"))
        } else if let Some(waiting) = &waiting {
            let message = format!("at {}: {}", rollout.weight(self.policy), waiting.sentence(self.now));
            Reason::new("Progressing", message)
        } else if self.is_over(rollout) && !(rollout.is_last_step(self.policy) && unproved.is_none()) {
            return self.inconclusive(rollout, rollout.is_last_step(self.policy));
        } else if let Some(verdict) = unproved.filter(|_| rollout.is_last_step(self.policy)) {
            return Next::Wait(Reason::new("AwaitingProof", not_proved(verdict)));
        } else {
            return self.grow(rollout, verdicts);
        };
        if self.is_over(rollout) { self.inconclusive(rollout, false) } else { Next::Wait(reason) }
    }

    fn is_over(&self, rollout: &Rollout) -> bool {
        elapsed(rollout.limit_from, self.now) > self.policy.max_duration
    }

    /// Everything but the servers is there for the next weight.
    fn grow(&self, rollout: &Rollout, verdicts: &[Verdict]) -> Next {
        let next = rollout.next_weight(self.policy);
        match self.lacks(&rollout.candidate, next) {
            Some(why) if self.is_over(rollout) => self.without_servers(why),
            Some(why) => Next::Order(next, Reason::new("Scaling", why)),
            None if rollout.is_last_step(self.policy) => Next::Promote(Reason::new("Promoted", promotion(verdicts))),
            None => Next::StepUp,
        }
    }

    /// The time is over, and the servers for the next weight never came.
    fn without_servers(&self, why: String) -> Next {
        let why = format!("{why}, and {} are over", spell(self.policy.max_duration));
        match self.policy.on_inconclusive {
            OnInconclusive::Rollback => Next::RollBack(Reason::new("Inconclusive", why)),
            OnInconclusive::Promote | OnInconclusive::Pause => Next::Pause(why),
        }
    }

    /// Remembers for which weight servers are ordered.
    pub(super) fn order(&mut self, weight: Weight, reason: Reason) {
        if let Some(rollout) = &mut self.status.rollout {
            rollout.wants = Some(weight);
        }
        self.reasons.push(reason);
    }

    /// Invariant I12: no rollout lasts for ever. What has answered too little is never promoted by the clock, and neither is
    /// what nobody has heard of lately.
    fn inconclusive(&self, rollout: &Rollout, all_steps_done: bool) -> Next {
        let limit = spell(self.policy.max_duration);
        let (answered, needed) = (rollout.evidence.answered_at_weight, self.policy.min_requests);
        let judged = all_steps_done || answered >= needed && self.is_ready(&rollout.candidate);
        let heard = self.silence(rollout).is_none();
        if (!judged || !heard) && !planted(Bug::PromotedOnSilence) {
            let why = match heard {
                true => format!("only {answered} of {needed} requests answered at this weight within {limit}"),
                false => format!("no router has reported lately, and {limit} are over"),
            };
            return match self.policy.on_low_traffic {
                OnLowTraffic::Pause => Next::Pause(why),
                OnLowTraffic::Rollback => Next::RollBack(Reason::new("TooLittleTraffic", why)),
            };
        }
        if let Some(why) = self.lacks(&rollout.candidate, rollout.next_weight(self.policy)) {
            return self.without_servers(why);
        }
        let why = format!("nothing was proved within {limit}");
        match self.policy.on_inconclusive {
            OnInconclusive::Rollback => Next::RollBack(Reason::new("Inconclusive", why)),
            OnInconclusive::Promote if self.lacks(&rollout.candidate, Weight::FULL).is_some() => Next::Pause(why),
            OnInconclusive::Promote => Next::Promote(Reason::new("Inconclusive", why)),
            OnInconclusive::Pause => Next::Pause(why),
        }
    }

    fn superseding(&self, rollout: &Rollout) -> Option<Target> {
        let wanted = self.wanted_and_allowed()?;
        let is_new = wanted.digest != rollout.candidate.digest
            && self.status.stable.as_ref().is_none_or(|stable| stable.digest != wanted.digest);
        is_new.then(|| wanted.clone())
    }

    fn supersede(&mut self, newer: &Target) {
        if let (Some(rollout), true) = (&mut self.status.rollout, planted(Bug::SupersededKeepsEvidence)) {
            rollout.candidate = newer.clone();
            return;
        }
        let reason = Reason::new("Superseded", format!("version {} took its place", newer.version));
        self.end(RolloutResult::Superseded, reason);
        self.consider_wanted();
    }

    /// Another policy: the step that suits the weight which users have. Its gates are for the next rollout.
    pub(super) fn fit_policy(&mut self) {
        let canary = self.status.route.as_ref().and_then(|route| route.canary.as_ref());
        if let Some((rollout, canary)) = self.status.rollout.as_mut().zip(canary)
            && canary.target == rollout.candidate
        {
            rollout.fit_step(self.policy, canary.weight);
        }
        if let Some(bake) = &mut self.status.bake {
            bake.rollout.evidence.fix_rules(self.policy);
        }
        let unchanged = self.status.rollout.as_mut().is_none_or(|rollout| rollout.evidence.fix_rules(self.policy));
        if !unchanged {
            let message = "gates, falseAlarmRate and shadow are those of the rollout's start: whoever changes them while looking \
                           has no error rate; the next rollout has the new ones";
            self.say("RulesAreFixed", message);
        }
    }

    pub(super) fn is_wanted(&self, target: &Target) -> bool {
        self.observed.wanted.is_some_and(|wanted| wanted.digest == target.digest)
    }

    /// It may not serve, or cannot.
    pub(super) fn unfit(&self, rollout: &Rollout) -> Option<Reason> {
        let digest = &rollout.candidate.digest;
        if let Some(why) = self.observed.unapproved.get(digest).filter(|_| !planted(Bug::UnapprovedServed)) {
            return Some(Reason::new("ApprovalMissing", why.clone()));
        }
        let why = self.observed.broken.get(digest)?;
        Some(Reason::new("BlockedByFailedLoad", format!("could not be loaded: {why}")))
    }

    /// How long nobody has reported, if that is too long.
    pub(super) fn silence(&self, rollout: &Rollout) -> Option<String> {
        let silence = elapsed(rollout.last_telemetry.max(rollout.weight_since), self.now);
        let is_long = silence > self.observed.lease * MISSING_AFTER_LEASES;
        is_long.then(|| format!("no router has reported for {}", spell(silence)))
    }

    pub(super) fn next_step(&mut self, why: &str) {
        let (policy, now) = (self.policy, self.now);
        let Some(rollout) = &mut self.status.rollout else {
            return;
        };
        let before = rollout.weight(policy);
        rollout.step_up(now);
        let message =
            format!("version {} goes from {before} to {}: {why}", rollout.candidate.version, rollout.weight(policy));
        self.say("StepUp", message);
    }

    pub(super) fn promote(&mut self, reason: Reason) {
        let (Some(rollout), Some(previous)) = (self.status.rollout.clone(), self.status.stable.clone()) else {
            return;
        };
        self.end(RolloutResult::Promoted, reason);
        self.status.stable = Some(rollout.candidate.clone());
        self.status.bake = Some(Bake::new(previous, rollout, self.now));
    }
}

fn not_proved(verdict: &Verdict) -> String {
    format!("non-inferiority is not proved yet: {}", verdict.message)
}

fn promotion(verdicts: &[Verdict]) -> String {
    let unproved = verdicts.iter().filter(|verdict| verdict.outcome != Outcome::NonInferior).count();
    let numbers: Vec<&str> = verdicts.iter().map(|verdict| verdict.message.as_str()).collect();
    let how = if unproved == 0 { "proved not worse" } else { "no harm shown" };
    format!("{how} on {} gates ({})", verdicts.len(), numbers.join("; "))
}
