//! Threads of Argo Rollouts and of its Gateway API plugin.

use fairway_core::endpoint::{EndpointEffect, RolloutRequest, RolloutResult};
use fairway_core::escalation::{Severity, findings};
use fairway_core::policy::{Freeze, Margin, OnLowTraffic, RolloutGate};
use fairway_core::scaling::{Bounds, needed, worth};

use crate::world::{HOUR, Servers, Shop, target};

/// The service pointed to the old pods for minutes after they were scaled to nothing: an outage of four minutes.
/// <https://github.com/argoproj/argo-rollouts/issues/2235> Ours unloads a version when the last router has moved.
#[test]
fn argo_rollouts_2235_stable_is_not_scaled_down_before_the_traffic_has_moved() {
    let mut shop = Shop::rolling();
    shop.until_weight(50.0);
    shop.routers[1].behind = true;
    assert_eq!(shop.until_ended(60), RolloutResult::Promoted);
    shop.minutes(5 * 60);
    assert!(shop.status.bake.is_none(), "the bake is over, version 1 is needed no more");
    assert_eq!(shop.routers[1].route.as_ref().unwrap().stable, Some(target(1)));
    assert!(shop.is_ready(1), "but a router still sends half of its users there");
    shop.routers[1].behind = false;
    shop.minutes(3);
    assert!(!shop.is_ready(1));
}

/// Stable was scaled down although canary pods were missing. <https://github.com/argoproj/argo-rollouts/issues/2050>
/// Ours keeps stable able to take everybody until the trial and its bake are over.
#[test]
fn argo_rollouts_2050_stable_is_not_scaled_down_while_canary_servers_are_missing() {
    let load = 160.0;
    let (mut stable, mut canary) = (Servers::new(20), Servers::new(2));
    stable.bounds.floor = needed(&stable.policy, worth(&stable.policy, load, 0.0), 1.0);
    canary.start = 10_000;
    canary.bounds.expected = Some(worth(&canary.policy, load / 2.0, 0.0));
    for _ in 0..900 {
        let (stable, canary) = (stable.look(load / 2.0), canary.look(1.0));
        assert_eq!((stable.replicas, canary.replicas), (20, 10), "{} {}", stable.reason.message, canary.reason.message);
    }
    assert_eq!(canary.ready, 2, "none of those ordered came");
}

/// A third version came in the middle of a canary; the old canary was scaled down while the route still named it: 503.
/// <https://github.com/argoproj/argo-rollouts/issues/4390> Ours keeps it until no router names it.
#[test]
fn argo_rollouts_4390_a_superseded_canary_stays_while_a_route_names_it() {
    let mut shop = Shop::rolling();
    shop.until_weight(25.0);
    shop.routers[1].behind = true;
    shop.wanted = Some(target(3));
    shop.minutes(10);
    assert_eq!((shop.last().result, shop.candidate()), (RolloutResult::Superseded, Some(3)));
    assert_eq!(shop.weights(), [5.0, 25.0]);
    assert!(shop.is_ready(2) && shop.is_ready(3));
    shop.routers[1].behind = false;
    shop.minutes(3);
    assert!(!shop.is_ready(2));
    assert_eq!(shop.weights(), [5.0, 5.0]);
}

/// In a rollback the weight was set before the subset had switched: a canary sized for 5 % got 70 % of the traffic.
/// <https://github.com/argoproj/argo-rollouts/pull/4612> Ours says who and how much in one route, and a new trial is small.
#[test]
fn argo_rollouts_4612_a_retreat_never_gives_a_large_weight_to_a_small_canary() {
    let mut shop = Shop::rolling();
    shop.until_weight(50.0);
    let since = shop.now;
    shop.ask(RolloutRequest::Abort);
    let routes = shop.routes_since(since);
    assert!(routes.iter().all(|route| route.canary.is_none() && route.stable == Some(target(1))), "{routes:?}");
    shop.wanted = Some(target(3));
    shop.minutes(5);
    let weights: Vec<f64> =
        shop.routes_since(since).iter().filter_map(|route| Some(route.canary.as_ref()?.weight.percent())).collect();
    assert!(!weights.is_empty() && weights.iter().all(|weight| *weight <= 5.0), "{weights:?}");
}

