//! What the test suites of Argo Rollouts, Flagger and KServe try from end to end, and no thread has.

use fairway_core::endpoint::{EndpointStatus, RolloutRequest, RolloutResult};

use crate::world::{Shop, target};

/// `TestRolloutInitialDeploy`-like: the first version has nothing to be compared with.
/// <https://github.com/argoproj/argo-rollouts/tree/master/test/e2e> It serves everybody at once.
#[test]
fn argo_e2e_the_first_version_skips_the_steps() {
    let mut shop = Shop::new();
    let since = shop.now;
    shop.wanted = Some(target(1));
    shop.minutes(2);
    assert_eq!(shop.stable(), Some(1));
    assert!(shop.routes_since(since).iter().all(|route| route.canary.is_none()));
}

/// `TestRolloutAbortRetryPromote` and `TestCanaryPromoteFull`.
/// <https://github.com/argoproj/argo-rollouts/tree/master/test/e2e>
#[test]
fn argo_e2e_abort_retry_promote_full() {
    let mut shop = Shop::rolling();
    shop.ask(RolloutRequest::Abort);
    shop.minutes(5);
    shop.ask(RolloutRequest::Retry);
    shop.minutes(3);
    assert_eq!((shop.candidate(), shop.weight()), (Some(2), 5.0));
    shop.ask(RolloutRequest::Promote { full: true });
    assert_eq!((shop.stable(), shop.weights()), (Some(2), vec![0.0, 0.0]));
    let results: Vec<RolloutResult> = shop.status.history.iter().map(|ended| ended.result).collect();
    assert_eq!(results, [RolloutResult::Promoted, RolloutResult::RolledBack, RolloutResult::Promoted]);
}

/// `GoodToBad`, `BadToGood`, `BadToBad`: candidates in a row, good and bad in any order.
/// <https://github.com/argoproj/argo-rollouts/tree/master/test/e2e>
#[test]
fn argo_e2e_good_and_bad_candidates_in_any_order() {
    for order in [[true, false, true], [false, true, false], [false, false, true], [true, true, false]] {
        let mut shop = Shop::serving();
        let mut serving = 1;
        for (version, good) in (2..).zip(order) {
            shop.errors(version, if good { 0.0 } else { 0.4 });
            shop.wanted = Some(target(version));
            let expected = if good { RolloutResult::Promoted } else { RolloutResult::RolledBack };
            assert_eq!(shop.until_ended(300), expected, "{order:?}: {version}");
            serving = if good { version } else { serving };
            shop.minutes(130);
            assert_eq!(shop.stable(), Some(serving), "{order:?}");
            assert_eq!(shop.ready, [target(serving).digest].into(), "{order:?}");
        }
    }
}

/// Everybody on a bad version, promoted by hand, and a good one after it: the bad stable does not shield itself.
/// (`BadToGood`, <https://github.com/argoproj/argo-rollouts/tree/master/test/e2e>)
#[test]
fn argo_e2e_a_bad_version_that_was_promoted_by_hand_is_replaced() {
    let mut shop = Shop::rolling();
    shop.ask(RolloutRequest::Promote { full: true });
    shop.errors(2, 0.3);
    shop.minutes(130);
    shop.wanted = Some(target(3));
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
    assert_eq!(shop.stable(), Some(3));
}

/// The controller restarts at every step; nobody tests that with a clock. (Row 25 of the acceptance list; argo reruns its tests
/// up to five times instead: <https://github.com/argoproj/argo-rollouts/blob/master/Makefile>) Ours ends the same, whichever
/// effects were carried out before.
#[test]
fn argo_e2e_a_controller_killed_at_every_step_ends_the_same() {
    let story = |killed_after: Option<usize>| {
        let mut shop = Shop::new();
        shop.killed_after = killed_after;
        shop.errors(3, 0.4);
        for version in 1..5 {
            shop.wanted = Some(target(version));
            shop.until_ended(300);
            shop.minutes(130);
        }
        shop.ask(RolloutRequest::Undo { to: None });
        shop.minutes(5);
        let what = |status: &EndpointStatus| -> Vec<(String, RolloutResult, String)> {
            let ended = status.history.iter();
            ended.map(|it| (it.id.clone(), it.result, it.ended.to_string())).collect()
        };
        (what(&shop.status), shop.status, shop.ready, shop.champion)
    };
    let undisturbed = story(None);
    assert_eq!(undisturbed.3, Some(2));
    for kept in 0..4 {
        assert_eq!(story(Some(kept)), undisturbed, "killed after {kept} effects of each plan");
    }
}

