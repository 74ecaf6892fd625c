//! The alarms of river 0.26.1, and odd streams.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::Stream;

fn adwin_alarms(clock: u32, values: &[f64]) -> Vec<usize> {
    let mut adwin = Adwin::new(AdwinRule { clock, ..AdwinRule::default() });
    values.iter().enumerate().filter(|(_, x)| adwin.update(**x).is_some()).map(|(i, _)| i).collect()
}

/// Reference 3.2: 2000 draws u, then 2000 draws u + ½.
fn half_a_unit_up() -> Vec<f64> {
    let mut stream = Stream::new(12_345);
    (0..4000).map(|i| stream.uniform() + if i < 2000 { 0.0 } else { 0.5 }).collect()
}

#[test]
fn golden_alarms() {
    let values = half_a_unit_up();
    assert_eq!(adwin_alarms(32, &values), [2047]);
    assert_eq!(adwin_alarms(1, &values), [2023]);
    let mut stream = Stream::new(777);
    let clicks: Vec<f64> =
        (0..6000).map(|i| f64::from(u8::from(stream.uniform() < if i < 3000 { 0.2 } else { 0.35 }))).collect();
    assert_eq!(adwin_alarms(32, &clicks), [3167]);
}

#[test]
fn golden_state() {
    let mut adwin = Adwin::default();
    half_a_unit_up()[..1500].iter().for_each(|&x| assert_eq!(adwin.update(x), None));
    assert_eq!(adwin.width(), 1500);
    assert!((adwin.total - 753.448643908836).abs() < 1e-9);
    assert!((adwin.squared_deviations() - 124.8305765325197).abs() < 1e-9);
    assert!((adwin.mean() - 0.502299095939224).abs() < 1e-12);
    let buckets: usize = adwin.rows.iter().map(Vec::len).sum();
    assert!(buckets <= 6 * adwin.rows.len() && adwin.rows.len() <= 10, "{buckets}");
}

#[test]
fn an_alarm_says_what_moved() {
    let mut adwin = Adwin::default();
    let shift = half_a_unit_up().into_iter().find_map(|x| adwin.update(x)).unwrap();
    assert!(shift.before < 0.52 && shift.after > 0.9 && shift.after_n < 60, "{shift:?}");
    assert_eq!(shift.before_n + shift.after_n, 2048);
    assert!(shift.apart() > shift.limit);
    let sentence = Shift { before: 0.5, before_n: 2000, after: 1.0, after_n: 48, limit: 0.4 }.sentence();
    let expected = "the mean moved from 0.5000 (2000 values) to 1.0000 (48 values): 0.5000 apart, more than 0.4000";
    assert_eq!(sentence, expected);
    // The old part is gone, and the next value begins anew.
    assert!(adwin.width() < 2048 && adwin.mean() > shift.before);
    adwin.update(3.0);
    assert_eq!((adwin.width(), adwin.mean(), adwin.squared_deviations()), (1, 3.0, 0.0));
}

#[test]
fn a_clean_stream_does_not_alarm() {
    for seed in 0..10 {
        let mut stream = Stream::new(seed);
        let clicks: Vec<f64> = (0..20_000).map(|_| f64::from(u8::from(stream.uniform() < 0.05))).collect();
        assert!(adwin_alarms(32, &clicks).is_empty());
    }
}

#[test]
fn odd_settings_and_values_are_harmless() {
    let mut adwin = Adwin::new(AdwinRule { delta: f64::NAN, clock: 0, max_buckets: 0, minimum_side: 0, grace: 0 });
    (0..2000).for_each(|i| assert_eq!(adwin.update(f64::from(i / 1000)), None));
    assert_eq!((adwin.width(), adwin.rule.delta), (2000, 0.002));
    for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(adwin.update(x), None);
    }
    assert_eq!(adwin.width(), 2000);
}

proptest! {
    #[test]
    fn state_survives_json_to_the_bit_and_nothing_is_nan(
        values in prop::collection::vec(prop_oneof![any::<f64>(), -1.0..1.0_f64, Just(f64::MAX), Just(5e-324)], 0..400),
        more in prop::collection::vec(-1.0..1.0_f64, 100),
        clock in 1..40_u32,
    ) {
        let mut adwin = Adwin::new(AdwinRule { clock, ..AdwinRule::default() });
        for &x in &values {
            prop_assert!(adwin.update(x).is_none_or(|s| s.before.is_finite() && s.after.is_finite()));
            prop_assert!(adwin.mean().is_finite() && adwin.squared_deviations() >= 0.0);
        }
        let text = serde_json::to_string(&adwin).unwrap();
        let mut again: Adwin = serde_json::from_str(&text).unwrap();
        for x in more {
            prop_assert_eq!(again.update(x), adwin.update(x));
        }
        prop_assert_eq!(again, adwin);
    }

    #[test]
    fn a_state_that_was_tampered_with_does_not_panic(
        rows in prop::collection::vec(prop::collection::vec((any::<f64>(), any::<f64>()), 0..9), 0..70),
        width in any::<f64>(), max_buckets in any::<u8>(), clock in 0..3_u32,
    ) {
        let rows = rows.into_iter().map(|row| row.into_iter().map(|(sum, m2)| Bucket { sum, m2 }).collect()).collect();
        let rule = AdwinRule { delta: -1.0, clock, max_buckets, minimum_side: 0, grace: 0 };
        let mut adwin = Adwin { rule, ticks: u64::MAX - 50, width, total: 0.0, m2: -1.0, alarmed: false, rows };
        for i in 0..40 {
            adwin.update(f64::from(i));
        }
    }
}