/// `abort` without a rollout scaled stable to nothing. <https://github.com/argoproj/argo-rollouts/issues/1292> Ours says that
/// there is nothing to abort.
#[test]
fn argo_rollouts_1292_abort_when_idle_changes_nothing() {
    let mut shop = Shop::serving();
    let (before, since) = (shop.status.clone(), shop.now);
    assert_eq!(shop.ask(RolloutRequest::Abort), ["NothingToAbort"]);
    assert!(shop.plan.as_ref().unwrap().effects.is_empty());
    assert_eq!((&shop.status.stable, &shop.status.barred), (&before.stable, &before.barred));
    assert_eq!(shop.loads_and_unloads_since(since), 0);
    assert!(shop.is_ready(1));
}

/// Each step of the autoscaler revived an aborted canary, and the selector flapped several times a second.
/// <https://github.com/argoproj/argo-rollouts/issues/4973> Ours leaves it at nothing and writes nothing.
#[test]
fn argo_rollouts_4973_an_aborted_canary_stays_down() {
    let mut shop = Shop::rolling();
    shop.ask(RolloutRequest::Abort);
    shop.minutes(3);
    let since = shop.now;
    shop.minutes(120);
    assert_eq!((shop.loads_and_unloads_since(since), shop.routes_since(since).len()), (0, 0));
    let mut canary = Servers::new(4);
    canary.bounds = Bounds { ceiling: 0, ..Bounds::free() };
    for _ in 0..600 {
        assert_eq!(canary.look(400.0).replicas, 0, "whatever the metric says");
    }
}

/// A rollback gave everything at once to a stable that had been scaled down.
/// <https://github.com/argoproj/argo-rollouts/issues/3372> <https://github.com/argoproj/argo-rollouts/pull/3077> Ours never
/// lets stable fall below what everybody needs while a trial lasts.
#[test]
fn argo_rollouts_3372_stable_can_take_everybody_back_at_once() {
    let load = 240.0;
    let mut stable = Servers::new(30);
    stable.bounds.floor = needed(&stable.policy, worth(&stable.policy, load, 0.0), 1.0);
    for share in [0.95, 0.75, 0.5, 0.0] {
        stable.run(1_800, load * share);
        assert!(f64::from(stable.ready) * 8.0 >= load, "{} ready", stable.ready);
    }
    // Aborted: nothing has to be ordered first.
    let back = stable.look(load);
    assert_eq!((back.replicas, back.reason.code.as_str()), (30, "Steady"));
}

/// The autoscaler was ignored while a rollout was paused. <https://github.com/argoproj/argo-rollouts/issues/4261> Ours scales
/// each track by its own load, paused or not.
#[test]
fn argo_rollouts_4261_tracks_follow_the_load_while_the_rollout_is_paused() {
    let mut shop = Shop::rolling();
    shop.ask(RolloutRequest::Pause);
    let (mut stable, mut canary) = (Servers::new(10), Servers::new(2));
    (stable.bounds.floor, canary.bounds.floor) = (10, 0);
    stable.run(300, 76.0);
    canary.run(300, 4.0);
    shop.minutes(10);
    assert_eq!(shop.weight(), 5.0);
    assert!(stable.run(120, 228.0).replicas >= 29);
    assert_eq!(canary.run(120, 12.0).replicas, 2);
    assert_eq!(canary.run(120, 24.0).replicas, 3);
}

/// The canary took 100 % while only some of its pods were there. <https://github.com/argoproj/argo-rollouts/pull/4852> Ours
/// orders what the next weight needs before that weight is set.
#[test]
fn argo_rollouts_4852_servers_for_the_next_weight_are_ordered_before_it() {
    let mut canary = Servers::new(2);
    canary.start = 60;
    canary.run(60, 8.0);
    canary.bounds.expected = Some(worth(&canary.policy, 160.0, 0.0));
    let ordered = canary.look(8.0);
    assert_eq!((ordered.replicas, ordered.reason.code.as_str()), (20, "Prescaled"));
    assert_eq!(canary.ready, 2, "until they are there the step can be told to wait");
    canary.run(120, 8.0);
    assert_eq!(canary.ready, 20, "and they are kept although the load does not need them yet");
}

