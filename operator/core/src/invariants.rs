//! The promises, each a named function: the simulation, the property tests and `debug_assert!` share them.

use crate::endpoint::{EndpointObserved, EndpointStatus};
use crate::model::ModelStatus;
use crate::policy::EndpointPolicy;

/// I2: a weight does not grow without enough evidence since it was set, unless a person asked.
pub fn weight_growth_has_evidence(
    policy: &EndpointPolicy,
    before: &EndpointStatus,
    after: &EndpointStatus,
    by_hand: bool,
) -> bool {
    let (Some(before), Some(after)) = (&before.rollout, &after.rollout) else {
        return true;
    };
    if by_hand || before.id != after.id || after.step <= before.step {
        return true;
    }
    // The evidence since the weight was set is the sum of what was remembered and what this look added.
    after.evidence.canary_requests >= policy.min_requests && after.step == before.step + 1
}

/// I5: traffic only to a version that was verified and loaded.
pub fn traffic_only_to_ready(observed: &EndpointObserved<'_>, after: &EndpointStatus) -> bool {
    let canary = after.route.as_ref().and_then(|route| route.canary.as_ref());
    canary.is_none_or(|canary| observed.ready.contains(&canary.target.digest))
}

/// I7 and I1: while a canary is on trial stable is there to take everybody back.
pub fn stable_stays(after: &EndpointStatus) -> bool {
    after.rollout.is_none() || after.stable.is_some()
}

/// I4: at most one active run per model.
pub fn one_run(before: &ModelStatus, after: &ModelStatus) -> bool {
    match (&before.run, &after.run) {
        (Some(before), Some(after)) => before.name == after.name,
        _ => true,
    }
}

/// Checks an endpoint's plan in debug builds.
pub fn check_endpoint(policy: &EndpointPolicy, observed: &EndpointObserved<'_>, after: &EndpointStatus) {
    debug_assert!(
        weight_growth_has_evidence(policy, observed.status, after, !observed.requests.is_empty()),
        "I2: a weight grew without evidence"
    );
    debug_assert!(traffic_only_to_ready(observed, after), "I5: traffic to a version that is not ready");
    debug_assert!(stable_stays(after), "I7: a canary without stable");
}
