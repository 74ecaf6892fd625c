//! Every class of error, with its line, column and field.

use fairway_api::{ManifestError, parse_documents};

const MODEL: &str = "\
apiVersion: fairway.dev/v1alpha1
kind: Model
metadata: {name: m}
spec:
  data:
    interactions: {url: a.csv, sql: SELECT 1}
  reward: {event: purchase, within: 1d}
  trainer: {builtin: {family: ease}}
";
const ENDPOINT: &str = "\
apiVersion: fairway.dev/v1alpha1
kind: ModelEndpoint
metadata: {name: e}
spec:
  model: m
";

fn errors(text: &str) -> Vec<ManifestError> {
    match parse_documents(text, "f.yaml") {
        Ok(found) => panic!("accepted: {found:?}\n{text}"),
        Err(errors) => errors,
    }
}

/// The single error of a text, as `line:column field: problem`, and its help.
fn only(text: &str) -> (String, String) {
    let found = errors(text);
    assert_eq!(found.len(), 1, "{found:#?}\n{text}");
    let error = &found[0];
    assert_eq!(error.file(), "f.yaml");
    let at = error.position();
    let said = format!("{}:{} {}: {}", at.line, at.column, error.field(), error.problem());
    (said, error.help().to_owned())
}

/// Replaces one piece of a manifest.
fn with(base: &str, old: &str, new: &str) -> String {
    assert!(base.contains(old), "{old}");
    base.replacen(old, new, 1)
}

#[test]
fn a_registry_must_be_a_place_that_can_hold_one() {
    let (said, help) = only(&with(MODEL, "spec:\n", "spec:\n  registry: ftp://shop/models\n"));
    assert_eq!(said, "5:13 spec.registry: `ftp://` cannot hold a registry");
    assert!(help.contains("s3://bucket/prefix"), "{help}");
    for good in ["s3://b/p", "gs://b", "az://c/p", "file:///srv/models", "memory://", "models"] {
        let text = with(MODEL, "spec:\n", &format!("spec:\n  registry: {good}\n"));
        parse_documents(&text, "f.yaml").unwrap();
    }
}

#[test]
fn data_must_be_where_they_can_be_read() {
    let (said, help) = only(&with(MODEL, "url: a.csv", "url: ftp://shop/sales/"));
    assert_eq!(said, "6:25 spec.data.interactions.url: data cannot be read from `ftp://`");
    assert!(help.contains("s3://") && help.contains("https://"), "{help}");
    for good in ["sales/", "../sales/", "s3://b/p/", "gs://b/p", "az://c/p", "https://shop/sales.csv", "file:///srv/x"]
    {
        parse_documents(&with(MODEL, "url: a.csv", &format!("url: {good}")), "f.yaml").unwrap();
    }
}

#[test]
fn a_list_that_is_too_short_says_how_long_it_is() {
    let experiment = |arms: &str| {
        let head = "apiVersion: fairway.dev/v1alpha1\nkind: ModelExperiment\nmetadata: {name: x}\nspec:\n";
        only(&format!("{head}  endpoint: e\n  share: 10%\n  control: a\n  arms: {arms}\n"))
    };
    let (said, help) = experiment("[{name: a, version: '1'}]");
    assert_eq!((&*said, &*help), ("8:9 spec.arms: 1 entry", "at least 2"));
    assert_eq!(experiment("[]").0, "8:9 spec.arms: the list is empty");
}

#[test]
fn headers() {
    for (old, new, said) in [
        ("apiVersion: fairway.dev/v1alpha1\n", "", "1:1 apiVersion: `apiVersion` is missing"),
        ("fairway.dev/v1alpha1", "fairway.dev/v1", "1:13 apiVersion: `fairway.dev/v1` is not supported"),
        ("fairway.dev/v1alpha1", "fariway.dev/v1alpha1", "1:13 apiVersion: `fariway.dev/v1alpha1` is not supported"),
        ("kind: Model\n", "", "1:1 kind: `kind` is missing"),
        ("kind: Model", "kind: Modle", "2:7 kind: `Modle` is not a kind of fairway.dev/v1alpha1"),
        ("kind: Model", "kind: ModelAprroval", "2:7 kind: `ModelAprroval` is not a kind of fairway.dev/v1alpha1"),
        ("metadata: {name: m}\n", "", "1:1 metadata: `metadata` is missing"),
        ("{name: m}", "{}", "3:1 metadata.name: `name` is missing"),
        ("{name: m}", "{name: My_Model}", "3:18 metadata.name: `My_Model` is not a name"),
        ("{name: m}", "{name: m, lables: {}}", "3:21 metadata.lables: there is no field `lables` here"),
        ("{name: m}", "{name: m, labels: {a: 1}}", "3:1 metadata: invalid type: integer `1`, expected a string"),
        ("spec:", "sepc: {}\nspec:", "4:1 sepc: there is no field `sepc` here"),
    ] {
        assert_eq!(only(&with(MODEL, old, new)).0, said);
    }
    let (said, help) = only("- 1\n");
    assert_eq!(said, "1:1 : a manifest is a map, a list was found");
    assert_eq!(help, "a manifest begins with apiVersion: fairway.dev/v1alpha1");
    assert_eq!(
        only(&with(MODEL, "kind: Model", "kind: ModelExperimnet")).1,
        "did you mean `ModelExperiment`? allowed: `Model`, `TrainingRun`, `ModelEndpoint`, `ModelExperiment`, `ModelApproval`"
    );
}

