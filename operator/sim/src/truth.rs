//! What the world knows against the plans: it keeps its own account of who was answered, who was taken back and what was
//! begun, and holds every stored plan, every step, and the end of a schedule against it.

use std::collections::BTreeSet;

use fairway_core::endpoint::{Ended, EndpointStatus, RolloutResult};
use fairway_core::model::ModelEffect;
use fairway_core::plan::elapsed;
use fairway_wire::Target;

use crate::plane::Router;
use crate::world::World;

impl World {
    /// A plan of an endpoint was stored: what does the world know against it?
    pub fn endpoint_planned(&mut self, index: usize) {
        let endpoint = &mut self.endpoints[index];
        let Some(entry) = endpoint.part.plans.last() else { return };
        let (status, by_hand) = (entry.status.clone(), entry.by_hand);
        let before = endpoint.part.plans.len().checked_sub(2).map(|at| endpoint.part.plans[at].status.clone());
        let before = before.unwrap_or_default();
        // A way back that a person asked for may have waited for its servers.
        let by_hand = by_hand || before.returning.is_some();
        let ghost = &mut endpoint.ghost;
        let answered_since =
            |generation: u64| -> u64 { endpoint.truth.answered.range(generation..).map(|(_, n)| n).sum() };
        let mut broken = Vec::new();
        let weight = |status: &EndpointStatus| {
            let canary = status.route.as_ref()?.canary.as_ref()?;
            Some((canary.target.digest.clone(), canary.weight.ppm(), status.route.as_ref()?.generation))
        };
        let now_on_trial = weight(&status);
        if by_hand {
            // A person may have called anything back.
            ghost.barred.retain(|digest| status.barred.contains_key(digest));
        }
        let grew = match (&ghost.on_trial, &now_on_trial) {
            (Some((id, was, since)), Some((digest, is, _))) if id == digest && is > was => Some(*since),
            _ => None,
        };
        let promoted = before.rollout.is_some() && status.bake.is_some() && before.bake.is_none();
        let since = grew.or_else(|| promoted.then_some(ghost.on_trial.as_ref()?.2));
        if let Some(since) = since.filter(|_| !by_hand)
            && answered_since(since) < endpoint.policy.min_requests
        {
            broken.push("I2: a weight grew, and its users had not been answered often enough");
        }
        if let Some((digest, ..)) = &now_on_trial
            && ghost.barred.contains(digest)
        {
            broken.push("a version that was taken back is on trial again, and nobody asked for it");
        }
        let others = match (&ghost.on_trial, &now_on_trial) {
            (Some((was, ..)), Some((is, ..))) => was != is,
            (was, _) => was.is_none(),
        };
        let first = endpoint.policy.steps.as_slice()[0].weight.ppm();
        let came_back = before.rollout.as_ref().map(|it| &it.id) == status.rollout.as_ref().map(|it| &it.id);
        let same = before.rollout.as_ref().map(|it| &it.candidate) == status.rollout.as_ref().map(|it| &it.candidate);
        let higher = now_on_trial.as_ref().is_some_and(|(_, weight, _)| *weight > first);
        if others && higher && !by_hand && !(came_back && same) {
            broken.push("I2: a version begins above the first step");
        }
        let changed = ghost.on_trial.as_ref().map(|(id, weight, _)| (id, weight))
            != now_on_trial.as_ref().map(|(id, weight, _)| (id, weight));
        if changed {
            ghost.on_trial = now_on_trial;
        }
        let new = &status.history[before.history.len().min(status.history.len())..];
        for ended in new {
            // Rolled back and called back in one breath.
            let recalled = by_hand && !status.barred.contains_key(&ended.target.digest);
            // A manifest that goes back accuses nobody.
            let withdrawn = ended.reason.code == "Withdrawn";
            if ended.result == RolloutResult::RolledBack && !recalled && !withdrawn {
                ghost.barred.insert(ended.target.digest.clone());
            }
        }
        let versions = &self.models[endpoint.model].part.versions;
        // Beside a version that is no better, or whose servers crash all the time, nothing can be shown.
        let errs = |target: Option<&Target>| target.and_then(|it| versions.get(&it.version)).map_or(0, |it| it.errors);
        let worse = errs(status.stable.as_ref()) > errs(before.stable.as_ref()) + 100;
        if promoted && worse && !by_hand && !self.servers_crash {
            broken.push("a version that fails two of five requests was promoted beside one that does not");
        }
        let promotion = promoted.then_some("a version was promoted");
        let ended: Vec<&'static str> = new
            .iter()
            .map(|ended| match (ended.result, ended.reason.code.as_str()) {
                (RolloutResult::RolledBack, "Harmful") => "harm was rolled back",
                (RolloutResult::RolledBack, "HarmfulInBake") => "harm was found in a bake",
                (RolloutResult::RolledBack, _) => "a version was taken back for another reason",
                (RolloutResult::Superseded, _) => "a candidate was superseded",
                (RolloutResult::Promoted, _) => "a rollout ended well",
            })
            .collect();
        let taken_back = |ended: &&Ended| ended.result == RolloutResult::RolledBack;
        let model = &mut self.models[endpoint.model];
        if model.endpoints[0] == index {
            model.bad_ends += u32::try_from(new.iter().filter(taken_back).count()).unwrap_or(u32::MAX);
        }
        for promise in broken {
            self.violate(promise.to_owned());
        }
        for what in promotion.into_iter().chain(ended) {
            self.saw(what);
        }
    }

