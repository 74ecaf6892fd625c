//! A track's load over sliding windows, weighted by time. Bounded: short samples share a slot.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::worth;
use super::{Sample, ScalingPolicy};
use crate::plan::elapsed;

/// Most slots that are kept: a stable window of a slot each sixtieth, and the ends.
const SLOTS: usize = 64;
/// No load is greater; keeps sums finite.
const MOST: f64 = 1e12;

/// What the samples that ended in `(from, to]` said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slot {
    from: Timestamp,
    to: Timestamp,
    in_flight: f64,
    requests_per_second: f64,
    p95: Option<Duration>,
}

/// Answers over the limit.
pub(super) struct Slow {
    /// The slowest of the stable window.
    pub(super) p95: Duration,
    /// Whether every sample of the panic window was over it.
    pub(super) still: bool,
}

/// Samples of the last stable window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Windows(VecDeque<Slot>);

impl Windows {
    /// Adds a sample; answers whether it was one that counts: a number, newer than the last, and not older than the
    /// stable window. One from a clock that runs ahead counts as of now.
    ///
    /// It speaks for the time since the one before, but not for longer than the panic window: nobody knows what happened
    /// in a gap.
    pub(super) fn take(&mut self, policy: &ScalingPolicy, sample: &Sample, now: Timestamp) -> bool {
        let at = sample.at.min(now);
        let usable = |x: f64| x.is_finite() && x >= 0.0;
        let late = self.0.back().is_some_and(|last| at <= last.to) || elapsed(at, now) > policy.stable_window;
        if late || !usable(sample.in_flight) || !usable(sample.requests_per_second) {
            return false;
        }
        let reach = policy.panic_window.max(Duration::from_millis(1));
        let reach = self.0.back().map_or(reach, |last| reach.min(elapsed(last.to, at)));
        let slot = Slot {
            from: at.checked_sub(reach).unwrap_or(at),
            to: at,
            in_flight: sample.in_flight.min(MOST),
            requests_per_second: sample.requests_per_second.min(MOST),
            p95: sample.p95,
        };
        let resolution = policy.stable_window / 60;
        match self.0.back_mut().filter(|last| last.to == slot.from && elapsed(last.from, last.to) < resolution) {
            Some(last) => last.extend(&slot),
            None => self.0.push_back(slot),
        }
        while self.0.len() > SLOTS || self.0.front().is_some_and(|slot| elapsed(slot.to, at) > policy.stable_window) {
            self.0.pop_front();
        }
        true
    }

    /// The load of the last `window` in replicas' worth.
    pub(super) fn worth(&self, policy: &ScalingPolicy, window: Duration) -> f64 {
        worth(policy, self.in_flight(window), self.requests_per_second(window))
    }

    /// Requests in flight over the last `window`.
    pub(super) fn in_flight(&self, window: Duration) -> f64 {
        self.mean(window, |slot| slot.in_flight)
    }

    /// Requests a second over the last `window`.
    pub(super) fn requests_per_second(&self, window: Duration) -> f64 {
        self.mean(window, |slot| slot.requests_per_second)
    }

    /// Whether answers were slower than `limit` within the stable window.
    pub(super) fn slow(&self, policy: &ScalingPolicy, limit: Duration) -> Option<Slow> {
        let p95 =
            self.within(policy.stable_window).filter_map(|(slot, _)| slot.p95).max().filter(|p95| *p95 > limit)?;
        let still = self.within(policy.panic_window).all(|(slot, _)| slot.p95.is_some_and(|p95| p95 > limit));
        Some(Slow { p95, still })
    }

    fn mean(&self, window: Duration, of: impl Fn(&Slot) -> f64) -> f64 {
        let (sum, time) = self
            .within(window)
            .map(|(slot, part)| (of(slot) * part.as_secs_f64(), part.as_secs_f64()))
            .fold((0.0, 0.0), |(sum, time), (value, part)| (sum + value, time + part));
        if time > 0.0 { sum / time } else { 0.0 }
    }

    /// Slots of the `window` that ends with the last sample, each with the time that lies in it.
    fn within(&self, window: Duration) -> impl Iterator<Item = (&Slot, Duration)> {
        let end = self.0.back().map(|last| last.to);
        self.0.iter().filter_map(move |slot| {
            let age = |t| elapsed(t, end.unwrap_or(t)).min(window);
            let part = age(slot.from).saturating_sub(age(slot.to));
            (!part.is_zero()).then_some((slot, part))
        })
    }
}

impl Slot {
    /// Takes in the slot that follows: means by time, the slower of both.
    fn extend(&mut self, next: &Self) {
        let [mine, theirs] = [elapsed(self.from, self.to), elapsed(next.from, next.to)].map(|d| d.as_secs_f64());
        let part = theirs / (mine + theirs).max(f64::MIN_POSITIVE);
        let mix = |a: f64, b: f64| a + (b - a) * part;
        self.in_flight = mix(self.in_flight, next.in_flight);
        self.requests_per_second = mix(self.requests_per_second, next.requests_per_second);
        self.p95 = self.p95.max(next.p95);
        self.to = next.to;
    }
}
