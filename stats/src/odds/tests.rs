//! Tests of the odds grid: golden looks, its closed-form cousin, and planted effects.

use proptest::prelude::*;
use statrs::function::beta::{beta_reg, ln_beta};

use super::*;
use crate::portable_stream::Stream;

type Look = (f64, u64, u64);

/// Looks, ln E after each with margin 0, and with margin .1: the grid written down anew in Python, with its weights.
const GOLDEN: [([Look; 4], [f64; 4], [f64; 4]); 3] = [
    (
        [(0.01, 6, 120), (0.05, 14, 110), (0.25, 45, 75), (0.5, 110, 52)],
        [4.018217358528251, 6.441412182341416, 9.36293681828375, 19.706869047200186],
        [3.5847594413052883, 5.26475637085117, 6.797556196104929, 14.594154405227771],
    ),
    (
        [(0.01, 3, 120), (0.05, 9, 110), (0.25, 30, 75), (0.5, 70, 52)],
        [0.30723107370727365, -0.021103074514342568, -1.3283746307554956, -0.46075374152692805],
        [0.07930510464146856, -0.6271260583490359, -2.288095827792583, -2.023250030707081],
    ),
    (
        [(0.01, 1, 120), (0.05, 6, 110), (0.25, 25, 75), (0.5, 52, 52)],
        [-1.3934730438094174, -2.5216938390610393, -3.4318971330392523, -3.7564511967273124],
        [-1.530261003607726, -2.819116465325411, -3.7883914362082938, -4.212488872426457],
    ),
];

#[test]
fn golden_looks() {
    for (looks, without, with) in GOLDEN {
        for (margin, expected) in [(0.0, without), (0.1, with)] {
            let mut grid = OddsGrid::harm(margin);
            let mut greatest = 0.0_f64;
            for ((share, canary, stable), ln_e) in looks.into_iter().zip(expected) {
                grid.update(share, canary, stable);
                assert!((grid.ln_e() - ln_e).abs() < 1e-9, "{} {ln_e}", grid.ln_e());
                greatest = greatest.max(ln_e);
            }
            assert!((grid.ln_e_max() - greatest).abs() < 1e-9);
        }
    }
}

#[test]
fn reversed_is_harm_with_the_arms_swapped() {
    // Without a margin the points of the two mirror each other; only their weights differ.
    let (mut fine, mut swapped) = (OddsGrid::non_inferiority(0.0), OddsGrid::harm(0.0));
    fine.update(0.2, 10, 90);
    swapped.update(0.8, 90, 10);
    assert!(fine.sums.iter().zip(&swapped.sums).all(|(one, other)| (one - other).abs() < 1e-9));
    assert!(fine.ln_e() > 0.0 && swapped.ln_e() > fine.ln_e());
}

#[test]
fn a_look_that_compares_nothing_is_skipped() {
    let mut grid = OddsGrid::harm(f64::NAN);
    assert_eq!(grid.margin(), 0.0);
    for share in [0.0, 1.0, -0.1, 1.1, f64::NAN] {
        grid.update(share, 5, 5);
    }
    grid.update(0.5, 0, 0);
    assert_eq!(grid, OddsGrid::harm(0.0));
    assert_eq!(grid.ln_e(), 0.0);
    assert!(!grid.rejects(1.0) && !grid.rejects(0.0) && !grid.rejects(f64::NAN));
    grid.update(1e-300, u64::MAX, u64::MAX);
    assert!(grid.ln_e().is_finite());
}

#[test]
fn state_survives_json() {
    let mut grid = OddsGrid::non_inferiority(0.2);
    grid.update(0.3, 4, 40);
    let text = serde_json::to_string(&grid).unwrap();
    let mut back: OddsGrid = serde_json::from_str(&text).unwrap();
    assert_eq!(back, grid);
    back.update(0.5, 3, 30);
    grid.update(0.5, 3, 30);
    assert_eq!(back.ln_e().to_bits(), grid.ln_e().to_bits());
}

/// A ramp of 1, 5, 25 and 50 % with 50 looks of 2000 requests each; the base rate moves from 1 to 3 % half way.
/// Answers the share of runs in which the evidence ever sufficed.
fn share_that_ever_rejects(start: &OddsGrid, ratio: f64, runs: u32, seed: u64) -> f64 {
    let mut stream = Stream::new(seed);
    let ever = (0..runs).filter(|_| {
        let mut grid = start.clone();
        let mut rejected = false;
        for look in 0..200 {
            let share = [0.01, 0.05, 0.25, 0.5][look / 50];
            let base = if look < 100 { 0.01 } else { 0.03 };
            let canary = stream.poisson(2000.0 * share * base * ratio);
            let stable = stream.poisson(2000.0 * (1.0 - share) * base);
            grid.update(share, canary, stable);
            rejected |= grid.rejects(0.05);
        }
        rejected
    });
    f64::from(ever.count() as u32) / f64::from(runs)
}

