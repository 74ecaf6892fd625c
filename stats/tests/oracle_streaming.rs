//! Streaming detectors, risk, estimates and martingales against the Python libraries that have them, live.
//!
//! Runs where `FAIRWAY_ORACLES` names a Python with the versions of `oracles/requirements.txt`; elsewhere it says
//! SKIPPED, or fails if `FAIRWAY_REQUIRE_TOOLS=1`. Closed forms agree to 1e-9, relative; alarms to the very value.

#[path = "support/oracle.rs"]
mod oracle;

use fairway_stats::adwin::{Adwin, AdwinRule};
use fairway_stats::c2st::{C2stRule, c2st};
use fairway_stats::estimate::{Calibrator, estimate};
use fairway_stats::martingale::{CompositeJumper, SimpleJumper};
use fairway_stats::risk::{Betting, EmpiricalBernstein, rate};
use serde_json::Value;

#[test]
fn streaming_agrees_with_its_oracles() {
    let Some(output) = oracle::run("streaming.py", &[]) else {
        return;
    };
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for case in oracle::parse(&output) {
        let (name, inputs, expected) = (case["case"].as_str().unwrap(), &case["inputs"], &case["expected"]);
        *seen.entry(name.to_owned()).or_default() += 1;
        match name {
            "adwin" => adwin(inputs, expected),
            "sequences" => sequences(inputs, expected),
            "rate" => rates(inputs, expected),
            "c2st" => two_samples(inputs, expected),
            "estimate" => estimates(inputs, expected),
            "jumper" => jumpers(inputs, expected),
            other => panic!("unknown case {other}"),
        }
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    println!("agreed: {seen:?}");
}

#[track_caller]
fn close(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance * expected.abs().max(1e-3), "{value} {expected}");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn integer(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

#[track_caller]
fn same_alarms(inputs: &Value, expected: &Value, mut alarms: impl FnMut(f64) -> bool) {
    let values = numbers(&inputs["values"]);
    let found: Vec<Value> = (0..values.len()).filter(|&i| alarms(values[i])).map(Value::from).collect();
    assert_eq!(&Value::from(found), &expected["alarms"], "{} {}", inputs["name"], inputs["rule"]);
}

fn adwin(inputs: &Value, expected: &Value) {
    let rule = &inputs["rule"];
    let mut adwin = Adwin::new(AdwinRule {
        delta: number(&rule["delta"]),
        clock: integer(&rule["clock"]),
        max_buckets: u8::try_from(integer(&rule["max_buckets"])).unwrap(),
        minimum_side: integer(&rule["min_window_length"]),
        grace: integer(&rule["grace_period"]),
    });
    same_alarms(inputs, expected, |x| adwin.update(x).is_some());
    close(adwin.width() as f64, number(&expected["width"]), 0.0);
    close(adwin.mean(), number(&expected["mean"]), 1e-9);
    close(adwin.squared_deviations(), number(&expected["squares"]), 1e-9);
}

fn sequences(inputs: &Value, expected: &Value) {
    let alpha = number(&inputs["alpha"]);
    let (mut bernstein, mut betting) = (EmpiricalBernstein::new(alpha), Betting::new(alpha, 1001));
    for loss in numbers(&inputs["losses"]) {
        bernstein.update(loss);
        betting.update(loss);
    }
    for (found, name) in [(bernstein.interval(), "bernstein"), (betting.interval(), "betting")] {
        let expected = numbers(&expected[name]);
        close(found.lower, expected[0], 1e-9);
        close(found.upper, expected[1], 1e-9);
    }
}

fn rates(inputs: &Value, expected: &Value) {
    let (successes, n) = (inputs["successes"].as_u64().unwrap(), inputs["n"].as_u64().unwrap());
    let found = rate(successes, n, number(&inputs["alpha"])).unwrap();
    let expected = numbers(expected);
    // Both bisect; the log Beta function differs in its last digits.
    close(found.lower, expected[0], 1e-9);
    close(found.upper, expected[1], 1e-9);
}

fn two_samples(inputs: &Value, expected: &Value) {
    let rows = |name: &str| numbers(&inputs[name]).into_iter().map(|x| x as f32).collect::<Vec<f32>>();
    let rule = C2stRule { ridge: number(&inputs["ridge"]), ..C2stRule::default() };
    let dimensions = usize::try_from(integer(&inputs["dimensions"])).unwrap();
    let found = c2st(&rule, &rows("reference"), &rows("current"), dimensions).unwrap();
    // The scores agree to about 1e-8, so that their ranks are the same.
    close(found.auc, number(&expected["auc"]), 1e-9);
    let p = number(&expected["p"]);
    assert!((found.p - p).abs() <= 1e-9 * p, "{} {p}", found.p);
    assert_eq!(found.strongest.map(Value::from).as_ref(), Some(&expected["strongest"]));
}

fn estimates(inputs: &Value, expected: &Value) {
    let labels = inputs["labels"].as_array().unwrap().iter().map(|l| l.as_bool().unwrap());
    let labelled: Vec<(f64, bool)> = numbers(&inputs["scores"]).into_iter().zip(labels).collect();
    let calibrator = Calibrator::fit(&labelled).unwrap();
    let fresh = numbers(&inputs["fresh"]);
    for (&score, p) in fresh.iter().zip(numbers(&expected["calibrated"])) {
        close(calibrator.calibrate(score), p, 1e-9);
    }
    let advice = estimate(&fresh, Some(&calibrator), number(&inputs["threshold"])).unwrap();
    close(advice.auc.unwrap(), number(&expected["auc"]), 1e-9);
    close(advice.log_loss, number(&expected["log_loss"]), 1e-9);
    close(advice.accuracy(), number(&expected["accuracy"]), 1e-9);
    close(advice.f1(), number(&expected["f1"]), 1e-9);
    let counts = [advice.true_positives, advice.false_positives, advice.false_negatives, advice.true_negatives];
    counts.into_iter().zip(numbers(&expected["counts"])).for_each(|(found, expected)| close(found, expected, 1e-9));
}

fn jumpers(inputs: &Value, expected: &Value) {
    let p = numbers(&inputs["p"]);
    let mut composite = CompositeJumper::default();
    p.iter().for_each(|&p| composite.update(p));
    close(composite.ln_e(), number(&expected["composite"]), 1e-9);
    for simple in expected["simple"].as_array().unwrap() {
        let mut jumper = SimpleJumper::new(number(&simple[0]));
        p.iter().for_each(|&p| jumper.update(p));
        close(jumper.ln_e(), number(&simple[1]), 1e-9);
    }
}
