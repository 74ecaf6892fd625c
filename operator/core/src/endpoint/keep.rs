//! What must be loaded, what the registry must be told, and what nobody needs any more.

use std::collections::BTreeSet;

use fairway_wire::{Route, Target};

use super::{EndpointEffect, Look};
use crate::planted::{Bug, planted};

impl Look<'_> {
    /// Whatever serves, is on trial, is kept for the way back or is wanted must be loaded. Asked for as long as it is not:
    /// a server may have been lost.
    pub(super) fn load(&mut self) {
        let needed: Vec<Target> = self.needed().into_iter().filter(|target| !self.is_ready(target)).collect();
        for target in needed.into_iter().filter(|target| !self.observed.broken.contains_key(&target.digest)) {
            self.effects.push(EndpointEffect::Load { target });
        }
    }

    fn needed(&self) -> BTreeSet<Target> {
        let status = &self.status;
        let bake = status.bake.as_ref().filter(|_| !planted(Bug::StableUnloadedBeforeBake));
        let parts = [
            status.stable.as_ref(),
            status.rollout.as_ref().map(|rollout| &rollout.candidate),
            bake.map(|bake| &bake.previous),
            status.returning.as_ref().map(|returning| &returning.to),
            self.wanted_and_allowed(),
        ];
        parts.into_iter().flatten().chain(status.experiments.targets().map(|(target, _)| target)).cloned().collect()
    }

    /// The alias `champion` follows stable, whoever moved it last: the endpoint's own log says what is stable. It comes
    /// after the route, so that no rollback waits for the registry (I3).
    pub(super) fn name_champion(&mut self) {
        let Some(stable) = self.status.stable.clone().filter(|_| self.policy.promotes) else {
            return;
        };
        let moved = self.observed.status.stable.as_ref() != Some(&stable);
        if self.observed.champion == Some(stable.version) || planted(Bug::ChampionMovedOnce) && !moved {
            return;
        }
        let ended = self.status.history.last();
        let why = ended.map_or_else(|| "it serves".to_owned(), |ended| ended.reason.message.clone());
        let effect = EndpointEffect::MoveChampion { to: stable, why };
        if planted(Bug::RollbackAfterRegistry) { self.effects.insert(0, effect) } else { self.effects.push(effect) }
    }

    /// A version that nobody needs goes once every router has a route without it: traffic first, capacity second.
    pub(super) fn unload(&mut self) {
        let generation = self.status.route.as_ref().map_or(0, |route| route.generation);
        let routed = self.status.route.iter().flat_map(Route::targets).cloned();
        let kept: BTreeSet<String> = self.needed().into_iter().chain(routed).map(|target| target.digest).collect();
        let lacks_stable = self.status.stable.as_ref().is_some_and(|stable| !self.is_ready(stable));
        let before = std::mem::take(&mut self.status.leaving);
        for digest in self.observed.ready.iter().filter(|digest| !kept.contains(*digest)) {
            let since = before.get(digest).copied().unwrap_or(generation);
            self.status.leaving.insert(digest.clone(), since);
            // The last one that can answer stays until stable is there again.
            if !lacks_stable && self.observed.acked >= since || planted(Bug::UnloadedBeforeRouted) {
                self.effects.push(EndpointEffect::Unload { digest: digest.clone() });
            }
        }
    }
}
