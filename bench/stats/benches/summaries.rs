//! What counting, merging and judging cost, with the bars that they must hold, beside river, Evidently and SciPy in the
//! same run. A bar that is missed is printed and fails nothing.

use std::hint::black_box;
use std::time::Instant;

use fairway_bench_stats::python::Peers;
use fairway_bench_stats::simulation::random::Random;
use fairway_bench_stats::{measures, report, setting};
use fairway_stats::adwin::{Adwin, AdwinRule};
use fairway_stats::drift::{DriftRule, FeatureCounts, assess, kolmogorov_smirnov, psi};
use fairway_stats::verdict::RateGate;
use fairway_stats::{Bins, Histogram, LatencyHistogram, OddsGrid};
use serde_json::json;

const FEATURES: usize = 50;
const MERGED: usize = 100;
const ROUNDS: usize = 200;
const SEED: u64 = 2026;

fn main() -> std::io::Result<()> {
    if !measures() {
        return Ok(());
    }
    updates();
    let mut peers = Peers::start()?;
    streams(&mut peers)?;
    psi_and_ks(&mut peers)
}

/// The seconds that `of` takes, added to `sum`.
fn timed<T>(sum: &mut f64, of: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let found = black_box(of());
    *sum += start.elapsed().as_secs_f64();
    found
}

/// Nanoseconds a call, in the quickest of many rounds of `calls`, which was disturbed least.
fn quickest(calls: usize, mut call: impl FnMut(usize)) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let mut seconds = 0.0;
        timed(&mut seconds, || (0..calls).for_each(&mut call));
        1e9 * seconds / calls as f64
    });
    rounds.fold(f64::INFINITY, f64::min)
}

fn row(name: &str, ns: f64, bar: f64) -> Vec<String> {
    let held = if ns <= bar { "held" } else { "MISSED" };
    vec![name.to_owned(), format!("{ns:.1}"), format!("{bar:.0}"), held.to_owned()]
}

fn updates() {
    let mut random = Random::new(SEED, 0);
    let values: Vec<f64> = (0..65_536).map(|_| random.normal()).collect();
    let value = |i: usize| values[i % values.len()];
    let (bins, deciles) =
        (Bins::from_quantiles(&mut values.clone(), 63), Bins::from_quantiles(&mut values.clone(), 10));
    let (mut wide, mut narrow, mut latency) =
        (Histogram::new(&bins), Histogram::new(&deciles), LatencyHistogram::new());
    let micros: Vec<u64> = values.iter().map(|x| (5000.0 * x.exp()) as u64).collect();
    let indices: Vec<usize> = values.iter().map(|&x| bins.index_of(Some(x))).collect();
    let calls = values.len();
    let mut rows = vec![
        row("count a bin, of 64", quickest(calls, |i| wide.add(indices[i % calls])), 10.0),
        row("find and count, of 11 bins", quickest(calls, |i| narrow.add(deciles.index_of(Some(value(i))))), 10.0),
        row("find and count, of 64 bins", quickest(calls, |i| wide.add(bins.index_of(Some(value(i))))), 10.0),
        row("count a latency", quickest(calls, |i| latency.record(micros[i % calls])), 10.0),
    ];
    let (mut into, from) = (vec![wide.clone(); MERGED], vec![wide.clone(); MERGED]);
    let merge = quickest(20, |_| {
        into.iter_mut().zip(&from).for_each(|(into, from)| {
            let _same_bins = into.merge(black_box(from));
        });
    });
    rows.push(row("merge two windows of 100 histograms of 64 bins", merge, 10_000.0));
    let looks: Vec<[u64; 2]> = (0..1024).map(|_| [random.binomial(500, 0.02), random.binomial(1500, 0.02)]).collect();
    let (mut grid, mut gate) = (OddsGrid::harm(0.1), RateGate::new(0.1, 0.05));
    let look = |i: usize| looks[i % looks.len()];
    rows.push(row("a look of one claim", quickest(2000, |i| grid.update(0.25, look(i)[0], look(i)[1])), 1000.0));
    rows.push(row("a look of a rate gate, three claims", quickest(2000, |i| gate.look([500, 1500], look(i))), 1000.0));
    black_box((wide, narrow, latency, into, grid, gate));
    report::print_table("Updates", &["what", "ns", "bar", ""], &rows);
}

const TURNS: usize = 5;
const TURN_ROUNDS: usize = 3;
/// What river is timed as; see `adwin` in `peers_drift.py`.
const NAMES: [&str; 4] = ["river", "nothing", "core", "built_in"];

