//! Threads of Flagger.

use fairway_core::admission::{Artifact, Dossier, Signature, Trial, admit};
use fairway_core::endpoint::{EndpointEffect, RolloutRequest, RolloutResult};
use fairway_core::evaluation::{Metrics, Rival, Scores, Spreads};
use fairway_core::policy::{
    AdmissionPolicy, Demand, EvaluationGate, Freeze, Margin, Metric, MetricKind, OnMissingTelemetry, Segments, Versus,
};
use fairway_core::scaling::{needed, worth};

use crate::world::{HOUR, Servers, Shop, target};

/// The promotion copied the canary over the primary; the copy failed to start, and then all traffic went to the broken
/// primary and the healthy canary was deleted. <https://github.com/fluxcd/flagger/issues/1898> Ours promotes by naming the
/// servers that have shown it: nothing is started, and nothing is stopped.
#[test]
fn flagger_1898_a_promotion_starts_and_stops_nothing() {
    let mut shop = Shop::rolling();
    shop.until_weight(50.0);
    let since = shop.now;
    // Whatever would have to be started now would fail.
    (1..9).for_each(|version| shop.never_loads(version));
    assert_eq!(shop.until_ended(60), RolloutResult::Promoted);
    shop.minutes(60);
    assert_eq!(shop.loads_and_unloads_since(since), 0);
    assert_eq!((shop.stable(), shop.is_ready(1), shop.is_ready(2)), (Some(2), true, true));
}

/// The other half: where to go back to has no servers at that moment. <https://github.com/fluxcd/flagger/issues/1898> Ours
/// must not delete the only version that is loaded before the other one answers.
#[test]
fn flagger_1898_the_last_loaded_version_stays_until_stable_is_loaded_again() {
    let mut shop = Shop::baking();
    shop.never_loads(1);
    shop.lose(1);
    shop.minutes(2);
    shop.ask(RolloutRequest::Abort);
    shop.minutes(10);
    assert!(shop.is_ready(1) || shop.is_ready(2), "nobody is left to answer");
}

/// And the promoted version itself: after the promotion it cannot be loaded again. <https://github.com/fluxcd/flagger/issues/1898>
/// Ours has the former one loaded for the length of the bake, so users must get that and not popularity.
#[test]
fn flagger_1898_a_promoted_version_that_cannot_be_loaded_again_gives_way() {
    let mut shop = Shop::baking();
    shop.lose(2);
    shop.broken.insert(target(2).digest, "digest differs".to_owned());
    shop.minutes(3);
    assert_eq!((shop.stable(), shop.is_ready(1)), (Some(1), true));
}

/// A canary that was stuck in Promoting could not be rolled back, and after a failure new revisions changed nothing.
/// <https://github.com/fluxcd/flagger/issues/1588> <https://github.com/fluxcd/flagger/issues/379>
/// <https://github.com/fluxcd/flagger/issues/237> Every state of ours has a way out when another version is wanted.
#[test]
fn flagger_1588_a_newer_version_gets_out_of_every_state() {
    let state = |prepare: fn(&mut Shop)| {
        let mut shop = Shop::rolling();
        prepare(&mut shop);
        shop.wanted = Some(target(7));
        shop.minutes(3 * 60 + 5);
        let tried = shop.candidate() == Some(7) || shop.stable() == Some(7);
        assert!(tried, "stays with {:?}: {:?}", shop.stable(), shop.codes());
    };
    state(|shop| drop(shop.ask(RolloutRequest::Abort)));
    state(|shop| drop(shop.ask(RolloutRequest::Pause)));
    state(|shop| drop(shop.ask(RolloutRequest::Promote { full: true })));
    state(|shop| {
        shop.errors(2, 0.5);
        shop.until_ended(10);
    });
    state(|shop| {
        shop.never_loads(2);
        shop.lose(2);
        shop.minutes(10);
    });
    state(|shop| {
        shop.ask(RolloutRequest::Promote { full: true });
        shop.ask(RolloutRequest::Undo { to: None });
    });
}