#[test]
fn planted_null_over_a_ramp_keeps_the_promised_rate() {
    let table = [
        (OddsGrid::harm(0.0), 1.0),
        (OddsGrid::harm(0.1), 1.1),
        (OddsGrid::non_inferiority(0.1), 1.1),
        (OddsGrid::non_inferiority(0.1), 1.5),
    ];
    for (grid, ratio) in table {
        let rate = share_that_ever_rejects(&grid, ratio, 250, 777);
        assert!(rate <= 0.05, "{:?} at {ratio}: {rate}", grid.claim());
    }
}

#[test]
fn planted_harm_and_planted_health_are_found() {
    assert_eq!(share_that_ever_rejects(&OddsGrid::harm(0.1), 2.0, 50, 3), 1.0);
    let healthy = OddsGrid::non_inferiority(0.2);
    assert!(share_that_ever_rejects(&healthy, 0.9, 50, 4) > 0.9);
}

/// The closed form at a constant share: a Beta(a, b) prior of θ, cut to (t0, 1), against θ ≤ t0.
fn truncated_beta(bad: f64, fine: f64, t0: f64, a: f64, b: f64) -> f64 {
    let tail = |a: f64, b: f64| beta_reg(b, a, 1.0 - t0).ln();
    ln_beta(a + bad, b + fine) + tail(a + bad, b + fine)
        - ln_beta(a, b)
        - tail(a, b)
        - bad * t0.ln()
        - fine * (-t0).ln_1p()
}

#[test]
fn closed_form_goldens() {
    // Reference 3.6.
    let table = [
        (30.0, 70.0, 0.2, 0.8619907890224301, 1.7351652631568246),
        (12.0, 88.0, 0.1, -2.4282477160762266, 0.061858445532658735),
        (10.0, 90.0, 0.1, -3.045959369243061, -0.32858684353739775),
        (60.0, 440.0, 0.1, -2.2222668418722193, 0.5771716087735186),
    ];
    for (bad, fine, t0, uniform, near) in table {
        assert!((truncated_beta(bad, fine, t0, 1.0, 1.0) - uniform).abs() < 1e-9);
        assert!((truncated_beta(bad, fine, t0, 100.0 * t0, 100.0 * (1.0 - t0)) - near).abs() < 1e-9);
    }
}

#[test]
fn the_grid_agrees_with_the_closed_form_where_both_apply() {
    // At a constant share the two differ by their priors alone, which matters little once there is evidence.
    let (share, n) = (0.2, 500.0);
    for bad in (130..=180).step_by(10) {
        let mut grid = OddsGrid::harm(0.0);
        grid.add(share, f64::from(bad), n - f64::from(bad));
        let closed = truncated_beta(f64::from(bad), n - f64::from(bad), share, 100.0 * share, 100.0 * (1.0 - share));
        // Most of all below 1.6 times, where the grid's points have a quarter of the weight.
        assert!(closed > 1.0 && (grid.ln_e() - closed).abs() < 2.0 + 0.1 * closed, "{bad}: {} {closed}", grid.ln_e());
    }
}

#[test]
fn superiority_needs_more_than_non_inferiority_and_a_gain_yet_more() {
    let mut grids =
        [OddsGrid::non_inferiority(0.1), OddsGrid::superiority(0.0), OddsGrid::superiority(0.2), OddsGrid::harm(0.0)];
    grids.iter_mut().for_each(|grid| grid.update(0.5, 100, 300));
    let ln_es = grids.each_ref().map(OddsGrid::ln_e);
    assert!(ln_es.windows(2).all(|pair| pair[0] > pair[1]), "{ln_es:?}");
    assert!(grids[2].rejects(0.05) && !grids[3].rejects(0.05));
    for gain in [-0.5, 1.0, f64::NAN] {
        assert_eq!(OddsGrid::superiority(gain), OddsGrid::superiority(0.0));
    }
    assert_eq!(OddsGrid::superiority(0.2).margin(), -0.2);
    assert_eq!(serde_json::to_string(&Claim::Superiority).unwrap(), "\"superiority\"");
}

#[test]
fn clumps_of_one_size_count_once() {
    let (mut clumps, mut events) = (OddsGrid::harm(0.1), OddsGrid::harm(0.1));
    clumps.update(0.3, 5 * 40, 5 * 30);
    events.update(0.3, 40, 30);
    assert!((clumps.ln_e_at(5.0) - events.ln_e()).abs() < 1e-9);
    for odd in [0.5, f64::NAN, f64::INFINITY, -1.0] {
        assert_eq!(clumps.ln_e_at(odd).to_bits(), clumps.ln_e().to_bits());
    }
}

