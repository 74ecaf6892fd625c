//! Golden values (reference 3.9), intervals, and the gate on invented canaries.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::Stream;
use crate::verdict::Outcome;

#[track_caller]
fn close(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} {expected}");
}

#[test]
fn golden_values() {
    let right = [1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 0];
    let chosen = [1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1];
    // Of each group, the share of those with such a truth that was chosen.
    let shares = |among: fn(i32) -> bool| -> [f64; 3] {
        std::array::from_fn(|group| {
            let of: Vec<i32> = (4 * group..4 * group + 4).filter(|&i| among(right[i])).map(|i| chosen[i]).collect();
            f64::from(of.iter().sum::<i32>()) / of.len() as f64
        })
    };
    assert_eq!(Spread::between(&shares(|_| true)), Some(Spread { difference: 0.0, ratio: 1.0 }));
    assert_eq!(shares(|right| right == 1), [0.6666666666666666, 1.0, 0.5]);
    // Equalised odds: the worse of both spreads.
    let odds = [shares(|right| right == 1), shares(|right| right == 0)].map(|s| Spread::between(&s).unwrap());
    assert_eq!(odds.iter().map(|s| s.difference).fold(0.0, f64::max), 0.5);
    assert_eq!(odds.iter().map(|s| s.ratio).fold(1.0, f64::min), 0.0);
}

#[test]
fn intervals() {
    // scipy 1.17.1: binomtest(38, 10_000).proportion_ci(method="wilson").
    let (lower, upper) = wilson(38, 10_000, 0.05).unwrap();
    close(lower, 0.0027699031247791594, 1e-15);
    close(upper, 0.005211176858280294, 1e-15);
    let (none, some) = wilson(0, 50, 0.05).unwrap();
    assert!(none == 0.0 && some > 0.05 && some < 0.08);
    close(wilson(9, 5, 0.05).unwrap().1, 1.0, 1e-15);
    assert_eq!((wilson(0, 0, 0.05), wilson(1, 2, 0.0), wilson(1, 2, f64::NAN)), (None, None, None));
}

#[test]
fn holm_steps_down() {
    assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005], 0.05), [true, false, false, true]);
    assert_eq!(holm(&[0.02, 0.02], 0.05), [true, true]);
    assert_eq!(holm(&[f64::NAN, 0.01], 0.05), [false, true]);
    assert_eq!(holm(&[], 0.05), [false; 0]);
}

fn rate(stream: &mut Stream, units: u32, rate: f64) -> Cells {
    let mut cells = Cells::new();
    for _ in 0..units {
        let cell = (stream.uniform() * 256.0) as u8;
        cells.record(cell, f64::from(u8::from(stream.uniform() < rate)));
    }
    cells
}

#[test]
fn small_segments_become_other() {
    let mut stream = Stream::new(4);
    let (a, b) = (rate(&mut stream, 4000, 0.1), rate(&mut stream, 4000, 0.2));
    let (c, d) = (rate(&mut stream, 300, 0.5), rate(&mut stream, 100, 0.5));
    let of = |name, users, cells| Segment { name, users, cells };
    let segments = [of("a", 2000, &a), of("c", 300, &c), of("b", 2000, &b), of("d", 100, &d)];
    let found = by_group(&segments, Metric::Rate, MINIMUM_USERS, 0.05);
    let names: Vec<&str> = found.groups.iter().map(|g| g.name.as_str()).collect();
    assert_eq!(names, ["a", "b", OTHER]);
    let other = &found.groups[2];
    assert_eq!((other.users, other.n, other.enough), (400, 400, false));
    assert_eq!(other.merged, ["c", "d"]);
    let spread = found.spread.unwrap();
    close(spread.difference, b.mean().unwrap() - a.mean().unwrap(), 1e-12);
    close(spread.ratio, a.mean().unwrap() / b.mean().unwrap(), 1e-12);
    for (group, truth) in found.groups.iter().zip([0.1, 0.2, 0.5]) {
        assert!(group.lower < truth && truth < group.upper && group.upper - group.lower < 0.12, "{group:?}");
    }
    let sentence = found.sentence();
    assert!(
        sentence.starts_with("largest gap 0.") && sentence.ends_with("2 small segments count as other"),
        "{sentence}"
    );
    let lone = by_group(&segments[..2], Metric::Mean, MINIMUM_USERS, 0.05);
    assert!(lone.spread.is_none() && lone.sentence().starts_with("fewer than two groups"));
    assert!(by_group(&[], Metric::Rate, 500, 0.05).groups.is_empty());
    assert!(by_group(&segments, Metric::Mean, 500, f64::NAN).groups.is_empty());
}

