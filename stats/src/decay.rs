//! Means in which old events count less.
//!
//! Forward decay (Cormode, Shkapenyuk, Srivastava & Xu, ICDE 2009): weights grow from a
//! landmark instead of shrinking towards now, so that events may come in any order and parts merge. Time is an argument,
//! in seconds from any fixed origin.

use serde::{Deserialize, Serialize};

/// Half-lives after which the landmark moves up, long before 2^x overflows.
const FARTHEST: f64 = 256.0;

/// The weight of an event `age_seconds` ago: 1 now, one half after `half_life_seconds`.
///
/// An event in the future has weight 1. A half-life that is not positive gives 0 to all but the events of now.
pub fn half_life_weight(age_seconds: f64, half_life_seconds: f64) -> f64 {
    let half_lives = age_seconds.max(0.0) / half_life_seconds.max(0.0);
    if half_lives.is_nan() { 1.0 } else { (-half_lives).exp2() }
}

/// A decayed sum and mean in constant memory: mergeable, independent of the order of events up to rounding.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct ForwardDecay {
    half_life_seconds: f64,
    landmark_seconds: f64,
    weight: f64,
    sum: f64,
}

impl ForwardDecay {
    /// Nothing yet. The landmark may be any time near the first event; it only keeps numbers small (0 if it is not finite).
    ///
    /// A half-life below one millisecond (or not a number) counts as one millisecond.
    pub fn new(half_life_seconds: f64, landmark_seconds: f64) -> Self {
        Self {
            half_life_seconds: half_life_seconds.max(1e-3),
            landmark_seconds: if landmark_seconds.is_finite() { landmark_seconds } else { 0.0 },
            weight: 0.0,
            sum: 0.0,
        }
    }

    /// Adds the value of an event. Times and values that are not finite are ignored.
    pub fn record(&mut self, time_seconds: f64, value: f64) {
        if !(time_seconds.is_finite() && value.is_finite()) {
            return;
        }
        if self.half_lives_to(time_seconds) > FARTHEST {
            self.move_landmark(time_seconds);
        }
        let weight = self.half_lives_to(time_seconds).exp2();
        self.weight += weight;
        self.sum += weight * value;
    }

    /// The decayed mean; the same at whatever time it is read. `None` without events.
    pub fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }

    /// The decayed number of events at `now_seconds`: how many events of now they are worth.
    pub fn weight_at(&self, now_seconds: f64) -> f64 {
        self.weight * (-self.half_lives_to(now_seconds)).exp2()
    }

    /// The decayed sum of values at `now_seconds`, in the unit of the values.
    pub fn sum_at(&self, now_seconds: f64) -> f64 {
        self.sum * (-self.half_lives_to(now_seconds)).exp2()
    }

    /// Adds the events of `other`, which must have the same half-life.
    ///
    /// Returns whether it did: with another half-life nothing is changed.
    #[must_use]
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.half_life_seconds != other.half_life_seconds {
            return false;
        }
        let mut other = *other;
        if other.landmark_seconds > self.landmark_seconds {
            self.move_landmark(other.landmark_seconds);
        } else {
            other.move_landmark(self.landmark_seconds);
        }
        self.weight += other.weight;
        self.sum += other.sum;
        true
    }

    fn half_lives_to(&self, time_seconds: f64) -> f64 {
        (time_seconds - self.landmark_seconds) / self.half_life_seconds
    }

    fn move_landmark(&mut self, landmark_seconds: f64) {
        let factor = (-self.half_lives_to(landmark_seconds)).exp2();
        self.landmark_seconds = landmark_seconds;
        self.weight *= factor;
        self.sum *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: f64 = 86_400.0;
    const EVENTS: [(f64, f64); 5] = [(0.0, 1.0), (1.0, 0.0), (4.0, 1.0), (4.5, 1.0), (8.0, 0.0)];
    /// Reference 3.9: pandas `ewm(halflife, times)`.
    const MEANS: [f64; 5] = [1.0, 0.3333333333333333, 0.8947368421052632, 0.951954741748748, 0.13314437694508455];

    #[test]
    fn golden_means() {
        let mut decay = ForwardDecay::new(DAY, 0.0);
        for ((day, value), mean) in EVENTS.into_iter().zip(MEANS) {
            decay.record(day * DAY, value);
            assert!((decay.mean().unwrap() - mean).abs() < 1e-14);
        }
        let backward = |of: fn(f64) -> f64| -> f64 {
            EVENTS.iter().map(|&(day, x)| half_life_weight((10.0 - day) * DAY, DAY) * of(x)).sum()
        };
        assert!((decay.weight_at(10.0 * DAY) - backward(|_| 1.0)).abs() < 1e-14);
        assert!((decay.sum_at(10.0 * DAY) - backward(|x| x)).abs() < 1e-14);
    }

    #[test]
    fn order_parts_and_landmarks_do_not_matter() {
        let mut left = ForwardDecay::new(DAY, 3.0 * DAY);
        let mut right = ForwardDecay::new(DAY, -5.0 * DAY);
        for (i, &(day, value)) in EVENTS.iter().enumerate().rev() {
            let part = if i % 2 == 0 { &mut left } else { &mut right };
            part.record(day * DAY, value);
        }
        let mut other_way = right;
        assert!(left.merge(&right) && other_way.merge(&left));
        assert!((left.mean().unwrap() - MEANS[4]).abs() < 1e-14);
        assert!(!left.merge(&ForwardDecay::new(2.0 * DAY, 0.0)));
    }

    #[test]
    fn long_times_and_odd_values_stay_finite() {
        let mut decay = ForwardDecay::new(1.0, 0.0);
        for hour in 0..1000 {
            decay.record(f64::from(hour) * 3600.0, 2.0);
            decay.record(f64::NAN, 1.0);
            decay.record(0.0, f64::INFINITY);
        }
        assert_eq!(decay.mean(), Some(2.0));
        assert_eq!(ForwardDecay::new(f64::NAN, 0.0).mean(), None);
        assert_eq!(half_life_weight(-5.0, 1.0), 1.0);
        assert_eq!(half_life_weight(0.0, 0.0), 1.0);
        assert_eq!(half_life_weight(1.0, 0.0), 0.0);
    }
}
