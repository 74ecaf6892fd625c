//! A controller, as both runtimes are: it reads the last plan, observes, decides, appends the plan, and carries it out, an
//! effect at a time. It may be killed between any two of these, and there may be two of them at once: nothing here relies
//! on being alone but the create-only log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use fairway_core::endpoint::{self, EndpointEffect, EndpointObserved, EndpointStatus, RolloutRequest};
use fairway_core::model::{self, Champion, ModelEffect, ModelObserved, ModelRequest, ModelStatus};
use fairway_core::{Plan, Reason, invariants};
use fairway_wire::{Profile, Target};

use crate::bucket::{Answer, Entry, Log, append};
use crate::plane::acked;
use crate::tape::Tape;
use crate::world::{LEASE, World};

/// A plan that was read or written, and what of it is still to be done.
#[derive(Clone, Debug)]
struct Kept<Status, Effect> {
    seq: usize,
    status: Arc<Status>,
    undone: VecDeque<Effect>,
    said: Vec<String>,
}

/// What a controller knows; all of it is lost when it is killed.
#[derive(Clone, Debug, Default)]
struct Memory {
    endpoints: BTreeMap<usize, Kept<EndpointStatus, EndpointEffect>>,
    models: BTreeMap<usize, Kept<ModelStatus, ModelEffect>>,
    /// Windows read so far, by endpoint and by model.
    read: BTreeMap<usize, usize>,
    read_for_models: BTreeMap<usize, usize>,
    turn: usize,
}

/// One controller.
#[derive(Clone, Debug)]
pub struct Controller {
    id: u64,
    plans: u64,
    memory: Option<Memory>,
}

/// Windows that are read at once.
const WINDOWS_MAX: usize = 200;

impl Controller {
    /// A controller that has not started.
    pub fn new(id: u64) -> Self {
        Self { id, plans: 0, memory: None }
    }

    /// It is killed, and knows nothing any more.
    pub fn kill(&mut self) {
        self.memory = None;
    }

    /// Does one thing: carries out an effect, or looks at an endpoint or a model.
    pub fn act(&mut self, world: &mut World) {
        let mut memory = self.memory.take().unwrap_or_default();
        let loops = world.endpoints.len() + world.models.len();
        let turn = memory.turn % loops;
        let done = if turn < world.endpoints.len() {
            self.endpoint(turn, &mut memory, world)
        } else {
            self.model(turn - world.endpoints.len(), &mut memory, world)
        };
        if done {
            memory.turn += 1;
        }
        self.memory = Some(memory);
    }

    fn transaction(&mut self) -> u64 {
        self.plans += 1;
        self.id << 32 | self.plans
    }

    /// True when it is another loop's turn.
    fn endpoint(&mut self, index: usize, memory: &mut Memory, world: &mut World) -> bool {
        let kept = memory.endpoints.entry(index).or_insert_with(|| taken_up(&world.endpoints[index].part.plans));
        if let Some(effect) = kept.undone.front().cloned() {
            if world.carry_out_endpoint(index, kept.seq, &effect) {
                kept.undone.pop_front();
            }
            return kept.undone.is_empty();
        }
        let from = memory
            .read
            .entry(index)
            .or_insert_with(|| world.endpoints[index].part.windows.len().saturating_sub(WINDOWS_MAX));
        let windows = world.listed(index, *from);
        let requests = std::mem::take(&mut world.endpoints[index].asked);
        let (plan, broken) = decide_endpoint(world, index, &kept.status, windows.clone(), &requests);
        world.stats.decisions += 1;
        let matters = plan.effects.iter().any(|effect| !matches!(effect, EndpointEffect::Load { .. }));
        if !matters && codes(&plan.reasons) == kept.said && windows.is_empty() {
            // Nothing new: what is to be loaded is asked for all the same.
            kept.undone = plan.effects.into();
            return kept.undone.is_empty();
        }
        let reasons = plan.reasons.clone();
        let entry = entry(self.transaction(), plan, !requests.is_empty());
        let log = &mut world.endpoints[index].part.plans;
        if kept.append(log, entry, &reasons, &mut world.tape, world.faults.bucket) {
            *from = windows.end;
            world.tell("endpoint", index, &reasons);
            // One that was not stored was decided on what is past, and does nothing.
            broken.into_iter().for_each(|promise| world.violate(promise.to_owned()));
            world.endpoint_planned(index);
        } else {
            // What people asked was not heard, and is asked again.
            world.endpoints[index].asked.extend(requests);
        }
        kept.undone.is_empty()
    }

    fn model(&mut self, index: usize, memory: &mut Memory, world: &mut World) -> bool {
        let kept = memory.models.entry(index).or_insert_with(|| taken_up(&world.models[index].part.plans));
        if let Some(effect) = kept.undone.front().cloned() {
            if world.carry_out_model(index, &effect) {
                kept.undone.pop_front();
            }
            return kept.undone.is_empty();
        }
        let serving = world.models[index].endpoints[0];
        let from = memory.read_for_models.entry(index).or_insert_with(|| world.endpoints[serving].part.windows.len());
        let windows = world.listed(serving, *from);
        let endpoint = world.endpoints[serving].part.plans.last().map(|entry| entry.status.clone()).unwrap_or_default();
        let requests = std::mem::take(&mut world.models[index].asked);
        let (plan, broken) = decide_model(world, index, serving, &kept.status, &endpoint, windows.clone(), &requests);
        world.stats.decisions += 1;
        if plan.effects.is_empty() && codes(&plan.reasons) == kept.said && windows.is_empty() {
            return true;
        }
        let reasons = plan.reasons.clone();
        let entry = entry(self.transaction(), plan, !requests.is_empty());
        let log = &mut world.models[index].part.plans;
        if kept.append(log, entry, &reasons, &mut world.tape, world.faults.bucket) {
            *from = windows.end;
            world.tell("model", index, &reasons);
            broken.into_iter().for_each(|promise| world.violate(promise.to_owned()));
            world.model_planned(index);
        } else {
            world.models[index].asked.extend(requests);
        }
        kept.undone.is_empty()
    }
}

