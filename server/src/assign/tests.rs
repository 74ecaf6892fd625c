//! Who gets what: fixed users, every weight, both ends.

use fairway_wire::{Canary, Portion, Slice, Span, Target, Treatment};
use proptest::prelude::*;

use super::*;

fn route(percent: u8, holdback: u8) -> Route {
    Route {
        generation: 1,
        stable: Some(Target { version: 1, digest: "sha256:a".into() }),
        canary: Some(Canary {
            target: Target { version: 2, digest: "sha256:b".into() },
            weight: Weight::from_percent(percent),
            segments: vec![],
            shadow: false,
        }),
        salt: "rollout-1".into(),
        holdback: Weight::from_percent(holdback),
        experiments: Vec::new(),
        serve_baseline: false,
        slow_over_ms: 50,
        deadline_ms: 100,
        lease_until: None,
    }
}

fn track(route: &Route, user: &str) -> Track {
    assign(route, user, None, true, Watch::Held).track
}

/// Pearson's statistic against equal shares.
fn chi_square(counts: &[u32]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum()
}

/// From the reference implementation of XXH3, over `salt ‖ 0x1f ‖ user` in UTF-8.
const BUCKETS: [u32; 4] = [150_507, 764_950, 111_729, 19_660];

#[test]
fn buckets_are_pinned() {
    assert_eq!(
        [("holdback/0", "ann"), ("rollout-1", "ann"), ("rollout-1", "用户123"), ("", "")]
            .map(|(salt, user)| bucket(salt, user)),
        BUCKETS
    );
}

#[test]
fn buckets_are_uniform() {
    let mut counts = [0; 100];
    for i in 0..100_000 {
        counts[bucket("rollout-1", &format!("user-{i}")) as usize / 10_000] += 1;
    }
    // 99 degrees of freedom: 148.2 is the 99.9 % quantile.
    let chi = chi_square(&counts);
    assert!(chi < 148.2, "{chi}");
}

#[test]
fn salts_are_independent() {
    // Among those in the first tenth by one salt, the other salt spreads evenly.
    for other in [HOLDBACK_SALT, "rollout-2"] {
        let mut counts = [0; 10];
        for user in (0..100_000).map(|i| format!("user-{i}")) {
            if bucket("rollout-1", &user) < 100_000 {
                counts[bucket(other, &user) as usize / 100_000] += 1;
            }
        }
        // 9 degrees of freedom: 27.9 is the 99.9 % quantile.
        let chi = chi_square(&counts);
        assert!(chi < 27.9, "{other}: {chi}");
    }
}

#[test]
fn nobody_at_0_and_everybody_at_100() {
    for user in (0..20_000).map(|i| format!("user-{i}")) {
        assert_eq!(track(&route(0, 0), &user), Track::Stable);
        assert_eq!(track(&route(100, 0), &user), Track::Canary);
        assert_eq!(track(&route(100, 100), &user), Track::Holdback);
    }
}

#[test]
fn only_eligible_segments_and_consenting_users_get_the_canary() {
    let mut route = route(100, 0);
    route.canary.as_mut().unwrap().segments = vec!["UK".into()];
    let of = |segment, personalize| assign(&route, "ann", segment, personalize, Watch::Held).track;
    assert_eq!(of(Some("UK"), true), Track::Canary);
    assert_eq!(of(Some("FR"), true), Track::Stable);
    assert_eq!(of(None, true), Track::Stable);
    assert_eq!(of(Some("UK"), false), Track::Stable);
}

#[test]
fn an_expired_lease_takes_the_canary_away() {
    let route = route(100, 0);
    let of = |watch| assign(&route, "ann", None, true, watch);
    assert_eq!(of(Watch::Held).track, Track::Canary);
    assert_eq!(of(Watch::Lapsed), Assignment { track: Track::Stable, arm: None, propensity: Weight::FULL });
}

