//! Experiments on an endpoint: A/B/n and holdbacks, decided as everything else: policy + observed + now → plan.
//!
//! [`Layers`] says who takes part in what. [`decide`] runs one experiment: users who do not arrive in the shares set stop
//! it at once, since then no comparison counts; proof of harm closes an arm; "better" needs enough users; the time limit
//! ends it as inconclusive. Verdicts keep one declared false-alarm rate over arms, directions, guardrails and looks.
//!
//! It promotes nothing: a winner is a version that a rollout may then take to everybody. It assigns nobody, counts
//! nothing, and does not compare arms other than with control.

mod error;
mod evidence;
mod layers;
mod policy;
mod running;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::{Condition, Plan, Reason, elapsed, spell};
pub use error::ExperimentError;
pub use evidence::{ArmEvidence, ArmRecord, ArmSeen, ArmVerdict, Closed};
pub use fairway_wire::{Portion, Slice, Span, Treatment};
pub use layers::{BUCKETS, Layers, RANGES_MAX};
pub use policy::{ARMS_MAX, Arm, ExperimentPolicy, GUARDRAILS_MAX, Guardrail};
pub use running::{ExperimentResult, Record, Running};
pub use users::Users;

/// What is remembered of an experiment between looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentStatus {
    /// Set when its first user may come.
    pub running: Option<Running>,
    /// Set when it has ended; a finished experiment never runs again.
    pub ended: Option<Box<Record>>,
    /// Why nobody takes part at the moment, before its start or while an arm cannot answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Reason>,
    /// What its manifest asks for and it cannot have, while it goes on with what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Reason>,
}

impl ExperimentStatus {
    /// The facts as they stand at `now`.
    pub fn conditions(&self, now: Timestamp) -> Vec<Condition> {
        let condition = |kind: &str, status: bool, reason: Reason| Condition { kind: kind.to_owned(), status, reason };
        if let Some(record) = &self.ended {
            let mismatch = record.result == ExperimentResult::SampleRatioMismatch;
            let kinds = ["Complete"].into_iter().chain(mismatch.then_some("SampleRatioMismatch"));
            return kinds.map(|kind| condition(kind, true, record.reason.clone())).collect();
        }
        let stands = match (&self.running, &self.waiting) {
            (Some(_), Some(waiting)) => Some(condition("Suspended", true, waiting.clone())),
            (None, Some(waiting)) => Some(condition("Progressing", false, waiting.clone())),
            (Some(running), None) => Some(condition("Progressing", true, running.progress(now))),
            (None, None) => None,
        };
        let refused = self.refused.clone().map(|reason| condition("Refused", true, reason));
        stands.into_iter().chain(refused).collect()
    }
}

/// What a person asks of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "verb")]
pub enum ExperimentRequest {
    /// End it now.
    Stop,
}

/// What is known about the experiment at this moment.
#[derive(Clone, Debug)]
pub struct ExperimentObserved<'a> {
    /// What was remembered.
    pub status: &'a ExperimentStatus,
    /// Its part of its layer, from [`Layers`]; none before it was allocated.
    pub slice: Option<&'a Slice>,
    /// What the routers have now.
    pub in_force: Option<&'a Slice>,
    /// Why it cannot have what it asks for, if so. One that has users goes on with what it has.
    pub refused: Option<Reason>,
    /// What each arm has seen since the last look.
    pub seen: &'a BTreeMap<String, ArmSeen>,
    /// How many users each one that was counted stands for.
    pub users_each: f64,
    /// Digests that are loaded and verified (invariant I5).
    pub ready: &'a BTreeSet<String>,
    /// Digests that may be shown to nobody, and why.
    pub unfit: &'a BTreeMap<String, String>,
    /// What people asked since the last look, in order, with their names.
    pub requests: &'a [(String, ExperimentRequest)],
    /// Whether its record is in the bucket.
    pub archived: bool,
}

/// What the runtime must do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "effect")]
pub enum ExperimentEffect {
    /// Give the routers this slice of the layer; without arms nobody takes part.
    SetLayer {
        /// The slice.
        slice: Slice,
    },
    /// Take it from the routers, and give its buckets back.
    Stop {
        /// The experiment.
        experiment: String,
        /// Why, for the log.
        why: String,
    },
    /// Keep its record.
    Archive {
        /// The record.
        record: Box<Record>,
    },
}