#[test]
fn fields_of_a_model() {
    let help = "did you mean `history`? allowed: `checks`, `freshness`, `history`, `interactions`, `items`";
    for (old, new, said, helped) in [
        (
            "    interactions:",
            "    histroy: 9d\n    interactions:",
            "6:5 spec.data.histroy: there is no field `histroy` here",
            help,
        ),
        (", sql: SELECT 1", "", "6:5 spec.data.interactions.sql: `sql` is missing", "One SELECT"),
        (", sql: SELECT 1", ", sql:", "6:5 spec.data.interactions.sql: `sql` is missing", "One SELECT"),
        (
            "event: purchase",
            "event: purchas",
            "7:19 spec.reward.event: `purchas` is not known here",
            "did you mean `purchase`?",
        ),
        (
            "within: 1d",
            "within: 30",
            "7:37 spec.reward.within: `30` is not a duration: `30` has no unit",
            "a duration is written with units",
        ),
        ("within: 1d", "within: [1d]", "7:37 spec.reward.within: a list was found", "a duration is written with units"),
        ("within: 1d", "within: 0s", "7:37 spec.reward.within: it must be longer than zero", "such as"),
        (
            "within: 1d",
            "within: 1d, cap: \"0\"",
            "7:46 spec.reward.cap: a cap of 0 leaves no reward to measure",
            "a number above 0",
        ),
        ("within: 1d", "within: 1d, cap: -1", "7:46 spec.reward.cap: `-1` is not a number", "a number, 0 or more"),
        (
            "family: ease",
            "family: eese",
            "8:31 spec.trainer.builtin.family: `eese` is not known here",
            "did you mean `ease`?",
        ),
        (
            "family: ease",
            "family: ease, parameters: {regularization: 200}",
            "8:66 spec.trainer.builtin.parameters.regularization: text is expected, the number 200 was found",
            "write it in quotes: \"200\"",
        ),
        ("builtin: {family: ease}", "mode: Full", "8:3 spec.trainer: no trainer is named", "name exactly one"),
        (
            "trainer: {builtin",
            "trainer: 5 #",
            "8:12 spec.trainer: a map is expected, the number 5 was found",
            "How to train.",
        ),
        ("SELECT 1", "DROP TABLE x", "6:37 spec.data.interactions.sql: the statement begins with `DROP`", "one SELECT"),
    ] {
        let (got, got_help) = only(&with(MODEL, old, new));
        assert_eq!(got, said);
        assert!(got_help.starts_with(helped), "{said}: {got_help}");
    }
}