/// A bad stable held up the good version that would have mended it. <https://github.com/argoproj/argo-rollouts/issues/1774>
/// <https://github.com/argoproj/argo-rollouts/issues/995> Ours judges the candidate against stable, not stable.
#[test]
fn argo_rollouts_1774_a_failing_stable_does_not_hold_up_a_good_canary() {
    let mut shop = Shop::rolling();
    shop.errors(1, 0.9);
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
    assert_eq!(shop.stable(), Some(2));
}

/// Stable had no pods at all, and the healthy canary was never promoted.
/// <https://github.com/argoproj/argo-rollouts/issues/3110> Ours goes on, and asks for stable's servers meanwhile.
#[test]
fn argo_rollouts_3110_a_stable_without_servers_does_not_hold_up_a_good_canary() {
    let mut shop = Shop::rolling();
    shop.never_loads(1);
    shop.lose(1);
    let since = shop.now;
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
    let asked =
        shop.done.iter().filter(|(at, effect)| *at > since && *effect == EndpointEffect::Load { target: target(1) });
    assert!(asked.count() > 60, "asked for as long as it serves");
}

/// New pods never came up, and neither the deadline nor `abort` did anything.
/// <https://github.com/argoproj/argo-rollouts/issues/4128> <https://github.com/argoproj/argo-rollouts/issues/4626> Ours gives it
/// up after a time, and obeys before.
#[test]
fn argo_rollouts_4128_a_version_that_never_gets_ready_is_given_up() {
    let mut shop = Shop::serving();
    shop.never_loads(2);
    shop.wanted = Some(target(2));
    shop.minutes(60);
    assert!(shop.said("Loading") && shop.candidate().is_none());
    shop.minutes(80);
    assert!(shop.status.barred.contains_key(&target(2).digest));
    assert_eq!((shop.stable(), shop.weight()), (Some(1), 0.0));
    // Lost in the middle of the trial, and asked to abort: at once.
    let mut shop = Shop::rolling();
    shop.never_loads(2);
    shop.lose(2);
    shop.minutes(10);
    assert_eq!((shop.weight(), shop.candidate()), (0.0, Some(2)));
    assert!(shop.ask(RolloutRequest::Abort).contains(&"RolledBack".to_owned()));
    // And without anybody: by maxDuration.
    let mut shop = Shop::rolling();
    shop.policy.on_low_traffic = OnLowTraffic::Rollback;
    shop.never_loads(2);
    shop.lose(2);
    assert_eq!(shop.until_ended(13 * 60), RolloutResult::RolledBack);
}

/// New pods that crashed and came back kept a rollout going for more than a day.
/// <https://github.com/argoproj/argo-rollouts/issues/3765> Ours counts the time from the start, whatever comes and goes.
#[test]
fn argo_rollouts_3765_a_canary_that_comes_and_goes_does_not_last_for_ever() {
    let mut shop = Shop::rolling();
    let started = shop.now;
    shop.policy.steps = crate::world::steps(&[5]);
    while shop.candidate().is_some() {
        shop.minutes(4);
        shop.lose(2);
        assert!(shop.now < started + 25 * HOUR, "twice maxDuration: {:?}", shop.codes());
    }
    assert_eq!((shop.last().result, shop.last().reason.code.as_str()), (RolloutResult::RolledBack, "PauseTooLong"));
}

/// A newer image came while the canary was paused, and nothing happened.
/// <https://github.com/argoproj/argo-rollouts/issues/1690> Ours starts the newer one.
#[test]
fn argo_rollouts_1690_a_newer_version_takes_over_from_a_paused_one() {
    let mut shop = Shop::rolling();
    shop.ask(RolloutRequest::Pause);
    shop.wanted = Some(target(3));
    shop.minutes(3);
    let rollout = shop.status.rollout.as_ref().unwrap();
    assert_eq!((rollout.candidate.version, rollout.paused.is_none()), (3, true));
    assert_eq!(shop.last().result, RolloutResult::Superseded);
}

/// After the last step everything went to the old version for a moment, before the labels were switched.
/// <https://github.com/argoproj/argo-rollouts/issues/1718> Ours goes from the last weight to everybody in one route.
#[test]
fn argo_rollouts_1718_between_the_last_step_and_everybody_is_no_moment_of_the_old_version() {
    let mut shop = Shop::rolling();
    shop.until_weight(50.0);
    let since = shop.now;
    assert_eq!(shop.until_ended(60), RolloutResult::Promoted);
    shop.minutes(5);
    let routes: Vec<(u64, bool)> = shop
        .routes_since(since)
        .iter()
        .map(|route| (route.stable.as_ref().unwrap().version, route.canary.is_some()))
        .collect();
    let moved = routes.iter().position(|route| *route == (2, false)).unwrap();
    assert!(routes[..moved].iter().all(|route| *route == (1, true)), "{routes:?}");
    assert!(routes[moved..].iter().all(|route| *route == (2, false)), "{routes:?}");
}

