//! How often a drift rule alarms where nothing has changed, where what changed is harmless, and where it is not: Fairway's
//! beside Evidently's and NannyML's defaults, on the same numbers.
//!
//! Two tables. The first, of ours alone, has a thousand windows of every size: their counts are drawn by their exact law,
//! so that millions of events cost nothing. The second gives the same raw values to all; the peers take minutes to hours
//! with that, so it has fewer windows where they are large, and none of more than `FAIRWAY_BENCH_VALUES` (25,000,000) values
//! over all features: 25,000,000 take the peers 4 minutes. `FAIRWAY_BENCH_PERCENT` (100) of its profiles are made.
//! `FAIRWAY_BENCH_WINDOWS` (1000) is for the first table.

use fairway_bench_stats::python::Peers;
use fairway_bench_stats::simulation::random::Random;
use fairway_bench_stats::{measures, report, setting};
use fairway_stats::drift::{DriftRule, FeatureCounts, assess};
use fairway_stats::{Bins, Histogram};
use serde_json::{Value, json};

#[path = "../../../stats/tests/support/drift_windows.rs"]
mod drift_windows;

const SIZES: [u64; 5] = [500, 5_000, 50_000, 500_000, 5_000_000];
/// How far the mean of every feature moves, in standard deviations: not; without harm; by less than Fairway's effect floor
/// (a PSI of about .09), which others call drift; and by more (.35).
const SHIFTS: [f64; 4] = [0.0, 0.02, 0.3, 0.6];
const BINS: usize = 10;
const SEED: u64 = 2026;

/// `profiles` references, each with `windows` windows to judge.
struct Plan {
    n: u64,
    features: usize,
    profiles: u64,
    windows: usize,
}

const fn plan(n: u64, features: usize, profiles: u64, windows: usize) -> Plan {
    Plan { n, features, profiles, windows }
}

const PLANS: [Plan; 10] = [
    plan(500, 1, 200, 5),
    plan(5_000, 1, 100, 5),
    plan(50_000, 1, 40, 5),
    plan(500_000, 1, 10, 2),
    plan(5_000_000, 1, 4, 1),
    plan(500, 50, 10, 5),
    plan(5_000, 50, 5, 5),
    plan(50_000, 50, 2, 3),
    plan(500_000, 50, 1, 1),
    plan(5_000_000, 50, 1, 1),
];

fn main() -> std::io::Result<()> {
    if !measures() {
        return Ok(());
    }
    let windows = u32::try_from(setting("FAIRWAY_BENCH_WINDOWS", 1000)).unwrap_or(u32::MAX);
    println!("\n**Fairway, per 1,000 windows, {windows} windows a row**\n");
    drift_windows::table(windows, &SIZES).iter().for_each(|line| println!("{line}"));
    let (percent, largest) =
        (setting("FAIRWAY_BENCH_PERCENT", 100), setting("FAIRWAY_BENCH_VALUES", 25_000_000) as usize);
    let mut peers = Peers::start()?;
    let header = ["n", "features", "windows", "rule", "not moved", "0.02 sd", "0.3 sd", "0.6 sd"];
    report::print_table("The same windows, per 1,000", &header, &[]);
    for plan in PLANS.iter().filter(|plan| plan.n as usize * plan.features <= largest) {
        let profiles = (plan.profiles * percent / 100).max(1);
        side_by_side(plan, profiles, &mut peers)?.iter().for_each(|row| println!("| {} |", row.join(" | ")));
    }
    Ok(())
}

/// What alarms are counted of.
const RULES: [&str; 8] = [
    "Fairway: the model alarms",
    "Fairway: a feature alarms",
    "Fairway: a feature warns or alarms",
    "Evidently: dataset drift (half of the columns)",
    "Evidently: a column has drifted",
    "NannyML: a chunk alerts, in a column",
    "NannyML: one of the window's 10 chunks alerts",
    "p < .05 by chi-square, in a feature",
];
const ANY_FEATURE: [usize; 2] = [1, 4];
const CHUNK: usize = 5;
const CHUNKS: usize = 10;

