//! Known values, and the promise.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::Stream;

#[track_caller]
fn close(value: f64, expected: f64) {
    assert!((value - expected).abs() <= 1e-9, "{value} {expected}");
}

/// Reference 3.3: 200 draws u, then 200 draws u².
fn p_values() -> Vec<f64> {
    let mut stream = Stream::new(12_345);
    (0..400).map(|i| stream.uniform().powi(if i < 200 { 1 } else { 2 })).collect()
}

fn jumped(jump: f64, p: &[f64]) -> f64 {
    let mut jumper = SimpleJumper::new(jump);
    p.iter().for_each(|&p| jumper.update(p));
    jumper.ln_e()
}

#[test]
fn golden_values() {
    let p = p_values();
    let table =
        [(199, -1.6991358906705043), (200, -1.681120736753997), (399, 22.702828486042538), (400, 22.465873018181505)];
    table.into_iter().for_each(|(n, expected)| close(jumped(0.01, &p[..n]), expected));
    let table = [(1e-4, 19.694163204123786), (1e-3, 21.730189460169765), (0.1, 14.577186389875836), (1.0, 0.0)];
    table.into_iter().for_each(|(jump, expected)| close(jumped(jump, &p), expected));
    let mut composite = CompositeJumper::default();
    p.iter().for_each(|&p| composite.update(p));
    close(composite.ln_e(), 21.28958523511236);
}

#[test]
fn cusum_forgets_the_quiet_past() {
    let mut jumper = SimpleJumper::new(0.01);
    let greatest = p_values().into_iter().fold(0.0, |greatest: f64, p| {
        jumper.update(p);
        greatest.max(jumper.ln_cusum())
    });
    assert!(greatest > jumper.ln_e() && jumper.ln_cusum() > 24.0, "{greatest}");
}

#[test]
fn ranks_become_p_values() {
    let reference = [1.0, 2.0, 2.0, 3.0];
    close(conformal_p(&reference, 2.0, 0.5), (1.0 + 0.5 * 3.0) / 5.0);
    close(conformal_p(&reference, 9.0, 1.0), 0.2);
    close(conformal_p(&reference, 0.0, 0.0), 0.8);
    close(conformal_p(&[], 1.0, 0.3), 0.3);
    close(conformal_p(&reference, f64::NAN, 0.3), 0.5);
    close(conformal_p(&[], 1.0, f64::NAN), 0.5);
}

#[test]
fn evidence_without_a_change_is_rare() {
    let mut stream = Stream::new(3);
    let runs = 200;
    let wrong = (0..runs).filter(|_| {
        let mut composite = CompositeJumper::default();
        (0..1000).any(|_| {
            composite.update(stream.uniform());
            composite.ln_e() >= 20.0_f64.ln()
        })
    });
    let wrong = wrong.count();
    assert!(wrong <= runs / 20, "{wrong} of {runs}");
}

proptest! {
    #[test]
    fn never_nan_and_survives_json(p in prop::collection::vec(any::<f64>(), 0..50), jump in any::<f64>()) {
        let mut jumper = SimpleJumper::new(jump);
        p.iter().for_each(|&p| jumper.update(p.fract().abs()));
        p.iter().for_each(|&p| jumper.update(p));
        prop_assert!(jumper.ln_e().is_finite() && jumper.ln_cusum() >= 0.0);
        let text = serde_json::to_string(&jumper).unwrap();
        prop_assert_eq!(serde_json::from_str::<SimpleJumper>(&text).unwrap(), jumper);
    }
}
