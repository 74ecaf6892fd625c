//! Who takes part in which experiment: disjoint within a layer, independent between layers, and nobody changes arms. With
//! the hash that the routers use (`server/src/assign.rs`).

use std::time::Duration;

use fairway_core::experiment::{
    Arm, BUCKETS, ExperimentError, ExperimentPolicy, Guardrail, Layers, RANGES_MAX, Slice, Span, Treatment,
};
use fairway_core::policy::Probability;
use fairway_wire::{Target, Weight};
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

/// The routers' hash.
fn bucket(salt: &str, user: &str) -> u32 {
    let bytes = [salt.as_bytes(), &[0x1f], user.as_bytes()].concat();
    ((u128::from(xxh3_64(&bytes)) * 1_000_000) >> 64) as u32
}

fn arm(name: &str, version: u64, weight: u32) -> Arm {
    let target = Target { version, digest: format!("sha256:{version}") };
    Arm { name: name.to_owned(), treatment: Treatment::Version(target), weight }
}

fn policy(name: &str, layer: &str, ppm: u32) -> ExperimentPolicy {
    ExperimentPolicy {
        name: name.to_owned(),
        layer: layer.to_owned(),
        share: Weight::from_ppm(ppm).unwrap(),
        arms: vec![arm("control", 1, 1), arm("b", 2, 1), arm("c", 3, 2)],
        control: "control".to_owned(),
        goal: "reward".to_owned(),
        min_users: 100,
        min_requests: 1_000,
        false_alarm_rate: Probability::new(0.05).unwrap(),
        max_duration: Some(Duration::from_secs(14 * 86_400)),
        gates: vec![Guardrail::Errors { tolerance: 0.1 }],
    }
}

fn allocate(before: &Layers, policies: &[ExperimentPolicy]) -> Layers {
    before.allocate(policies, Weight::ZERO).unwrap()
}

fn arm_of<'a>(slice: &'a Slice, user: &str) -> Option<&'a str> {
    slice.arm(bucket(&slice.layer, user), bucket(&slice.arm_salt(), user)).map(|portion| portion.arm.as_str())
}

/// Pearson's statistic against shares that are given.
fn chi_square(counts: &[u32], shares: &[f64]) -> f64 {
    let all = f64::from(counts.iter().sum::<u32>());
    counts.iter().zip(shares).map(|(n, share)| (f64::from(*n) - all * share).powi(2) / (all * share)).sum()
}

#[test]
fn the_hash_is_that_of_the_routers() {
    // The vectors of `server/src/assign/tests.rs`.
    let vectors = [("holdback/0", "ann", 150_507), ("rollout-1", "ann", 764_950), ("rollout-1", "用户123", 111_729)];
    for (salt, user, expected) in vectors {
        assert_eq!(bucket(salt, user), expected);
    }
}

#[test]
fn the_first_experiment_takes_the_first_buckets_and_arms_share_them_by_weight() {
    let layers = allocate(&Layers::default(), &[policy("a", "ranking", 100_000)]);
    let slice = layers.slice("a").unwrap();
    assert_eq!(slice.spans, [Span { from: 0, to: 100_000 }]);
    assert_eq!(slice.arm_salt(), "ranking/a");
    let spans: Vec<(u32, u32)> = slice.arms.iter().map(|portion| (portion.span.from, portion.span.to)).collect();
    assert_eq!(spans, [(0, 250_000), (250_000, 500_000), (500_000, BUCKETS)]);
}