fn side_by_side(plan: &Plan, profiles: u64, peers: &mut Peers) -> std::io::Result<Vec<Vec<String>>> {
    let mut counts = [[0_usize; SHIFTS.len()]; RULES.len()];
    let mut test = String::new();
    for profile in 0..profiles {
        let mut random = Random::new(SEED, profile);
        let columns = (0..plan.features).map(|_| column(plan, &mut random, peers));
        let columns = columns.collect::<std::io::Result<Vec<Column>>>()?;
        test = columns[0].answer["test"].as_str().unwrap_or_default().to_owned();
        for shift in 0..SHIFTS.len() {
            for window in 0..plan.windows {
                let found = judge(&columns, shift, window);
                counts.iter_mut().zip(found).for_each(|(count, found)| count[shift] += found);
            }
        }
    }
    let windows = profiles as usize * plan.windows;
    // With one feature "the model" and "a feature" are the same.
    let told = |rule: &usize| plan.features > 1 || !ANY_FEATURE.contains(rule);
    let rows = (0..RULES.len()).filter(told).map(|rule| {
        let (name, count) = (RULES[rule], counts[rule]);
        let of = windows * if rule == CHUNK { CHUNKS } else { 1 };
        let name = if name.starts_with("Evidently") { format!("{name}, by {test}") } else { name.to_owned() };
        let mut row = vec![plan.n.to_string(), plan.features.to_string(), windows.to_string(), name];
        row.extend(count.map(|count| format!("{:.0}", 1000.0 * count as f64 / of as f64)));
        row
    });
    Ok(rows.collect())
}

/// One feature of one profile: its counts, moved by each shift in each window, and what the peers say of the same values.
struct Column {
    reference: Histogram,
    current: Vec<Vec<Histogram>>,
    answer: Value,
}

fn column(plan: &Plan, random: &mut Random, peers: &mut Peers) -> std::io::Result<Column> {
    let mut draw = || (0..plan.n).map(|_| random.normal()).collect::<Vec<f64>>();
    let reference = draw();
    let windows: Vec<Vec<f64>> = (0..plan.windows).map(|_| draw()).collect();
    let request = json!({"ask": "drift", "n": plan.n, "windows": plan.windows, "shifts": SHIFTS});
    let columns: Vec<&[f64]> = std::iter::once(&reference).chain(&windows).map(Vec::as_slice).collect();
    let answer = peers.ask(&request, &columns)?;
    let bins = Bins::from_quantiles(&mut reference.clone(), BINS);
    let count = |values: &[f64], shift: f64| {
        let mut histogram = Histogram::new(&bins);
        values.iter().for_each(|x| histogram.add(bins.index_of(Some(x + shift))));
        histogram
    };
    let current = SHIFTS.map(|shift| windows.iter().map(|window| count(window, shift)).collect());
    Ok(Column { reference: count(&reference, 0.0), current: current.into(), answer })
}

/// How often each of [`RULES`] alarms in a window.
fn judge(columns: &[Column], shift: usize, window: usize) -> [usize; RULES.len()] {
    let counts = columns.iter().map(|column| FeatureCounts {
        name: "simulated",
        is_score: false,
        reference: column.reference.counts(),
        current: column.current[shift][window].counts(),
    });
    let report = assess(&DriftRule::default(), &counts.collect::<Vec<_>>());
    let any = |of: fn(&fairway_stats::FeatureDrift) -> bool| usize::from(report.features.iter().any(of));
    let drifted = columns.iter().filter(|c| c.answer["evidently"][shift][window] == true).count();
    let chunk = |at: usize| columns.iter().any(|c| c.answer["nannyml"][shift][window][at] == true);
    let chunks = (0..CHUNKS).filter(|&at| chunk(at)).count();
    [
        usize::from(report.alarm),
        any(|f| f.alarming),
        any(|f| f.alarming || f.warning),
        usize::from(2 * drifted >= columns.len()),
        usize::from(drifted > 0),
        chunks,
        usize::from(chunks > 0),
        any(|f| f.p < 0.05),
    ]
}
