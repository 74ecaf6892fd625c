//! Which version may serve how many users: the decision of one endpoint.
//!
//! Phases: nothing served yet → stable alone → rollout (steps) → promoted and baking → stable alone. Rollback is one
//! step away from each of them and needs neither registry nor bucket (invariant I3): it is a route without the canary.

mod conditions;
mod route;
mod verbs;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_wire::{Route, Target, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::{Plan, Reason, elapsed, spell};
use crate::policy::{EndpointPolicy, OnInconclusive, OnMissingTelemetry};
use crate::rollout::{Bake, Rollout, harm, unproved};

/// What an endpoint remembers between looks; it is stored with each plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// The trusted version.
    pub stable: Option<Target>,
    /// The rollout in progress.
    pub rollout: Option<Rollout>,
    /// The promotion that is still watched.
    pub bake: Option<Bake>,
    /// Digests that were taken back, with the reason: not tried again until a person says `retry`. Bounded.
    pub barred: BTreeMap<String, String>,
    /// The route as it was last set.
    pub route: Option<Route>,
    /// How rollouts ended, newest last. Bounded.
    pub history: Vec<Ended>,
    /// Rollouts so far; the next one's number.
    pub rollouts: u64,
}

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The rollout.
    pub id: String,
    /// The version on trial.
    pub target: Target,
    /// What became of it.
    pub result: RolloutResult,
    /// Why.
    pub reason: Reason,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Requests that were assigned to it.
    pub canary_requests: u64,
}

/// What became of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutResult {
    /// It is stable now.
    Promoted,
    /// It was taken back.
    RolledBack,
    /// A newer candidate took its place.
    Superseded,
}

/// What a person asks of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "verb")]
pub enum RolloutRequest {
    /// Freeze the weight.
    Pause,
    /// Go on after a pause.
    Resume,
    /// To the next step now.
    Promote {
        /// All the way.
        full: bool,
    },
    /// Stable now; the digest is barred.
    Abort,
    /// Try a barred version again.
    Retry,
    /// Back to the version before, or to a named one.
    Undo {
        /// The version; the one before if none.
        to: Option<Target>,
    },
}

/// What is known about the endpoint at this moment.
#[derive(Clone, Debug)]
pub struct EndpointObserved<'a> {
    /// What was remembered.
    pub status: &'a EndpointStatus,
    /// Windows closed since the last look.
    pub windows: &'a [Window],
    /// The version that the manifest's reference stands for now.
    pub wanted: Option<&'a Target>,
    /// Digests that are loaded and verified (invariant I5).
    pub ready: &'a BTreeSet<String>,
    /// Digests that could not be loaded, and why.
    pub broken: &'a BTreeMap<String, String>,
    /// What people asked since the last look, in order, with their names.
    pub requests: &'a [(String, RolloutRequest)],
    /// The model's loop found stable worse than popularity.
    pub serve_baseline: bool,
    /// How long the routers may keep a canary without hearing from us.
    pub lease: Duration,
}

/// What the runtime must do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "effect")]
pub enum EndpointEffect {
    /// Fetch, verify and load a version.
    Load {
        /// Which.
        target: Target,
    },
    /// Give the routers this route.
    SetRoute {
        /// The route.
        route: Route,
    },
    /// A version is not needed any more.
    Unload {
        /// Its digest.
        digest: String,
    },
    /// Move the model's alias `champion`.
    MoveChampion {
        /// To this version.
        to: Target,
        /// Why, for the log.
        why: String,
    },
}

/// Longest remembered list of barred digests and of ended rollouts.
const REMEMBERED: usize = 100;
/// Without any window for this many leases, telemetry counts as missing.
const MISSING_AFTER_LEASES: u32 = 6;

