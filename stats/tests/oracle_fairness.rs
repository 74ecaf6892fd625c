//! Fairness and diversity against fairlearn, statsmodels and scipy (`oracles/fairness.py`), when `FAIRWAY_ORACLES` names
//! a Python that has them.

#[path = "support/oracle.rs"]
mod oracle;

use fairway_stats::Cells;
use fairway_stats::diversity::{miscalibration, topic_entropy, trend};
use fairway_stats::fairness::{Metric, Segment, Spread, by_group, holm, wilson};
use serde_json::Value;

/// The lines of the script, or none where it cannot run.
fn cases() -> Vec<Value> {
    oracle::run("fairness.py", &[]).map(|output| oracle::parse(&output)).unwrap_or_default()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[track_caller]
fn close(value: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((value - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{value} {expected}");
}

#[track_caller]
fn close_spread(found: Option<Spread>, difference: &Value, ratio: &Value) {
    let found = found.unwrap();
    close(found.difference, difference);
    close(found.ratio, ratio);
}

/// Shares of yes/no decisions by group; what is a library's own here is their spread.
fn compare_labels(inputs: &Value, expected: &Value) {
    let column = |name: &str| numbers(&inputs[name]);
    let (right, chosen, group) = (column("right"), column("chosen"), column("group"));
    let share = |among: Option<f64>, of: Option<f64>| {
        let counts = |i: &usize| among.is_none_or(|x| right[*i] == x) && of.is_none_or(|x| group[*i] == x);
        let (all, yes) = (0..right.len()).filter(counts).fold((0.0, 0.0), |(n, sum), i| (n + 1.0, sum + chosen[i]));
        if all > 0.0 { yes / all } else { 0.0 }
    };
    let groups = group.iter().copied().fold(0.0, f64::max) as u32;
    for (name, among) in [("selection", None), ("right", Some(1.0)), ("wrong", Some(0.0))] {
        let expected = &expected[name];
        let values: Vec<f64> = (0..=groups).map(|group| share(among, Some(f64::from(group)))).collect();
        values.iter().zip(expected["by_group"].as_array().unwrap()).for_each(|(x, e)| close(*x, e));
        close_spread(Spread::between(&values), &expected["difference"], &expected["ratio"]);
        let to_overall = &expected["to_overall"];
        close_spread(Spread::to_overall(&values, share(among, None)), &to_overall[0], &to_overall[1]);
    }
}

fn compare_means(inputs: &Value, expected: &Value) {
    let column = |name: &str| numbers(&inputs[name]);
    let (value, group, cell) = (column("value"), column("group"), column("cell"));
    let count = expected["by_group"].as_array().unwrap().len();
    let mut cells = vec![Cells::new(); count];
    (0..value.len()).for_each(|i| cells[group[i] as usize].record(cell[i] as u8, value[i]));
    let segments: Vec<Segment<'_>> = cells.iter().map(|cells| Segment { name: "g", users: 500, cells }).collect();
    let found = by_group(&segments, Metric::Mean, 500, 0.05);
    found.groups.iter().zip(expected["by_group"].as_array().unwrap()).for_each(|(g, e)| close(g.mean, e));
    close(found.overall, &expected["overall"]);
    close_spread(found.spread, &expected["difference"], &expected["ratio"]);
}

#[test]
fn agrees_with_fairlearn_statsmodels_and_scipy() {
    for line in cases() {
        let (inputs, expected) = (&line["inputs"], &line["expected"]);
        match line["case"].as_str().unwrap() {
            "labels" => compare_labels(inputs, expected),
            "means" => compare_means(inputs, expected),
            "wilson" => {
                let count = |name: &str| inputs[name].as_u64().unwrap();
                let found = wilson(count("k"), count("n"), inputs["alpha"].as_f64().unwrap()).unwrap();
                close(found.0, &expected[0]);
                close(found.1, &expected[1]);
            }
            "holm" => {
                let found = holm(&numbers(&inputs["p"]), inputs["alpha"].as_f64().unwrap());
                assert_eq!(serde_json::to_value(found).unwrap(), *expected, "{inputs}");
            }
            "topics" => {
                let (history, shown) = (numbers(&inputs["history"]), numbers(&inputs["shown"]));
                close(topic_entropy(&history).unwrap(), &expected["entropy"]);
                close(miscalibration(&history, &shown).unwrap(), &expected["calibration"]);
            }
            "trend" => close(trend(&numbers(&inputs["values"]), 0.05).unwrap().slope, expected),
            other => panic!("no comparison for {other}"),
        }
    }
}