/// Five errors of the metric provider in a row, forty seconds, abort a rollout; users ask for a pause instead.
/// <https://github.com/argoproj/argo-rollouts/issues/2866> Ours holds the weight and goes on afterwards.
#[test]
fn argo_rollouts_2866_an_outage_of_telemetry_holds_and_does_not_abort() {
    let mut shop = Shop::rolling();
    shop.silent = true;
    shop.minutes(1);
    assert!(!shop.said("TelemetryMissing"), "a minute is no outage yet");
    shop.minutes(90);
    assert_eq!((shop.weight(), shop.candidate(), shop.status.history.len()), (5.0, Some(2), 1));
    assert!(shop.condition("TelemetryMissing").unwrap().0);
    shop.silent = false;
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
}

/// Analysis without traffic gave a verdict all the same.
/// <https://github.com/argoproj/argo-rollouts/issues/1905> <https://github.com/argoproj/argo-rollouts/issues/1466> Ours has a
/// third answer: not enough was answered.
#[test]
fn argo_rollouts_1905_without_traffic_there_is_no_verdict() {
    let mut shop = Shop::rolling();
    shop.requests_a_minute = 0;
    shop.minutes(12 * 60 + 10);
    let (paused, _, why) = shop.condition("Paused").unwrap();
    assert!(paused && why.starts_with("only ") && why.contains(" of 500 requests answered"), "{why}");
    assert_eq!((shop.stable(), shop.weight()), (Some(1), 5.0));
    assert_eq!(shop.until_ended(13 * 60), RolloutResult::RolledBack, "and that does not last for ever either");
}

/// "Why did it abort?" <https://github.com/argoproj/argo-rollouts/issues/404>
/// <https://github.com/argoproj/argo-rollouts/issues/1832> Ours keeps gate, counts and evidence with the end, and tells people.
#[test]
fn argo_rollouts_404_an_abort_says_why_with_its_numbers() {
    let mut shop = Shop::rolling();
    shop.errors(2, 0.5);
    assert_eq!(shop.until_ended(10), RolloutResult::RolledBack);
    let ended = shop.last();
    assert_eq!(ended.reason.code, "Harmful");
    assert!(ended.reason.message.starts_with("errors: ") && ended.reason.message.contains("evidence of harm"));
    let (holds, _, message) = shop.condition("RolledBack").unwrap();
    assert!(holds && message == ended.reason.message);
    let plan = shop.plan.as_ref().unwrap();
    let told = findings("modelendpoint/shop/shop", "plan 7", &plan.reasons, &plan.conditions);
    let told = told.iter().find(|finding| finding.severity >= Severity::Warning).unwrap();
    assert!(told.message.contains("on the canary") && told.evidence == "plan 7", "{told:?}");
    shop.minutes(600);
    assert!(shop.condition("RolledBack").unwrap().2.contains("on the canary"), "it can still be read hours later");
}

/// Nothing watches a version once its rollout is over. <https://github.com/argoproj/argo-rollouts/issues/1994> Ours goes on
/// judging what the trial's users earn, and takes the promotion back.
#[test]
fn argo_rollouts_1994_reward_lost_after_the_promotion_takes_it_back() {
    let mut shop = Shop::serving();
    shop.policy.gates = vec![RolloutGate::Reward { tolerance: Margin::Relative(0.02) }];
    shop.policy.reward_within = 5 * HOUR;
    shop.reward(2, 0.1);
    shop.wanted = Some(target(2));
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted, "no reward is known yet");
    assert_eq!(shop.until_ended(600), RolloutResult::RolledBack);
    assert_eq!((shop.stable(), shop.last().reason.code.as_str()), (Some(1), "HarmfulInBake"));
    assert!(shop.is_ready(1), "it was kept for this");
}

