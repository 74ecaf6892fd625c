//! Error rates under peeking at every look, at reduced size; the bench runs the same at full size. An error rate may be
//! above its level only as far as chance goes (the binomial 99 % bound); seeds are fixed.

mod simulation;

use fairway_stats::sequential::Spending;
use simulation::crowd::{self, Crowd, RAW_HARM, SAMPLE_RATIO};
use simulation::{Base, Named, Share, Traffic, binomial_bound, simulate, verdicts};

const ALPHA: f64 = 0.05;
const RUNS: u64 = 300;
const LOOKS: usize = 100;

fn traffics() -> Vec<Traffic> {
    let constant = [0.001, 0.01, 0.05, 0.2].map(Base::Constant);
    let moving = [Base::Rising, Base::Seasonal(0.01)];
    let shares = [Share::Constant(0.05), Share::Constant(0.5), Share::Ramp];
    let bases = constant.into_iter().chain(moving);
    bases.flat_map(|base| shares.map(|share| Traffic { looks: LOOKS, requests: 2000, share, base })).collect()
}

#[track_caller]
fn hold(traffic: &Traffic, ratio: f64, rules: &[Named]) {
    for found in simulate(traffic, ratio, RUNS, 42, rules) {
        assert!(found.ended <= binomial_bound(RUNS, ALPHA), "{traffic:?}, {ratio}: {found:?}");
    }
}

#[test]
fn the_bound_is_the_binomial_quantile() {
    assert_eq!(binomial_bound(100, 0.05), 11);
    assert_eq!(binomial_bound(1000, 0.05), 67);
    assert_eq!(binomial_bound(10_000, 0.05), 551);
    assert_eq!(binomial_bound(300, 0.001), 2);
}

#[test]
fn an_identical_canary_is_rarely_called_worse_or_better() {
    for traffic in traffics() {
        let rules = [
            verdicts::harm(0.0, ALPHA),
            verdicts::superiority(0.0, ALPHA),
            verdicts::gate("harm", 0.0, ALPHA, |most| most.harm),
        ];
        hold(&traffic, 1.0, &rules);
    }
}

#[test]
fn at_the_margin_nothing_is_proved_in_either_direction() {
    for traffic in traffics() {
        let rules = [verdicts::harm(0.1, ALPHA), verdicts::non_inferiority(0.1, ALPHA)];
        hold(&traffic, 1.1, &rules);
    }
    let gain = Traffic { looks: LOOKS, requests: 2000, share: Share::Ramp, base: Base::Rising };
    hold(&gain, 0.8, &[verdicts::superiority(0.2, ALPHA)]);
}

#[test]
fn fixed_looks_spend_their_level_and_no_more() {
    for share in [0.05, 0.5] {
        let traffic =
            Traffic { looks: LOOKS, requests: 4000, share: Share::Constant(share), base: Base::Constant(0.05) };
        let rules = [Spending::OBrienFleming, Spending::Power(2.0)].map(|s| verdicts::fixed_looks(5, LOOKS, s, ALPHA));
        hold(&traffic, 1.0, &rules);
    }
}

#[test]
fn harm_is_found_soon_and_with_few_bad_answers() {
    // Reference 5: medians of 960 requests and 21 bad answers at twice the rate, 100 and 6 at five times; 200 looks.
    let traffic = Traffic { looks: 200, requests: 2000, share: Share::Ramp, base: Base::Rising };
    for (ratio, requests, bad) in [(2.0, 1500, 30), (5.0, 200, 9)] {
        let found = &simulate(&traffic, ratio, RUNS, 7, &[verdicts::harm(0.0, ALPHA)])[0];
        assert_eq!(found.ended, RUNS, "{found:?}");
        assert!(found.canary_requests.is_some_and(|n| n <= requests), "{found:?}");
        assert!(found.canary_bad.is_some_and(|n| n <= bad), "{found:?}");
    }
}

#[test]
fn users_who_come_often_do_not_raise_the_error_rates() {
    let runs = 100;
    for (share, unlucky, growth) in
        [(Share::Constant(0.5), 0.5, 1.0), (Share::Ramp, 0.5, 1.5), (Share::Ramp, 0.02, 1.0)]
    {
        let crowd = Crowd { users: 4000, looks: 40, visits: 1000, share, bad: 0.02, unlucky, growth };
        let claims = crowd::simulate(&crowd, ALPHA, runs, 11);
        for (name, count) in claims.counts {
            let level = if name == SAMPLE_RATIO { 0.001 } else { ALPHA };
            // Clumps break what it assumes: that is what the design effect is for.
            let promised = name != RAW_HARM && name != "errors request by request, better";
            assert!(!promised || count <= binomial_bound(runs, level), "{crowd:?}: {name} {count} of {runs}");
        }
    }
}
