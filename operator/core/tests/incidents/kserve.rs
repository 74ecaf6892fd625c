//! Threads of KServe, Seldon Core and OpenKruise Rollouts.

use std::time::Duration;

use fairway_core::endpoint::{EndpointEffect, RolloutRequest, RolloutResult};
use fairway_core::policy::{Margin, RolloutGate};

use crate::world::{Shop, steps, target};

/// `Ready` was Unknown for half a minute while the model served, and the gateway answered 404.
/// <https://github.com/kserve/kserve/issues/5443> <https://github.com/kserve/kserve/issues/2733> Ours is Ready as long as a
/// version serves, whatever becomes of the next one.
#[test]
fn kserve_5443_ready_stays_true_while_a_version_serves() {
    let mut shop = Shop::serving();
    let mut looks = 0;
    let mut watch = |shop: &mut Shop, minutes: usize| {
        for _ in 0..minutes {
            shop.minutes(1);
            assert!(shop.condition("Ready").unwrap().0, "{:?}", shop.codes());
            looks += 1;
        }
    };
    shop.never_loads(2);
    shop.wanted = Some(target(2));
    watch(&mut shop, 20);
    shop.unloadable.clear();
    watch(&mut shop, 40);
    shop.lose(2);
    watch(&mut shop, 130);
    shop.ask(RolloutRequest::Promote { full: true });
    watch(&mut shop, 130);
    shop.wanted = Some(target(3));
    shop.errors(3, 0.9);
    watch(&mut shop, 20);
    assert_eq!((looks, shop.stable()), (340, Some(2)));
}

/// The status said ready before the model was loaded, and where it never would be.
/// <https://github.com/kserve/kserve/issues/1124> Ours must tell that stable is not loaded.
#[test]
fn kserve_1124_ready_is_false_while_stable_has_no_server() {
    let mut shop = Shop::serving();
    shop.never_loads(1);
    shop.lose(1);
    shop.minutes(5);
    assert!(!shop.condition("Ready").unwrap().0, "{:?}", shop.condition("Ready"));
    shop.unloadable.clear();
    shop.minutes(2);
    assert!(shop.condition("Ready").unwrap().0);
}

/// The manifest names the new version only; nobody could say what the rest of the traffic had, nor go back without looking it
/// up. <https://github.com/kserve/kserve/issues/2649> <https://github.com/kserve/kserve/issues/6> Ours remembers both.
#[test]
fn kserve_2649_both_versions_are_known_and_the_way_back_needs_no_name() {
    let mut shop = Shop::rolling();
    let route = shop.status.route.as_ref().unwrap();
    assert_eq!(
        (route.stable.as_ref(), route.canary.as_ref().map(|it| &it.target)),
        (Some(&target(1)), Some(&target(2)))
    );
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
    assert_eq!(shop.status.bake.as_ref().unwrap().previous, target(1));
    shop.minutes(150);
    let ended: Vec<u64> = shop.status.history.iter().map(|ended| ended.target.version).collect();
    assert_eq!(ended, [1, 2]);
    shop.ask(RolloutRequest::Undo { to: None });
    shop.minutes(2);
    assert_eq!(shop.stable(), Some(1));
}

/// A person had to raise the canary's share, field by field; the answer was "build a workflow".
/// <https://github.com/kserve/kserve/issues/3085> Ours goes from the first step to the promotion without anybody.
#[test]
fn kserve_3085_nobody_is_needed_from_the_first_step_to_the_promotion() {
    let mut shop = Shop::serving();
    shop.wanted = Some(target(2));
    let mut weights = vec![0.0];
    while shop.stable() == Some(1) {
        shop.minutes(1);
        if weights.last() != Some(&shop.weight()) {
            weights.push(shop.weight());
        }
    }
    assert_eq!(weights, [0.0, 5.0, 25.0, 50.0, 0.0]);
}

/// Shadow traffic: the candidate answers unseen. <https://github.com/kserve/kserve/issues/2978>
/// <https://github.com/kserve/kserve/issues/2240> Ours compares both lists on the same requests; the same loss
/// takes longer to show between two crowds of users.
#[test]
fn kserve_2978_in_the_shadow_a_small_loss_shows_early() {
    let ended = |shadow: bool, reward: f64| {
        let mut shop = Shop::serving();
        shop.policy.gates = vec![RolloutGate::Reward { tolerance: Margin::Relative(0.02) }];
        shop.policy.shadow = shadow;
        shop.reward(2, reward);
        shop.wanted = Some(target(2));
        let result = shop.until_ended(300);
        (result, shop.last().ended.duration_since(shop.last().started).as_mins())
    };
    let (result, minutes) = ended(true, 0.18);
    assert_eq!(result, RolloutResult::RolledBack);
    assert!(minutes < 60, "after {minutes} minutes");
    assert_eq!(ended(true, 0.2).0, RolloutResult::Promoted);
    let (_, apart) = ended(false, 0.18);
    assert!(apart > 60, "two crowds: {apart} minutes");
}

