//! Threads of MLflow and of registries beside it: what served, who agreed, and what a name stands for.

use fairway_core::admission::{Artifact, Dossier, Signature, admit};
use fairway_core::approvals::{Stage, Word, missed_at};
use fairway_core::endpoint::{EndpointEffect, RolloutRequest, RolloutResult};
use fairway_core::policy::AdmissionPolicy;

use crate::world::{Shop, target};

/// "Which version was in production, and when?" <https://github.com/mlflow/mlflow/issues/2169> Ours answers from its history
/// alone: who came, when, why, and what became of it.
#[test]
fn mlflow_2169_the_history_says_which_version_served_when() {
    let mut shop = Shop::serving();
    let began = shop.now;
    for (version, errors) in [(2, 0.0), (3, 0.5), (4, 0.0)] {
        shop.errors(version, errors);
        shop.wanted = Some(target(version));
        shop.until_ended(300);
        shop.minutes(130);
    }
    shop.ask(RolloutRequest::Undo { to: Some(target(2)) });
    shop.minutes(5);
    // From the history alone: a promotion makes a version stable; taken back after it, the one before is stable again.
    let mut stable = Vec::new();
    let told = |moment| {
        let mut serving: Vec<u64> = Vec::new();
        for ended in shop.status.history.iter().filter(|ended| ended.ended <= moment) {
            match ended.result {
                RolloutResult::Promoted => serving.push(ended.target.version),
                RolloutResult::RolledBack if serving.last() == Some(&ended.target.version) => drop(serving.pop()),
                _ => {}
            }
            assert!(ended.started <= ended.ended && !ended.reason.message.is_empty());
        }
        serving.last().copied()
    };
    for (at, truth) in shop.stable_at.iter().filter(|(at, _)| *at >= began) {
        assert_eq!(told(*at), *truth, "at {at}");
        if stable.last() != Some(truth) {
            stable.push(*truth);
        }
    }
    assert_eq!(stable, [1, 2, 4, 2].map(Some));
}

/// Aliases say what serves, until somebody moves one. <https://github.com/mlflow/mlflow/issues/10336> The endpoint of ours says
/// what serves; the alias follows it, whoever moved it, and each move has a reason.
#[test]
fn mlflow_10336_the_alias_follows_what_serves_whoever_moved_it() {
    let mut shop = Shop::baking();
    shop.champion = Some(99);
    shop.minutes(1);
    assert_eq!((shop.champion, shop.stable()), (Some(2), Some(2)));
    shop.ask(RolloutRequest::Abort);
    assert_eq!((shop.champion, shop.stable()), (Some(1), Some(1)));
    let moves: Vec<(u64, bool)> = shop
        .done
        .iter()
        .filter_map(|(_, effect)| match effect {
            EndpointEffect::MoveChampion { to, why } => Some((to.version, why.is_empty())),
            _ => None,
        })
        .collect();
    assert_eq!(moves, [(1, false), (2, false), (2, false), (1, false)]);
}

/// The registry needs a database, which is one more thing to be away when it is needed for the way back.
/// <https://github.com/mlflow/mlflow/issues/18534> Ours takes back without it: the route comes first, and the alias is tried
/// again.
#[test]
fn mlflow_18534_a_rollback_needs_no_registry() {
    let mut shop = Shop::baking();
    // Neither what is wanted nor what the alias says can be read.
    (shop.wanted, shop.champion) = (None, None);
    shop.ask(RolloutRequest::Abort);
    assert_eq!((shop.stable(), shop.weights()), (Some(1), vec![0.0, 0.0]));
    let effects = &shop.plan.as_ref().unwrap().effects;
    let at = |kind: fn(&EndpointEffect) -> bool| effects.iter().position(kind).unwrap();
    let route = at(|it| matches!(it, EndpointEffect::SetRoute { .. }));
    assert!(route < at(|it| matches!(it, EndpointEffect::MoveChampion { .. })));
    for _ in 0..5 {
        shop.champion = None;
        shop.minutes(1);
        assert_eq!(shop.champion, Some(1), "tried again until it is true");
    }
}

