//! Exactness against two-pass sums, and merging to the bit.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::drift_samples;

fn of(values: &[f64]) -> Moments {
    let mut moments = Moments::new();
    values.iter().for_each(|&x| moments.record(x));
    moments
}

#[test]
fn the_golden_sample() {
    let (a, _) = drift_samples();
    let moments = of(&a);
    let mean = a.iter().sum::<f64>() / 1000.0;
    let m2: f64 = a.iter().map(|x| (x - mean).powi(2)).sum();
    assert!((moments.mean().unwrap() - mean).abs() < 1e-6);
    assert!((moments.m2().unwrap() / m2 - 1.0).abs() < 1e-6);
    assert!((moments.variance().unwrap() - m2 / 999.0).abs() < 1e-6);
    // The reference's W1 over the standard deviation: 0.03647449700754316 / 0.12702735119566252.
    assert!((moments.deviation().unwrap() - 0.03647449700754316 / 0.12702735119566252).abs() < 1e-6);
    assert_eq!(moments.min(), a.iter().copied().reduce(f64::min).map(|x| Fixed::from_f64(x).to_f64()));
}

#[test]
fn far_from_zero_no_digit_is_lost() {
    // 1e9 + {0, 1, 2}: Σx² is 3e18, M₂ is 2.
    let moments = of(&[1e9, 1e9 + 1.0, 1e9 + 2.0]);
    assert_eq!(moments.m2(), Some(2.0));
    assert_eq!(of(&[-1e9, -1e9 - 1.0, -1e9 - 2.0]).m2(), Some(2.0));
    assert_eq!(of(&[0.1; 7]).m2(), Some(0.0));
    assert_eq!(of(&[0.0, 0.0, 3.0]).m2(), Some(6.0));
}

#[test]
fn odd_values_have_an_answer() {
    let none = of(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    assert_eq!(none, Moments::new());
    assert_eq!((none.mean(), none.variance(), none.deviation(), none.min()), (None, None, None, None));
    assert_eq!(none.m2(), Some(0.0));
    assert_eq!(of(&[2.5]).variance(), None);
    assert_eq!(of(&[f64::MIN_POSITIVE, -f64::MIN_POSITIVE]).max(), Some(0.0));
    let full = of(&[f64::MAX; 5]);
    assert_eq!((full.n(), full.m2(), full.variance()), (5, None, None));
    assert!(full.mean().unwrap() > 9.2e12);
    let (low, high) = (f64::MIN, f64::MAX);
    assert!(of(&[low, high]).m2().unwrap().is_finite());
}

#[test]
fn json_is_checked() {
    let moments = of(&[1.0, 2.0]);
    let text = serde_json::to_string(&moments).unwrap();
    assert_eq!(text, r#"{"n":2,"sum":"3000000","squares":"5000000000000","min":1000000,"max":2000000}"#);
    assert_eq!(serde_json::from_str::<Moments>(&text).unwrap(), moments);
    let broken = [
        text.replace("3000000", "9000000"),
        text.replace("5000000000000", "4"),
        text.replace("3000000", "three"),
        text.replace(r#""n":2"#, r#""n":0"#),
    ];
    for text in broken {
        let error = serde_json::from_str::<Moments>(&text).unwrap_err();
        assert!(error.to_string().starts_with("moments: "), "{text}: {error}");
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), -1e6..1e6_f64, (-3..4_i32).prop_map(f64::from)]
}

proptest! {
    #[test]
    fn merging_is_associative_and_commutative(
        parts in prop::array::uniform3(prop::collection::vec(number(), 0..20)),
    ) {
        let [a, b, c] = parts.clone().map(|values| of(&values));
        let sum = |x: &Moments, y: &Moments| {
            let mut sum = *x;
            sum.merge(y);
            sum
        };
        prop_assert_eq!(sum(&sum(&a, &b), &c), sum(&a, &sum(&b, &c)));
        prop_assert_eq!(sum(&a, &b), sum(&b, &a));
        prop_assert_eq!(sum(&sum(&a, &b), &c), of(&parts.concat()));
        let text = serde_json::to_string(&sum(&a, &b)).unwrap();
        prop_assert_eq!(serde_json::from_str::<Moments>(&text).unwrap(), sum(&a, &b));
    }

    #[test]
    fn nothing_is_nan_and_the_mean_is_within_the_range(values in prop::collection::vec(number(), 1..20)) {
        let m = of(&values);
        prop_assert!(m.m2().is_none_or(|m2| m2 >= 0.0 && m2.is_finite()));
        if let (Some(mean), Some(min), Some(max)) = (m.mean(), m.min(), m.max()) {
            let slack = 1e-9 * (1.0 + mean.abs());
            prop_assert!(min - slack <= mean && mean <= max + slack);
        }
    }
}