#[test]
fn a_user_who_comes_often_does_not_make_us_surer() {
    let once = rate(&mut Stream::new(6), 1000, 0.2);
    let mut often = Cells::new();
    (0..20).for_each(|_| often.merge(&once));
    let width = |cells| {
        let found = by_group(&[Segment { name: "a", users: 1000, cells }], Metric::Rate, 500, 0.05);
        found.groups[0].upper - found.groups[0].lower
    };
    close(width(&often), width(&once), 0.1 * width(&once));
    let mut silent = Cells::new();
    (0..20_000).for_each(|i| silent.record(i as u8, 0.0));
    assert!(width(&silent) > 0.003, "600 users without a click do not prove a rate of 0");
}

#[test]
fn to_the_overall_value() {
    let found = Spread::to_overall(&[0.2, 0.5], 0.4).unwrap();
    close(found.difference, 0.2, 1e-15);
    close(found.ratio, 0.5, 1e-15);
    assert_eq!(Spread::between(&[0.0, 0.0]), Some(Spread { difference: 0.0, ratio: 1.0 }));
    assert_eq!((Spread::between(&[1.0]), Spread::between(&[1.0, f64::NAN])), (None, None));
    assert_eq!(Spread::to_overall(&[f64::NAN], 1.0), None);
}

/// Verdict on a canary whose rates by group are `canary`, with stable at `stable`.
fn verdict(stream: &mut Stream, units: u32, canary: &[f64], stable: &[f64], rule: &FairnessRule) -> FairnessVerdict {
    let arms: Vec<(Cells, Cells)> =
        canary.iter().zip(stable).map(|(&c, &s)| (rate(stream, units, c), rate(stream, 3 * units, s))).collect();
    let users = u64::from(units) / 2;
    let names = ["a", "b", "c", "d"];
    let segments: Vec<SegmentArms<'_>> = arms
        .iter()
        .zip(names)
        .map(|((canary, stable), name)| SegmentArms {
            name,
            canary_users: users,
            stable_users: 3 * users,
            canary,
            stable,
        })
        .collect();
    judge(rule, &segments)
}

#[test]
fn a_group_that_loses_is_found_though_the_average_gains() {
    let mut stream = Stream::new(31);
    let rule = FairnessRule { drop_margin: 0.02, gap_margin: 0.02, ..FairnessRule::default() };
    let found = verdict(&mut stream, 6000, &[0.3, 0.3, 0.1], &[0.2, 0.2, 0.2], &rule);
    assert_eq!(found.outcome, Outcome::Harmful);
    let harmed: Vec<&str> = found.groups.iter().filter(|g| g.drop.unwrap().harmful).map(|g| g.name.as_str()).collect();
    assert_eq!(harmed, ["c"]);
    let gap = found.groups[2].gap.unwrap();
    assert!(gap.harmful && gap.lower > 0.1 && gap.upper < 0.3, "{gap:?}");
    assert!(found.sentence().starts_with("harmful: group c, its gap to all others became wider by 0."));
    // The same numbers of a metric of which less is better: now a and b lose.
    let less = FairnessRule { higher_is_better: false, ..rule };
    let found = verdict(&mut stream, 6000, &[0.3, 0.3, 0.1], &[0.2, 0.2, 0.2], &less);
    assert_eq!(found.groups.iter().filter(|g| g.drop.unwrap().harmful).count(), 2);
}

#[test]
fn equal_groups_pass_and_few_units_say_nothing() {
    let mut stream = Stream::new(32);
    let rule = FairnessRule { drop_margin: 0.04, gap_margin: 0.04, ..FairnessRule::default() };
    // Groups may differ: only what the canary changes counts.
    let rates = [0.1, 0.2, 0.3];
    let found = verdict(&mut stream, 20_000, &rates, &rates, &rule);
    assert_eq!(found.outcome, Outcome::NonInferior, "{}", found.sentence());
    let early = verdict(&mut stream, 1100, &rates, &rates, &rule);
    assert_eq!(early.outcome, Outcome::Inconclusive);
    let small = verdict(&mut stream, 600, &rates, &rates, &rule);
    assert_eq!((small.groups.len(), small.groups[0].merged.len()), (1, 3));
    assert!(small.groups[0].drop.is_some() && small.groups[0].gap.is_none(), "together they are 900 users");
    let none = judge(&rule, &[]);
    assert_eq!(none.outcome, Outcome::Inconclusive);
    assert_eq!(none.sentence(), "cannot tell yet: no group has enough users on both arms");
    let text = serde_json::to_string(&early).unwrap();
    assert_eq!(serde_json::from_str::<FairnessVerdict>(&text).unwrap(), early);
}

