//! The promises, each a named function: the explorer, the simulation, the property tests and `debug_assert!` share them.
//! They look at one decision from outside: what was known before it, and the plan that followed. What only the world can
//! tell (what routers did, whether something was trained twice) the simulation checks on the world.

use fairway_wire::{Route, Target, Weight};
use jiff::Timestamp;

use crate::Plan;
use crate::endpoint::{EndpointEffect, EndpointObserved, EndpointStatus, RolloutRequest, RolloutResult};
use crate::model::{ModelEffect, ModelObserved, ModelStatus};
use crate::plan::elapsed;
use crate::policy::{EndpointPolicy, ModelPolicy, frozen};
use crate::{guards, scaling, triggers};

type EndpointPlan = Plan<EndpointEffect, EndpointStatus>;
type ModelPlan = Plan<ModelEffect, ModelStatus>;

/// Every promise that an endpoint's plan breaks; empty if it keeps them all.
pub fn endpoint(
    policy: &EndpointPolicy,
    observed: &EndpointObserved<'_>,
    plan: &EndpointPlan,
    now: Timestamp,
) -> Vec<&'static str> {
    let promises = [
        (weights_add_up(&plan.status), "I1: a canary of nobody, of more than everybody, or of stable itself"),
        (growth_has_evidence(policy, observed, plan, now), "I2: a weight grew without evidence since it was set"),
        (trial_begins_anew(observed, plan), "I2: a rollout begins with another one's evidence"),
        (retreat_comes_first(plan), "I3: the registry comes before the route"),
        (traffic_only_to_verified(observed, plan), "I5: traffic to a version that is not verified or not approved"),
        (
            arms_are_fit(observed, plan),
            "I5: an arm of an experiment that is not verified, not approved or was taken back",
        ),
        (experiments_are_apart(&plan.status), "I1: a user in two experiments of one layer, or in one that has ended"),
        (stable_stays(observed, plan), "I7: something that serves, is on trial or is the way back is unloaded"),
        (capacity_comes_first(policy, observed, plan), "I7: a weight grew before its servers were ready"),
        (floors_hold(policy, observed, plan), "I7: stable cannot take everybody back"),
        (waiting_has_reason(observed, plan), "I11: a version waits and nobody is told why"),
        (everything_ends(policy, plan, now), "I12: a rollout or a pause outlasts maxDuration"),
    ];
    promises.into_iter().filter(|(kept, _)| !kept).map(|(_, promise)| promise).collect()
}

/// I1: stable gets whoever nothing else does, so weights add up if the canary has a share and is another version.
pub fn weights_add_up(after: &EndpointStatus) -> bool {
    let Some((route, canary)) = after.route.as_ref().and_then(|route| Some((route, route.canary.as_ref()?))) else {
        return true;
    };
    let other = route.stable.as_ref().is_some_and(|stable| stable.digest != canary.target.digest);
    other && canary.weight > Weight::ZERO && canary.weight <= Weight::FULL
}

/// I2: a weight does not grow without enough answers since it was set, unless a person asked for it.
pub fn growth_has_evidence(
    policy: &EndpointPolicy,
    observed: &EndpointObserved<'_>,
    plan: &EndpointPlan,
    now: Timestamp,
) -> bool {
    let (Some(before), Some(after)) = (&observed.status.rollout, &plan.status.rollout) else {
        return true;
    };
    let by_hand = observed.requests.iter().any(|(_, request)| matches!(request, RolloutRequest::Promote { .. }));
    if by_hand || before.id != after.id || after.weight(policy) <= before.weight(policy) {
        return true;
    }
    // What was remembered and what this look added.
    let mut seen = before.clone();
    observed.windows.iter().for_each(|window| seen.absorb(window, now));
    seen.evidence.answered_at_weight >= policy.min_requests
        && after.weight(policy) == before.next_weight(policy)
        && elapsed(before.weight_since, now) >= before.current(policy).hold
        && (before.paused.is_none() || observed.requests.iter().any(|(_, request)| *request == RolloutRequest::Resume))
        && frozen(&policy.freezes, now).is_none()
}