/// The same thread, for errors: a version that begins to fail under everybody's load.
/// <https://github.com/argoproj/argo-rollouts/issues/1994> Ours must take the promotion back while the former version is kept.
#[test]
fn argo_rollouts_1994_errors_that_begin_after_the_promotion_take_it_back() {
    let mut shop = Shop::baking();
    shop.errors(2, 0.5);
    assert_eq!(shop.until_ended(60), RolloutResult::RolledBack);
    assert_eq!(shop.stable(), Some(1));
}

/// `undo` after a promotion went through all steps again, in an incident.
/// <https://github.com/argoproj/argo-rollouts/issues/2168> <https://github.com/argoproj/argo-rollouts/issues/574> Ours is one
/// route, and at the next look where the version must be loaded first.
#[test]
fn argo_rollouts_2168_undo_skips_the_steps() {
    let mut shop = Shop::baking();
    let since = shop.now;
    shop.ask(RolloutRequest::Undo { to: None });
    assert_eq!(shop.stable(), Some(1));
    assert!(shop.routes_since(since).iter().all(|route| route.canary.is_none()));
    let mut shop = Shop::baking();
    shop.minutes(150);
    assert!(!shop.is_ready(1), "the bake is over and version 1 is gone");
    let since = shop.now;
    shop.ask(RolloutRequest::Undo { to: None });
    assert_eq!(shop.stable(), Some(2), "nobody is sent to what is not loaded");
    shop.minutes(1);
    assert_eq!(shop.stable(), Some(1));
    assert!(shop.routes_since(since).iter().all(|route| route.canary.is_none()));
    shop.minutes(300);
    assert_eq!(shop.candidate(), None, "and what was undone does not come back by itself");
}

/// Nobody could say "nothing is rolled out this week". <https://github.com/argoproj/argo-rollouts/issues/495> Ours holds in a
/// freeze, and still takes back.
#[test]
fn argo_rollouts_495_nothing_goes_forward_in_a_freeze() {
    let mut shop = Shop::rolling();
    shop.policy.freezes = vec![Freeze::Once { from: shop.now, until: shop.now + 20 * HOUR }];
    shop.minutes(19 * 60);
    assert!(shop.weight() == 5.0 && shop.said("Frozen"));
    shop.errors(2, 0.5);
    assert_eq!(shop.until_ended(10), RolloutResult::RolledBack);
}

/// The manifest went back to the version that serves, in the middle of the canary of another. Argo ends the canary and skips
/// all steps. <https://github.com/argoproj/argo-rollouts/issues/22> <https://github.com/openkruise/rollouts/issues/257> Ours
/// must not promote what nobody asks for any more.
#[test]
fn argo_rollouts_22_a_manifest_that_goes_back_to_stable_ends_the_canary() {
    let mut shop = Shop::rolling();
    shop.until_weight(25.0);
    shop.wanted = Some(target(1));
    shop.minutes(3);
    assert_eq!((shop.candidate(), shop.weight(), shop.stable()), (None, 0.0, Some(1)));
    shop.minutes(300);
    assert_eq!(shop.stable(), Some(1));
    // Asked for again, it is tried again: nothing was found against it.
    shop.wanted = Some(target(2));
    shop.minutes(3);
    assert_eq!(shop.candidate(), Some(2));
}

/// The manifest went back to the version before, shortly after the promotion; the way back took all steps of a canary.
/// <https://github.com/argoproj/argo-rollouts/issues/574> Ours has it loaded for the length of the bake, so it must be at once.
#[test]
fn argo_rollouts_574_a_manifest_that_goes_back_within_the_bake_is_obeyed_at_once() {
    let mut shop = Shop::baking();
    let since = shop.now;
    shop.wanted = Some(target(1));
    shop.minutes(3);
    assert_eq!(shop.stable(), Some(1));
    assert!(shop.routes_since(since).iter().all(|route| route.canary.is_none()));
}

/// `promote --full` on a canary whose pods were missing, and then `abort`: the abort was ignored.
/// <https://github.com/argoproj/argo-rollouts/issues/4461> Ours does not promote what is not there, and aborts.
#[test]
fn argo_rollouts_4461_abort_is_heard_after_a_full_promotion_that_cannot_be() {
    let mut shop = Shop::rolling();
    shop.never_loads(2);
    shop.lose(2);
    assert!(shop.ask(RolloutRequest::Promote { full: true }).contains(&"Loading".to_owned()));
    assert_eq!((shop.stable(), shop.candidate()), (Some(1), Some(2)));
    assert!(shop.ask(RolloutRequest::Abort).contains(&"RolledBack".to_owned()));
    assert_eq!(shop.candidate(), None);
}