#[test]
fn rules_of_a_model() {
    for (more, said) in [
        ("evaluation: {holdout: 90d}", "9:25 spec.evaluation.holdout: 90d is not shorter than half the history (180d)"),
        (
            "evaluation: {refit: maybe}",
            "9:23 spec.evaluation.refit: true or false is expected, the text `maybe` was found",
        ),
        ("evaluation: {gates: []}", "9:23 spec.evaluation.gates: the list is empty"),
        (
            "evaluation: {gates: [{metric: recall@20, versus: Champion}]}",
            "9:24 spec.evaluation.gates[0]: the gate asks for nothing",
        ),
        (
            "evaluation: {gates: [{metric: recall@21, versus: Champion, tolerance: 0%}]}",
            "9:33 spec.evaluation.gates[0].metric: `recall@21` is not a metric",
        ),
        (
            "evaluation: {gates: [{metric: recall@20, versus: Popularity, minGain: much}]}",
            "9:73 spec.evaluation.gates[0].minGain: `much` is not a tolerance",
        ),
        ("retrain: {schedule: {cron: 0 25 * * 1}}", "9:30 spec.retrain.schedule.cron: `25` is not a hour"),
        ("retrain: {schedule: {cron: 0 3 * *}}", "9:30 spec.retrain.schedule.cron: `0 3 * *` is too short"),
        ("retrain: {schedule: {cron: 0 0 30 2 *}}", "9:30 spec.retrain.schedule.cron: `0 0 30 2 *` never comes"),
        ("retrain: {newData: {share: 0%}}", "9:30 spec.retrain.newData.share: a share of 0% asks always"),
        (
            "retrain: {breaker: {halfOpenAfter: 0s}}",
            "9:38 spec.retrain.breaker.halfOpenAfter: it must be longer than zero",
        ),
        (
            "retrain: {drift: {history: 200d}}",
            "9:30 spec.retrain.drift.history: 200d is longer than data.history (180d)",
        ),
        (
            "retrain: {drift: {history: 20d}}",
            "9:30 spec.retrain.drift.history: the holdout (14d) is not shorter than half of 20d",
        ),
        (
            "evaluation: {gates: [{metric: coverage@20, versus: Champion, tolerance: 5%, segments: Each}]}",
            "9:89 spec.evaluation.gates[0].segments: coverage is one number for the whole catalogue: segments have none",
        ),
        (
            "evaluation: {gates: [{metric: recall@20, versus: Champion, tolerance: 5%, minCount: 9}]}",
            "9:87 spec.evaluation.gates[0].minCount: a gate on all users together needs no count",
        ),
        (
            "evaluation: {fairness: {metric: coverage@20, gap: 0.1}}",
            "9:35 spec.evaluation.fairness.metric: coverage is one number for the whole catalogue: segments have none",
        ),
        ("evaluation: {latency: {p95: 0s}}", "9:31 spec.evaluation.latency.p95: it must be longer than zero"),
        ("approval: {required: 1, validFor: 0s}", "9:37 spec.approval.validFor: it must be longer than zero"),
        ("retrain: {drift: {psi: 0}}", "9:26 spec.retrain.drift.psi: a threshold of 0 alarms always"),
        ("retrain: {budget: {runs: 0}}", "9:28 spec.retrain.budget.runs: 0 is out of range"),
        (
            "retrain: {budget: {runs: 1.5}}",
            "9:28 spec.retrain.budget.runs: a whole number is expected, the number 1.5 was found",
        ),
        ("retrain: {maxAge: 0s}", "9:21 spec.retrain.maxAge: it must be longer than zero"),
        ("registry: ''", "9:13 spec.registry: the text is empty or too short"),
        ("features: {user: [{name: a}]}", "9:21 spec.features.user[0]: 0 kinds of feature are named, one is needed"),
        (
            "features: {user: [{name: a, category: {}}], item: [{name: a, text: {}}]}",
            "9:61 spec.features.item[0].name: `a` is taken",
        ),
        (
            "features: {user: [{name: a, category: {x: 1}}]}",
            "9:42 spec.features.user[0].category.x: there is no field `x` here",
        ),
        ("trainerr: {}", "9:3 spec.trainerr: there is no field `trainerr` here"),
    ] {
        assert_eq!(only(&format!("{MODEL}  {more}\n")).0, said);
    }
    for (check, said) in [
        ("{}", "the check is empty"),
        ("{column: weight}", "a column without max or nullRatio asks for nothing"),
        ("{max: 1}", "column is missing"),
        ("{minRows: 1, max: 1}", "minRows stands alone"),
        ("{column: c, max: 1, nullRatio: 5%}", "max and nullRatio are two checks"),
    ] {
        let text = with(MODEL, "    interactions:", &format!("    checks: [{check}]\n    interactions:"));
        assert_eq!(only(&text).0, format!("6:14 spec.data.checks[0]: {said}"));
    }
}