/// I2: what one candidate has shown says nothing of the next.
pub fn trial_begins_anew(observed: &EndpointObserved<'_>, plan: &EndpointPlan) -> bool {
    let before = observed.status.rollout.as_ref().map(|rollout| &rollout.id);
    plan.status.rollout.as_ref().is_none_or(|rollout| {
        before == Some(&rollout.id) || rollout.evidence.canary_requests == 0 && rollout.evidence.answered_at_weight == 0
    })
}

/// I3: what takes a version back is carried out before anything that needs the registry, and a route without the canary
/// names a stable version if there is one.
pub fn retreat_comes_first(plan: &EndpointPlan) -> bool {
    let at = |kind: fn(&EndpointEffect) -> bool| plan.effects.iter().position(kind);
    let route = at(|effect| matches!(effect, EndpointEffect::SetRoute { .. }));
    let registry = at(|effect| matches!(effect, EndpointEffect::MoveChampion { .. }));
    let unload = at(|effect| matches!(effect, EndpointEffect::Unload { .. }));
    let in_order = |first: Option<usize>, second: Option<usize>| match (first, second) {
        (Some(first), Some(second)) => first < second,
        _ => true,
    };
    in_order(route, registry) && in_order(route, unload)
}

/// I5: a version gets its first users only when it was verified and loaded, and may serve.
pub fn traffic_only_to_verified(observed: &EndpointObserved<'_>, plan: &EndpointPlan) -> bool {
    let may_serve = |target: &Target| {
        observed.ready.contains(&target.digest)
            && !observed.broken.contains_key(&target.digest)
            && !observed.unapproved.contains_key(&target.digest)
    };
    let before = observed.status;
    let canary = plan.status.route.as_ref().and_then(|route| route.canary.as_ref());
    // The way back is always open: what served before serves again, and a person may name any version that is loaded.
    let known = |stable: &Target| {
        let was = before.stable.as_ref() == Some(stable);
        let way_back = before.bake.as_ref().is_some_and(|bake| bake.previous == *stable);
        let asked = observed.requests.iter().any(|(_, request)| matches!(request, RolloutRequest::Undo { .. }))
            || before.returning.as_ref().is_some_and(|returning| returning.to == *stable);
        was || way_back || asked && observed.ready.contains(&stable.digest)
    };
    canary.is_none_or(|canary| may_serve(&canary.target))
        && plan.status.stable.as_ref().is_none_or(|stable| known(stable) || may_serve(stable))
}

/// I5: whoever is in an experiment gets what may be shown.
pub fn arms_are_fit(observed: &EndpointObserved<'_>, plan: &EndpointPlan) -> bool {
    let fit = |target: &Target| {
        observed.ready.contains(&target.digest)
            && !observed.broken.contains_key(&target.digest)
            && !observed.unapproved.contains_key(&target.digest)
            && !plan.status.barred.contains_key(&target.digest)
    };
    let portions = plan.status.route.iter().flat_map(|route| &route.experiments).flat_map(|slice| &slice.arms);
    portions.filter_map(|portion| portion.treatment.target()).all(fit)
}

/// I1: experiments of one layer have no bucket in common, and those in the route are running.
pub fn experiments_are_apart(after: &EndpointStatus) -> bool {
    let Some(route) = &after.route else { return true };
    let mut spans: Vec<_> =
        route.experiments.iter().flat_map(|slice| slice.spans.iter().map(move |span| (&slice.layer, span))).collect();
    spans.sort();
    let running = |name: &str| after.experiments.known.get(name).is_some_and(|status| status.running.is_some());
    spans.windows(2).all(|two| two[0].0 != two[1].0 || two[0].1.to <= two[1].1.from)
        && route.experiments.iter().all(|slice| running(&slice.experiment))
}

/// I7: stable, the candidate and the way back stay loaded, and so does whatever a router may still send users to.
pub fn stable_stays(observed: &EndpointObserved<'_>, plan: &EndpointPlan) -> bool {
    let status = &plan.status;
    let before = observed.status.route.as_ref();
    let changed = before.map(|route| route.generation) != status.route.as_ref().map(|route| route.generation);
    // Routers may still have the route of before: they have not said otherwise, or it ends with this plan.
    let still = before.filter(|route| changed || observed.acked < route.generation);
    let routed = status.route.iter().chain(still).flat_map(Route::targets);
    let on_trial = status.rollout.iter().map(|rollout| &rollout.candidate);
    let kept = status.stable.iter().chain(on_trial).chain(status.bake.iter().map(|bake| &bake.previous));
    let needed: Vec<&String> = kept.chain(routed).map(|target| &target.digest).collect();
    let unloaded = plan.effects.iter().filter_map(|effect| match effect {
        EndpointEffect::Unload { digest } => Some(digest),
        _ => None,
    });
    (status.rollout.is_none() || status.stable.is_some())
        && unloaded.into_iter().all(|digest| !needed.contains(&digest))
}

