//! Threads of Kayenta and Spinnaker: what a canary's judge let pass.

use fairway_core::endpoint::RolloutResult;
use fairway_core::policy::{Margin, RolloutGate};

use crate::world::Shop;

/// Error counts that are mostly zero passed, however different: ranks of zeros are ties.
/// <https://github.com/spinnaker/kayenta/issues/426> Ours counts each bad answer against the canary's share of the requests.
#[test]
fn kayenta_426_sparse_errors_are_counted_one_by_one() {
    let mut shop = Shop::rolling();
    shop.errors(2, 0.01);
    assert_eq!(shop.until_ended(60), RolloutResult::RolledBack);
    let ended = shop.last();
    assert!(ended.canary_requests < 2_000, "{} users' requests later", ended.canary_requests);
    assert!(ended.reason.message.contains("of 0") || ended.reason.message.contains("0 of"), "{}", ended.reason.message);
}

/// A hundredfold rise passed until the eighth of ten points, because the test needs points and not failures.
/// <https://github.com/spinnaker/spinnaker/issues/6278> <https://github.com/spinnaker/kayenta/issues/780> Ours says it within
/// minutes, whenever it begins.
#[test]
fn spinnaker_6278_a_hundredfold_rise_is_taken_back_within_minutes() {
    for begins in [0, 25, 55, 80] {
        let mut shop = Shop::rolling();
        shop.errors(1, 0.001);
        shop.errors(2, 0.001);
        shop.minutes(begins);
        assert_eq!(shop.candidate(), Some(2), "as good as stable so far");
        shop.errors(2, 0.1);
        let since = shop.now;
        assert_eq!(shop.until_ended(20), RolloutResult::RolledBack, "begins after {begins} minutes");
        let minutes = shop.now.duration_since(since).as_mins();
        assert!(minutes <= 8, "{minutes} minutes after it began at {begins}");
    }
}

/// A deviation of 650 % passed, for want of points. <https://github.com/spinnaker/kayenta/issues/633> Ours needs
/// no number of points, but says nothing of rewards before there are enough: the weight waits for answers meanwhile.
#[test]
fn kayenta_633_a_great_loss_of_reward_is_taken_back_as_soon_as_rewards_are_known() {
    let mut shop = Shop::serving();
    shop.policy.gates = vec![RolloutGate::Reward { tolerance: Margin::Relative(0.02) }];
    shop.reward(2, 0.02);
    shop.wanted = Some(crate::world::target(2));
    let since = shop.now;
    assert_eq!(shop.until_ended(300), RolloutResult::RolledBack);
    let minutes = shop.now.duration_since(since).as_mins();
    assert!((60..=90).contains(&minutes), "feedback takes an hour: {minutes} minutes");
    assert!(shop.last().reason.message.starts_with("reward: "));
}

/// Without data for half of its metrics a canary still got a score. (`nodata` in
/// <https://github.com/spinnaker/kayenta/blob/master/docs/canary-config.md>) Ours does not promote what asks for proof and has
/// none, and says how long it would take.
#[test]
fn kayenta_no_data_is_no_score() {
    let mut shop = Shop::rolling();
    shop.policy.require_proof = true;
    shop.minutes(5 * 60);
    assert_eq!((shop.weight(), shop.stable()), (50.0, Some(1)), "no error on either side proves nothing about errors");
    assert!(shop.said("AwaitingProof"));
    let (feasible, code, message) = shop.condition("EvidenceFeasible").unwrap();
    assert_eq!((feasible, code), (false, "TooLittleTraffic"), "{message}");
    shop.minutes(8 * 60);
    assert!(shop.condition("Paused").unwrap().2.starts_with("nothing was proved within"));
}
