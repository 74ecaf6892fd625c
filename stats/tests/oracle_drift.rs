//! Drift statistics against scipy and statsmodels (`oracles/drift.py`). Runs where `FAIRWAY_ORACLES` names a Python that
//! has them; see `oracles/requirements.txt`.

#[path = "support/oracle.rs"]
mod oracle;

use fairway_stats::drift::{
    adjusted_p, benjamini_hochberg, chi_square, js_distance, kolmogorov_smirnov, ks_on_bins, mann_whitney, psi,
    psi_noise_floor, w1_over_sd,
};
use fairway_stats::moments::Moments;
use serde_json::Value;

/// Closed forms.
const CLOSED: f64 = 1e-9;
/// The body of the distribution of D is a corrected limit: absolute, from n = 100; below, to a percent.
const LIMIT: f64 = 2e-4;
const LIMIT_OF_FEW: f64 = 1e-2;

fn cases() -> Option<Vec<Value>> {
    oracle::run("drift.py", &[]).map(|output| oracle::parse(&output))
}

fn of<T: serde::de::DeserializeOwned>(value: &Value, key: &str) -> T {
    serde_json::from_value(value[key].clone()).unwrap()
}

#[track_caller]
fn close(name: &str, value: f64, expected: f64) {
    let far = (value - expected).abs();
    // Below the least number that is not subnormal, digits are lost on both sides.
    assert!(far <= CLOSED * expected.abs() || far < 1e-300, "{name}: {value:e} here, {expected:e} there");
}

#[test]
fn the_statistics_are_those_of_the_oracles() {
    let Some(cases) = cases() else {
        return;
    };
    assert_eq!(cases.len(), 160);
    for case in cases {
        let (inputs, expected) = (&case["inputs"], &case["expected"]);
        match case["case"].as_str().unwrap() {
            "binned" => binned(inputs, expected),
            "raw" => raw(inputs, expected),
            "multiplicity" => multiplicity(inputs, expected),
            "moments" => moments(inputs, expected),
            other => panic!("no such case: {other}"),
        }
    }
}

fn binned(inputs: &Value, expected: &Value) {
    let (edges, reference, current): (Vec<f64>, Vec<u64>, Vec<u64>) =
        (of(inputs, "edges"), of(inputs, "reference"), of(inputs, "current"));
    let number = |key| of::<f64>(expected, key);
    close("psi", psi(&reference, &current), number("psi"));
    let (n, m) = (reference.iter().sum(), current.iter().sum());
    close("noise floor", psi_noise_floor(n, m, reference.len()), number("noise_floor"));
    close("ks on bins", ks_on_bins(&reference, &current), number("ks"));
    close("w1", w1_over_sd(&edges, &reference, &current).unwrap(), number("w1_over_sd"));
    // The root magnifies the rounding of a divergence near 0.
    let (js, there) = (js_distance(&reference, &current), number("js_distance"));
    assert!((js * js - there * there).abs() <= 1e-9 * there * there + 1e-15, "js: {js} here, {there} there");
    let test = chi_square(&reference, &current);
    close("chi-square", test.statistic, number("chi_square"));
    assert_eq!(test.freedom, of::<usize>(expected, "freedom"));
    close("p of chi-square", test.p, number("p"));
}

fn raw(inputs: &Value, expected: &Value) {
    let (a, b): (Vec<f64>, Vec<f64>) = (of(inputs, "a"), of(inputs, "b"));
    let number = |key| of::<f64>(expected, key);
    let ks = kolmogorov_smirnov(&a, &b).unwrap();
    close("d", ks.d, number("d"));
    let n = (a.len() * b.len()) as f64 / (a.len() + b.len()) as f64;
    if n.round() * ks.d * ks.d >= 2.2 {
        close("p of d", ks.p, number("p_of_d"));
    } else {
        let (far, most) = ((ks.p - number("p_of_d")).abs(), if n >= 100.0 { LIMIT } else { LIMIT_OF_FEW });
        assert!(far <= most, "p of d at n = {n}: {far:e}");
    }
    let u = mann_whitney(&a, &b).unwrap();
    close("u", u.u, number("u"));
    close("p of u", u.p, number("p"));
    close("one-sided p of u", u.p_greater, number("p_greater"));
}

fn multiplicity(inputs: &Value, expected: &Value) {
    let p: Vec<f64> = of(inputs, "p");
    assert_eq!(benjamini_hochberg(&p, 0.05), of::<Vec<bool>>(expected, "reject"));
    for (here, there) in adjusted_p(&p).into_iter().zip(of::<Vec<f64>>(expected, "adjusted")) {
        close("adjusted p", here, there);
    }
}

fn moments(inputs: &Value, expected: &Value) {
    let mut moments = Moments::new();
    of::<Vec<f64>>(inputs, "x").into_iter().for_each(|x| moments.record(x));
    let table = [
        ("mean", moments.mean()),
        ("variance", moments.variance()),
        ("deviation", moments.deviation()),
        ("min", moments.min()),
        ("max", moments.max()),
    ];
    for (name, here) in table {
        close(name, here.unwrap(), of(expected, name));
    }
}