/// I7: servers for a weight are ready before it is set.
pub fn capacity_comes_first(policy: &EndpointPolicy, observed: &EndpointObserved<'_>, plan: &EndpointPlan) -> bool {
    let (Some(scaling), Some(servers)) = (&policy.scaling, observed.servers) else {
        return true;
    };
    let load = scaling::load_of_all(scaling, &plan.status.scalers);
    let enough = |digest: &str, share: f64| {
        let ready = servers.get(digest).map_or(0, |servers| servers.ready);
        ready >= scaling::needed(scaling, load, share).min(scaling.max)
    };
    let weight = |status: &EndpointStatus| status.rollout.as_ref().map(|it| (it.id.clone(), it.weight(policy)));
    let (before, after) = (weight(observed.status), weight(&plan.status));
    let grew = after.filter(|after| before.as_ref().is_none_or(|before| before.0 != after.0 || before.1 < after.1));
    let on_trial = plan.status.rollout.as_ref().map(|rollout| rollout.candidate.digest.as_str());
    let step = grew.zip(on_trial).is_none_or(|((_, weight), digest)| enough(digest, weight.percent() / 100.0));
    let promoted = observed.status.bake.is_none() && plan.status.bake.is_some();
    let stable = plan.status.stable.as_ref().map(|stable| stable.digest.as_str()).filter(|_| promoted);
    step && stable.is_none_or(|digest| enough(digest, 1.0))
}

/// I7: while a canary is on trial, and until its bake is over, no order leaves stable or the way back with fewer servers
/// than everybody needs.
pub fn floors_hold(policy: &EndpointPolicy, observed: &EndpointObserved<'_>, plan: &EndpointPlan) -> bool {
    let (Some(scaling), Some(_)) = (&policy.scaling, observed.servers) else {
        return true;
    };
    let load = scaling::load_of_all(scaling, &plan.status.scalers);
    let floor = scaling::needed(scaling, load, 1.0).min(scaling.max);
    let status = &plan.status;
    let stable = status.stable.as_ref().filter(|_| status.rollout.is_some() || status.bake.is_some());
    let kept: Vec<&String> =
        stable.into_iter().chain(status.bake.as_ref().map(|bake| &bake.previous)).map(|it| &it.digest).collect();
    plan.effects.iter().all(|effect| match effect {
        EndpointEffect::Scale { digest, replicas, .. } => !kept.contains(&digest) || *replicas >= floor,
        _ => true,
    })
}

/// I11: a version that is wanted and does not serve is told of.
pub fn waiting_has_reason(observed: &EndpointObserved<'_>, plan: &EndpointPlan) -> bool {
    let serves = |target: &&Target| plan.status.stable.as_ref().is_some_and(|stable| stable.digest == target.digest);
    observed.wanted.as_ref().is_none_or(serves) || !plan.reasons.is_empty()
}

/// I12: no rollout and no pause lasts for ever. A freeze holds a rollout for as long as it was made for.
pub fn everything_ends(policy: &EndpointPolicy, plan: &EndpointPlan, now: Timestamp) -> bool {
    let limit = policy.max_duration;
    plan.status.rollout.as_ref().is_none_or(|rollout| match &rollout.paused {
        Some(pause) => elapsed(pause.since, now) <= limit,
        None => elapsed(rollout.limit_from, now) <= limit || frozen(&policy.freezes, now).is_some(),
    })
}

