//! False alarms, and how soon harm is found: Fairway's verdicts beside today's rules, on the same simulated traffic.
//!
//! `FAIRWAY_BENCH_RUNS` (10,000) runs of each row; the rules that must sort all looks, and the crowds of users, have a
//! tenth of them.

use fairway_bench_stats::simulation::crowd::{self, Crowd};
use fairway_bench_stats::simulation::{Base, Named, Share, Traffic, binomial_bound, simulate, verdicts};
use fairway_bench_stats::{measures, peers, report, setting};
use fairway_stats::sequential::Spending;

const ALPHA: f64 = 0.05;
const LOOKS: usize = 200;
const REQUESTS: u64 = 2000;
const SEED: u64 = 2026;

fn main() {
    if !measures() {
        return;
    }
    let runs = setting("FAIRWAY_BENCH_RUNS", 10_000);
    promises(runs);
    crowds((runs / 10).max(10));
    side_by_side(runs);
}

/// As a rollout's gate has it: boosted where a look may carry the evidence beyond 1/α.
fn harm(margin: f64) -> Named {
    verdicts::gate(&format!("harm beyond {margin}"), margin, ALPHA, |most| most.harm)
}

fn traffics() -> Vec<(&'static str, Traffic)> {
    let traffic = |share, base| Traffic { looks: LOOKS, requests: REQUESTS, share, base };
    let mut all = Vec::new();
    let bases = [
        ("rate .1 %", Base::Constant(0.001)),
        ("rate 1 %", Base::Constant(0.01)),
        ("rate 5 %", Base::Constant(0.05)),
        ("rate 20 %", Base::Constant(0.2)),
        ("rate 1 -> 3 %", Base::Rising),
        ("rate in waves", Base::Seasonal(0.01)),
    ];
    for (name, base) in bases {
        all.extend(
            [Share::Constant(0.05), Share::Constant(0.5), Share::Ramp].map(|share| (name, traffic(share, base))),
        );
    }
    all
}

fn share_name(share: Share) -> String {
    match share {
        Share::Constant(share) => format!("{:.0} %", 100.0 * share),
        Share::Ramp => "1/5/25/50 %".to_owned(),
    }
}

/// Each claim on its own boundary, asked after every look.
fn promises(runs: u64) {
    let bound = binomial_bound(runs, ALPHA);
    let mut rows = Vec::new();
    for (seed, (name, traffic)) in (SEED..).zip(traffics()) {
        let equal = simulate(&traffic, 1.0, runs, seed, &[harm(0.0), verdicts::superiority(0.0, ALPHA)]);
        let margin = simulate(&traffic, 1.1, runs, seed + 1000, &[harm(0.1), verdicts::non_inferiority(0.1, ALPHA)]);
        // A pooled test knows neither ramps nor rates that move.
        let looks = match (traffic.share, traffic.base) {
            (Share::Constant(_), Base::Constant(_)) => {
                let rules = [Spending::OBrienFleming, Spending::Power(2.0)];
                simulate(&traffic, 1.0, runs, seed + 2000, &rules.map(|s| verdicts::fixed_looks(5, LOOKS, s, ALPHA)))
            }
            _ => Vec::new(),
        };
        let mut row = vec![name.to_owned(), share_name(traffic.share)];
        row.extend(equal.iter().chain(&margin).chain(&looks).map(|f| report::rate(f.ended, f.runs, bound)));
        row.resize(8, "-".to_owned());
        rows.push(row);
    }
    let header = [
        "stable",
        "canary share",
        "harm, equal",
        "better, equal",
        "harm beyond 10 %, at 1.1x",
        "non-inferior by 10 %, at 1.1x",
        "O'Brien-Fleming, 5 looks",
        "power 2, 5 looks",
    ];
    let title = format!(
        "Type-I error at level {ALPHA}, {LOOKS} looks of {REQUESTS} requests, {runs} runs (99 % bound {:.4})",
        bound as f64 / runs as f64
    );
    report::print_table(&title, &header, &rows);
}

/// Users who come often: errors in clumps, reward of very unequal users, a base level that grows with the ramp.
fn crowds(runs: u64) {
    let crowd =
        |share, unlucky, growth| Crowd { users: 20_000, looks: 100, visits: 1000, share, bad: 0.02, unlucky, growth };
    let table = [
        ("50 %", crowd(Share::Constant(0.5), 0.5, 1.0)),
        ("5 %", crowd(Share::Constant(0.05), 0.5, 1.0)),
        ("1/5/25/50 %", crowd(Share::Ramp, 0.5, 1.0)),
        ("ramp, level x1.5 each", crowd(Share::Ramp, 0.5, 1.5)),
        ("ramp, no clumps", crowd(Share::Ramp, 0.02, 1.0)),
        ("5 %, errors .2 %", Crowd { bad: 0.002, ..crowd(Share::Constant(0.05), 0.2, 1.0) }),
    ];
    let found = table.map(|(_, crowd)| crowd::simulate(&crowd, ALPHA, runs, SEED));
    let rows: Vec<Vec<String>> = (0..found[0].counts.len())
        .map(|claim| {
            let name = found[0].counts[claim].0;
            let level = if name == crowd::SAMPLE_RATIO { 0.001 } else { ALPHA };
            let rate = |f: &crowd::Claims| report::rate(f.counts[claim].1, runs, binomial_bound(runs, level));
            std::iter::once(name.to_owned()).chain(found.iter().map(rate)).collect()
        })
        .collect();
    let header: Vec<&str> = std::iter::once("claim").chain(table.iter().map(|(name, _)| *name)).collect();
    let title =
        format!("Type-I error at level {ALPHA} (sample ratio .001) when users come often, 100 looks, {runs} runs");
    report::print_table(&title, &header, &rows);
}

fn rules() -> Vec<Named> {
    vec![
        harm(0.0),
        harm(0.1),
        peers::threshold("Argo Rollouts", 0.02, 1),
        peers::threshold("Flagger", 0.02, 5),
        peers::repeated_z(),
        peers::z_at_the_end(LOOKS),
    ]
}

/// False alarms on an identical canary, and `share of runs; canary requests / bad answers` until a harmful one is found.
fn side_by_side(runs: u64) {
    let scenarios = [
        ("5 % share, rate 1 %", Share::Constant(0.05), Base::Constant(0.01)),
        ("50 % share, rate 1 %", Share::Constant(0.5), Base::Constant(0.01)),
        ("5 % share, rate in waves", Share::Constant(0.05), Base::Seasonal(0.01)),
        ("ramp, rate 1 -> 3 %", Share::Ramp, Base::Rising),
    ];
    for (name, share, base) in scenarios {
        let traffic = Traffic { looks: LOOKS, requests: REQUESTS, share, base };
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (column, ratio) in [1.0, 1.3, 2.0, 5.0].into_iter().enumerate() {
            let mut found = simulate(&traffic, ratio, runs, SEED, &rules());
            found.extend(simulate(&traffic, ratio, (runs / 10).max(10), SEED, &[peers::kayenta(LOOKS)]));
            for (index, found) in found.iter().enumerate() {
                if column == 0 {
                    rows.push(vec![found.name.clone()]);
                }
                rows[index].push(if column == 0 { format!("{:.3}", found.rate()) } else { report::end(found) });
            }
        }
        let title = format!("{name}: {LOOKS} looks of {REQUESTS} requests, {runs} runs");
        report::print_table(&title, &["rule", "identical: false alarms", "1.3x", "2x", "5x"], &rows);
    }
}