#[test]
fn rules_of_an_endpoint() {
    for (more, said) in [
        (
            "rollout: {steps: [{weight: 25, hold: 1h}, {weight: 5, hold: 1h}]}",
            "6:54 spec.rollout.steps[1].weight: 5 is not above the step before (25)",
        ),
        ("rollout: {steps: [{weight: 0, hold: 1h}]}", "6:30 spec.rollout.steps[0].weight: 0 is out of range"),
        ("rollout: {steps: [{weight: 150, hold: 1h}]}", "6:30 spec.rollout.steps[0].weight: 150 is out of range"),
        ("rollout: {steps: []}", "6:20 spec.rollout.steps: the list is empty"),
        (
            "rollout: {maxDuration: 2h}",
            "6:26 spec.rollout.maxDuration: 2h is not longer than all holds together (2h30m)",
        ),
        (
            "rollout: {falseAlarmRate: 0%}",
            "6:29 spec.rollout.falseAlarmRate: 0% is not a chance that a rollout can have",
        ),
        (
            "rollout: {falseAlarmRate: 5}",
            "6:29 spec.rollout.falseAlarmRate: `5` is not a share: it is more than the whole",
        ),
        ("rollout: {onInconclusive: pause}", "6:29 spec.rollout.onInconclusive: `pause` is not known here"),
        (
            "rollout: {gates: [{metric: slow}]}",
            "6:21 spec.rollout.gates[0].over: a gate on slow needs over, above zero",
        ),
        (
            "rollout: {gates: [{metric: errors, over: 1s}]}",
            "6:44 spec.rollout.gates[0].over: a gate on errors has no over",
        ),
        ("rollout: {gates: [{}]}", "6:21 spec.rollout.gates[0]: the gate is empty"),
        ("rollout: {gates: [{tolerance: 1%}]}", "6:21 spec.rollout.gates[0]: metric is missing"),
        (
            "rollout: {gates: [{metric: errors, tolerance: 0.1}]}",
            "6:49 spec.rollout.gates[0].tolerance: `0.1` is absolute, and this gate compares a ratio of rates",
        ),
        (
            "rollout: {gates: [{metric: reward, tolerance: 100%}]}",
            "6:49 spec.rollout.gates[0].tolerance: 100% would allow a version that earns nothing",
        ),
        (
            "rollout: {gates: [{metric: reward}, {metric: reward}]}",
            "6:48 spec.rollout.gates[1].metric: there is a gate on reward already",
        ),
        (
            "rollout: {gates: [{metric: reward, shadow: true}]}",
            "6:46 spec.rollout.gates[0].shadow: shadow does not belong to a metric",
        ),
        (
            "rollout: {gates: [{metric: prometheus, query: up, max: '1'}]}",
            "6:30 spec.rollout.gates[0].metric: prometheus gates are not supported in this version",
        ),
        (
            "rollout: {gates: [{metric: slow, over: 300ms}]}",
            "4:1 spec.server.deadline: 250ms is not longer than the limit of slow answers (300ms)",
        ),
        ("server: {builtin: {}, container: {image: x}}", "6:3 spec.server: both builtin and container are named"),
        ("server: {deadline: 0s}", "6:22 spec.server.deadline: it must be longer than zero"),
        ("scaling: {min: 9, max: 8}", "6:18 spec.scaling.min: 9 is above max (8)"),
        ("fallback: [Popularity, Popularity]", "6:26 spec.fallback[1]: Popularity is there already"),
        ("fallback: [Popularity, Stable]", "6:3 spec.fallback: nobody might answer"),
        ("holdback: 100%", "6:13 spec.holdback: nobody would be left to serve"),
        ("version: challenger", "6:12 spec.version: `challenger` is not a version"),
    ] {
        assert_eq!(only(&format!("{ENDPOINT}  {more}\n")).0, said);
    }
}

#[test]
fn all_errors_of_a_file_are_told() {
    let bad = with(MODEL, "event: purchase", "event: bought");
    let bad = with(&bad, "family: ease", "family: easy");
    let contradictory =
        format!("{MODEL}  evaluation: {{holdout: 100d}}\n  retrain: {{schedule: {{cron: 0 25 * * *}}}}\n");
    let text = format!("{bad}---\nkind: [\n---\n{contradictory}---\n{ENDPOINT}  rollout: {{bakee: 1h}}\n");
    let found: Vec<(u32, String)> = errors(&text).iter().map(|e| (e.position().line, e.field().to_owned())).collect();
    let expected = [
        (7, "spec.reward.event"),
        (8, "spec.trainer.builtin.family"),
        (10, ""),
        (20, "spec.evaluation.holdout"),
        (21, "spec.retrain.schedule.cron"),
        (28, "spec.rollout.bakee"),
    ];
    assert_eq!(found, expected.map(|(line, field)| (line, field.to_owned())));
}

#[test]
fn what_is_not_yaml_is_told_with_its_place() {
    for (text, line) in
        [("a: [1\nb: 2\n", 2), ("\na: 'x\n", 2), ("a: 1\na: 2\n", 2), ("a: *nowhere\n", 1), ("a:\n\t- b\n", 2)]
    {
        let error = &errors(text)[0];
        assert_eq!(error.position().line, line, "{error}");
        assert!(error.problem().starts_with("not valid YAML: "), "{error}");
    }
    // Aliases that unfold into more than anybody wrote.
    let bomb: String = std::iter::once("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned())
        .chain((1..12).map(|i| {
            let alias = format!("*a{}", i - 1);
            format!("a{i}: &a{i} [{}]\n", [alias.as_str(); 9].join(", "))
        }))
        .collect();
    assert!(errors(&bomb)[0].problem().starts_with("not valid YAML"));
    assert!(!errors(&"[".repeat(100_000)).is_empty());
}

#[test]
fn prints_as_a_block() {
    let text = with(MODEL, "family: ease", "family: eese");
    let expected = "\
error: spec.trainer.builtin.family: `eese` is not known here
 --> f.yaml:8:31
  |
8 |   trainer: {builtin: {family: eese}}
  |                               ^^^^
  = help: did you mean `ease`? allowed: `popularity`, `ease`, `two-tower`";
    assert_eq!(errors(&text)[0].to_string(), expected);
}