    /// A plan of a model was stored.
    pub fn model_planned(&mut self, index: usize) {
        let now = self.now;
        let model = &mut self.models[index];
        let Some(entry) = model.part.plans.last() else { return };
        let (effects, status) = (entry.effects.clone(), entry.status.clone());
        let mut events = Vec::new();
        let mut broken = Vec::new();
        for effect in effects {
            let ModelEffect::StartRun { name, .. } = effect else { continue };
            events.push("a run was started");
            if model.part.runs.get(&name).is_some_and(|run| run.outcome.is_some()) {
                events.push("a run was asked for again after its end");
            }
            if !status.run.as_ref().is_some_and(|run| run.automatic) {
                continue;
            }
            model.started.push(now);
            let per = model.policy.budget_per;
            let recent = model.started.iter().filter(|at| **at <= now && elapsed(**at, now) < per).count();
            if recent > model.policy.budget_runs as usize {
                broken.push(format!("I9: {recent} automatic runs in a budget of {}", model.policy.budget_runs));
            }
            // A clock that goes back makes a cooldown shorter.
            let cooldown = model.policy.cooldown;
            let early = model.ended.is_some_and(|(at, judged)| judged && elapsed(at, now) < cooldown);
            if early && self.faults.clock == 0 {
                broken.push("I9: an automatic run within the cooldown of the last one".to_owned());
            }
        }
        if status.rejections > model.bad_ends {
            broken.push(format!("I9: {} rejections, and only {} of all", status.rejections, model.bad_ends));
        }
        if status.suppressed.is_some() {
            events.push("a trigger was held back");
        }
        broken.into_iter().for_each(|promise| self.violate(promise));
        events.into_iter().for_each(|what| self.saw(what));
    }

    /// What must hold after every step, whatever was decided.
    pub(crate) fn check(&mut self) {
        for index in 0..self.endpoints.len() {
            let endpoint = &self.endpoints[index];
            let versions = &self.models[endpoint.model].part.versions;
            let mut broken = None;
            for route in endpoint.routers.iter().filter_map(|router| router.effective(self.now)) {
                for target in route.targets() {
                    if versions.get(&target.version).is_none_or(|it| it.target != *target || !it.loads) {
                        broken = Some("I5: users of a version that was never verified");
                    }
                }
            }
            if let Some(promise) = broken {
                self.violate(promise.to_owned());
            }
        }
    }

    /// What keeps the world from rest; none if it has come to it.
    pub fn unrest(&self) -> Option<String> {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let status = endpoint.part.plans.last().map(|entry| entry.status.clone()).unwrap_or_default();
            let model = &self.models[endpoint.model];
            let why = |what: &str| Some(format!("endpoint {index}: {what}"));
            if status.rollout.is_some() || status.bake.is_some() || status.returning.is_some() {
                return why("a rollout or a bake goes on");
            }
            let wanted = model.part.aliases.get(endpoint.follows).and_then(|number| model.part.versions.get(number));
            let Some(wanted) = wanted else { continue };
            let serves = status.stable.as_ref() == Some(&wanted.target);
            if !serves && !status.barred.contains_key(&wanted.target.digest) {
                return why("a version is wanted, and neither serves nor is barred");
            }
            let Some(stable) = &status.stable else { continue };
            if endpoint.policy.promotes && model.part.aliases.get("champion") != Some(&stable.version) {
                return why("champion is another than stable");
            }
            let settled = |router: &Router| {
                router.route.as_ref().is_some_and(|route| route.stable == status.stable && route.canary.is_none())
            };
            if !endpoint.routers.iter().all(settled) {
                return why("a router has another route");
            }
            if endpoint.fleet.ready() != BTreeSet::from([stable.digest.clone()]) {
                return why("something is loaded that nobody needs, or stable is not");
            }
        }
        let runs = self.models.iter().any(|model| model.part.runs.values().any(|run| run.left.is_some()));
        runs.then(|| "a run goes on".to_owned())
    }
}