/// The same (<https://github.com/mlflow/mlflow/issues/23634>) in the middle of a canary: what is not known is no reason to end
/// it.
#[test]
fn mlflow_23634_a_canary_goes_on_without_the_registry() {
    let mut shop = Shop::rolling();
    (shop.wanted, shop.champion) = (None, None);
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
}

/// A version could be registered whose files do not exist. <https://github.com/mlflow/mlflow/issues/4630> Ours gives nobody to
/// what was not fetched and verified.
#[test]
fn mlflow_4630_a_version_without_files_gets_no_user() {
    let mut shop = Shop::serving();
    shop.wanted = Some(target(2));
    shop.broken.insert(target(2).digest, "objects/sha256/00…02 is not there".to_owned());
    shop.minutes(200);
    assert!(shop.status.barred[&target(2).digest].contains("is not there"));
    assert!(shop.status.history.iter().all(|ended| ended.target.version == 1));
    // As the first version of all: popularity serves, and the reason is the condition's.
    let mut empty = Shop::new();
    empty.wanted = Some(target(2));
    empty.broken = shop.broken;
    empty.minutes(1);
    assert_eq!(empty.condition("Ready").map(|it| (it.0, it.1)), Some((false, "BlockedByFailedLoad")));
    assert_eq!(empty.stable(), None);
}

/// Loading a model runs whatever is in its files. <https://github.com/mlflow/mlflow/issues/12256> Ours serves what a trusted
/// key has signed, where that is asked, and says what is missing.
#[test]
fn mlflow_12256_what_no_trusted_key_has_signed_is_not_served() {
    let policy = AdmissionPolicy { signature: true, ..AdmissionPolicy::default() };
    let codes = |signature| -> Vec<String> {
        let artifact = Artifact { signature, golden: Some((3, 3)), latency_p95: None };
        let dossier = Dossier { digest: "sha256:2", producer: "fairway", artifact, trial: None, words: &[] };
        let admission = admit(&policy, &dossier, Shop::new().now);
        admission.deployable.refusals.iter().map(|reason| reason.code.clone()).collect()
    };
    assert_eq!(codes(Signature::NotChecked), ["SignatureNotChecked"]);
    assert_eq!(codes(Signature::Refused("key 7 is not trusted")), ["SignatureRefused"]);
    assert!(codes(Signature::Verified).is_empty());
}

/// "A serious controls issue", says the same thread: <https://github.com/mlflow/mlflow/issues/2169> Ours needs other people's
/// word on the digest, and a no outweighs.
#[test]
fn mlflow_2169_nobody_approves_what_they_made() {
    let now = Shop::new().now;
    let policy = AdmissionPolicy { approvals: 2, ..AdmissionPolicy::default() };
    let word = |actor, approves, digest| Word { actor, approves, digest, time: now, expires: None };
    let missing = |words: &[Word<'_>]| -> Vec<String> {
        let artifact = Artifact { golden: Some((3, 3)), ..Artifact::default() };
        let dossier = Dossier { digest: "sha256:2", producer: "ann", artifact, trial: None, words };
        admit(&policy, &dossier, now).approvals.waiting_for.iter().map(|reason| reason.code.clone()).collect()
    };
    let (ann, bob, eve) = (word("ann", true, "sha256:2"), word("bob", true, "sha256:2"), word("eve", true, "sha256:2"));
    assert_eq!(missing(&[ann, bob]), ["ApprovalsMissing"], "ann made it");
    assert_eq!(missing(&[bob, bob]), ["ApprovalsMissing"], "one person is one");
    assert_eq!(missing(&[bob, word("eve", true, "sha256:1")]), ["ApprovalsMissing"], "another artifact");
    assert!(missing(&[bob, eve]).is_empty());
    assert_eq!(missing(&[bob, eve, word("ann", false, "sha256:2")]), ["Rejected"]);
}

