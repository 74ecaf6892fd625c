//! Which group a user belongs to: a pure function of the route, the user and the time, so that every replica agrees
//! and nobody changes groups but by a change of the route.
//!
//! Holdback comes before everything and has a salt of its own; the canary's salt is the rollout's, so that it is
//! independent of the holdback and of other rollouts. The range of the canary is anchored at 0: a growing weight only
//! adds users, a shrinking one removes those added last. The hash is over the UTF-8 bytes of the identifier.

use fairway_wire::{Route, Track, Weight};
use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

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

/// A user's group and how likely it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The group.
    pub track: Track,
    /// Probability, over users like this one, of this group.
    pub propensity: Weight,
}

/// The weight of the canary at `now`: 0 without one and after the lease has run out (invariant I3).
pub fn canary_weight(route: &Route, now: Timestamp) -> Weight {
    match (&route.canary, route.lease_until) {
        (Some(_), Some(until)) if now > until => Weight::ZERO,
        (Some(canary), _) => canary.weight,
        (None, _) => Weight::ZERO,
    }
}

/// Whether a user of `segment` may get the canary at all.
pub fn eligible(route: &Route, segment: Option<&str>, personalize: bool) -> bool {
    let listed =
        |segments: &[String]| segments.is_empty() || segment.is_some_and(|mine| segments.iter().any(|one| one == mine));
    personalize && route.canary.as_ref().is_some_and(|canary| listed(&canary.segments))
}

/// The group of a user at `now`.
pub fn assign(route: &Route, user: &str, segment: Option<&str>, personalize: bool, now: Timestamp) -> Assignment {
    if bucket(HOLDBACK_SALT, user) < route.holdback.ppm() {
        return Assignment { track: Track::Holdback, propensity: route.holdback };
    }
    let weight = if eligible(route, segment, personalize) { canary_weight(route, now) } else { Weight::ZERO };
    // Without a weight there is nothing to hash for.
    if weight > Weight::ZERO && bucket(&route.salt, user) < weight.ppm() {
        Assignment { track: Track::Canary, propensity: share(route.holdback.rest(), weight) }
    } else {
        Assignment { track: Track::Stable, propensity: share(route.holdback.rest(), weight.rest()) }
    }
}

/// The share `part` of `whole`.
fn share(whole: Weight, part: Weight) -> Weight {
    let ppm = (u64::from(whole.ppm()) * u64::from(part.ppm()) + 500_000) / 1_000_000;
    Weight::from_ppm(ppm as u32).unwrap_or(Weight::FULL)
}

#[cfg(test)]
mod tests;
