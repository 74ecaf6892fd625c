//! What servers did lately, from the windows of the routers that asked them.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_core::scaling::Sample;
use fairway_wire::{Arm, Window};

/// A sample of each version over the newest period that was heard of. Windows of several routers add up.
pub(super) fn samples(windows: &[Window], ready: &BTreeMap<String, u32>) -> BTreeMap<String, Sample> {
    let Some(end) = windows.iter().map(|window| window.end).max() else { return BTreeMap::new() };
    let mut sums: BTreeMap<&str, Arm> = BTreeMap::new();
    let mut length = Duration::ZERO;
    for window in windows.iter().filter(|window| window.end == end) {
        length = length.max(fairway_core::plan::elapsed(window.start, window.end));
        for (key, arm) in &window.arms {
            // Only what is read below: the rest of an arm is long.
            let sum = sums.entry(&key.digest).or_default();
            sum.requests += arm.requests;
            sum.latency.merge(&arm.latency);
        }
    }
    let seconds = length.as_secs_f64();
    let sample = |(digest, ready): (&String, &u32)| {
        let none = Arm::default();
        let sum = sums.get(digest.as_str()).unwrap_or(&none);
        let sample = Sample {
            at: end,
            // Little's law.
            in_flight: sum.latency.total() as f64 / 1e6 / seconds,
            requests_per_second: sum.requests as f64 / seconds,
            p95: sum.latency.quantile(0.95).map(Duration::from_micros),
            ready: *ready,
        };
        (digest.clone(), sample)
    };
    if seconds > 0.0 { ready.iter().map(sample).collect() } else { BTreeMap::new() }
}
