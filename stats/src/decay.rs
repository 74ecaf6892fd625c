//! Means in which old events count less.
//!
//! Forward decay (Cormode, Shkapenyuk, Srivastava & Xu, ICDE 2009): weights grow from a
//! landmark (time 0) instead of shrinking towards now, so that events may come in any order and parts merge. Time is an
//! argument, in seconds from any fixed origin; all parts that are merged must have the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fixed::Fixed;

/// Half-lives that are kept apart; older events are dropped.
const SUMS: i64 = 64;
/// The weight 1: 2⁵².
const UNIT: f64 = (1_u64 << 52) as f64;
/// Half-lives in seconds.
const SHORTEST: f64 = 1e-3;
const LONGEST: f64 = 1e12;

/// The weight of an event `age_seconds` ago: 1 now, one half after `half_life_seconds`.
///
/// An event in the future has weight 1. A half-life that is not positive gives 0 to all but the events of now.
pub fn half_life_weight(age_seconds: f64, half_life_seconds: f64) -> f64 {
    let half_lives = age_seconds.max(0.0) / half_life_seconds.max(0.0);
    if half_lives.is_nan() { 1.0 } else { (-half_lives).exp2() }
}

/// A decayed sum and mean in bounded memory: mergeable, independent of the order of events.
///
/// An event at time t weighs 2^(t / half-life): its whole half-lives say to which of at most 64 sums it goes, the rest is
/// a weight in [1, 2) that is kept as an integer (units of 2⁻⁵²), and values are rounded to millionths ([`Fixed`]). So all
/// sums are integers. Those of events more than 64 half-lives older than the newest (2⁻⁶⁴ of its weight) are dropped.
/// Recording allocates only at the first event of a half-life.
///
/// As JSON: `{"half_life_seconds":60.0,"sums":[[0,"4503599627370496","4503599627370496000000"]]}`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(into = "Parts", try_from = "Parts")]
pub struct ForwardDecay {
    half_life_seconds: f64,
    /// By whole half-lives since time 0; never more than [`SUMS`].
    sums: BTreeMap<i64, Sums>,
}

/// Integer sums of the events of one half-life.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    /// Of weights, in 2⁻⁵².
    weight: u128,
    /// Of weight times value, in 2⁻⁵² millionths; full after 2³³ events of a million units, or more of less.
    value: i128,
}

/// What is written. Not every JSON reader has integers of 128 bits, so those are text.
#[derive(Serialize, Deserialize)]
struct Parts {
    half_life_seconds: f64,
    sums: Vec<(i64, String, String)>,
}

impl ForwardDecay {
    /// Nothing yet. Half-lives are kept within a millisecond and 10¹² seconds; NaN counts as a millisecond.
    pub fn new(half_life_seconds: f64) -> Self {
        let half_life = if half_life_seconds.is_nan() { SHORTEST } else { half_life_seconds.clamp(SHORTEST, LONGEST) };
        Self { half_life_seconds: half_life, sums: BTreeMap::new() }
    }

    /// Adds the value of an event. Times and values that are not finite are ignored.
    pub fn record(&mut self, time_seconds: f64, value: f64) {
        if !(time_seconds.is_finite() && value.is_finite()) {
            return;
        }
        let half_lives = time_seconds / self.half_life_seconds;
        let whole = half_lives.floor();
        // In [1, 2]: 53 bits, all of them before the point.
        let weight = ((half_lives - whole).exp2() * UNIT) as u64;
        let weighted = i128::from(weight) * i128::from(Fixed::from_f64(value).0);
        self.add(whole as i64, Sums { weight: weight.into(), value: weighted });
        self.forget();
    }

    /// The decayed mean; the same at whatever time it is read. `None` without events.
    pub fn mean(&self) -> Option<f64> {
        let newest = *self.sums.last_key_value()?.0 as f64;
        let weight = self.total(newest, |sums| sums.weight as f64);
        Some(self.total(newest, |sums| sums.value as f64) / weight / 1e6)
    }

    /// The decayed number of events at `now_seconds`: how many events of now they are worth.
    pub fn weight_at(&self, now_seconds: f64) -> f64 {
        self.total(now_seconds / self.half_life_seconds, |sums| sums.weight as f64) / UNIT
    }

    /// The decayed sum of values at `now_seconds`, in the unit of the values.
    pub fn sum_at(&self, now_seconds: f64) -> f64 {
        self.total(now_seconds / self.half_life_seconds, |sums| sums.value as f64) / UNIT / 1e6
    }

    /// Adds the events of `other`, which must have the same half-life: exact, associative and commutative.
    ///
    /// Returns whether it did: with another half-life nothing is changed.
    #[must_use]
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.half_life_seconds != other.half_life_seconds {
            return false;
        }
        other.sums.iter().for_each(|(&whole, &sums)| self.add(whole, sums));
        self.forget();
        true
    }

    fn add(&mut self, whole: i64, more: Sums) {
        let sums = self.sums.entry(whole).or_default();
        sums.weight = sums.weight.saturating_add(more.weight);
        sums.value = sums.value.saturating_add(more.value);
    }

    /// Drops what is too old to count. The newest only grows, so that it does not matter when this happens.
    fn forget(&mut self) {
        if let Some((&newest, _)) = self.sums.last_key_value() {
            while self.sums.first_entry().is_some_and(|oldest| *oldest.key() <= newest.saturating_sub(SUMS)) {
                self.sums.pop_first();
            }
        }
    }

    /// The sum at `half_lives` after time 0, always added in the order of time; 0 where `half_lives` is NaN.
    fn total(&self, half_lives: f64, of: fn(&Sums) -> f64) -> f64 {
        let sums = self.sums.iter().map(|(&whole, sums)| of(sums) * (whole as f64 - half_lives).exp2());
        let total: f64 = sums.sum();
        if total.is_nan() { 0.0 } else { total }
    }
}

