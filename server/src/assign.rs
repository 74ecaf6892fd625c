//! Which group a user belongs to: a pure function of the route, the user and whether the route's lease holds, so that every
//! replica agrees and nobody changes groups but by a change of the route or the end of its lease.
//!
//! Holdback comes before everything and has a salt of its own; then come experiments, each with a salt for who takes part
//! and one for which arm; the canary's salt is the rollout's, so that it is independent of all of them and of other rollouts.
//! The range of the canary is anchored at 0: a growing weight only adds users, a shrinking one removes those added last. The
//! hash is over the UTF-8 bytes of the identifier.

use fairway_wire::{Route, Track, Weight};
use xxhash_rust::xxh3::xxh3_64;

use crate::lease::Watch;

/// Salt of the holdback. Another epoch would hold back other users.
pub const HOLDBACK_SALT: &str = "holdback/0";

/// The user's place on a scale of a million: XXH3-64 of `salt ‖ 0x1f ‖ user`, scaled by multiplication (no modulo
/// bias).
pub fn bucket(salt: &str, user: &str) -> u32 {
    let mut bytes = Vec::with_capacity(salt.len() + 1 + user.len());
    bytes.extend_from_slice(salt.as_bytes());
    bytes.push(0x1f);
    bytes.extend_from_slice(user.as_bytes());
    ((u128::from(xxh3_64(&bytes)) * 1_000_000) >> 64) as u32
}

/// The user's place among those who are counted in an experiment: a hash of its own, so that it says nothing of the arm.
pub(crate) fn place(arm_salt: &str, user: &str) -> u16 {
    (u64::from(bucket(&format!("users/{arm_salt}"), user)) * (1 << 16) / 1_000_000) as u16
}

/// A user's group and how likely it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The group.
    pub track: Track,
    /// Which experiment of the route, and which of its arms, if that is the group.
    pub arm: Option<(usize, usize)>,
    /// Probability, over users like this one, of this group.
    pub propensity: Weight,
}

/// The weight of the canary: 0 without one and after the lease has run out (invariant I3).
pub fn canary_weight(route: &Route, watch: Watch) -> Weight {
    route.canary.as_ref().filter(|_| watch == Watch::Held).map_or(Weight::ZERO, |canary| canary.weight)
}

/// Whether a user of `segment` may get the canary at all.
pub fn eligible(route: &Route, segment: Option<&str>, personalize: bool) -> bool {
    let listed =
        |segments: &[String]| segments.is_empty() || segment.is_some_and(|mine| segments.iter().any(|one| one == mine));
    personalize && route.canary.as_ref().is_some_and(|canary| listed(&canary.segments))
}

/// The group of a user.
pub fn assign(route: &Route, user: &str, segment: Option<&str>, personalize: bool, watch: Watch) -> Assignment {
    if bucket(HOLDBACK_SALT, user) < route.holdback.ppm() {
        return Assignment { track: Track::Holdback, arm: None, propensity: route.holdback };
    }
    let mut left = route.holdback.rest();
    if personalize && watch == Watch::Held {
        match experiment(route, user, left) {
            Ok(assignment) => return assignment,
            Err(rest) => left = rest,
        }
    }
    let weight = if eligible(route, segment, personalize) { canary_weight(route, watch) } else { Weight::ZERO };
    // Without a weight there is nothing to hash for.
    if weight > Weight::ZERO && bucket(&route.salt, user) < weight.ppm() {
        Assignment { track: Track::Canary, arm: None, propensity: left.of(weight) }
    } else {
        Assignment { track: Track::Stable, arm: None, propensity: left.of(weight.rest()) }
    }
}

/// The first experiment that has the user in one of its arms; without one, the share of users that is left.
fn experiment(route: &Route, user: &str, mut left: Weight) -> Result<Assignment, Weight> {
    let mut before = 0;
    for layer in route.experiments.chunk_by(|a, b| a.layer == b.layer) {
        let by_layer = bucket(&layer[0].layer, user);
        // Nobody is in two experiments of a layer.
        if let Some((index, slice)) = layer.iter().enumerate().find(|(_, slice)| slice.takes_part(by_layer)) {
            let by_arm = bucket(&slice.arm_salt(), user);
            if let Some(at) = slice.arms.iter().position(|portion| portion.span.contains(by_arm)) {
                let propensity = left.of(slice.share(&slice.arms[at]));
                return Ok(Assignment { track: Track::Experiment, arm: Some((before + index, at)), propensity });
            }
        }
        let taken = layer.iter().flat_map(|slice| slice.arms.iter().map(|arm| slice.share(arm).ppm())).sum();
        left = left.of(Weight::from_ppm(taken).unwrap_or(Weight::FULL).rest());
        before += layer.len();
    }
    Err(left)
}

#[cfg(test)]
mod tests;