impl<Status: Default, Effect: Clone> Kept<Status, Effect> {
    /// Appends a plan, and keeps it if it is there and ours; otherwise what somebody else has appended. True if it is ours.
    fn append(
        &mut self,
        log: &mut Log<Status, Effect>,
        entry: Entry<Status, Effect>,
        reasons: &[Reason],
        tape: &mut Tape,
        faults: u32,
    ) -> bool {
        let (txn, status) = (entry.txn, entry.status.clone());
        let undone = entry.effects.iter().cloned().collect();
        let answer = append(log, self.seq + 1, entry, tape, faults);
        if answer == Answer::Created || log.get(self.seq).is_some_and(|entry| entry.txn == txn) {
            *self = Self { seq: self.seq + 1, status, undone, said: codes(reasons) };
            return true;
        }
        if answer == Answer::Taken || log.len() > self.seq {
            *self = taken_up(log);
        }
        false
    }
}

fn entry<Status, Effect>(txn: u64, plan: Plan<Effect, Status>, by_hand: bool) -> Entry<Status, Effect> {
    Entry { txn, status: Arc::new(plan.status), effects: plan.effects, by_hand }
}

fn codes(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(|reason| reason.code.clone()).collect()
}

/// The newest plan, whose effects may not all be carried out: they are, again.
fn taken_up<S: Default, E: Clone>(log: &[Entry<S, E>]) -> Kept<S, E> {
    let newest = log.last();
    Kept {
        seq: log.len(),
        status: newest.map_or_else(Arc::default, |entry| entry.status.clone()),
        undone: newest.map(|entry| entry.effects.iter().cloned().collect()).unwrap_or_default(),
        said: Vec::new(),
    }
}

fn decide_endpoint(
    world: &World,
    index: usize,
    status: &EndpointStatus,
    windows: Range<usize>,
    requests: &[(String, RolloutRequest)],
) -> (Plan<EndpointEffect, EndpointStatus>, Vec<&'static str>) {
    let endpoint = &world.endpoints[index];
    let model = &world.models[endpoint.model];
    let wanted = model.part.aliases.get(endpoint.follows).and_then(|number| model.part.versions.get(number));
    let wanted = wanted.map(|version| version.target.clone());
    let ready: BTreeSet<String> = endpoint.fleet.ready();
    let servers = endpoint.fleet.servers();
    let observed = EndpointObserved {
        status,
        windows: &endpoint.part.windows[windows],
        wanted: wanted.as_ref(),
        ready: &ready,
        broken: &endpoint.fleet.broken,
        unapproved: &model.unapproved,
        champion: model.part.aliases.get("champion").copied(),
        acked: acked(&endpoint.routers),
        servers: endpoint.policy.scaling.as_ref().map(|_| &servers),
        requests,
        serve_baseline: false,
        lease: LEASE,
        experiments: &[],
    };
    let plan = endpoint::decide(&endpoint.policy, &observed, world.now);
    let broken = invariants::endpoint(&endpoint.policy, &observed, &plan, world.now);
    (plan, broken)
}

fn decide_model(
    world: &World,
    index: usize,
    at: usize,
    status: &ModelStatus,
    endpoint: &EndpointStatus,
    windows: Range<usize>,
    requests: &[ModelRequest],
) -> (Plan<ModelEffect, ModelStatus>, Vec<&'static str>) {
    let model = &world.models[index];
    let stable = endpoint.stable.as_ref();
    let serving = stable.and_then(|target| Some((target, model.part.versions.get(&target.version)?)));
    let profile: &Profile = &model.profile;
    let champion = serving.map(|(target, version)| Champion { target, trained_through: version.knows_until, profile });
    let wanted = model.part.aliases.get("challenger").and_then(|number| model.part.versions.get(number));
    let waits = |wanted: &Target| {
        stable.is_none_or(|stable| stable.digest != wanted.digest) && !endpoint.barred.contains_key(&wanted.digest)
    };
    let ended = endpoint.endings("serving");
    let run = status.run.as_ref().and_then(|run| model.part.runs.get(&run.name));
    let observed = ModelObserved {
        status,
        champion,
        candidate_waiting: wanted.is_some_and(|version| waits(&version.target)),
        rollout_active: endpoint.rollout.is_some() || endpoint.bake.is_some(),
        awaiting_approval: None,
        data_fault: model.data_fault.as_ref(),
        new_rows: None,
        erasure: None,
        ended_rollouts: &ended,
        windows: &world.endpoints[at].part.windows[windows],
        run_end: run.and_then(|run| run.outcome.as_ref()),
        requests,
    };
    let plan = model::decide(&model.policy, &observed, world.now);
    let broken = invariants::model(&model.policy, &observed, &plan, world.now);
    (plan, broken)
}