#[test]
fn buckets_that_are_given_back_are_taken_by_the_next() {
    let (a, b, c) = (policy("a", "x", 300_000), policy("b", "x", 300_000), policy("c", "x", 400_000));
    let both = allocate(&Layers::default(), &[a.clone(), b.clone()]);
    let b_alone = allocate(&both, std::slice::from_ref(&b));
    let then = allocate(&b_alone, &[b.clone(), c]);
    let spans = |layers: &Layers, name: &str| layers.slice(name).unwrap().spans.clone();
    assert_eq!(spans(&then, "b"), spans(&both, "b"), "b does not move when a ends");
    assert_eq!(spans(&then, "c"), [Span { from: 600_000, to: BUCKETS }]);
    let grown = allocate(&b_alone, &[policy("b", "x", 1_000_000)]);
    assert_eq!(spans(&grown, "b"), [Span { from: 300_000, to: BUCKETS }, Span { from: 0, to: 300_000 }]);
    assert!(allocate(&grown, &[]).layers.is_empty());
}

#[test]
fn what_cannot_be_allocated_names_the_field_and_the_cure() {
    let running = allocate(&Layers::default(), &[policy("a", "x", 600_000)]);
    let with = |change: fn(&mut ExperimentPolicy)| {
        let mut policy = policy("a", "x", 600_000);
        change(&mut policy);
        running.allocate(&[policy], Weight::ZERO).unwrap_err().to_string()
    };
    let table: [(String, &[&str]); 12] = [
        (with(|p| p.layer = "y".into()), &["layer changed from x to y", "under a new name"]),
        (with(|p| p.arms[2].weight = 1), &["arms changed", "undo the change"]),
        (with(|p| p.arms[1].treatment = Treatment::Baseline), &["arms changed"]),
        (with(|p| p.arms[0].weight = 0), &["arms.control.weight is 0", "leave the arm out"]),
        (with(|p| p.arms.truncate(1)), &["arms has 1", "16 at most"]),
        (with(|p| p.arms[1].name = "c".into()), &["two arms are called c"]),
        (with(|p| p.control = "d".into()), &["control d is none of its arms (b, c, control)"]),
        (with(|p| p.share = Weight::ZERO), &["share is empty", "above 0 %"]),
        (with(|p| p.goal.clear()), &["goal is empty"]),
        (with(|p| p.max_duration = Some(Duration::ZERO)), &["maxDuration", "permanent holdback"]),
        (with(|p| p.gates = vec![Guardrail::Slow { tolerance: -1.0 }]), &["gates.slow.tolerance", "0 or more"]),
        (with(|p| p.gates = vec![Guardrail::Slow { tolerance: 0.1 }; 17]), &["gates has 17"]),
    ];
    for (message, parts) in table {
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    let full = running.allocate(&[policy("a", "x", 600_000), policy("b", "x", 500_000)], Weight::ZERO).unwrap_err();
    assert_eq!(
        full.to_string(),
        "layer x: share of b is 50 %, but 40 % is free beside a (60 %): lower a share, wait until one has ended, or use \
         another layer (its users are then in both)"
    );
    let twice = running.allocate(&[policy("a", "x", 1), policy("a", "x", 1)], Weight::ZERO).unwrap_err();
    assert_eq!(twice, ExperimentError::Duplicate("a".into()));
    assert_eq!(running.allocate(&[policy("a", "x", 1)], Weight::FULL).unwrap_err(), ExperimentError::Holdback);
}

#[test]
fn no_name_makes_the_salt_of_the_holdback_or_of_a_rollout() {
    // "holdback/0" is layer `holdback` with experiment `0`; rollouts are called "3-v12".
    for (layer, name) in [("holdback", "0"), ("3-v12", "a"), ("x", "a/b"), ("", "a"), ("x", "Ä"), ("x\u{1f}", "a")] {
        let error = Layers::default().allocate(&[policy(name, layer, 1)], Weight::ZERO).unwrap_err();
        assert!(matches!(error, ExperimentError::Name { .. }), "{error}");
    }
}

#[test]
fn a_layer_in_pieces_is_refused_rather_than_remembered_without_bound() {
    let many = |name: &str, range: std::ops::Range<u32>, ppm| -> Vec<ExperimentPolicy> {
        range.map(|i| policy(&format!("{name}{i}"), "x", ppm)).collect()
    };
    // Of a hundred small ones every second ends; a wide one takes their 50 ranges, then the others end too.
    let small = many("small", 0..100, 10_000);
    let kept: Vec<ExperimentPolicy> = small.iter().step_by(2).cloned().collect();
    let wide = vec![policy("wide", "x", 500_000)];
    let mut layers = allocate(&Layers::default(), &small);
    for running in [&kept, &[kept.clone(), wide.clone()].concat(), &wide] {
        layers = allocate(&layers, running);
    }
    assert_eq!(layers.slice("wide").unwrap().spans.len(), 50);
    // Two smaller ones in each gap, of which the first ends: a hundred gaps.
    let (first, second) = (many("first", 0..50, 2_500), many("second", 0..49, 2_500));
    layers = allocate(&layers, &[wide.clone(), first.clone()].concat());
    layers = allocate(&layers, &[wide.clone(), first[..49].to_vec(), second.clone()].concat());
    layers = allocate(&layers, &[wide.clone(), second.clone()].concat());
    let late =
        |ppm| layers.allocate(&[wide.clone(), second.clone(), vec![policy("late", "x", ppm)]].concat(), Weight::ZERO);
    assert!(late(200_000).is_ok());
    let error = late(377_500).unwrap_err();
    assert!(matches!(error, ExperimentError::Fragmented { ranges: RANGES_MAX, .. }), "{error}");
    assert!(error.to_string().contains("end an experiment of the layer, or use another layer"), "{error}");
}

/// Half of the users in each of two experiments: the shares are right, and which arm a user has in one says nothing about
/// the other.
#[test]
fn layers_are_independent_of_each_other_and_of_the_holdback() {
    let layers = allocate(&Layers::default(), &[policy("a", "ranking", 500_000), policy("b", "layout", 500_000)]);
    let (a, b) = (layers.slice("a").unwrap(), layers.slice("b").unwrap());
    let place = |arm: Option<&str>| match arm {
        None => 0,
        Some("control") => 1,
        Some("b") => 2,
        _ => 3_usize,
    };
    let (mut cells, mut held) = ([0_u32; 16], [0_u32; 4]);
    for user in (0..100_000).map(|i| format!("user-{i}")) {
        cells[4 * place(arm_of(a, &user)) + place(arm_of(b, &user))] += 1;
        if bucket("holdback/0", &user) < 100_000 {
            held[place(arm_of(a, &user))] += 1;
        }
    }
    let marginal = [0.5, 0.125, 0.125, 0.25];
    let joint: Vec<f64> = marginal.iter().flat_map(|x| marginal.iter().map(move |y| x * y)).collect();
    // 15 and 3 degrees of freedom: 37.7 and 16.3 are the 99.9 % quantiles.
    let (chi, chi_held) = (chi_square(&cells, &joint), chi_square(&held, &marginal));
    assert!(chi < 37.7, "{chi}: {cells:?}");
    assert!(chi_held < 16.3, "{chi_held}: {held:?}");
}

/// Kohavi, Tang & Xu 2020, ch. 23: users who were treated together must not be treated together again.
#[test]
fn an_experiment_that_inherits_buckets_does_not_inherit_the_arms() {
    let first = allocate(&Layers::default(), &[policy("a", "x", 1_000_000)]);
    let second = allocate(&allocate(&first, &[]), &[policy("b", "x", 1_000_000)]);
    let (a, b) = (first.slice("a").unwrap(), second.slice("b").unwrap());
    let mut counts = [0_u32; 3];
    for user in (0..100_000).map(|i| format!("user-{i}")).filter(|user| arm_of(a, user) == Some("control")) {
        counts[["control", "b", "c"].iter().position(|name| arm_of(b, &user) == Some(name)).unwrap()] += 1;
    }
    // 2 degrees of freedom: 13.8 is the 99.9 % quantile.
    let chi = chi_square(&counts, &[0.25, 0.25, 0.5]);
    assert!(chi < 13.8, "{chi}: {counts:?}");
}

/// Shares of up to five experiments in two layers, in percents; 0 is one that does not run.
fn any_shares() -> impl Strategy<Value = [u32; 5]> {
    prop::array::uniform5(prop_oneof![Just(0), 1_u32..=40])
}

fn policies(shares: [u32; 5]) -> Vec<ExperimentPolicy> {
    let names = ["a", "b", "c", "d", "e"];
    let all = names.iter().zip(shares).enumerate().filter(|(_, (_, share))| *share > 0);
    all.map(|(index, (name, share))| policy(name, if index < 3 { "x" } else { "y" }, share * 10_000)).collect()
}

fn buckets(layers: &Layers) -> impl Iterator<Item = (&str, Span)> {
    layers.layers.values().flatten().flat_map(|slice| slice.spans.iter().map(|span| (slice.layer.as_str(), *span)))
}

proptest! {
    #[test]
    fn experiments_of_a_layer_are_disjoint_and_have_their_shares(rounds in prop::collection::vec(any_shares(), 1..12)) {
        let mut layers = Layers::default();
        for shares in rounds {
            let policies = policies(shares);
            let next = layers.allocate(&policies, Weight::ZERO);
            prop_assert_eq!(&next, &layers.allocate(&policies, Weight::ZERO), "I6");
            let Ok(next) = next else {
                prop_assert!(shares[..3].iter().sum::<u32>() > 100, "only a full layer is refused");
                continue;
            };
            for policy in &policies {
                prop_assert_eq!(next.slice(&policy.name).unwrap().len(), policy.share.ppm());
            }
            let mut spans: Vec<(&str, Span)> = buckets(&next).collect();
            spans.sort_unstable();
            prop_assert!(spans.iter().all(|(_, span)| span.from < span.to && span.to <= BUCKETS));
            prop_assert!(spans.windows(2).all(|two| two[0].0 != two[1].0 || two[0].1.to <= two[1].1.from), "{spans:?}");
            let stored = serde_json::to_string(&next).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Layers>(&stored).unwrap(), &next);
            layers = next;
        }
    }

    #[test]
    fn growing_keeps_members_and_nobody_ever_changes_arms(
        rounds in prop::collection::vec(any_shares(), 2..8), users in prop::collection::vec(".{0,12}", 40),
    ) {
        let mut layers = Layers::default();
        for shares in rounds {
            let Ok(next) = layers.allocate(&policies(shares), Weight::ZERO) else {
                continue;
            };
            for before in layers.layers.values().flatten() {
                let Some(after) = next.slice(&before.experiment) else {
                    continue;
                };
                for user in &users {
                    match (arm_of(before, user), arm_of(after, user)) {
                        (Some(was), Some(is)) => prop_assert_eq!(was, is),
                        (Some(_), None) => prop_assert!(after.len() < before.len(), "only a smaller share loses users"),
                        (None, Some(_)) => prop_assert!(after.len() > before.len(), "only a greater one adds them"),
                        (None, None) => {}
                    }
                }
            }
            layers = next;
        }
    }

    #[test]
    fn arms_share_all_buckets_by_weight(weights in prop::collection::vec(1_u32.., 2..=16)) {
        let mut policy = policy("a", "x", 1_000_000);
        policy.arms = weights.iter().enumerate().map(|(index, weight)| arm(&format!("a{index}"), 1, *weight)).collect();
        policy.control = "a0".to_owned();
        let layers = allocate(&Layers::default(), &[policy]);
        let arms = &layers.slice("a").unwrap().arms;
        prop_assert_eq!((arms[0].span.from, arms[arms.len() - 1].span.to), (0, BUCKETS));
        prop_assert!(arms.windows(2).all(|two| two[0].span.to == two[1].span.from));
        let all: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        for (portion, weight) in arms.iter().zip(&weights) {
            let expected = f64::from(*weight) / all * f64::from(BUCKETS);
            prop_assert!((f64::from(portion.span.len()) - expected).abs() <= 1.0);
        }
    }
}
