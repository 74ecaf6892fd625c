//! The kept form of every summary: today's code must read what earlier code wrote, and write it the same to the byte.
//!
//! A golden file is never edited. A changed form gets a new version and a new file, and must still read the old one.
//! With `FAIRWAY_WRITE_GOLDEN=1` missing files (never existing ones) are written.

use std::fs;
use std::path::Path;

use fairway_stats::categories::Categories;
use fairway_stats::kept::{Kept, Summary};
use fairway_stats::moments::Moments;
use fairway_stats::sketches::{Distinct, HeavyHitters};
use fairway_stats::{Bins, Cells, Fixed, ForwardDecay, Histogram, LatencyHistogram};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Checks `made` against `tests/golden/<name>.json`, and that a summary read back goes on where it stopped.
#[track_caller]
fn golden<T: Summary + Serialize + DeserializeOwned>(name: &str, made: T) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"));
    let text = serde_json::to_string(&Kept::new(made)).unwrap() + "\n";
    if !path.exists() && std::env::var_os("FAIRWAY_WRITE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(text, kept, "today's {name} is written differently");
    let read: Kept<T> = serde_json::from_str(&kept).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap() + "\n", kept, "{name} read is not what was written");
    read.state
}

/// Numbers that no library and no machine can change.
fn numbers(n: u64) -> impl Iterator<Item = f64> {
    (0..n).map(|i| ((i * i * 7919 + i * 104_729) % 10_007) as f64 / 64.0)
}

#[test]
fn bins_histogram_and_categories() {
    let bins = golden("bins-quantiles-v1", Bins::from_quantiles(&mut numbers(1000).collect::<Vec<_>>(), 10));
    let mut histogram = Histogram::new(&bins);
    numbers(500).for_each(|x| histogram.add(bins.index_of(Some(x))));
    histogram.add(bins.index_of(None));
    assert_eq!(golden("histogram-v1", histogram).total(), 501);
    let counts = [("pear", 5), ("apple", 9), ("fig", 5), ("kiwi", 1)].map(|(name, n)| (name.to_owned(), n)).into();
    golden("bins-categories-v1", Bins::from_top_categories(&counts, 2));
    let categories = golden("categories-v1", Categories::from_counts(&counts, 2));
    assert_eq!(categories.index_of(Some("kiwi")), categories.rare());
}

#[test]
fn cells_moments_and_decay() {
    let (mut cells, mut moments, mut decay) = (Cells::new(), Moments::new(), ForwardDecay::new(3600.0));
    for (i, x) in numbers(300).enumerate() {
        cells.record((i % 97) as u8, x);
        moments.record(x - 50.0);
        // Whole half-lives: their weights are the same on every machine.
        decay.record(i as f64 * 3600.0, x);
    }
    cells.add(200, 3, Fixed(-1));
    assert_eq!(golden("cells-v1", cells).n(), 303);
    assert_eq!(golden("moments-v1", moments).n(), 300);
    golden("moments-empty-v1", Moments::new());
    assert!(golden("forward-decay-v1", decay).mean().is_some());
}

#[test]
fn latency() {
    let mut latency = LatencyHistogram::new();
    numbers(300).for_each(|x| latency.record((x * x * 100.0) as u64));
    assert_eq!(golden("latency-v1", latency).count(), 300);
}

#[test]
fn sketches_in_every_mode() {
    for (mode, n) in [("empty", 0), ("list", 5), ("set", 100), ("registers", 3000)] {
        let mut distinct = Distinct::new();
        (0..n).for_each(|i| distinct.record(&format!("item-{i}")));
        let read = golden(&format!("distinct-{mode}-v1"), distinct);
        assert!((read.estimate() - f64::from(n)).abs() <= 0.05 * f64::from(n));
    }
    let mut hitters = HeavyHitters::new();
    (0..40_u32).for_each(|i| (0..1600 / (i + 1)).for_each(|_| hitters.record(&format!("item-{i}"))));
    assert_eq!(golden("heavy-hitters-v1", hitters).top(1)[0].at_most, 1600);
    golden("heavy-hitters-empty-v1", HeavyHitters::new());
}