const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Decides what happens next. Pure: the same input gives the same plan.
pub fn decide(
    policy: &ExperimentPolicy,
    observed: &ExperimentObserved<'_>,
    now: Timestamp,
) -> Plan<ExperimentEffect, ExperimentStatus> {
    let status = observed.status.clone();
    let mut look = Look { policy, observed, now, status, reasons: Vec::new() };
    (look.status.waiting, look.status.refused) = (None, None);
    look.advance();
    look.finish()
}

struct Look<'a> {
    policy: &'a ExperimentPolicy,
    observed: &'a ExperimentObserved<'a>,
    now: Timestamp,
    status: ExperimentStatus,
    reasons: Vec<Reason>,
}

impl Look<'_> {
    fn say(&mut self, code: &str, message: impl Into<String>) {
        self.reasons.push(Reason::new(code, message));
    }

    fn advance(&mut self) {
        if let Some(record) = &self.status.ended {
            return self.reasons.push(record.reason.clone());
        }
        let Some(mut running) = self.status.running.take() else {
            return self.consider_start();
        };
        running.absorb(self.observed.seen, self.observed.users_each);
        self.note_changed_rules(&mut running);
        let end = self.stop_asked(&running).or_else(|| {
            self.close_harmful(&mut running);
            self.conclude(&running)
        });
        match end {
            Some((result, reason)) => self.end(&running, result, reason),
            None => {
                self.suspend(&running);
                self.status.running = Some(running);
            }
        }
    }

    fn consider_start(&mut self) {
        if let Some((who, ExperimentRequest::Stop)) = self.observed.requests.first() {
            self.say("NothingToStop", format!("{who} asked, but nobody takes part yet: delete it instead"));
        }
        if let Some(why) = self.not_yet() {
            self.status.waiting = Some(why.clone());
            return self.reasons.push(why);
        }
        let rules = self.policy;
        let message = format!(
            "{} arms on {} of the users, decided by {} at a false-alarm rate of {} %",
            rules.arms.len(),
            rules.share,
            rules.goal,
            100.0 * rules.false_alarm_rate.get()
        );
        self.status.running = Some(Running::new(rules, self.now));
        self.say("ExperimentStarted", message);
    }

    /// What keeps it from its first user.
    fn not_yet(&self) -> Option<Reason> {
        if let Err(error) = self.policy.check() {
            return Some(Reason::new("Invalid", error.to_string()));
        }
        if let Some(refused) = &self.observed.refused {
            return Some(refused.clone());
        }
        if self.observed.slice.is_none() {
            return Some(Reason::new("AwaitingLayer", format!("no buckets of layer {} yet", self.policy.layer)));
        }
        let missing = self.missing(self.policy.arms.iter())?;
        Some(Reason::new("Loading", format!("{missing}: nobody takes part before all arms can answer")))
    }

    /// The first arm whose version cannot answer, in words.
    fn missing<'a>(&self, arms: impl Iterator<Item = &'a Arm>) -> Option<String> {
        let mut versions = arms.filter_map(|arm| Some((arm, arm.treatment.target()?)));
        versions.find_map(|(arm, target)| match self.observed.unfit.get(&target.digest) {
            Some(why) => Some(format!("version {} of arm {}: {why}", target.version, arm.name)),
            None if self.observed.ready.contains(&target.digest) => None,
            None => Some(format!("version {} of arm {} is not loaded", target.version, arm.name)),
        })
    }

    fn note_changed_rules(&mut self, running: &mut Running) {
        running.rules.share = self.policy.share;
        running.rules.max_duration = self.policy.max_duration;
        self.status.refused = self.observed.refused.clone();
        if *self.policy != running.rules {
            let message = "arms, metrics, gates and rate are those of the start: whoever changes them while looking has \
                           no error rate; end it and start one under a new name";
            self.status.refused = Some(Reason::new("RulesAreFixed", message));
        }
        if let Some(refused) = &self.status.refused {
            self.reasons.push(refused.clone());
        }
    }

    fn stop_asked(&self, running: &Running) -> Option<(ExperimentResult, String)> {
        if let Some(why) = running.sample_ratio_mismatch() {
            return Some((ExperimentResult::SampleRatioMismatch, why));
        }
        let (who, ExperimentRequest::Stop) = self.observed.requests.first()?;
        Some((ExperimentResult::Stopped, format!("{who} asked")))
    }

    /// Arms that do proven harm are closed at once. A permanent holdback is there to be worse: only guardrails close it.
    fn close_harmful(&mut self, running: &mut Running) {
        for (arm, reason) in running.harmful(self.policy.max_duration.is_none()) {
            running.close(&arm, Closed { at: self.now, reason: reason.clone() });
            self.reasons.push(reason);
        }
    }

    fn conclude(&mut self, running: &Running) -> Option<(ExperimentResult, String)> {
        let open: Vec<&Arm> = running.rules.challengers().filter(|arm| running.is_open(arm)).collect();
        if open.is_empty() {
            return Some((
                ExperimentResult::NoArmLeft,
                "every arm was closed for harm: control is what is left".into(),
            ));
        }
        let age = elapsed(running.started, self.now);
        let Some(limit) = self.policy.max_duration.filter(|limit| running.undecided() == 0 || age >= *limit) else {
            self.reasons.push(running.progress(self.now));
            return None;
        };
        match running.winner() {
            Some(winner) => {
                Some((ExperimentResult::Winner, format!("{winner} is better than control: {}", running.sentence())))
            }
            None => Some((
                ExperimentResult::Inconclusive,
                format!("nothing was proved within {}: {}", spell(limit), running.sentence()),
            )),
        }
    }

    /// While an arm cannot answer nobody takes part: arms that are not open at the same time are not comparable.
    fn suspend(&mut self, running: &Running) {
        let open = running.rules.arms.iter().filter(|arm| running.is_open(arm));
        if let Some(missing) = self.missing(open) {
            let reason = Reason::new("Suspended", format!("{missing}: nobody takes part meanwhile"));
            self.reasons.push(reason.clone());
            self.status.waiting = Some(reason);
        }
    }

    fn end(&mut self, running: &Running, result: ExperimentResult, why: String) {
        let code = match result {
            ExperimentResult::SampleRatioMismatch => "SampleRatioMismatch",
            ExperimentResult::Inconclusive => "Inconclusive",
            _ => "ExperimentEnded",
        };
        let reason = Reason::new(code, format!("{}: {why}", running.rules.name));
        self.reasons.push(reason.clone());
        self.status.ended = Some(Box::new(running.record(result, reason, self.now)));
    }

    /// Effects follow from what is and what should be, not from what was done: one that got lost is made again.
    fn effects(&self) -> Vec<ExperimentEffect> {
        if let Some(record) = &self.status.ended {
            let stop = self.observed.in_force.is_some().then(|| ExperimentEffect::Stop {
                experiment: record.rules.name.clone(),
                why: record.reason.message.clone(),
            });
            let archive = (!self.observed.archived).then(|| ExperimentEffect::Archive { record: record.clone() });
            return stop.into_iter().chain(archive).collect();
        }
        let (Some(running), Some(slice)) = (&self.status.running, self.observed.slice) else {
            return Vec::new();
        };
        let open = |portion: &&Portion| {
            self.status.waiting.is_none() && running.arms.get(&portion.arm).is_some_and(|arm| arm.closed.is_none())
        };
        let slice = Slice { arms: slice.arms.iter().filter(open).cloned().collect(), ..slice.clone() };
        if self.observed.in_force == Some(&slice) { Vec::new() } else { vec![ExperimentEffect::SetLayer { slice }] }
    }

    fn finish(self) -> Plan<ExperimentEffect, ExperimentStatus> {
        let conditions = self.status.conditions(self.now);
        let next_look = self.now.checked_add(LOOK_EVERY).unwrap_or(self.now);
        Plan { effects: self.effects(), status: self.status, next_look, reasons: self.reasons, conditions }
    }
}