/// One more state: a way back that a person asked for, to a version that never loads.
/// <https://github.com/fluxcd/flagger/issues/1588> It must not keep the next version away for as long as a rollout may take, and
/// a person must be able to call it off.
#[test]
fn flagger_1588_a_way_back_that_never_loads_does_not_wedge_the_endpoint() {
    for called_off_by in [RolloutRequest::Abort, RolloutRequest::Undo { to: Some(target(1)) }] {
        let mut shop = Shop::serving();
        shop.never_loads(9);
        shop.ask(RolloutRequest::Undo { to: Some(target(9)) });
        shop.minutes(10);
        assert!(shop.said("Loading"));
        shop.ask(called_off_by);
        shop.wanted = Some(target(2));
        shop.minutes(5);
        assert_eq!(shop.candidate(), Some(2));
    }
    let mut shop = Shop::serving();
    shop.never_loads(9);
    shop.ask(RolloutRequest::Undo { to: Some(target(9)) });
    shop.wanted = Some(target(2));
    shop.minutes(150);
    assert_eq!(shop.candidate(), Some(2), "given up after the same time as a candidate");
}

/// Another revision came during the analysis, and was promoted on what the first one had shown.
/// <https://github.com/fluxcd/flagger/issues/30> Ours begins anew: first step, no evidence, and a bad one is found out.
#[test]
fn flagger_30_a_new_revision_during_analysis_is_not_promoted_unverified() {
    let mut shop = Shop::rolling();
    shop.until_weight(50.0);
    shop.minutes(29);
    shop.errors(3, 0.5);
    shop.wanted = Some(target(3));
    shop.minutes(1);
    assert_eq!((shop.last().result, shop.stable()), (RolloutResult::Superseded, Some(1)));
    shop.minutes(1);
    let rollout = shop.status.rollout.as_ref().unwrap();
    assert_eq!((rollout.step, rollout.evidence.canary_requests, rollout.evidence.answered_at_weight), (0, 0, 0));
    assert_eq!(shop.until_ended(10), RolloutResult::RolledBack);
    assert_eq!((shop.stable(), shop.last().target.version), (Some(1), 3));
}

/// The hash of what had been applied last kept the same revision from being tried again.
/// <https://github.com/fluxcd/flagger/pull/1171> <https://github.com/fluxcd/flagger/issues/1163> Ours compares what is wanted
/// with what serves, each time.
#[test]
fn flagger_1171_a_version_that_is_wanted_again_is_tried_again() {
    let mut shop = Shop::rolling();
    shop.wanted = Some(target(3));
    shop.minutes(5);
    shop.wanted = Some(target(2));
    shop.minutes(5);
    assert_eq!(shop.candidate(), Some(2));
    // Taken back by a person: it stays away, and that is said, until a person says retry.
    shop.ask(RolloutRequest::Abort);
    shop.minutes(5);
    assert!(shop.candidate().is_none() && shop.said("Barred"));
    shop.ask(RolloutRequest::Retry);
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
}

/// While the canary waited for a gate, the metrics broke their threshold and nothing happened.
/// <https://github.com/fluxcd/flagger/issues/1801> Ours looks for harm first, whatever it waits for.
#[test]
fn flagger_1801_harm_takes_back_whatever_the_rollout_waits_for() {
    let waiting = |code: &str, prepare: fn(&mut Shop)| {
        let mut shop = Shop::rolling();
        prepare(&mut shop);
        shop.minutes(5);
        assert!(shop.said(code), "{code}: {:?}", shop.codes());
        shop.errors(2, 0.6);
        assert_eq!(shop.until_ended(30), RolloutResult::RolledBack, "{code}");
        assert_eq!(shop.last().reason.code, "Harmful", "{code}");
    };
    waiting("Progressing", |_| {});
    waiting("Paused", |shop| drop(shop.ask(RolloutRequest::Pause)));
    waiting("Frozen", |shop| shop.policy.freezes = vec![Freeze::Once { from: shop.now, until: shop.now + 9 * HOUR }]);
    waiting("Progressing", |shop| {
        shop.policy.min_requests = 1_000_000;
        shop.minutes(60);
    });
    waiting("AwaitingProof", |shop| {
        shop.policy.require_proof = true;
        shop.minutes(120);
    });
}

