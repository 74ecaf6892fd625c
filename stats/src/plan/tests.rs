//! Tests of planning: does the planned traffic give the planned power?

use proptest::prelude::*;

use super::*;
use crate::portable_stream::Stream;

const DEMAND: Demand = Demand { alpha: 0.05, power: 0.8 };

/// The share of runs in which the grid rejects by the planned number of requests, looking once.
fn power(grid: &OddsGrid, share: f64, rate: f64, ratio: f64, total: f64) -> f64 {
    let mut stream = Stream::new(4242);
    let runs = 400;
    let found = (0..runs).filter(|_| {
        let mut grid = grid.clone();
        let canary = stream.poisson(total * share * rate * ratio);
        let stable = stream.poisson(total * (1.0 - share) * rate);
        grid.update(share, canary, stable);
        grid.rejects(DEMAND.alpha)
    });
    f64::from(found.count() as u32) / f64::from(runs)
}

#[test]
fn planned_requests_give_the_planned_power() {
    let table = [
        (OddsGrid::harm(0.0), 0.05, 0.01, 2.0),
        (OddsGrid::harm(0.1), 0.25, 0.01, 1.5),
        (OddsGrid::harm(0.1), 0.01, 0.02, 5.0),
        (OddsGrid::non_inferiority(0.5), 0.5, 0.01, 1.0),
        (OddsGrid::superiority(0.0), 0.25, 0.02, 0.5),
    ];
    for (grid, share, rate, ratio) in table {
        let needs = odds(&grid, share, rate, ratio, 1.0, DEMAND);
        let power = power(&grid, share, rate, ratio, needs.total);
        assert!((0.73..0.90).contains(&power), "{:?} {ratio}: {needs:?} {power}", grid.claim());
        assert!((needs.canary - needs.total * share).abs() <= 1.0);
    }
}

#[test]
fn a_canary_on_the_boundary_is_never_proved() {
    for (grid, ratio) in
        [(OddsGrid::harm(0.1), 1.1), (OddsGrid::non_inferiority(0.1), 1.1), (OddsGrid::superiority(0.0), 1.5)]
    {
        assert_eq!(odds(&grid, 0.5, 0.01, ratio, 1.0, DEMAND).total, f64::INFINITY);
    }
    assert_eq!(mean(0.0, 1.0, 0.5, None, DEMAND).total, f64::INFINITY);
    assert_eq!(fixed(0.0, 1.0, 0.5, DEMAND).total, f64::INFINITY);
}

#[test]
fn one_look_is_the_textbook_and_looks_cost_a_little() {
    // (1.644854 + .841621)² · 4 / .01 = 2473.
    let one = fixed(0.1, 1.0, 0.5, DEMAND);
    assert_eq!(one.total, 2474.0_f64.min(one.total.max(2473.0)));
    let times = [0.2, 0.4, 0.6, 0.8, 1.0];
    let looks = fixed_looks(0.1, 1.0, 0.5, &times, Spending::OBrienFleming, DEMAND).unwrap();
    let ratio = looks.total / one.total;
    assert!((1.01..1.06).contains(&ratio), "{ratio}");
    let always = mean(0.1, 1.0, 0.5, None, DEMAND);
    assert!(always.total > 1.3 * looks.total && always.total < 3.0 * one.total, "{always:?}");
    assert!(mean(0.1, 1.0, 0.5, Some(50.0), DEMAND).total > always.total);
    assert!(fixed_looks(0.1, 1.0, 0.5, &[2.0], Spending::OBrienFleming, DEMAND).is_err());
    assert_eq!(fixed_looks(0.1, 1.0, 0.5, &[], Spending::OBrienFleming, DEMAND).unwrap().total, f64::INFINITY);
}

#[test]
fn clumps_cost_what_they_weigh() {
    let grid = OddsGrid::harm(0.1);
    let ratio = odds(&grid, 0.25, 0.01, 2.0, 4.0, DEMAND).total / odds(&grid, 0.25, 0.01, 2.0, 1.0, DEMAND).total;
    assert!((3.9..4.1).contains(&ratio), "{ratio}");
}

#[test]
fn what_cannot_be_answered_in_time_is_said() {
    let fits = feasible(Traffic { total: 4000.0, canary: 1000.0 }, 2000.0, 3.0, "errors", "requests");
    assert!(fits.in_time && fits.days == 2.0);
    assert_eq!(fits.sentence, "2000 requests a day: errors needs 4000 requests, 2.0 days");
    let late = feasible(Traffic { total: 20_500.0, canary: 1000.0 }, 50.0, 3.0, "reward", "users");
    assert!(!late.in_time);
    assert!(late.sentence.starts_with("50 users a day: reward needs 20500 users, 410.0 days, and 3.0 are allowed"));
    let never = feasible(Traffic { total: f64::INFINITY, canary: f64::INFINITY }, 50.0, 3.0, "reward", "users");
    assert!(!never.in_time && never.sentence.contains("for ever"), "{}", never.sentence);
    assert!(!feasible(Traffic { total: 1.0, canary: 1.0 }, 0.0, 3.0, "reward", "users").in_time);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Rarer events and smaller effects need more.
    #[test]
    fn plans_are_monotone(share in 0.01..0.9_f64, rate in 0.0005..0.2_f64, ratio in 1.5..4.0_f64) {
        let total = |rate: f64, ratio: f64| odds(&OddsGrid::harm(0.1), share, rate, ratio, 1.0, DEMAND).total;
        prop_assert!(total(rate / 2.0, ratio) > total(rate, ratio));
        prop_assert!(total(rate, ratio * 1.2) < total(rate, ratio));
    }

    #[test]
    fn no_input_makes_a_nan(x in prop::array::uniform6(prop::num::f64::ANY)) {
        let demand = Demand { alpha: x[4], power: x[5] };
        for demand in [demand, DEMAND] {
            let all = [
                odds(&OddsGrid::harm(x[0]), x[1], x[2], x[3], x[4], demand),
                mean(x[0], x[1], x[2], Some(x[3]), demand),
                mean(x[0], x[1], 0.5, None, demand),
                fixed(x[0], x[1], x[2], demand),
            ];
            for needs in all {
                prop_assert!(!needs.total.is_nan() && !needs.canary.is_nan(), "{:?}", needs);
                prop_assert!(!feasible(needs, x[0], x[1], "a", "b").days.is_nan());
            }
        }
    }
}