/// Decides what happens next. Pure: the same input gives the same plan.
pub fn decide(
    policy: &EndpointPolicy,
    observed: &EndpointObserved<'_>,
    now: Timestamp,
) -> Plan<EndpointEffect, EndpointStatus> {
    let mut look =
        Look { policy, observed, now, status: observed.status.clone(), effects: Vec::new(), reasons: Vec::new() };
    look.absorb();
    look.obey();
    look.advance();
    look.route();
    look.finish()
}

struct Look<'a> {
    policy: &'a EndpointPolicy,
    observed: &'a EndpointObserved<'a>,
    now: Timestamp,
    status: EndpointStatus,
    effects: Vec<EndpointEffect>,
    reasons: Vec<Reason>,
}

impl Look<'_> {
    fn say(&mut self, code: &str, message: impl Into<String>) {
        self.reasons.push(Reason::new(code, message));
    }

    fn absorb(&mut self) {
        if let Some(rollout) = &mut self.status.rollout {
            rollout.absorb(self.observed.windows);
        }
        if let Some(bake) = &mut self.status.bake {
            bake.rollout.absorb(self.observed.windows);
        }
    }

    fn bar(&mut self, digest: &str, why: &str) {
        self.status.barred.insert(digest.to_owned(), why.to_owned());
        while self.status.barred.len() > REMEMBERED {
            self.status.barred.pop_first();
        }
    }

    fn move_champion(&mut self, to: &Target, why: &str) {
        if self.policy.promotes {
            self.effects.push(EndpointEffect::MoveChampion { to: to.clone(), why: why.to_owned() });
        }
    }

    fn advance(&mut self) {
        if self.status.rollout.is_some() {
            self.advance_rollout();
        } else if self.status.bake.is_some() {
            self.advance_bake();
        } else {
            self.consider_wanted();
        }
    }

    /// Nothing is in progress: is another version wanted?
    fn consider_wanted(&mut self) {
        let Some(wanted) = self.observed.wanted.cloned() else {
            if self.status.stable.is_none() {
                self.say("NoVersion", "no version is registered yet: the baseline serves");
            }
            return;
        };
        if self.status.stable.as_ref().is_some_and(|stable| stable.digest == wanted.digest) {
            return;
        }
        if let Some(why) = self.status.barred.get(&wanted.digest) {
            let message =
                format!("version {} was taken back ({why}); `fairway rollout retry` tries it again", wanted.version);
            return self.say("Barred", message);
        }
        if let Some(why) = self.observed.broken.get(&wanted.digest).cloned() {
            self.bar(&wanted.digest, &why);
            return self.say("BlockedByFailedLoad", format!("version {} could not be loaded: {why}", wanted.version));
        }
        if !self.observed.ready.contains(&wanted.digest) {
            self.say("Loading", format!("version {} is being fetched and verified", wanted.version));
            return self.effects.push(EndpointEffect::Load { target: wanted });
        }
        match self.status.stable.clone() {
            None => self.serve_first(wanted),
            Some(stable) => self.start(wanted, &stable),
        }
    }

    /// A first version has nothing to be compared with: it serves at once.
    fn serve_first(&mut self, target: Target) {
        let message = format!("version {} is the first one: it serves everybody", target.version);
        self.move_champion(&target, &message);
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

    fn advance_rollout(&mut self) {
        let Some(rollout) = self.status.rollout.clone() else {
            return;
        };
        if let Some(newer) = self.superseding(&rollout) {
            self.end(
                RolloutResult::Superseded,
                Reason::new("Superseded", format!("version {} took its place", newer.version)),
            );
            return self.consider_wanted();
        }
        if let Some(why) = self.observed.broken.get(&rollout.candidate.digest) {
            return self.roll_back(Reason::new("BlockedByFailedLoad", format!("could not be loaded: {why}")));
        }
        if !self.observed.ready.contains(&rollout.candidate.digest) {
            self.say("Loading", format!("version {} is being loaded", rollout.candidate.version));
            return self.effects.push(EndpointEffect::Load { target: rollout.candidate });
        }
        let verdicts = rollout.evidence.verdicts(self.policy);
        if let Some(verdict) = harm(&verdicts) {
            return self.roll_back(Reason::new("Harmful", verdict.message.clone()));
        }
        if self.out_of_time(&rollout) || self.without_telemetry(&rollout) {
            return;
        }
        if let Some(pause) = &rollout.paused {
            return self.say("Paused", format!("{}; the weight stays at {}", pause.why, rollout.weight(self.policy)));
        }
        if let Some(waiting) = rollout.waiting(self.policy, self.now) {
            let message = format!("at {}: {}", rollout.weight(self.policy), waiting.sentence(self.now));
            return self.say("Progressing", message);
        }
        if !rollout.is_last_step(self.policy) {
            return self.next_step("held, with enough requests and no proof of harm");
        }
        match unproved(&verdicts).filter(|_| self.policy.require_proof) {
            Some(verdict) => {
                self.say("AwaitingProof", format!("non-inferiority is not proved yet: {}", verdict.message))
            }
            None => self.promote(Reason::new("Promoted", promotion(&verdicts))),
        }
    }

    fn superseding(&self, rollout: &Rollout) -> Option<Target> {
        let wanted = self.observed.wanted?;
        let is_new = wanted.digest != rollout.candidate.digest
            && self.status.stable.as_ref().is_none_or(|stable| stable.digest != wanted.digest)
            && !self.status.barred.contains_key(&wanted.digest);
        is_new.then(|| wanted.clone())
    }

    /// Invariant I12: no rollout and no pause lasts for ever.
    fn out_of_time(&mut self, rollout: &Rollout) -> bool {
        let limit = self.policy.max_duration;
        if let Some(pause) = &rollout.paused {
            let over = elapsed(pause.since, self.now) > limit;
            if over {
                self.roll_back(Reason::new("PauseTooLong", format!("paused for more than {}", spell(limit))));
            }
            return over;
        }
        if elapsed(rollout.limit_from, self.now) <= limit {
            return false;
        }
        let why = format!("nothing was proved within {}", spell(limit));
        match self.policy.on_inconclusive {
            OnInconclusive::Rollback => self.roll_back(Reason::new("Inconclusive", why)),
            OnInconclusive::Promote => self.promote(Reason::new("Inconclusive", why)),
            OnInconclusive::Pause => self.pause(&why),
        }
        true
    }

    fn without_telemetry(&mut self, rollout: &Rollout) -> bool {
        let silence = elapsed(rollout.last_telemetry.max(rollout.weight_since), self.now);
        if silence <= self.observed.lease * MISSING_AFTER_LEASES {
            return false;
        }
        let message = format!("no router has reported for {}", spell(silence));
        match self.policy.on_missing_telemetry {
            OnMissingTelemetry::Rollback => self.roll_back(Reason::new("TelemetryMissing", message)),
            OnMissingTelemetry::Hold => self.say("TelemetryMissing", format!("{message}: the weight stays")),
        }
        true
    }

    fn next_step(&mut self, why: &str) {
        let (policy, now) = (self.policy, self.now);
        let Some(rollout) = &mut self.status.rollout else {
            return;
        };
        let before = rollout.weight(policy);
        rollout.step += 1;
        rollout.weight_since = now;
        rollout.evidence.answered_at_weight = 0;
        let message =
            format!("version {} goes from {before} to {}: {why}", rollout.candidate.version, rollout.weight(policy));
        self.say("StepUp", message);
    }

    fn promote(&mut self, reason: Reason) {
        let Some(rollout) = self.status.rollout.clone() else {
            return;
        };
        let Some(previous) = self.status.stable.clone() else {
            return;
        };
        let target = rollout.candidate.clone();
        self.end(RolloutResult::Promoted, reason.clone());
        self.move_champion(&target, &reason.message);
        self.status.stable = Some(target);
        self.status.bake = Some(Bake { previous, since: self.now, rollout });
    }

    /// Stable alone, now. The digest is barred until a person says `retry`.
    fn roll_back(&mut self, reason: Reason) {
        if let Some(rollout) = &self.status.rollout {
            let digest = rollout.candidate.digest.clone();
            self.bar(&digest, &reason.message);
            return self.end(RolloutResult::RolledBack, reason);
        }
        if let Some(bake) = self.status.bake.take() {
            return self.revert(bake, reason);
        }
        self.say("NothingToAbort", "there is no rollout to take back");
    }

    /// Harm that shows after the promotion: the former version takes over again.
    fn revert(&mut self, bake: Bake, reason: Reason) {
        let digest = bake.rollout.candidate.digest.clone();
        self.bar(&digest, &reason.message);
        self.move_champion(&bake.previous, &reason.message);
        self.status.stable = Some(bake.previous);
        self.status.rollout = Some(bake.rollout);
        self.end(RolloutResult::RolledBack, reason);
    }

    fn end(&mut self, result: RolloutResult, reason: Reason) {
        let Some(rollout) = self.status.rollout.take() else {
            return;
        };
        let (code, verb) = match result {
            RolloutResult::Promoted => ("Promoted", "promoted"),
            RolloutResult::RolledBack => ("RolledBack", "rolled back"),
            RolloutResult::Superseded => ("Superseded", "superseded"),
        };
        let message = format!(
            "version {} {verb} after {} and {} requests: {}",
            rollout.candidate.version,
            spell(rollout.age(self.now)),
            rollout.evidence.canary_requests,
            reason.message
        );
        self.say(code, message);
        self.remember(Ended {
            id: rollout.id,
            target: rollout.candidate,
            result,
            reason,
            started: rollout.started,
            ended: self.now,
            canary_requests: rollout.evidence.canary_requests,
        });
    }

    fn remember(&mut self, ended: Ended) {
        self.status.history.push(ended);
        if self.status.history.len() > REMEMBERED {
            self.status.history.remove(0);
        }
    }

    /// Reward goes on maturing after the promotion; harm that it proves reverts.
    fn advance_bake(&mut self) {
        let Some(bake) = self.status.bake.clone() else {
            return;
        };
        let verdicts = bake.rollout.evidence.verdicts(self.policy);
        if let Some(verdict) = harm(&verdicts) {
            return self.roll_back(Reason::new("HarmfulInBake", verdict.message.clone()));
        }
        let until = bake.since + self.policy.bake.max(self.policy.reward_within);
        if self.now < until {
            let left = spell(elapsed(self.now, until));
            return self.say("Baking", format!("version {} is kept for another {left}", bake.previous.version));
        }
        self.status.bake = None;
        self.effects.push(EndpointEffect::Unload { digest: bake.previous.digest });
        self.say("Baked", "the promotion is final: no harm has shown");
        self.consider_wanted();
    }

    fn finish(self) -> Plan<EndpointEffect, EndpointStatus> {
        let conditions = conditions::conditions(self.policy, &self.status, &self.reasons, self.now);
        let busy = self.status.rollout.is_some() || self.status.bake.is_some();
        let next_look = self.now + if busy { self.observed.lease / 4 } else { self.observed.lease };
        crate::invariants::check_endpoint(self.policy, self.observed, &self.status);
        Plan { effects: self.effects, status: self.status, next_look, reasons: self.reasons, conditions }
    }
}

fn promotion(verdicts: &[crate::evidence::Verdict]) -> String {
    let unproved = verdicts.iter().filter(|verdict| verdict.outcome != crate::evidence::Outcome::NonInferior).count();
    let numbers: Vec<&str> = verdicts.iter().map(|verdict| verdict.message.as_str()).collect();
    let how = if unproved == 0 { "proved not worse" } else { "no harm shown" };
    format!("{how} on {} gates ({})", verdicts.len(), numbers.join("; "))
}