/// The canary went on although its metrics had vanished in the middle of the run.
/// <https://github.com/fluxcd/flagger/issues/1011> Ours goes nowhere without news, however much was seen before.
#[test]
fn flagger_1011_nothing_advances_when_metrics_vanish() {
    let mut shop = Shop::rolling();
    shop.until_weight(50.0);
    shop.minutes(20);
    shop.silent = true;
    shop.minutes(120);
    assert_eq!((shop.weight(), shop.stable(), shop.candidate()), (50.0, Some(1), Some(2)));
    assert!(shop.said("TelemetryMissing"));
    let mut strict = Shop::rolling();
    strict.policy.on_missing_telemetry = OnMissingTelemetry::Rollback;
    strict.silent = true;
    assert_eq!(strict.until_ended(15), RolloutResult::RolledBack);
}

/// Without traffic the canary failed, and two requests in the whole run were enough for its promotion.
/// <https://github.com/fluxcd/flagger/issues/1035> Ours neither rolls back for one error nor promotes on a few answers.
#[test]
fn flagger_1035_a_few_requests_decide_nothing() {
    let mut shop = Shop::rolling();
    shop.requests_a_minute = 40;
    shop.minutes(30);
    // One of the two that the canary gets in this minute fails, and one of stable's.
    shop.errors(2, 0.5);
    shop.errors(1, 0.03);
    shop.minutes(1);
    shop.errors(2, 0.0);
    shop.errors(1, 0.0);
    shop.minutes(3 * 60);
    assert_eq!((shop.candidate(), shop.weight()), (Some(2), 5.0));
    assert!(shop.codes() == ["Progressing"], "{:?}", shop.codes());
}

/// A metric with no query behind its name passed, each time. <https://github.com/fluxcd/flagger/issues/1581>
/// <https://github.com/fluxcd/flagger/issues/892> Ours refuses what was not measured, and names what was.
#[test]
fn flagger_1581_a_metric_that_nobody_measured_does_not_pass() {
    let metric = Metric { kind: MetricKind::Ndcg, k: 20 };
    let demand = Demand::AtMostWorse(Margin::Relative(0.0));
    let gates = vec![EvaluationGate { metric, versus: Versus::Champion, demand, segments: Segments::Overall }];
    let policy = AdmissionPolicy { gates, ..AdmissionPolicy::default() };
    let (metrics, spreads) = (Metrics::from([("recall@20".to_owned(), 0.3)]), Spreads::new());
    let rival = Rival { metrics: &metrics, spreads: &spreads };
    let overall = Scores { candidate: &metrics, champion: Some(rival), popularity: rival };
    let artifact = Artifact { signature: Signature::Verified, golden: Some((3, 3)), latency_p95: None };
    let trial = Some(Trial { overall, segments: &[] });
    let dossier = Dossier { digest: "sha256:aa", producer: "fairway", artifact, trial, words: &[] };
    let admission = admit(&policy, &dossier, Shop::new().now);
    let missing: Vec<(&str, &str)> = admission.missing().map(|it| (it.code.as_str(), it.message.as_str())).collect();
    assert_eq!(missing, [("MetricMissing", "ndcg@20 was not measured; measured: recall@20")]);
    assert!(!admission.admitted());
}

/// The primary was scaled in during the canary, and got everybody back at once.
/// <https://github.com/fluxcd/flagger/issues/869> Ours orders stable's floor before anything else, with or without metrics.
#[test]
fn flagger_869_the_primary_is_not_scaled_in_during_a_canary() {
    let mut primary = Servers::new(20);
    // The load halves with the weight; without a floor it would follow.
    let mut without = Servers::new(20);
    assert!(without.run(1_200, 80.0).replicas < 20);
    primary.bounds.floor = needed(&primary.policy, worth(&primary.policy, 160.0, 0.0), 1.0);
    assert_eq!(primary.run(1_200, 80.0).replicas, 20);
    assert_eq!(primary.blind().replicas, 20, "nor when the metrics are gone");
    primary.bounds.floor = needed(&primary.policy, worth(&primary.policy, 320.0, 0.0), 1.0);
    let decision = primary.blind();
    assert_eq!((decision.replicas, decision.reason.code.as_str()), (40, "AtFloor"), "and it grows with the shop");
}

