//! Off-policy estimates and exploration against obp and scipy (`oracles/ope.py`), when `FAIRWAY_ORACLES` names a Python
//! that has them; the random Open Bandit logs also need `FAIRWAY_GOLDEN`, the directory of `action_dist_bts_*.csv`.

#[path = "support/oracle.rs"]
mod oracle;

use fairway_stats::bandit::{BetaArm, GaussianArm, best_of_beta, best_of_gaussian};
use fairway_stats::ope::{Decision, OffPolicy, Prediction, Reason, Row, Screen, Weighting, assess, estimate};
use serde_json::Value;

/// The lines of the script, or none where it cannot run.
fn cases() -> Vec<Value> {
    let golden: Vec<String> = std::env::var("FAIRWAY_GOLDEN").into_iter().collect();
    if golden.is_empty() {
        println!("SKIPPED: the random Open Bandit logs, FAIRWAY_GOLDEN names no directory");
    }
    let Some(output) = oracle::run("ope.py", &golden) else {
        return Vec::new();
    };
    if String::from_utf8_lossy(&output.stderr).contains("No module named 'obp'") {
        oracle::skip("this Python has no obp: install oracles/requirements-ope.txt");
        return Vec::new();
    }
    oracle::parse(&output)
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[track_caller]
fn close(value: f64, expected: &Value, tolerance: f64) {
    let expected = expected.as_f64().unwrap();
    assert!((value - expected).abs() <= tolerance * expected.abs().max(1e-3), "{value} {expected}");
}

fn rows(inputs: &Value) -> Vec<Row> {
    let column = |name: &str| numbers(&inputs[name]);
    let (reward, logged, evaluated) = (column("reward"), column("logged"), column("evaluated"));
    let row = |i: usize| Row {
        cluster: i as u64,
        position: 0,
        reward: reward[i],
        logged: logged[i],
        evaluated: evaluated[i],
        unsupported: 0.0,
    };
    (0..reward.len()).map(row).collect()
}

/// What needs no model: IPS, SNIPS, limited weights, errors, diagnostics.
fn compare_without_model(rows: &[Row], expected: &Value) -> OffPolicy {
    let of = |weighting| estimate(rows, None, weighting, 0.05).unwrap();
    close(of(Weighting::Full).value, &expected["ips"], 1e-12);
    close(of(Weighting::Normalised).value, &expected["snips"], 1e-12);
    close(of(Weighting::Normalised).standard_error, &expected["snips_error"], 1e-12);
    for (lambda, value) in expected["clipped"].as_object().unwrap() {
        close(of(Weighting::Clipped(lambda.parse().unwrap())).value, value, 1e-12);
    }
    for (lambda, value) in expected["sub_gaussian"].as_object().unwrap() {
        close(of(Weighting::SubGaussian(lambda.parse().unwrap())).value, value, 1e-12);
    }
    let found = assess(&Screen::default(), rows, None).unwrap();
    let d = found.diagnostics;
    close(found.bernstein_lower.unwrap(), &expected["bernstein"], 1e-11);
    close(d.effective, &expected["effective"], 1e-12);
    close(d.mean_weight, &expected["mean_weight"], 1e-12);
    close(d.mean_weight_error, &expected["mean_weight_error"], 1e-12);
    close(d.largest_share, &expected["largest_share"], 1e-12);
    found
}

fn compare_with_model(rows: &[Row], inputs: &Value, expected: &Value) {
    let model: Vec<Prediction> = numbers(&inputs["shown"])
        .into_iter()
        .zip(numbers(&inputs["policy"]))
        .map(|(shown, policy)| Prediction { shown, policy })
        .collect();
    let of = |weighting| estimate(rows, Some(&model), weighting, 0.05).unwrap();
    close(of(Weighting::Model).value, &expected["dm"], 1e-12);
    close(of(Weighting::Full).value, &expected["dr"], 1e-12);
    close(of(Weighting::Full).standard_error, &expected["dr_error"], 1e-12);
    close(of(Weighting::Normalised).value, &expected["sndr"], 1e-12);
    for (lambda, value) in expected["switch"].as_object().unwrap() {
        close(of(Weighting::Switch(lambda.parse().unwrap())).value, value, 1e-12);
    }
    for (lambda, value) in expected["shrunk"].as_object().unwrap() {
        close(of(Weighting::Shrunk(lambda.parse().unwrap())).value, value, 1e-12);
    }
}

/// A log of 10,000 rows: from Thompson sampling to uniform nothing can be said, pooled or by position.
fn compare_open_bandit(inputs: &Value, expected: &Value) {
    let mut rows = rows(inputs);
    let log = inputs["log"].as_str().unwrap();
    let pooled = compare_without_model(&rows, expected);
    rows.iter_mut().zip(numbers(&inputs["position"])).for_each(|(row, position)| row.position = position as u32);
    let by_position = assess(&Screen::default(), &rows, None).unwrap();
    println!("{log}: {}", by_position.sentence());
    assert_eq!(rows.len(), 10_000);
    for found in [pooled, by_position] {
        if log.starts_with("bts/") {
            assert_eq!(found.decision, Decision::CannotSay, "{log}");
            assert!(found.reasons.contains(&Reason::Effective), "{log}: {:?}", found.reasons);
        }
    }
}

#[test]
fn agrees_with_obp_and_scipy() {
    let mut logs = Vec::new();
    for line in cases() {
        let (case, inputs, expected) = (line["case"].as_str().unwrap(), &line["inputs"], &line["expected"]);
        let arms = || inputs["arms"].as_array().unwrap().iter();
        let weights = match case {
            "estimates" => {
                let rows = rows(inputs);
                compare_without_model(&rows, expected);
                compare_with_model(&rows, inputs, expected);
                continue;
            }
            "open_bandit" => {
                logs.push(inputs["log"].as_str().unwrap().to_owned());
                compare_open_bandit(inputs, expected);
                continue;
            }
            "best_of_beta" => {
                let count = |x: &Value| x.as_u64().unwrap();
                let arm = |a: &Value| BetaArm { successes: count(&a[0]), failures: count(&a[1]) };
                best_of_beta(&arms().map(arm).collect::<Vec<_>>())
            }
            "best_of_gaussian" => {
                let number = |x: &Value| x.as_f64().unwrap();
                let arm = |a: &Value| GaussianArm { mean: number(&a[0]), deviation: number(&a[1]) };
                best_of_gaussian(&arms().map(arm).collect::<Vec<_>>())
            }
            other => panic!("no comparison for {other}"),
        };
        for (weight, expected) in weights.iter().zip(numbers(expected)) {
            // Quadrature on both sides.
            assert!((weight - expected).abs() < 1e-7, "{case} {inputs}: {weights:?} {expected}");
        }
    }
    assert!(logs.is_empty() || logs.len() == if std::env::var("FAIRWAY_GOLDEN").is_ok() { 6 } else { 3 });
}