/// ADWIN on one stream in both: what an update costs as the window grows, and what it costs in river.
fn streams(peers: &mut Peers) -> std::io::Result<()> {
    let n = setting("FAIRWAY_BENCH_STREAM", 1_000_000) as usize;
    let mut random = Random::new(SEED, 1);
    let values: Vec<f64> = (0..n).map(|_| random.normal()).collect();
    let run = |values: &[f64]| {
        let mut adwin = Adwin::new(AdwinRule::default());
        let alarms = values.iter().filter(|&&x| adwin.update(x).is_some()).count();
        (alarms, adwin.width())
    };
    let ours = |values: &[f64]| {
        let rounds = (0..TURN_ROUNDS).map(|_| {
            let mut seconds = 0.0;
            timed(&mut seconds, || run(values));
            1e9 * seconds / values.len() as f64
        });
        rounds.fold(f64::INFINITY, f64::min)
    };
    // By turns, so that who else uses the machine disturbs both alike.
    let (mut fastest, mut river, mut same) = (f64::INFINITY, [f64::INFINITY; NAMES.len()], true);
    for _ in 0..TURNS {
        fastest = fastest.min(ours(&values));
        let answer = peers.ask(&json!({"ask": "adwin", "n": n, "rounds": TURN_ROUNDS}), &[&values])?;
        river.iter_mut().zip(NAMES).for_each(|(ns, name)| *ns = ns.min(answer[name].as_f64().unwrap_or(f64::NAN)));
        let (alarms, width) = run(&values);
        same &= answer["alarms"] == alarms && answer["width"] == width;
    }
    let [called, nothing, core, built_in] = river;
    let ratio = |ns: f64| vec![format!("{ns:.0}"), format!("{:.1}", ns / fastest)];
    let named = |name: &str, ns: f64| [vec![name.to_owned()], ratio(ns)].concat();
    let mut rows = vec![named("Fairway", fastest)];
    for part in [1000, 100, 10].map(|part| n / part).into_iter().filter(|&part| part > 0) {
        rows.push(named(&format!("Fairway, first {part} values"), ours(&values[..part])));
    }
    rows.push(named("river, as people call it", called));
    rows.push(named("river, less a Python call that does nothing", called - nothing));
    rows.push(named("river's compiled core, called alone", core));
    rows.push(named("river's compiled core, less a built-in call", core - built_in));
    let same = if same { "same alarms and width in both" } else { "THE ANSWERS DIFFER" };
    report::print_table(&format!("ADWIN, {n} values, ns an update; {same}"), &["what", "ns", "ratio"], &rows);
    Ok(())
}

/// Seconds of each way over all features.
#[derive(Default)]
struct Seconds {
    frozen: f64,
    raw: f64,
    exact: f64,
    evidently: f64,
    scipy: f64,
}

/// PSI and KS of every feature: ours on frozen bins and from raw values, and the peers' own functions on the same columns.
fn psi_and_ks(peers: &mut Peers) -> std::io::Result<()> {
    let n = setting("FAIRWAY_BENCH_ROWS", 1_000_000) as usize;
    let mut random = Random::new(SEED, 2);
    let (mut seconds, mut counts, mut differ) = (Seconds::default(), Vec::new(), 0);
    for _ in 0..FEATURES {
        let mut draw = |shift: f64| (0..n).map(|_| random.normal() + shift).collect::<Vec<f64>>();
        let (reference, current) = (draw(0.0), draw(0.1));
        let answer = peers.ask(&json!({"ask": "psi_ks", "n": n}), &[&reference, &current])?;
        seconds.evidently += answer["evidently"].as_f64().unwrap_or(f64::NAN);
        seconds.scipy += answer["scipy"].as_f64().unwrap_or(f64::NAN);
        let count = |bins: &Bins, values: &[f64]| {
            let mut histogram = Histogram::new(bins);
            values.iter().for_each(|&x| histogram.add(bins.index_of(Some(x))));
            histogram
        };
        let mut sorted = reference.clone();
        let (bins, before) = timed(&mut seconds.raw, || {
            let bins = Bins::from_quantiles(&mut sorted, 10);
            let before = count(&bins, &reference);
            (bins, before)
        });
        let now = timed(&mut seconds.frozen, || count(&bins, &current));
        let exact = timed(&mut seconds.exact, || kolmogorov_smirnov(&reference, &current));
        let near = |name: &str, value: Option<f64>| {
            let (value, other) = (value.unwrap_or(f64::NAN), answer[name].as_f64().unwrap_or(f64::NAN));
            (value - other).abs() <= 1e-9 * other.abs().max(1e-12)
        };
        let same_psi = near("psi", Some(psi(before.counts(), now.counts())));
        differ += usize::from(!(same_psi && near("d", exact.map(|ks| ks.d))));
        counts.push((before, now));
    }
    let features: Vec<FeatureCounts<'_>> = counts
        .iter()
        .map(|(before, now)| FeatureCounts {
            name: "simulated",
            is_score: false,
            reference: before.counts(),
            current: now.counts(),
        })
        .collect();
    timed(&mut seconds.frozen, || assess(&DriftRule::default(), &features));
    print_ways(n, &seconds, differ);
    Ok(())
}

fn print_ways(n: usize, seconds: &Seconds, differ: usize) {
    let raw = seconds.raw + seconds.frozen;
    let ways = [
        ("Fairway, as it serves: counted on frozen bins, then judged", seconds.frozen),
        ("Fairway, from two raw samples: bins made, both sides counted, then judged", raw),
        ("Fairway, as above and the exact two-sample KS", raw + seconds.exact),
    ];
    let row = |&(name, ours): &(&str, f64)| {
        let ratio = |theirs: f64| format!("{:.1}", theirs / ours);
        vec![name.to_owned(), format!("{ours:.2}"), ratio(seconds.evidently), ratio(seconds.scipy)]
    };
    let mut rows: Vec<Vec<String>> = ways.iter().map(row).collect();
    let blank = || "-".to_owned();
    rows.push(vec!["Evidently's psi and ks".to_owned(), format!("{:.2}", seconds.evidently), blank(), blank()]);
    rows.push(vec!["NumPy's PSI, SciPy's ks_2samp".to_owned(), format!("{:.2}", seconds.scipy), blank(), blank()]);
    let same = match differ {
        0 => "PSI and D as NumPy and SciPy have them".to_owned(),
        some => format!("{some} FEATURES DIFFER"),
    };
    let title = format!("PSI and KS of {FEATURES} features, {n} rows a side; {same}; the bar is 10 times");
    report::print_table(&title, &["what", "s", "Evidently takes so many times as long", "SciPy"], &rows);
}