/// The same for errors: the candidate is taken back before many have met it. (kserve#2240)
#[test]
fn kserve_2240_in_the_shadow_errors_show_before_many_have_them() {
    let met = |shadow: bool, errors: f64| {
        let mut shop = Shop::serving();
        (shop.policy.shadow, shop.requests_a_minute) = (shadow, 200);
        shop.errors(1, 0.02);
        shop.errors(2, errors);
        shop.wanted = Some(target(2));
        let since = shop.now;
        let result = shop.until_ended(900);
        (result, shop.last().ended.duration_since(since).as_mins())
    };
    let ((harmful, minutes), (apart, minutes_apart)) = (met(true, 0.05), met(false, 0.05));
    assert_eq!((harmful, apart), (RolloutResult::RolledBack, RolloutResult::RolledBack));
    assert!(minutes * 3 < minutes_apart, "{minutes} minutes, and {minutes_apart} without");
    assert_eq!(met(true, 0.02).0, RolloutResult::Promoted);
}

/// The canary was deleted at a weight above zero. (`delete_at_nonzero_weight`, `force_stop` in
/// <https://github.com/kserve/kserve/tree/master/test/e2e>) Ours has its users with stable at the next look, and the
/// canary has to prove itself anew.
#[test]
fn kserve_a_canary_deleted_at_a_nonzero_weight_gives_its_users_back() {
    let mut shop = Shop::rolling();
    shop.until_weight(25.0);
    shop.minutes(29);
    let before = shop.status.rollout.as_ref().unwrap().evidence.answered_at_weight;
    assert!(before > 5_000);
    shop.never_loads(2);
    shop.lose(2);
    shop.minutes(1);
    assert_eq!(shop.weights(), [0.0, 0.0]);
    shop.minutes(20);
    shop.unloadable.clear();
    shop.minutes(2);
    assert_eq!(shop.weight(), 25.0);
    let rollout = shop.status.rollout.as_ref().unwrap();
    assert!(rollout.evidence.answered_at_weight < 1_000, "{}", rollout.evidence.answered_at_weight);
    shop.minutes(25);
    assert_eq!(shop.weight(), 25.0, "the hold begins anew as well");
}

/// A model that could not be loaded: the state and the reason. (`BlockedByFailedLoad`, a state of
/// <https://github.com/kserve/kserve/blob/master/pkg/apis/serving/v1beta1/inference_service_status.go>) Ours keeps the old one, says why, and does not
/// try for ever.
#[test]
fn kserve_a_model_that_fails_to_load_blocks_nobody_and_says_why() {
    let mut shop = Shop::serving();
    shop.broken.insert(target(2).digest, "the weights are cut off at byte 4096".to_owned());
    shop.wanted = Some(target(2));
    shop.minute(&[]);
    assert!(shop.said("BlockedByFailedLoad"));
    let reason = shop.plan.as_ref().unwrap().reasons[0].message.clone();
    assert!(reason.contains("version 2") && reason.contains("cut off at byte 4096"), "{reason}");
    let since = shop.now;
    shop.minutes(60);
    assert_eq!(shop.loads_and_unloads_since(since), 0);
    assert!(shop.said("Barred") && shop.stable() == Some(1));
}

/// The same in the middle of a canary: everybody is with stable at the next look.
#[test]
fn kserve_a_canary_that_cannot_be_loaded_again_is_taken_back() {
    let mut shop = Shop::rolling();
    shop.until_weight(50.0);
    shop.lose(2);
    shop.broken.insert(target(2).digest, "digest differs".to_owned());
    assert_eq!(shop.until_ended(1), RolloutResult::RolledBack);
    assert_eq!(shop.last().reason.code, "BlockedByFailedLoad");
    assert_eq!(shop.weights(), [0.0, 0.0]);
}

