//! What the chart's dashboard, its alerts and its page ask Prometheus for is what the code counts: every name, and every label of a
//! name. Both sides are read as text: an endpoint's failures, for one, are no metric before something fails.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Labels that every target of a scrape has.
const OF_TARGETS: [&str; 4] = ["namespace", "pod", "container", "job"];

type Metrics = BTreeMap<String, BTreeSet<String>>;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between two words, each time.
fn between<'a>(text: &'a str, from: &'a str, to: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(from).skip(1).map(move |rest| rest.split(to).next().unwrap_or_default())
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The series that a source file registers, by the names that Prometheus knows them by, and their labels.
fn registered(path: &str) -> Metrics {
    let source = read(path).split("#[cfg(test)]").next().unwrap().to_owned();
    let prefix = between(&source, "Registry::with_prefix(\"", "\"").next().unwrap();
    let labels: BTreeMap<&str, BTreeSet<String>> = between(&source, "EncodeLabelSet)]\nstruct ", "\n}")
        .map(|one| {
            let (name, fields) = one.split_once(" {").unwrap();
            let fields = fields.lines().filter_map(|line| Some(line.trim().split_once(':')?.0.replace("r#", "")));
            (name, fields.collect())
        })
        .collect();
    let mut found = Metrics::new();
    for call in between(&source, ".register(\"", ");") {
        let (name, rest) = call.split_once('"').unwrap();
        let last = rest.rsplit(", ").next().unwrap().trim();
        // It is named itself, or by a variable from just before.
        let of = format!("let {last} = self.");
        let field = match source[..source.find(call).unwrap()].rsplit_once(&of) {
            Some((_, rest)) => rest.split('.').next().unwrap(),
            None => last.trim_end_matches(".clone()").rsplit('.').next().unwrap(),
        };
        let declared = format!(" {field}: ");
        let kind = between(&source, &declared, "\n").next().unwrap_or_else(|| panic!("{path}: {name}: {field}"));
        let its = kind.strip_prefix("Family<").and_then(|rest| rest.split(',').next());
        let its = its.map(|its| labels[its].clone()).unwrap_or_default();
        let endings: &[&str] = match kind {
            _ if kind.contains("Counter") => &["_total"],
            _ if kind.contains("Histogram") => &["_bucket", "_sum", "_count"],
            _ if kind.contains("Gauge") => &[""],
            _ => panic!("{path}: {name} is a {kind}"),
        };
        for ending in endings {
            let le = (*ending == "_bucket").then(|| "le".to_owned());
            found.insert(format!("{prefix}_{name}{ending}"), its.iter().cloned().chain(le).collect());
        }
    }
    found
}

/// What a source file tells when it is asked, with the one set of labels that it has.
fn collected(path: &str, prefix: &str) -> Metrics {
    let source = read(path);
    let fields = between(&source, "EncodeLabelSet)]\nstruct ", "\n}").next().unwrap();
    let fields = fields.lines().filter_map(|line| Some(line.trim().split_once(':')?.0.replace("r#", "")));
    let labels: BTreeSet<String> = fields.collect();
    let names = between(&source, "encode_descriptor(\"", "\"");
    let found: Metrics = names.map(|name| (format!("{prefix}_{name}"), labels.clone())).collect();
    assert!(!found.is_empty() && !labels.is_empty(), "{path}");
    found
}

/// All that is counted, with the labels that the chart's monitors give to its targets.
fn counted() -> Metrics {
    let monitor = read("charts/fairway/templates/podmonitor.yaml");
    let given: BTreeSet<String> = between(&monitor, "targetLabel: ", "}").map(str::to_owned).collect();
    assert!(given.contains("endpoint") && given.contains("version"), "{given:?}");
    let mut operator = registered("operator/controller/src/metrics.rs");
    operator.extend(collected("operator/controller/src/metrics/shown.rs", "fairway_operator"));
    let mut all = registered("server/src/metrics.rs");
    all.extend(registered("server/src/inference_metrics.rs"));
    all.values_mut().for_each(|labels| labels.extend(given.iter().cloned()));
    all.extend(operator);
    all.values_mut().for_each(|labels| labels.extend(OF_TARGETS.map(str::to_owned)));
    all
}

/// The names of ours in a text, each with what follows it.
fn names(text: &str) -> Vec<(&str, &str)> {
    let starts = text.match_indices("fairway_").map(|(at, _)| at);
    let starts = starts.filter(|at| !text[..*at].ends_with(|c: char| is_of_name(c) || c == '/' || c == '-'));
    starts
        .map(|at| {
            let end = text[at..].find(|c: char| !is_of_name(c)).map_or(text.len(), |end| at + end);
            (&text[at..end], &text[end..])
        })
        .collect()
}

