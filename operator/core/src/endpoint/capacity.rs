//! Capacity first, traffic second: servers for the next weight are ready before it is set, stable can take everybody back
//! until the bake is over, and nothing is taken away before the traffic has moved. Where nobody scales, all of it holds.

use std::collections::BTreeMap;

use fairway_wire::{Target, Weight};

use super::{EndpointEffect, Look};
use crate::planted::{Bug, planted};
use crate::scaling::{Bounds, Scaler, load_of_all, needed};

/// What the rollout asks of a version's servers.
#[derive(Clone, Copy, Default)]
struct Wants {
    /// It must be able to take everybody.
    everybody: bool,
    /// It will get this share next.
    next: Option<Weight>,
}

impl Look<'_> {
    /// Takes in what the servers measured; before anything is decided, so that a step sees today's load.
    pub(super) fn measure(&mut self) {
        let (Some(policy), Some(servers)) = (&self.policy.scaling, self.observed.servers) else {
            self.status.scalers.clear();
            return;
        };
        for (digest, servers) in servers {
            let scaler = self.status.scalers.entry(digest.clone()).or_insert_with(|| Scaler::new(servers.ordered));
            if let Some(sample) = &servers.sample {
                scaler.measure(policy, sample, self.now);
            }
        }
        self.status.scalers.retain(|digest, _| servers.contains_key(digest));
    }

    /// What keeps a version from this share of the users for want of servers: what is needed, and what is ready.
    pub(super) fn lacks(&self, target: &Target, share: Weight) -> Option<String> {
        let (policy, servers) = (self.policy.scaling.as_ref()?, self.observed.servers?);
        let load = load_of_all(policy, &self.status.scalers);
        let wanted = needed(policy, load, share.percent() / 100.0).min(policy.max);
        let ready = servers.get(&target.digest).map_or(0, |servers| servers.ready);
        (ready < wanted && !planted(Bug::CapacityAfterTraffic)).then(|| {
            format!(
                "{share} of the users need {wanted} servers of version {}, {ready} are ready; the load of all is worth {load:.1}",
                target.version
            )
        })
    }

    /// Orders servers. More of them at once; what takes some away is given back, to be carried out after the route.
    pub(super) fn scale(&mut self) -> Vec<EndpointEffect> {
        let (Some(policy), Some(servers)) = (&self.policy.scaling, self.observed.servers) else {
            return Vec::new();
        };
        let load = load_of_all(policy, &self.status.scalers);
        let mut fewer = Vec::new();
        for (digest, wants) in self.wants() {
            let floor = if wants.everybody && !planted(Bug::StableBelowFloor) { needed(policy, load, 1.0) } else { 0 };
            let expected = wants.next.map(|share| load * share.percent() / 100.0);
            let bounds = Bounds { floor, expected, ..Bounds::free() };
            let ordered = servers.get(&digest).map_or(0, |servers| servers.ordered);
            let scaler = self.status.scalers.entry(digest.clone()).or_insert_with(|| Scaler::new(ordered));
            let decision = scaler.decide(policy, &bounds, self.now);
            if decision.replicas == ordered {
                continue;
            }
            let effect = EndpointEffect::Scale {
                digest,
                replicas: decision.replicas,
                why: format!("{}: {}", decision.reason.code, decision.reason.message),
            };
            if decision.replicas > ordered { self.effects.push(effect) } else { fewer.push(effect) }
        }
        fewer
    }

    /// What each version that serves, is on trial, waits or is kept must be able to take.
    fn wants(&self) -> BTreeMap<String, Wants> {
        let status = &self.status;
        let mut wants: BTreeMap<String, Wants> = BTreeMap::new();
        let on_trial = status.rollout.is_some() || status.bake.is_some() || status.returning.is_some();
        let first = self.policy.steps.as_slice()[0].weight;
        let mut all: Vec<(&Target, Wants)> = Vec::new();
        all.extend(status.stable.iter().map(|it| (it, Wants { everybody: on_trial, next: None })));
        all.extend(status.bake.iter().map(|it| (&it.previous, Wants { everybody: true, next: None })));
        all.extend(status.returning.iter().map(|it| (&it.to, Wants { everybody: false, next: Some(Weight::FULL) })));
        all.extend(status.rollout.iter().map(|it| {
            let next = it.wants.unwrap_or_else(|| it.weight(self.policy));
            (&it.candidate, Wants { everybody: false, next: Some(next) })
        }));
        if let Some(wanted) = self.wanted_and_allowed() {
            let next = if status.stable.is_none() { Weight::FULL } else { first };
            all.push((wanted, Wants { everybody: false, next: Some(next) }));
        }
        all.extend(status.experiments.targets().map(|(it, share)| (it, Wants { everybody: false, next: Some(share) })));
        for (target, more) in all {
            let mine = wants.entry(target.digest.clone()).or_default();
            mine.everybody |= more.everybody;
            mine.next = mine.next.max(more.next);
        }
        wants
    }
}