/// After a canary was rolled back and the next one came, a route still named the one before.
/// <https://github.com/kserve/kserve/issues/2130> Ours names stable and the canary on trial, and nobody else.
#[test]
fn kserve_2130_consecutive_canaries_leave_no_route_to_the_one_before() {
    let mut shop = Shop::rolling();
    for version in 3..8 {
        shop.ask(RolloutRequest::Undo { to: None });
        assert_eq!(shop.weights(), [0.0, 0.0]);
        shop.wanted = Some(target(version));
        shop.minutes(3);
        for router in &shop.routers {
            let route = router.route.as_ref().unwrap();
            assert_eq!(route.stable, Some(target(1)));
            assert_eq!(route.canary.as_ref().map(|canary| &canary.target), Some(&target(version)));
        }
        assert_eq!(shop.ready, [target(1).digest, target(version).digest].into());
    }
}

/// The last old pod held the GPU that the last new pod waited for, and the rollout stood still.
/// <https://github.com/knative-extensions/serving-progressive-rollout/issues/200> Ours leaves stable alone and gives the other
/// one up.
#[test]
fn knative_progressive_200_a_version_without_room_is_given_up_and_stable_stays() {
    let mut shop = Shop::serving();
    shop.never_loads(2);
    shop.wanted = Some(target(2));
    let since = shop.now;
    shop.minutes(150);
    assert!(shop.status.barred[&target(2).digest].contains("after 2h"));
    assert!(!shop.done.iter().any(|(at, it)| *at > since && matches!(it, EndpointEffect::Unload { .. })));
    // Room was made: the next one is tried.
    shop.wanted = Some(target(3));
    shop.minutes(3);
    assert_eq!(shop.candidate(), Some(3));
}

/// Updating a server with one replica was an outage. <https://github.com/SeldonIO/seldon-core/issues/4478> Ours loads the new
/// version beside the old one, whatever the order of events.
#[test]
fn seldon_4478_an_update_is_no_outage() {
    let mut shop = Shop::serving();
    shop.policy.steps = steps(&[100]);
    for version in 2..6 {
        shop.wanted = Some(target(version));
        let before = shop.status.history.len();
        while shop.status.history.len() == before {
            shop.minutes(1);
            for router in &shop.routers {
                let route = router.route.as_ref().unwrap();
                let asked = route.canary.as_ref().map_or(route.stable.as_ref(), |canary| Some(&canary.target)).unwrap();
                assert!(shop.ready.contains(&asked.digest), "{asked:?} is asked and not there");
            }
        }
        shop.minutes(130);
        assert_eq!(shop.stable(), Some(version));
    }
}

/// Steps changed in the middle of a rollout. Argo starts over from the first one; Kruise looks for the step that fits.
/// <https://github.com/openkruise/rollouts/pull/23> Ours must not give a canary more users than it has shown it can take.
#[test]
fn kruise_23_changed_steps_do_not_raise_the_weight_in_force() {
    let mut shop = Shop::serving();
    shop.policy.steps = steps(&[1, 2, 5, 10, 25, 50]);
    shop.wanted = Some(target(2));
    shop.until_weight(2.0);
    let before = shop.status.rollout.as_ref().unwrap().step;
    assert_eq!(before, 1);
    shop.policy.steps = steps(&[5, 50]);
    shop.minute(&[]);
    assert!(shop.weight() <= 5.0, "from 2 % to {} % by an edit", shop.weight());
}

/// Going back in the middle of a canary did nothing by the manifest, and the command refused.
/// <https://github.com/openkruise/rollouts/issues/257> The verb of ours works at each step (the manifest:
/// `argo_rollouts_22`).
#[test]
fn kruise_257_going_back_in_the_middle_of_a_canary_works_at_each_step() {
    for percent in [5.0, 25.0, 50.0] {
        let mut shop = Shop::rolling();
        shop.until_weight(percent);
        shop.ask(RolloutRequest::Undo { to: None });
        assert_eq!((shop.stable(), shop.candidate(), shop.weights()), (Some(1), None, vec![0.0, 0.0]), "{percent}");
    }
}

/// A rollout whose policy loses its steps, or gets a shorter life, while it runs. (`steps changed` in
/// <https://github.com/openkruise/rollouts/tree/master/test/e2e>) Ours ends in order.
#[test]
fn kruise_a_policy_that_shrinks_in_the_middle_leaves_a_rollout_that_ends() {
    let mut shop = Shop::rolling();
    shop.until_weight(50.0);
    shop.policy.steps = steps(&[5]);
    shop.minute(&[]);
    assert_eq!(shop.weight(), 5.0);
    assert_eq!(shop.until_ended(120), RolloutResult::Promoted);
    let mut shop = Shop::rolling();
    shop.policy.max_duration = Duration::from_secs(600);
    shop.policy.min_requests = 1_000_000;
    assert_eq!(shop.until_ended(120), RolloutResult::RolledBack);
}