/// What an expression asks for that nobody counts.
fn misses(expression: &str, counted: &Metrics) -> Vec<String> {
    let mut missed = Vec::new();
    for (name, rest) in names(expression) {
        let Some(labels) = counted.get(name) else {
            missed.push(name.to_owned());
            continue;
        };
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        let asked = matchers.split(", ").filter_map(|one| Some(one.split_once(['=', '!'])?.0.trim()));
        missed.extend(asked.filter(|label| !labels.contains(*label)).map(|label| format!("{name}{{{label}}}")));
    }
    // Labels that something is summed by belong to what is summed.
    for (at, _) in expression.match_indices(" by (") {
        let (by, rest) = expression[at + 5..].split_once(')').unwrap();
        for (name, _) in names(inside(rest)) {
            let labels = counted.get(name).cloned().unwrap_or_default();
            let asked = by.split(',').map(str::trim);
            missed.extend(asked.filter(|label| !labels.contains(*label)).map(|label| format!("{name} by {label}")));
        }
    }
    missed
}

/// What stands in the next pair of parentheses.
fn inside(text: &str) -> &str {
    let start = text.find('(').unwrap();
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if c == ')' && depth == 0 {
            return &text[start..at];
        }
    }
    panic!("a parenthesis is not closed: {text}");
}

#[test]
fn the_dashboard_asks_for_what_is_counted() {
    let counted = counted();
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("charts/fairway/files/dashboards/fairway.json")).unwrap();
    let mut asked = 0;
    for target in dashboard["panels"].as_array().unwrap().iter().flat_map(|it| it["targets"].as_array().unwrap()) {
        let (expression, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
        assert_eq!(misses(expression, &counted), [""; 0], "{expression}");
        // What is not summed has all of its labels.
        let by: Vec<&str> = between(expression, " by (", ")").flat_map(|by| by.split(", ")).collect();
        for label in between(legend, "{{", "}}").filter(|_| !by.is_empty()) {
            assert!(by.contains(&label), "the legend `{legend}` of {expression}");
        }
        asked += 1;
    }
    assert!(asked >= 10, "{asked}");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["query"].as_str().unwrap();
        if let Some((name, label)) = between(query, "label_values(", ")").next().and_then(|it| it.split_once(", ")) {
            assert!(counted[name].contains(label), "{query}");
        }
    }
}

#[test]
fn the_alerts_ask_for_what_is_counted() {
    let counted = counted();
    let rules = read("charts/fairway/templates/prometheusrule.yaml");
    let mut asked = 0;
    for alert in rules.split("- alert: ").skip(1) {
        let expression = between(alert, "expr: ", "labels: {severity").next().unwrap().replace(">-", " ");
        assert_eq!(misses(&expression, &counted), [""; 0], "{alert}");
        // What the text says of an alert are labels of its expression.
        let by: Vec<&str> = between(&expression, " by (", ")").flat_map(|by| by.split(", ")).collect();
        for label in between(alert, "{{ $labels.", " }}") {
            assert!(by.contains(&label), "{alert}");
        }
        asked += 1;
    }
    assert!(asked >= 8, "{asked}");
}

#[test]
fn pages_name_what_is_counted() {
    let counted = counted();
    // A histogram is called by what its three series have in common.
    let is_known = |name: &str| counted.contains_key(name) || counted.contains_key(&format!("{name}_bucket"));
    for page in ["charts/fairway/README.md", "docs/monitoring.md", "docs/serving.md"] {
        let text = read(page);
        let metrics = names(&text).into_iter().filter(|(_, rest)| !rest.starts_with("::") && !rest.starts_with('='));
        let unknown: Vec<&str> = metrics.map(|(name, _)| name).filter(|name| !is_known(name)).collect();
        assert_eq!(unknown, [""; 0], "{page}");
    }
}

#[test]
fn a_wrong_name_and_a_wrong_label_are_found() {
    let counted = counted();
    for (expression, missed) in [
        ("sum by (endpoint, rung) (rate(fairway_requests_total[2m]))", &["fairway_requests_total by rung"][..]),
        ("fairway_errors_total{reason=\"ok\", track=\"canary\"}", &["fairway_errors_total{reason}"]),
        ("rate(fairway_windows_lost_total[10m])", &["fairway_windows_lost_total"]),
        ("histogram_quantile(0.9, sum by (le, version) (rate(fairway_server_request_seconds_bucket[1m])))", &[]),
        ("max by (name, type) (fairway_operator_condition{kind=\"Model\"}) == 1", &[]),
    ] {
        assert_eq!(misses(expression, &counted), missed, "{expression}");
    }
}
