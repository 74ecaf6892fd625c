//! The endpoint's experiments: who gets buckets, what each has shown, and what its users get at most until the next look.
//! Each is decided on its own (`experiment::decide`); here they share layers, windows and one route.

use std::collections::{BTreeMap, BTreeSet};

use fairway_wire::{Arm, ArmKey, Slice, Target, Weight};
use serde::{Deserialize, Serialize};

use super::{EndpointEffect, Look};
use crate::Reason;
use crate::experiment::{
    self, ArmSeen, ExperimentEffect, ExperimentObserved, ExperimentPolicy, ExperimentRequest, ExperimentStatus, Layers,
    Users,
};

/// What is told of an experiment beside its own status: steps that people want to know of.
const NEWS: [&str; 7] = [
    "ExperimentStarted",
    "ArmHarmful",
    "ArmWorse",
    "SampleRatioMismatch",
    "Inconclusive",
    "ExperimentEnded",
    "Suspended",
];

/// An experiment as its manifest asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskedExperiment {
    /// What it is to be.
    pub policy: ExperimentPolicy,
    /// Who wants it to end now, if anybody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// Whether its record is in the bucket.
    #[serde(default)]
    pub archived: bool,
}

/// All experiments of an endpoint that had users, have some, or wait for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Experiments {
    /// Who takes part in which.
    pub layers: Layers,
    /// How each stands, by name.
    pub known: BTreeMap<String, ExperimentStatus>,
    /// Users that were counted, by experiment.
    users: BTreeMap<String, Users>,
}

impl Experiments {
    /// None of anything.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes out of a window what the arms of those that run have seen.
    pub(super) fn absorb(&mut self, arms: &BTreeMap<ArmKey, Arm>, seen: &mut Seen) {
        for (key, arm) in arms.iter().filter(|(key, _)| !key.arm.is_empty()) {
            let Some((name, of)) = key.arm.split_once('/') else { continue };
            let Some(running) = self.known.get(name).and_then(|status| status.running.as_ref()) else { continue };
            let users = self.users.entry(name.to_owned()).or_default();
            let mine = seen.entry(name.to_owned()).or_default().entry(of.to_owned()).or_default();
            mine.new_users += arm.new_users.iter().filter(|&&place| users.take(place)).count() as u64;
            mine.requests += arm.requests;
            mine.errors += arm.errors_total();
            mine.slow += arm.slow;
            mine.errors_by_cell.merge(&arm.errors_by_cell);
            mine.slow_by_cell.merge(&arm.slow_by_cell);
            // Arms grow and shrink together, so that exposures of different shares may be pooled.
            let goal = mine.means.entry(running.rules.goal.clone()).or_default();
            arm.reward.values().for_each(|cells| goal.merge(cells));
        }
    }

    /// Versions that the arms of those that run, or are to run, answer with, and the share of all users that each gets.
    pub(super) fn targets(&self) -> impl Iterator<Item = (&Target, Weight)> {
        let alive = self.layers.layers.values().flatten();
        alive.flat_map(|slice| slice.arms.iter().filter_map(|arm| Some((arm.treatment.target()?, slice.share(arm)))))
    }
}

/// What arms have seen since the last look, by experiment and arm.
pub(super) type Seen = BTreeMap<String, BTreeMap<String, ArmSeen>>;

