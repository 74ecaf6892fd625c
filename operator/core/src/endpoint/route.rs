//! The route that follows from an endpoint's status.

use std::time::Duration;

use fairway_wire::{Canary, Route};

use super::{EndpointEffect, Look};
use crate::evidence::Rules;

impl Look<'_> {
    /// Sets the route that follows from the status, if it is another one than before or its lease must be renewed.
    pub(super) fn route(&mut self) {
        let before = self.status.route.clone();
        let mut route = self.wanted_route(before.as_ref());
        let unchanged = before.as_ref().is_some_and(|before| same_but_lease(before, &route));
        if unchanged {
            route.generation = before.as_ref().map_or(0, |before| before.generation);
            let renew_at =
                before.as_ref().and_then(|before| before.lease_until).map(|until| until - self.observed.lease / 2);
            if renew_at.is_none_or(|at| self.now < at) {
                return;
            }
        } else if let Some(rollout) = &mut self.status.rollout {
            let weight = |route: &Route| route.canary.as_ref().map(|canary| canary.weight);
            if before.as_ref().and_then(weight) != weight(&route) {
                // Also where it lost its users, or got them back, because its servers were gone: it proves itself anew.
                rollout.weigh(self.now);
                rollout.weight_generation = route.generation;
            }
            rollout.note_route(&route);
        }
        self.status.route = Some(route.clone());
        self.effects.push(EndpointEffect::SetRoute { route });
    }

    fn wanted_route(&self, before: Option<&Route>) -> Route {
        let rollout = self.status.rollout.as_ref();
        let rules = rollout.map(|rollout| rollout.evidence.rules(self.policy));
        let slow_over = rules.as_ref().and_then(Rules::slow_over).unwrap_or(self.policy.slow_over);
        let canary = rollout.filter(|rollout| self.observed.ready.contains(&rollout.candidate.digest)).map(|rollout| {
            let step = rollout.current(self.policy);
            Canary {
                target: rollout.candidate.clone(),
                weight: rollout.weight(self.policy),
                segments: step.segments.clone(),
                shadow: rules.as_ref().is_some_and(|rules| rules.shadow),
            }
        });
        Route {
            generation: before.map_or(0, |before| before.generation) + 1,
            stable: self.status.stable.clone(),
            salt: rollout.map_or_else(String::new, |rollout| rollout.id.clone()),
            holdback: self.policy.holdback,
            experiments: self.slices.clone(),
            serve_baseline: self.observed.serve_baseline,
            slow_over_ms: millis(slow_over),
            deadline_ms: millis(self.policy.deadline),
            lease_until: (canary.is_some() || !self.slices.is_empty()).then(|| self.now + self.observed.lease),
            canary,
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn same_but_lease(before: &Route, after: &Route) -> bool {
    let neutral = |route: &Route| Route { generation: 0, lease_until: None, ..route.clone() };
    neutral(before) == neutral(after)
}