/// Two endpoints, or two controllers, that look at the same state: nobody may decide otherwise, and at rest nobody writes.
/// (argo-rollouts has two writers of one status: <https://github.com/argoproj/argo-rollouts/pull/4784>)
#[test]
fn argo_rollouts_4784_at_rest_nothing_is_written() {
    let mut shop = Shop::serving();
    shop.minutes(5);
    let (status, since) = (shop.status.clone(), shop.now);
    for _ in 0..500 {
        shop.minutes(1);
        assert!(shop.plan.as_ref().unwrap().effects.is_empty());
    }
    assert_eq!(shop.routes_since(since).len(), 0);
    // Only what was heard of the routers moves on.
    assert_eq!(EndpointStatus { heard: status.heard.clone(), ..shop.status }, status);
}

/// 25 rollouts went from 140 MB to 8.8 GB in four months. <https://github.com/argoproj/argo-rollouts/issues/4571> What ours
/// remembers of an endpoint does not grow with the rollouts that it has had.
#[test]
fn argo_rollouts_4571_what_is_remembered_does_not_grow_with_time() {
    let mut shop = Shop::serving();
    let mut sizes = Vec::new();
    for version in 2..402 {
        shop.wanted = Some(target(version));
        shop.minutes(3);
        shop.ask(RolloutRequest::Abort);
        shop.minutes(2);
        if version % 100 == 0 {
            sizes.push(serde_json::to_string(&shop.status).unwrap().len());
        }
    }
    assert_eq!(shop.status.rollouts, 400);
    assert!(sizes[3] < sizes[1] + sizes[1] / 50 && sizes[3] < 100_000, "{sizes:?} bytes");
}

/// The same list of what was taken back: what is forgotten is what was taken back first, whatever its digest.
#[test]
fn argo_rollouts_4571_what_was_taken_back_first_is_forgotten_first() {
    let mut shop = Shop::serving();
    for version in (2..=103).rev() {
        shop.wanted = Some(target(version));
        shop.minutes(3);
        shop.ask(RolloutRequest::Abort);
        shop.minutes(2);
    }
    let barred = |version: u64| shop.status.barred.contains_key(&target(version).digest);
    assert_eq!(shop.status.barred.len(), 100);
    assert_eq!((barred(103), barred(102), barred(101), barred(2)), (false, false, true, true));
}

/// A watch that delivered an event twice. <https://github.com/etcd-io/etcd/issues/17247> Windows of ours that come twice count
/// once: neither is a step gone earlier, nor is harm shown by half of the errors.
#[test]
fn etcd_17247_what_is_delivered_twice_counts_once() {
    let story = |twice: bool| {
        let mut shop = Shop::serving();
        (shop.twice, shop.requests_a_minute) = (twice, 200);
        shop.errors(2, 0.02);
        shop.errors(1, 0.018);
        shop.wanted = Some(target(2));
        shop.until_weight(25.0);
        (shop.now, shop.status)
    };
    assert_eq!(story(true), story(false));
}

/// What a person asks comes twice, because the first answer was lost. (504 after a commit, as with
/// <https://github.com/aws/aws-sdk-java-v2/issues/6580>) Asking twice is asking once.
#[test]
fn lost_answers_asking_twice_is_asking_once() {
    let twice = |request: RolloutRequest| vec![("ann".to_owned(), request.clone()), ("ann".to_owned(), request)];
    for request in [RolloutRequest::Pause, RolloutRequest::Abort, RolloutRequest::Promote { full: true }] {
        let (mut once, mut again) = (Shop::rolling(), Shop::rolling());
        once.minute(&[("ann".to_owned(), request.clone())]);
        again.minute(&twice(request.clone()));
        assert_eq!(once.status, again.status, "{request:?}");
    }
    let mut shop = Shop::baking();
    shop.minute(&twice(RolloutRequest::Undo { to: None }));
    shop.minutes(5);
    assert_eq!(shop.stable(), Some(1));
}