/// `abort` was accepted and the canary went on to its promotion. <https://github.com/argoproj/argo-rollouts/issues/1152> Ours
/// has the canary out of the route in the same plan, and the version stays out.
#[test]
fn argo_rollouts_1152_abort_takes_effect_in_the_same_look() {
    for minutes in [0, 30, 90, 140] {
        let mut shop = Shop::rolling();
        shop.minutes(minutes);
        shop.ask(RolloutRequest::Abort);
        assert_eq!((shop.weights(), shop.stable()), (vec![0.0, 0.0], Some(1)), "after {minutes} minutes");
        shop.minutes(300);
        assert_eq!((shop.candidate(), shop.stable()), (None, Some(1)));
        assert!(shop.said("Barred"), "and it is said why nothing happens");
    }
}

/// A retry of an aborted canary did not bring its pods back. <https://github.com/argoproj/argo-rollouts/issues/3120> Ours
/// begins the whole trial anew.
#[test]
fn argo_rollouts_3120_retry_begins_the_trial_anew() {
    let mut shop = Shop::rolling();
    shop.until_weight(25.0);
    shop.ask(RolloutRequest::Abort);
    shop.minutes(10);
    assert!(!shop.is_ready(2));
    assert!(shop.ask(RolloutRequest::Retry).contains(&"Retried".to_owned()));
    shop.minutes(2);
    let rollout = shop.status.rollout.as_ref().unwrap();
    assert_eq!((rollout.step, rollout.id.as_str(), shop.weight()), (0, "2-v2", 5.0));
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
}

/// After an abort the next version was scaled down as soon as it came. <https://github.com/argoproj/argo-rollouts/issues/2048>
/// Ours bars a digest, not the endpoint.
#[test]
fn argo_rollouts_2048_the_version_after_an_aborted_one_rolls_out() {
    let mut shop = Shop::rolling();
    shop.ask(RolloutRequest::Abort);
    shop.wanted = Some(target(3));
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
    assert_eq!(shop.stable(), Some(3));
}

/// Users reached pods that were not ready: 503 at the edges of each step.
/// <https://github.com/argoproj/argo-rollouts/issues/3420> <https://github.com/argoproj/argo-rollouts/issues/1026> Ours names
/// nobody in a route who has not loaded and verified the version.
#[test]
fn argo_rollouts_3420_no_user_before_the_version_is_loaded() {
    let mut shop = Shop::serving();
    shop.never_loads(2);
    shop.wanted = Some(target(2));
    for _ in 0..30 {
        shop.minutes(1);
        assert_eq!((shop.weights(), shop.candidate()), (vec![0.0, 0.0], None));
    }
    shop.unloadable.clear();
    shop.minutes(3);
    assert_eq!(shop.weights(), [5.0, 5.0]);
}

/// The pods of a version that had failed its deadline went on crashing. <https://github.com/argoproj/argo-rollouts/issues/1593>
/// Ours unloads it once no router names it.
#[test]
fn argo_rollouts_1593_what_was_taken_back_is_unloaded() {
    let mut shop = Shop::rolling();
    shop.errors(2, 0.5);
    assert_eq!(shop.until_ended(10), RolloutResult::RolledBack);
    shop.minutes(2);
    assert!(!shop.is_ready(2) && shop.is_ready(1));
}

/// Deployments in quick succession left header routes behind that led nowhere: 500.
/// <https://github.com/argoproj-labs/rollouts-plugin-trafficrouter-gatewayapi/issues/151> Ours has one route, and afterwards
/// two versions.
#[test]
fn argo_gateway_plugin_151_deployments_in_quick_succession_leave_nothing_behind() {
    let mut shop = Shop::rolling();
    for version in 3..20 {
        shop.wanted = Some(target(version));
        shop.routers[1].behind = version % 3 == 0;
        shop.minutes(1);
    }
    shop.routers[1].behind = false;
    shop.minutes(5);
    assert_eq!(shop.ready, [target(1).digest, target(19).digest].into());
    assert_eq!((shop.candidate(), shop.weights()), (Some(19), vec![5.0, 5.0]));
    assert!(shop.status.leaving.is_empty());
}