#[test]
fn the_design_effect_is_the_size_of_the_clumps() {
    let arm = |seed: u64, users: u32, clump: u32| {
        let (mut cells, mut stream) = (Cells::new(), Stream::new(seed));
        for _ in 0..users {
            let (cell, bad) = ((stream.uniform() * 256.0) as u8, f64::from(u8::from(stream.uniform() < 0.05)));
            (0..clump).for_each(|_| cells.record(cell, bad));
        }
        cells
    };
    let alone = design_effect(&arm(1, 20_000, 1), &arm(2, 40_000, 1));
    assert!((1.0..1.3).contains(&alone), "{alone}");
    let both = design_effect(&arm(1, 20_000, 6), &arm(2, 40_000, 6));
    assert!((5.0..7.5).contains(&both), "{both}");
    // The arm with fewer requests makes most of the comparison's error: its clumps count.
    let (small, large) = (arm(1, 2_000, 6), arm(2, 120_000, 1));
    let (of_small, of_large) = (design_effect(&small, &large), design_effect(&large, &small));
    assert!((4.0..8.0).contains(&of_small) && of_small == of_large, "{of_small} {of_large}");
    let mixed = design_effect(&arm(1, 20_000, 6), &arm(2, 40_000, 1));
    assert!((1.9..2.7).contains(&mixed), "a quarter of 6 and three quarters of 1: {mixed}");
    // A canary without the clumps of stable has been lucky: that makes it no better.
    let lucky = design_effects(&arm(1, 2_000, 1), &arm(2, 120_000, 6));
    assert!(lucky.harm < 1.6 && (5.0..7.5).contains(&lucky.health), "{lucky:?}");
    let (none, alone) = (Cells::new(), arm(1, 20_000, 6));
    assert_eq!(design_effect(&none, &none), 1.0);
    assert!((5.0..7.5).contains(&design_effect(&alone, &none)), "one arm alone says what it knows");
}

#[test]
fn the_first_clump_of_a_young_arm_is_not_many_bad_answers() {
    let of = |bad: &[(u8, u64)], fine: u64| {
        let mut cells = Cells::new();
        bad.iter().for_each(|&(cell, n)| (0..n).for_each(|_| cells.record(cell, 1.0)));
        (0..fine).for_each(|i| cells.record(i as u8, 0.0));
        cells
    };
    let stable = of(&(0..20).map(|i| (i * 11, 1)).collect::<Vec<_>>(), 2_000);
    let known = design_effect(&stable, &Cells::new());
    assert!((1.0..1.2).contains(&known), "{known}");
    let table = [
        (vec![(7, 8)], 8.0, "all of one user"),
        (vec![(7, 3)], 3.0, "three of one user"),
        (vec![(7, 8), (90, 8)], 8.0, "two such users"),
        (vec![(7, 1), (90, 1), (200, 1), (13, 1)], known, "each another's"),
        (vec![], known, "none"),
    ];
    for (bad, expected, what) in table {
        let found = design_effect(&of(&bad, 40), &stable);
        assert!((found - expected).abs() < 1e-9, "{what}: {found}");
    }
    // Once there is an estimate it says much the same.
    let grown = design_effect(&of(&[(7, 8), (90, 8)], 200), &stable);
    assert!((6.0..8.5).contains(&grown), "{grown}");
}

proptest! {
    /// Looks at one share may be split in any way, and more bad answers on the canary are more evidence of harm.
    #[test]
    fn looks_add_up_and_evidence_is_monotone(
        share in 0.01..0.99_f64, bad in 0_u64..500, fine in 0_u64..500, cut in 0.0..1.0_f64, margin in 0.0..1.0_f64,
    ) {
        let (mut whole, mut split, mut worse) = (OddsGrid::harm(margin), OddsGrid::harm(margin), OddsGrid::harm(margin));
        whole.update(share, bad, fine);
        let part = (bad as f64 * cut) as u64;
        split.update(share, part, 0);
        split.update(share, bad - part, fine);
        prop_assert!((whole.ln_e() - split.ln_e()).abs() < 1e-6);
        worse.update(share, bad + 1, fine);
        prop_assert!(worse.ln_e() > whole.ln_e());
    }

    #[test]
    fn no_input_makes_a_nan(
        share in prop::num::f64::ANY, counts in any::<(u64, u64)>(), margin in prop::num::f64::ANY, effect in prop::num::f64::ANY,
    ) {
        for mut grid in [OddsGrid::harm(margin), OddsGrid::non_inferiority(margin), OddsGrid::superiority(margin)] {
            for share in [share, share.abs() % 1.0, 1e-300, 1.0 - 1e-16] {
                grid.update(share, counts.0, counts.1);
                prop_assert!(!grid.ln_e().is_nan() && !grid.ln_e_at(effect).is_nan() && !grid.ln_e_max().is_nan());
            }
        }
    }
}