/// And what is missing on paper has to be missing in traffic. <https://github.com/mlflow/mlflow/issues/2169> Ours starts no
/// rollout without it, lets nobody promote by hand past it, and ends one whose approval is taken back.
#[test]
fn mlflow_2169_an_approval_that_is_taken_back_ends_the_canary() {
    let mut shop = Shop::serving();
    shop.unapproved.insert(target(2).digest, "1 of 2 approvals (bob)".to_owned());
    shop.wanted = Some(target(2));
    shop.minutes(30);
    assert!(shop.said("AwaitingApproval") && shop.candidate().is_none());
    shop.unapproved.clear();
    shop.minutes(3);
    assert_eq!(shop.candidate(), Some(2));
    shop.unapproved.insert(target(2).digest, "eve rejected it".to_owned());
    let said = shop.ask(RolloutRequest::Promote { full: true });
    assert!(said.contains(&"RolledBack".to_owned()), "{said:?}");
    assert_eq!((shop.stable(), shop.last().reason.code.as_str()), (Some(1), "ApprovalMissing"));
}

/// The same after the promotion, while the former version is kept. <https://github.com/mlflow/mlflow/issues/2169> What may not
/// serve must not serve everybody when there is a version that may.
#[test]
fn mlflow_2169_an_approval_that_is_taken_back_ends_the_bake() {
    let mut shop = Shop::baking();
    shop.unapproved.insert(target(2).digest, "eve rejected it".to_owned());
    shop.minutes(3);
    assert_eq!(shop.stable(), Some(1));
}

/// And it is people who take it back: a no is heard as long as there is a version to go back to; an approval that has run
/// out meanwhile is no no. <https://github.com/mlflow/mlflow/issues/2169>
#[test]
fn mlflow_2169_a_no_is_heard_until_the_bake_is_over() {
    let (candidate, producer) = (target(2).digest, "fairway");
    let missed = |shop: &Shop, words: &[Word<'_>]| {
        let stage = shop.status.stage(&candidate);
        missed_at(stage, 1, &candidate, producer, words, shop.now).waiting_for.first().map(|it| it.message.clone())
    };
    let hear = |shop: &mut Shop, words: &[Word<'_>]| {
        shop.unapproved = missed(shop, words).map(|why| (candidate.clone(), why)).into_iter().collect();
    };
    let mut shop = Shop::baking();
    assert_eq!(shop.status.stage(&candidate), Stage::Baking);
    let word = |actor, approves, time| Word { actor, approves, digest: &candidate, time, expires: None };
    let bob = Word { expires: Some(shop.now), ..word("bob", true, shop.now) };
    hear(&mut shop, &[bob]);
    shop.minutes(3);
    assert_eq!(shop.stable(), Some(2), "bob's approval has run out");
    let eve = word("eve", false, shop.now);
    hear(&mut shop, &[bob, eve]);
    shop.minutes(3);
    assert_eq!((shop.stable(), shop.last().reason.code.as_str()), (Some(1), "ApprovalMissing"));
    assert!(shop.last().reason.message.contains("eve rejected it"), "{}", shop.last().reason.message);

    // Once the former version is given up, a no changes nothing by itself.
    let mut shop = Shop::baking();
    shop.minutes(200);
    assert_eq!((shop.status.stage(&candidate), missed(&shop, &[eve])), (Stage::Final, None));
}

/// Deploy by alias, is the advice after the end of stages. <https://github.com/mlflow/mlflow/issues/10336> Then whoever follows
/// an alias must follow it back: the promoting endpoint of ours reverts, `champion` goes back, and another endpoint is in the
/// middle of its canary, or its bake, of the version that was found harmful.
#[test]
fn mlflow_10336_an_endpoint_that_follows_the_alias_follows_it_back() {
    for mut shop in [Shop::rolling(), Shop::baking()] {
        shop.policy.promotes = false;
        shop.wanted = Some(target(1));
        shop.minutes(3);
        assert_eq!((shop.stable(), shop.candidate()), (Some(1), None));
    }
}

/// And only one may move it. <https://github.com/mlflow/mlflow/issues/10336> An endpoint of ours that does not promote moves no
/// alias.
#[test]
fn mlflow_10336_an_endpoint_that_does_not_promote_moves_no_alias() {
    let mut shop = Shop::new();
    shop.policy.promotes = false;
    shop.wanted = Some(target(1));
    shop.minutes(3);
    shop.wanted = Some(target(2));
    assert_eq!(shop.until_ended(300), RolloutResult::Promoted);
    assert!(!shop.done.iter().any(|(_, effect)| matches!(effect, EndpointEffect::MoveChampion { .. })));
}