#[test]
fn two_small_segments_do_not_keep_the_canary_waiting() {
    let mut stream = Stream::new(33);
    let mut arm = |units| rate(&mut stream, units, 0.2);
    let (big, tiny) = ([arm(20_000), arm(60_000)], [arm(40), arm(90)]);
    let of = |name, users, cells: &'_ [Cells; 2]| (name, users, cells.clone());
    let parts = [of("big", 9000, &big), of("tiny", 20, &tiny)];
    let segments = parts.each_ref().map(|(name, users, cells)| SegmentArms {
        name,
        canary_users: *users,
        stable_users: *users,
        canary: &cells[0],
        stable: &cells[1],
    });
    let rule = FairnessRule { drop_margin: 0.04, ..FairnessRule::default() };
    let found = judge(&rule, &segments);
    assert_eq!(found.outcome, Outcome::NonInferior);
    assert!(found.groups[1].drop.is_none() && found.groups[1].merged == ["tiny"]);
}

/// Looks at every tenth of the canary; four groups, at the margin's edge in one of them.
#[test]
fn false_alarms_are_rare_however_often_one_looks() {
    let mut stream = Stream::new(34);
    let rule = FairnessRule { drop_margin: 0.0, gap_margin: 0.0, planned_units: 1000.0, ..FairnessRule::default() };
    let runs = 100;
    let wrong = (0..runs).filter(|_| {
        let mut arms: Vec<[Cells; 2]> = (0..4).map(|_| [Cells::new(), Cells::new()]).collect();
        (0..10).any(|_| {
            for arm in &mut arms {
                arm[0].merge(&rate(&mut stream, 200, 0.1));
                arm[1].merge(&rate(&mut stream, 400, 0.1));
            }
            let of = |arm: &'_ [Cells; 2]| (arm[0].clone(), arm[1].clone());
            let cells: Vec<(Cells, Cells)> = arms.iter().map(of).collect();
            let segments: Vec<SegmentArms<'_>> = cells
                .iter()
                .zip(["a", "b", "c", "d"])
                .map(|((canary, stable), name)| SegmentArms {
                    name,
                    canary_users: 900,
                    stable_users: 900,
                    canary,
                    stable,
                })
                .collect();
            judge(&rule, &segments).outcome == Outcome::Harmful
        })
    });
    let wrong = wrong.count();
    assert!(wrong <= 12, "{wrong} of {runs}, at most 5 expected");
}

proptest! {
    #[test]
    fn wilson_contains_the_share(n in 1..10_000_u64, k in 0..10_000_u64, alpha in 0.0001..0.9999_f64) {
        let k = k.min(n);
        let (lower, upper) = wilson(k, n, alpha).unwrap();
        let p = k as f64 / n as f64;
        prop_assert!(0.0 <= lower && lower <= p + 1e-12 && p <= upper + 1e-12 && upper <= 1.0);
    }

    #[test]
    fn any_cells_have_a_verdict(parts in prop::collection::vec((any::<u8>(), any::<u64>(), any::<i64>()), 0..40), m in any::<f64>()) {
        let cells = Cells::from(parts.into_iter().map(|(c, n, s)| (c, n, crate::Fixed(s))).collect::<Vec<_>>());
        let rule = FairnessRule { drop_margin: m, planned_units: m, ..FairnessRule::default() };
        let arms = SegmentArms { name: "a", canary_users: 900, stable_users: 900, canary: &cells, stable: &cells };
        let found = judge(&rule, &[arms, arms]);
        prop_assert_ne!(found.outcome, Outcome::Harmful);
        prop_assert!(!found.sentence().contains("NaN"));
        for metric in [Metric::Rate, Metric::Mean] {
            let found = by_group(&[Segment { name: "a", users: 900, cells: &cells }], metric, 500, 0.05);
            prop_assert!(found.groups.iter().all(|g| g.lower <= g.upper && g.mean.is_finite()));
        }
    }
}