/// With sticky sessions at 5 % all users were on the new version within a second: only the canary's were pinned.
/// <https://github.com/fluxcd/flagger/issues/1647> Ours splits users by hash; the salt is the rollout's from its first step to
/// its last, and another one's at the next trial.
#[test]
fn flagger_1647_who_is_in_the_canary_changes_only_with_the_rollout() {
    let mut shop = Shop::serving();
    let since = shop.now;
    shop.wanted = Some(target(2));
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
    let salts = |shop: &Shop, since| -> Vec<String> {
        let canaries = shop.routes_since(since).into_iter().filter(|route| route.canary.is_some());
        let mut salts: Vec<String> = canaries.map(|route| route.salt.clone()).collect();
        salts.dedup();
        salts
    };
    assert_eq!(salts(&shop, since), ["1-v2"]);
    shop.minutes(130);
    let since = shop.now;
    shop.wanted = Some(target(3));
    shop.until_weight(25.0);
    // Gone and back again: the same users.
    shop.lose(3);
    shop.minutes(5);
    assert_eq!(salts(&shop, since), ["2-v3"]);
}

/// Thresholds are fixed numbers about the canary alone, so a bad hour for everybody fails a good one, and one that is ten times
/// worse than the primary passes below them. <https://github.com/fluxcd/flagger/issues/739>
/// <https://github.com/fluxcd/flagger/issues/225> Ours compares with stable in the same minutes.
#[test]
fn flagger_739_a_canary_is_compared_with_stable_in_the_same_minutes() {
    let mut bad_hour = Shop::rolling();
    bad_hour.minutes(10);
    bad_hour.errors(1, 0.3);
    bad_hour.errors(2, 0.3);
    bad_hour.minutes(60);
    bad_hour.errors(1, 0.0);
    bad_hour.errors(2, 0.0);
    assert_eq!(bad_hour.until_ended(300), RolloutResult::Promoted);
    // 0.9 % would pass a threshold of 1 %.
    let mut worse = Shop::rolling();
    worse.errors(1, 0.0009);
    worse.errors(2, 0.009);
    assert_eq!(worse.until_ended(300), RolloutResult::RolledBack);
}

/// Nobody could roll a canary back by hand. <https://github.com/fluxcd/flagger/issues/413>
/// <https://github.com/fluxcd/flagger/issues/453> Ours has verbs, and each of them answers.
#[test]
fn flagger_413_each_verb_is_obeyed_or_answered() {
    for (request, said) in [
        (RolloutRequest::Pause, "NothingToPause"),
        (RolloutRequest::Resume, "NothingToResume"),
        (RolloutRequest::Promote { full: false }, "NothingToPromote"),
        (RolloutRequest::Abort, "NothingToAbort"),
        (RolloutRequest::Retry, "NothingToRetry"),
        (RolloutRequest::Undo { to: None }, "NothingToUndo"),
        (RolloutRequest::Undo { to: Some(target(1)) }, "NothingToUndo"),
    ] {
        let mut shop = Shop::serving();
        assert_eq!(shop.ask(request.clone()), [said]);
        assert!(
            !shop.done.iter().any(|(at, effect)| *at == shop.now && !matches!(effect, EndpointEffect::Load { .. }))
        );
    }
    for (request, said) in [
        (RolloutRequest::Pause, "Paused"),
        (RolloutRequest::Promote { full: false }, "StepUp"),
        (RolloutRequest::Promote { full: true }, "Promoted"),
        (RolloutRequest::Abort, "RolledBack"),
        (RolloutRequest::Undo { to: None }, "RolledBack"),
    ] {
        let mut shop = Shop::rolling();
        assert!(shop.ask(request.clone()).contains(&said.to_owned()), "{request:?}: {:?}", shop.codes());
    }
}
