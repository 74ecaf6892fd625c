//! What servers did lately, from the windows of the routers that asked them.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_core::plan::elapsed;
use fairway_core::scaling::Sample;
use fairway_wire::{Arm, Window};
use jiff::Timestamp;

/// What a sample tells of. Windows are shorter while a canary has users, and each of them says little.
const SPAN: Duration = Duration::from_secs(10);

/// What routers counted within the last [`SPAN`].
#[derive(Default)]
pub(super) struct Recent(Vec<Counted>);

/// A window, as far as it is read here: the rest of it is long.
struct Counted {
    replica: String,
    end: Timestamp,
    seconds: f64,
    by_version: BTreeMap<String, Arm>,
}

impl Recent {
    /// Takes new windows in and gives a sample of each version; none where there are no new ones. Routers add up, each by its own
    /// clock.
    pub(super) fn take(&mut self, fresh: &[Window], ready: &BTreeMap<String, u32>) -> BTreeMap<String, Sample> {
        let Some(end) = fresh.iter().map(|window| window.end).max() else { return BTreeMap::new() };
        self.0.extend(fresh.iter().map(Counted::of));
        self.0.retain(|counted| elapsed(counted.end, end) < SPAN);
        let mut seconds: BTreeMap<&str, f64> = BTreeMap::new();
        for counted in &self.0 {
            *seconds.entry(&counted.replica).or_default() += counted.seconds;
        }
        let sample = |(digest, ready): (&String, &u32)| {
            let mut sample = Sample { at: end, in_flight: 0.0, requests_per_second: 0.0, p95: None, ready: *ready };
            let mut all = Arm::default();
            for counted in &self.0 {
                let over = seconds.get(counted.replica.as_str()).copied().unwrap_or_default();
                let Some(arm) = counted.by_version.get(digest).filter(|_| over > 0.0) else { continue };
                // Little's law.
                sample.in_flight += arm.latency.total() as f64 / 1e6 / over;
                sample.requests_per_second += arm.requests as f64 / over;
                all.latency.merge(&arm.latency);
            }
            sample.p95 = all.latency.quantile(0.95).map(Duration::from_micros);
            (digest.clone(), sample)
        };
        ready.iter().map(sample).collect()
    }
}

impl Counted {
    fn of(window: &Window) -> Self {
        let mut by_version: BTreeMap<String, Arm> = BTreeMap::new();
        for (key, arm) in &window.arms {
            let sum = by_version.entry(key.digest.clone()).or_default();
            sum.requests += arm.requests;
            sum.latency.merge(&arm.latency);
        }
        let seconds = elapsed(window.start, window.end).as_secs_f64();
        Self { replica: window.replica.clone(), end: window.end, seconds, by_version }
    }
}

#[cfg(test)]
mod tests {
    use fairway_wire::{ArmKey, Track};

    use super::*;

    /// A window of a router from second to second, with requests of 0.1 s each.
    fn window(replica: &str, from: i64, to: i64, requests: u64) -> Window {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut window = Window::new(replica, 0, at(from), at(to));
        let key = ArmKey { digest: "v".into(), track: Track::Stable, segment: String::new(), arm: String::new() };
        let arm = window.arms.entry(key).or_default();
        arm.requests = requests;
        for _ in 0..requests {
            arm.latency.record(100_000);
        }
        window
    }

    fn rate(recent: &mut Recent, fresh: &[Window]) -> Option<f64> {
        let found = recent.take(fresh, &[("v".to_owned(), 1)].into());
        found.get("v").map(|sample| (sample.requests_per_second * 1e6).round() / 1e6)
    }

    #[test]
    fn routers_add_up_over_the_last_seconds() {
        let mut recent = Recent::default();
        assert_eq!(rate(&mut recent, &[]), None);
        assert_eq!(rate(&mut recent, &[window("a", 0, 10, 100), window("b", 0, 10, 50)]), Some(15.0));
        // Short ones count as much as they are long.
        assert_eq!(rate(&mut recent, &[window("a", 10, 12, 40)]), Some(16.666667));
        // A router whose next window comes a moment later is not missed meanwhile.
        assert_eq!(rate(&mut recent, &[window("a", 12, 14, 40), window("b", 10, 14, 20)]), Some(17.857143));
        // What is older than the span is past, and so is a router that says nothing more.
        assert_eq!(rate(&mut recent, &[window("a", 20, 24, 8)]), Some(2.0));
        let sample = recent.take(&[window("a", 24, 30, 12)], &[("v".to_owned(), 3)].into()).remove("v").unwrap();
        assert!((sample.in_flight - 0.2).abs() < 0.02, "20 requests of 0.1 s in 10 s: {}", sample.in_flight);
        assert_eq!((sample.ready, sample.at), (3, Timestamp::from_second(30).unwrap()));
        assert!(recent.take(&[window("a", 30, 31, 1)], &BTreeMap::new()).is_empty());
    }
}