impl From<ForwardDecay> for Parts {
    fn from(decay: ForwardDecay) -> Self {
        let sums = decay.sums.iter().map(|(&whole, s)| (whole, s.weight.to_string(), s.value.to_string()));
        Self { half_life_seconds: decay.half_life_seconds, sums: sums.collect() }
    }
}

impl TryFrom<Parts> for ForwardDecay {
    type Error = String;

    fn try_from(parts: Parts) -> Result<Self, String> {
        let mut decay = Self::new(parts.half_life_seconds);
        for (whole, weight, value) in parts.sums {
            let (Ok(weight), Ok(value)) = (weight.parse(), value.parse()) else {
                return Err(format!("decayed sum: the sums of half-life {whole} are not whole numbers; count anew"));
            };
            if weight > 0 {
                decay.add(whole, Sums { weight, value });
            }
        }
        decay.forget();
        Ok(decay)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: f64 = 86_400.0;
    const EVENTS: [(f64, f64); 5] = [(0.0, 1.0), (1.0, 0.0), (4.0, 1.0), (4.5, 1.0), (8.0, 0.0)];
    /// Reference 3.9: pandas `ewm(halflife, times)`.
    const MEANS: [f64; 5] = [1.0, 0.3333333333333333, 0.8947368421052632, 0.951954741748748, 0.13314437694508455];

    #[test]
    fn golden_means() {
        let mut decay = ForwardDecay::new(DAY);
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
    fn order_and_parts_do_not_matter() {
        let mut left = ForwardDecay::new(DAY);
        let mut right = ForwardDecay::new(DAY);
        for (i, &(day, value)) in EVENTS.iter().enumerate().rev() {
            let part = if i % 2 == 0 { &mut left } else { &mut right };
            part.record(day * DAY, value);
        }
        let mut other_way = right.clone();
        assert!(other_way.merge(&left) && left.merge(&right));
        assert_eq!(left, other_way);
        assert!((left.mean().unwrap() - MEANS[4]).abs() < 1e-14);
        assert!(!left.merge(&ForwardDecay::new(2.0 * DAY)));
    }

    #[test]
    fn long_times_and_odd_values_stay_finite() {
        let mut decay = ForwardDecay::new(1.0);
        for hour in 0..1000 {
            decay.record(f64::from(hour) * 3600.0, 2.0);
            decay.record(f64::NAN, 1.0);
            decay.record(0.0, f64::INFINITY);
        }
        assert_eq!(decay.mean(), Some(2.0));
        assert_eq!((decay.weight_at(f64::NAN), decay.sum_at(f64::INFINITY), decay.sums.len()), (0.0, 0.0, 1));
        assert_eq!(ForwardDecay::new(f64::NAN).mean(), None);
        assert_eq!(half_life_weight(-5.0, 1.0), 1.0);
        assert_eq!(half_life_weight(0.0, 0.0), 1.0);
        assert_eq!(half_life_weight(1.0, 0.0), 0.0);
    }

    #[test]
    fn json_is_checked() {
        let mut decay = ForwardDecay::new(60.0);
        decay.record(30.0, 1.0);
        decay.record(-60.0, -0.5);
        let text = serde_json::to_string(&decay).unwrap();
        assert_eq!(serde_json::from_str::<ForwardDecay>(&text).unwrap(), decay);
        let broken = r#"{"half_life_seconds":60.0,"sums":[[3,"1.5","2"]]}"#;
        let error = serde_json::from_str::<ForwardDecay>(broken).unwrap_err();
        assert!(error.to_string().contains("the sums of half-life 3 are not whole numbers"));
    }

    proptest! {
        #[test]
        fn merging_is_associative_and_commutative(
            parts in prop::array::uniform3(prop::collection::vec((-300.0..300.0_f64, -1e6..1e6_f64), 0..20)),
        ) {
            let of = |events: &[(f64, f64)]| {
                let mut decay = ForwardDecay::new(3.0);
                events.iter().for_each(|&(time, value)| decay.record(time, value));
                decay
            };
            let sum = |x: &ForwardDecay, y: &ForwardDecay| {
                let mut sum = x.clone();
                prop_assert!(sum.merge(y));
                Ok(sum)
            };
            let [a, b, c] = [of(&parts[0]), of(&parts[1]), of(&parts[2])];
            let all = sum(&sum(&a, &b)?, &c)?;
            prop_assert_eq!(&all, &sum(&a, &sum(&b, &c)?)?);
            prop_assert_eq!(sum(&a, &b)?, sum(&b, &a)?);
            prop_assert_eq!(&all, &of(&parts.concat()));
            prop_assert!(all.sums.len() <= 64 && all.mean().is_none_or(|mean| mean.abs() <= 1e6 + 1e-3));
        }
    }
}