#[test]
fn propensities_add_up() {
    let route = route(25, 2);
    let mut seen = std::collections::BTreeMap::new();
    for user in (0..5_000).map(|i| format!("user-{i}")) {
        let a = assign(&route, &user, None, true, Watch::Held);
        seen.insert(a.track, a.propensity.ppm());
    }
    let expected = [(Track::Stable, 735_000), (Track::Canary, 245_000), (Track::Holdback, 20_000)];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

proptest! {
    #[test]
    fn a_growing_weight_only_adds_users(user in ".{1,20}", a in 0_u8..=100, b in 0_u8..=100, holdback in 0_u8..=10) {
        let (low, high) = (a.min(b), a.max(b));
        let before = track(&route(low, holdback), &user);
        let after = track(&route(high, holdback), &user);
        match before {
            Track::Stable => prop_assert_ne!(after, Track::Holdback),
            same => prop_assert_eq!(after, same),
        }
    }

    #[test]
    fn the_holdback_does_not_depend_on_the_rollout(user in ".{1,20}", salt in ".{0,20}", weight in 0_u8..=100) {
        let mut other = route(weight, 5);
        other.salt = salt;
        let held = track(&other, &user) == Track::Holdback;
        prop_assert_eq!(held, track(&route(0, 5), &user) == Track::Holdback);
    }
}

/// Two experiments in a layer and one in another.
fn with_experiments(percent: u8, holdback: u8) -> Route {
    let arm = |name: &str, version: u64, from: u32, to: u32| Portion {
        arm: name.to_owned(),
        treatment: Treatment::Version(Target { version, digest: format!("sha256:{version}") }),
        span: Span { from, to },
    };
    let slice = |name: &str, layer: &str, from: u32, to: u32| Slice {
        experiment: name.to_owned(),
        layer: layer.to_owned(),
        spans: vec![Span { from, to }],
        arms: vec![arm("control", 1, 0, 500_000), arm("b", 2, 500_000, 1_000_000)],
    };
    let mut closed = slice("closed", "page", 0, 200_000);
    closed.arms.truncate(1);
    let experiments = vec![closed, slice("one", "ranking", 0, 100_000), slice("two", "ranking", 500_000, 800_000)];
    Route { experiments, ..route(percent, holdback) }
}

#[test]
fn propensities_are_the_shares_of_users() {
    let route = with_experiments(25, 2);
    let mut seen: std::collections::BTreeMap<_, (u32, f64)> = std::collections::BTreeMap::new();
    let users = 200_000;
    for user in (0..users).map(|i| format!("user-{i}")) {
        let a = assign(&route, &user, None, true, Watch::Held);
        let one = seen.entry((a.track, a.arm)).or_default();
        *one = (one.0 + 1, f64::from(a.propensity.ppm()) / 1e6);
    }
    // Stable, canary, held back, one arm that is open of the first, and two arms of each of the others.
    assert_eq!(seen.len(), 8);
    let all: f64 = seen.values().map(|(_, propensity)| propensity).sum();
    assert!((all - 1.0).abs() < 1e-5, "{all}");
    for (group, (n, propensity)) in seen {
        let (share, n_of) = (f64::from(n) / f64::from(users), f64::from(users));
        let error = (propensity * (1.0 - propensity) / n_of).sqrt();
        assert!((share - propensity).abs() < 4.0 * error, "{group:?}: {share} of users, said {propensity}");
    }
}

#[test]
fn whoever_is_watched_by_nobody_is_in_no_experiment() {
    let route = with_experiments(0, 0);
    let users = (0..2_000).map(|i| format!("user-{i}"));
    let tracks = |watch: Watch, personalize: bool| {
        let of = |user: String| assign(&route, &user, None, personalize, watch).track;
        users.clone().map(of).filter(|track| *track == Track::Experiment).count()
    };
    assert!(tracks(Watch::Held, true) > 500);
    assert_eq!((tracks(Watch::Lapsed, true), tracks(Watch::Held, false)), (0, 0));
}

#[test]
fn a_place_says_nothing_of_the_arm() {
    let mut arms = [0_u32; 2];
    for user in (0..100_000).map(|i| format!("user-{i}")) {
        if place("ranking/one", &user) < 1 << 15 {
            arms[usize::from(bucket("ranking/one", &user) < 500_000)] += 1;
        }
    }
    let (a, b) = (f64::from(arms[0]), f64::from(arms[1]));
    assert!((a - b).abs() < 4.0 * (a + b).sqrt(), "{arms:?}");
}