/// Every promise that a model's plan breaks; empty if it keeps them all.
pub fn model(
    policy: &ModelPolicy,
    observed: &ModelObserved<'_>,
    plan: &ModelPlan,
    now: Timestamp,
) -> Vec<&'static str> {
    let promises = [
        (one_run(observed, plan), "I4: a second run starts while one is active"),
        (finished_stays_finished(observed, plan), "I8: a run that has ended is started again"),
        (starts_are_allowed(policy, observed, plan, now), "I9: a run starts against a guard"),
        (baseline_follows(observed, plan), "I9: the monitors still hold another version's numbers"),
        (breaker_counts(observed, plan), "I9: the breaker counts what it should not, or forgets to close"),
        (held_back_has_reason(policy, observed, plan, now), "I11: a trigger is held back and nobody is told why"),
    ];
    promises.into_iter().filter(|(kept, _)| !kept).map(|(_, promise)| promise).collect()
}

fn started(plan: &ModelPlan) -> impl Iterator<Item = &str> {
    plan.effects.iter().filter_map(|effect| match effect {
        ModelEffect::StartRun { name, .. } => Some(name.as_str()),
        ModelEffect::CancelRun { .. } => None,
    })
}

/// I4: at most one active run per model.
pub fn one_run(observed: &ModelObserved<'_>, plan: &ModelPlan) -> bool {
    let is_active = observed.status.run.is_some() && observed.run_end.is_none();
    started(plan).count() <= usize::from(!is_active)
}

/// I8: what has ended never runs again, as far as the model remembers; the outcome in the bucket goes back further.
pub fn finished_stays_finished(observed: &ModelObserved<'_>, plan: &ModelPlan) -> bool {
    let ended = |name: &str| observed.status.ended_runs.iter().any(|ended| ended == name);
    !started(plan).any(ended)
}

/// I9: no run on data that are known to be bad; no automatic one in cooldown, over budget, behind an open breaker, or while
/// a rollout needs the traffic.
pub fn starts_are_allowed(
    policy: &ModelPolicy,
    observed: &ModelObserved<'_>,
    plan: &ModelPlan,
    now: Timestamp,
) -> bool {
    let Some(run) = plan.status.run.as_ref().filter(|_| started(plan).next().is_some()) else {
        return true;
    };
    if observed.data_fault.is_some() {
        return false;
    }
    let busy = observed.rollout_active || observed.candidate_waiting;
    let recent = plan.status.automatic_runs.iter().filter(|at| elapsed(**at, now) < policy.budget_per).count();
    let cools = plan.status.cooldown_until.is_some_and(|until| now < until);
    !run.automatic || !busy && !cools && recent <= policy.budget_runs as usize
}

/// Another champion is another baseline: what was gathered about the former one says nothing about it.
pub fn baseline_follows(observed: &ModelObserved<'_>, plan: &ModelPlan) -> bool {
    let Some(champion) = observed.champion else { return true };
    let digest = Some(&champion.target.digest);
    let renewed = || plan.status.drift.as_ref().is_none_or(|drift| !drift.alarms.holds());
    plan.status.watched.as_ref() == digest && (observed.status.watched.as_ref() == digest || renewed())
}

/// A rollout counts once; a promotion closes the breaker.
pub fn breaker_counts(observed: &ModelObserved<'_>, plan: &ModelPlan) -> bool {
    let new = observed.status.uncounted(observed.ended_rollouts);
    let new: Vec<RolloutResult> = new.into_iter().map(|(_, ended)| ended.1).collect();
    let most = new.iter().filter(|result| **result == RolloutResult::RolledBack).count() + 1;
    let closed = new.last() != Some(&RolloutResult::Promoted) || plan.status.rejections <= 1;
    closed
        && plan.status.rejections as usize <= observed.status.rejections as usize + most
        && (observed.run_end.is_some() || !new.is_empty() || plan.status.rejections <= observed.status.rejections)
}

/// I11: a trigger that asks starts a run, or is written down with what holds it back; and a breaker that may be tried is no
/// reason.
pub fn held_back_has_reason(
    policy: &ModelPolicy,
    observed: &ModelObserved<'_>,
    plan: &ModelPlan,
    now: Timestamp,
) -> bool {
    let asking = triggers::asking(policy, &plan.status, observed, now).len();
    let told = plan.status.held_back.len() == asking || started(plan).next().is_some();
    let refused = plan.status.held_back.iter().any(|held| held.by.code == "BreakerOpen");
    let due = guards::half_opens(policy, &plan.status).is_some_and(|at| at <= now);
    let open = plan.status.rejections >= policy.breaker;
    told && !(refused && (due || !open))
}