impl Look<'_> {
    /// Decides all experiments, and what the next route says of them.
    pub(super) fn experiment(&mut self) {
        let gone: Vec<AskedExperiment> = self.gone();
        let asked: Vec<&AskedExperiment> = self.observed.experiments.iter().chain(&gone).collect();
        if asked.is_empty() {
            self.status.experiments = Experiments::default();
            return;
        }
        let mut refused = self.allocate(&asked);
        let (ready, unfit) = (self.observed.ready, self.unfit_arms());
        let nothing = BTreeMap::new();
        for one in &asked {
            let name = &one.policy.name;
            let before = self.status.experiments.known.get(name).cloned().unwrap_or_default();
            let in_force = self.slice_in_force(name).cloned();
            let stop = one.stop.iter().map(|who| (who.clone(), ExperimentRequest::Stop)).collect::<Vec<_>>();
            let observed = ExperimentObserved {
                status: &before,
                slice: self.status.experiments.layers.slice(name),
                in_force: in_force.as_ref(),
                refused: refused.remove(name),
                seen: self.seen.get(name).unwrap_or(&nothing),
                users_each: self.status.experiments.users.get(name).map_or(1.0, Users::each),
                ready,
                unfit: &unfit,
                requests: &stop,
                archived: one.archived,
            };
            let plan = experiment::decide(&one.policy, &observed, self.now);
            let mut slice = in_force;
            for effect in plan.effects {
                match effect {
                    ExperimentEffect::SetLayer { slice: next } => slice = Some(next),
                    ExperimentEffect::Stop { .. } => slice = None,
                    ExperimentEffect::Archive { record } => self.effects.push(EndpointEffect::Archive { record }),
                }
            }
            self.slices.extend(slice.filter(|slice| !slice.arms.is_empty()));
            self.tell(name, &before, plan.reasons);
            self.status.experiments.known.insert(name.clone(), plan.status);
        }
        // The first whose arm is a user's has that user: the order is part of the assignment.
        self.slices.sort_by(|a, b| (&a.layer, &a.experiment).cmp(&(&b.layer, &b.experiment)));
        self.forget(&asked);
    }

    /// Experiments that have users and no manifest any more: they end in order, with a record.
    fn gone(&self) -> Vec<AskedExperiment> {
        let is_asked = |name: &str| self.observed.experiments.iter().any(|one| one.policy.name == *name);
        let running = self.status.experiments.known.values().filter_map(|status| status.running.as_ref());
        let gone = running.filter(|running| !is_asked(&running.rules.name)).map(|running| AskedExperiment {
            policy: running.rules.clone(),
            stop: Some("whoever took its manifest away".to_owned()),
            archived: false,
        });
        gone.collect()
    }

    /// Buckets for all that run and those that are to run. What somebody has is not taken away: one that cannot have what it
    /// asks for keeps what it has. Gives why, by name.
    fn allocate(&mut self, asked: &[&AskedExperiment]) -> BTreeMap<String, Reason> {
        let experiments = &self.status.experiments;
        let (layers, holdback) = (&experiments.layers, self.policy.holdback);
        let (mut running, mut waiting) = (Vec::new(), Vec::new());
        for one in asked {
            match experiments.known.get(&one.policy.name) {
                Some(ExperimentStatus { ended: Some(_), .. }) => {}
                // Arms are those of the start, whatever the manifest says now.
                Some(ExperimentStatus { running: Some(it), .. }) => {
                    running.push((it.started, ExperimentPolicy { share: one.policy.share, ..it.rules.clone() }));
                }
                _ => waiting.push(one.policy.clone()),
            }
        }
        running.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
        let running: Vec<ExperimentPolicy> = running.into_iter().map(|(_, policy)| policy).collect();
        let has = |policy: &ExperimentPolicy| {
            let has = layers.slice(&policy.name).and_then(|slice| Weight::from_ppm(slice.len()).ok());
            ExperimentPolicy { share: policy.share.min(has.unwrap_or(Weight::ZERO)), ..policy.clone() }
        };
        let mut granted: Vec<ExperimentPolicy> = running.iter().map(has).collect();
        granted.retain(|policy| policy.share > Weight::ZERO);
        let mut refused = BTreeMap::new();
        for policy in running.into_iter().chain(waiting) {
            let others = granted.iter().filter(|other| other.name != policy.name);
            let tried: Vec<ExperimentPolicy> = others.chain([&policy]).cloned().collect();
            match layers.allocate(&tried, holdback) {
                Ok(_) => granted = tried,
                Err(error) => drop(refused.insert(policy.name, Reason::new("Invalid", error.to_string()))),
            }
        }
        if let Ok(next) = layers.allocate(&granted, holdback) {
            self.status.experiments.layers = next;
        }
        refused
    }

    /// Versions that may not be shown to anybody, and why.
    fn unfit_arms(&self) -> BTreeMap<String, String> {
        let load = |why: &String| format!("cannot be loaded: {why}");
        let bar = |why: &String| format!("was taken back: {why}");
        let broken = self.observed.broken.iter().map(|(digest, why)| (digest.clone(), load(why)));
        let barred = self.status.barred.iter().map(|(digest, why)| (digest.clone(), bar(why)));
        let unapproved = self.observed.unapproved.iter().map(|(digest, why)| (digest.clone(), why.clone()));
        broken.chain(barred).chain(unapproved).collect()
    }

    fn slice_in_force(&self, name: &str) -> Option<&Slice> {
        let route = self.status.route.as_ref()?;
        route.experiments.iter().find(|slice| slice.experiment == name)
    }

    /// Steps are told with the endpoint's; where it stands is told in its own status.
    fn tell(&mut self, name: &str, before: &ExperimentStatus, reasons: Vec<Reason>) {
        if before.ended.is_some() {
            return;
        }
        for reason in reasons.into_iter().filter(|reason| NEWS.contains(&reason.code.as_str())) {
            let named = reason.message.starts_with(name);
            let message = if named { reason.message } else { format!("experiment {name}: {}", reason.message) };
            self.say(&reason.code, message);
        }
    }

    /// What has no manifest and nothing left to do.
    fn forget(&mut self, asked: &[&AskedExperiment]) {
        let names: BTreeSet<&str> = asked.iter().map(|one| one.policy.name.as_str()).collect();
        let experiments = &mut self.status.experiments;
        experiments.known.retain(|name, _| names.contains(name.as_str()));
        let running = |name: &str| experiments.known.get(name).is_some_and(|status| status.running.is_some());
        experiments.users.retain(|name, _| running(name));
    }
}
