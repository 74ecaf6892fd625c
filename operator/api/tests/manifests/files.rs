//! Folders: what is read, what is refused, and that every shipped manifest loads.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fairway_api::{Manifest, Manifests, ObjectKey, Severity, load_dir, load_dir_with, parse_documents};
use fairway_core::policy::RolloutGate;

const MODEL: &str = "{apiVersion: fairway.dev/v1alpha1, kind: Model, metadata: {name: m}, spec: {data: {interactions: {url: a, \
                     sql: SELECT 1}}, reward: {event: click, within: 1h}, trainer: {builtin: {family: popularity}}}}\n";

fn endpoint(name: &str, model: &str) -> String {
    format!(
        "apiVersion: fairway.dev/v1alpha1\nkind: ModelEndpoint\nmetadata: {{name: {name}}}\nspec:\n  model: {model}\n"
    )
}

fn configs(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(name)
}

#[test]
fn every_shipped_manifest_loads() {
    let mut folders = 0;
    for folder in fs::read_dir(configs("")).unwrap() {
        let folder = folder.unwrap().path();
        // Not each folder holds manifests: some hold programs.
        let is_yaml = |file: fs::DirEntry| file.path().extension().is_some_and(|it| it == "yaml");
        if folder.is_dir() && fs::read_dir(&folder).unwrap().any(|file| is_yaml(file.unwrap())) {
            let loaded = load_dir(&folder).unwrap_or_else(|errors| panic!("{}", errors[0]));
            assert!(loaded.warnings().is_empty(), "{}", folder.display());
            folders += 1;
        }
    }
    assert!(folders >= 2);
}

#[test]
fn the_shop_means_what_its_comments_say() {
    let variables = BTreeMap::from([("state".to_owned(), "/var/fairway".to_owned())]);
    let loaded = load_dir_with(&configs("quickstart/shop.yaml"), &variables).unwrap();
    let key = |name: &str| ObjectKey { namespace: "default".into(), name: name.into() };
    let model = &loaded.models[&key("shop-recs")].value.spec;
    assert_eq!(model.registry.as_deref(), Some("file:///var/fairway/registry"));
    assert_eq!(model.data.interactions.url, "file:///var/fairway/shop/transactions/");
    assert_eq!(model.policy().unwrap().cooldown.as_secs(), 7 * 86_400);
    let endpoint = loaded.endpoints[&key("shop")].value.spec.policy(model.reward.within.std()).unwrap();
    assert_eq!(endpoint.steps.as_slice().iter().map(|s| s.weight.percent()).collect::<Vec<_>>(), [5.0, 25.0, 50.0]);
    assert_eq!(endpoint.gates.len(), 3);
    assert_eq!(endpoint.reward_within.as_secs(), 3600);
}

#[test]
fn the_replay_compares_in_pairs() {
    let loaded = load_dir(&configs("online-retail")).unwrap();
    let endpoint =
        loaded.endpoints.values().next().unwrap().value.spec.policy(std::time::Duration::from_secs(86_400)).unwrap();
    assert!(endpoint.shadow && !endpoint.require_proof);
    assert_eq!(
        (endpoint.min_requests, endpoint.bake.as_secs(), endpoint.max_duration.as_secs()),
        (20, 172_800, 1_209_600)
    );
    assert!(matches!(endpoint.gates[..], [RolloutGate::Errors { .. }, RolloutGate::Reward { .. }]));
}

#[test]
fn groups_files_and_keeps_what_belongs_to_others() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("b.yaml"), endpoint("e", "m")).unwrap();
    fs::write(
        dir.path().join("a.json"),
        serde_json::to_string(&serde_json::json!({"apiVersion": "v1", "kind": "Secret"})).unwrap(),
    )
    .unwrap();
    let others = format!(
        "# nothing\n---\n---\n{MODEL}---\napiVersion: simulator.fairway.dev/v1alpha1\nkind: Story\nspec: {{days: 3}}\n"
    );
    fs::write(dir.path().join("c.yml"), others).unwrap();
    fs::write(dir.path().join("notes.txt"), "not a manifest").unwrap();
    let loaded = load_dir(dir.path()).unwrap();
    assert_eq!((loaded.models.len(), loaded.endpoints.len(), loaded.runs.len()), (1, 1, 0));
    let kinds: Vec<_> = loaded
        .others
        .iter()
        .map(|o| (o.value.kind.as_str(), o.file.rsplit('/').next().unwrap(), o.start.line))
        .collect();
    assert_eq!(kinds, [("Secret", "a.json", 1), ("Story", "c.yml", 6)]);
    assert_eq!(loaded.others[1].value.document["spec"]["days"], 3);
}

#[test]
fn references_and_duplicates() {
    let run =
        "apiVersion: fairway.dev/v1alpha1\nkind: TrainingRun\nmetadata: {name: r, namespace: shop}\nspec: {model: m}\n";
    let text = format!("{MODEL}---\n{}---\n{}---\n{run}", endpoint("e", "n"), endpoint("e", "m"));
    let errors = Manifests::group(parse_documents(&text, "f.yaml").unwrap()).unwrap_err();
    let said: Vec<_> = errors.iter().map(|e| (e.position().line, e.field(), e.problem(), e.help())).collect();
    assert_eq!(
        said,
        [
            (
                11,
                "metadata.name",
                "the ModelEndpoint `default/e` is there twice",
                "the first one is at f.yaml:5; give this one another name or remove it"
            ),
            (7, "spec.model", "there is no Model `n` in the namespace `default`", "did you mean `m`?"),
            (
                18,
                "spec.model",
                "there is no Model `m` in the namespace `shop`",
                "there is one in the namespace `default`; put both into one namespace"
            ),
        ]
    );
}

#[test]
fn only_one_endpoint_moves_the_champion_of_a_model() {
    let (shop, app) = (endpoint("shop", "m"), endpoint("app", "m"));
    let text = format!("{MODEL}---\n{shop}---\n{app}");
    let errors = Manifests::group(parse_documents(&text, "f.yaml").unwrap()).unwrap_err();
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!((error.field(), error.position().line), ("spec.promotes", 6));
    assert_eq!(
        error.problem(),
        "both `app` and `shop` would move the champion of the Model `m`: their verdicts could differ"
    );
    let follower = format!("{app}  promotes: false\n");
    Manifests::group(parse_documents(&format!("{MODEL}---\n{shop}---\n{follower}"), "f.yaml").unwrap()).unwrap();
    // The same names in another namespace are other objects.
    let elsewhere = format!("{MODEL}---\n{app}").replace("name: m}", "name: m, namespace: b}");
    let elsewhere = elsewhere.replace("name: app}", "name: app, namespace: b}");
    Manifests::group(parse_documents(&format!("{MODEL}---\n{shop}---\n{elsewhere}"), "f.yaml").unwrap()).unwrap();
}

#[test]
fn an_experiment_needs_its_endpoint_and_an_approval_its_model() {
    let experiment = "apiVersion: fairway.dev/v1alpha1\nkind: ModelExperiment\nmetadata: {name: x}\nspec:\n  endpoint: shpo\n  \
                      share: 10%\n  control: a\n  arms: [{name: a, version: '@champion'}, {name: b, baseline: {}}]\n";
    let digest = "0a".repeat(32);
    let approval = format!(
        "apiVersion: fairway.dev/v1alpha1\nkind: ModelApproval\nmetadata: {{name: y}}\nspec: {{model: n, digest: 'sha256:{digest}', \
         word: Approve, approver: ann}}\n"
    );
    let text = format!("{MODEL}---\n{}---\n{experiment}---\n{approval}", endpoint("shop", "m"));
    let errors = Manifests::group(parse_documents(&text, "f.yaml").unwrap()).unwrap_err();
    let said: Vec<_> = errors.iter().map(|error| (error.field(), error.problem(), error.help())).collect();
    let expected = [
        ("spec.endpoint", "there is no ModelEndpoint `shpo` in the namespace `default`", "did you mean `shop`?"),
        ("spec.model", "there is no Model `n` in the namespace `default`", "did you mean `m`?"),
    ];
    assert_eq!(said, expected);
    let fixed = text.replace("endpoint: shpo", "endpoint: shop").replace("model: n,", "model: m,");
    let grouped = Manifests::group(parse_documents(&fixed, "f.yaml").unwrap()).unwrap();
    assert_eq!((grouped.experiments.len(), grouped.approvals.len()), (1, 1));
}

#[test]
fn files_that_cannot_be_manifests() {
    let dir = tempfile::tempdir().unwrap();
    let said = |path: &Path| load_dir(path).unwrap_err()[0].problem().to_owned();
    assert_eq!(said(dir.path()), "no manifests here");
    assert!(said(&dir.path().join("gone")).starts_with("cannot be read: "));
    fs::write(dir.path().join("big.yaml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(said(dir.path()), "larger than 1 MiB");
    fs::write(dir.path().join("big.yaml"), [0xff, 0xfe]).unwrap();
    assert_eq!(said(dir.path()), "not UTF-8 text");
    fs::write(dir.path().join("big.yaml"), "a: ${b}\n").unwrap();
    let error = &load_dir_with(dir.path(), &BTreeMap::new()).unwrap_err()[0];
    assert_eq!((error.problem(), error.position().line), ("the variable `b` is not known", 1));
    assert!(error.file().ends_with("big.yaml"));
}

#[test]
fn what_does_nothing_yet_is_told_with_its_place() {
    let text = with_new_data();
    let loaded = Manifests::group(parse_documents(&text, "f.yaml").unwrap()).unwrap();
    let notes = loaded.warnings();
    let said: Vec<_> = notes.iter().map(|n| (n.severity(), n.field().to_owned(), n.position().line)).collect();
    let expected = [
        ("spec.retrain.newData", 9),
        ("spec.scaling", 16),
        ("spec.server.container", 17),
        ("spec.storageSecretRef", 10),
    ];
    let mut fields: Vec<_> = said.iter().map(|(_, field, line)| (field.as_str(), *line)).collect();
    fields.sort_unstable();
    assert_eq!(fields, expected);
    assert!(said.iter().all(|(severity, ..)| *severity == Severity::Warning));
    assert!(notes[0].to_string().starts_with("warning: spec.retrain.newData: "));
}

#[test]
fn what_means_something_else_than_it_looks_is_told() {
    let said = |old: &str, new: &str| {
        let text = MODEL.replacen(old, new, 1);
        assert_ne!(text, MODEL);
        let loaded = Manifests::group(parse_documents(&text, "f.yaml").unwrap()).unwrap();
        loaded.warnings().iter().map(|note| format!("{}: {}", note.field(), note.help())).collect::<Vec<_>>()
    };
    let registry = |url: &str| said("spec: {", &format!("spec: {{registry: {url}, "));
    let guess = "spec.registry: did you mean s3://mybucket? A folder is written ./mybucket";
    assert_eq!(registry("mybucket"), [guess]);
    assert!(["s3://mybucket", "./mybucket", "/srv/models"].iter().all(|url| registry(url).is_empty()));
    // What follows from the data alone has nothing to begin from.
    let warm = |family: &str| said("family: popularity}", &format!("family: {family}}}, mode: WarmStart"));
    assert_eq!((warm("ease").len(), warm("two-tower").len()), (1, 0));
}

#[test]
fn documents_of_others_that_were_meant_to_be_ours() {
    for (api_version, kind, guess) in [
        ("fairway.io/v1alpha1", "Model", true),
        ("models.fairway.com/v1", "Whatever", true),
        ("example.com/v1", "ModelEndpoint", true),
        ("apps/v1", "Deployment", false),
        ("simulator.fairway.dev/v1alpha1", "Story", false),
        ("v1", "Secret", false),
    ] {
        let text = format!("apiVersion: {api_version}\nkind: {kind}\n");
        let documents = parse_documents(&text, "f.yaml").unwrap();
        let Manifest::Other(other) = &documents[0].value else { panic!("{:?}", documents[0].value) };
        assert_eq!(other.guess().is_some(), guess, "{api_version}");
    }
}

#[test]
fn a_schedule_that_the_guards_hold_is_told() {
    let said = |retrain: &str| {
        let text = MODEL.replacen("trainer:", &format!("retrain: {retrain}, trainer:"), 1);
        let loaded = Manifests::group(parse_documents(&text, "f.yaml").unwrap()).unwrap();
        loaded.warnings().iter().map(|note| format!("{}: {}", note.field(), note.problem())).collect::<Vec<_>>()
    };
    let field = "spec.retrain.schedule.cron";
    assert_eq!(
        said("{schedule: {cron: 0 3 * * 1}}"),
        [format!(
            "{field}: runs are wanted every 7d and the cooldown after each is 7d: each begins later than the one before"
        )]
    );
    assert_eq!(
        said("{schedule: {cron: 0 3 * * *}, cooldown: 6h}"),
        [format!("{field}: 30 runs are wanted in 30d and the budget is 6")]
    );
    assert!(said("{schedule: {cron: 0 3 * * 1}, cooldown: 6d}").is_empty());
}

fn with_new_data() -> String {
    "apiVersion: fairway.dev/v1alpha1
kind: Model
metadata: {name: m}
spec:
  data:
    interactions: {url: a.csv, sql: SELECT 1}
  reward: {event: purchase, within: 1d}
  trainer: {builtin: {family: ease}}
  retrain: {newData: {share: 20%}}
  storageSecretRef: {name: s}
---
apiVersion: fairway.dev/v1alpha1
kind: ModelEndpoint
metadata: {name: e}
spec: {model: m,
  scaling: {min: 2},
  server: {container: {image: x}}}
"
    .to_owned()
}

#[test]
fn round_trips() {
    let text = with_new_data();
    for document in parse_documents(&text, "f.yaml").unwrap() {
        let json = match &document.value {
            Manifest::Model(model) => serde_json::to_string(model).unwrap(),
            Manifest::ModelEndpoint(endpoint) => serde_json::to_string(endpoint).unwrap(),
            other => panic!("{other:?}"),
        };
        let again = parse_documents(&json, "f.json").unwrap_or_else(|errors| panic!("{}\n{json}", errors[0]));
        assert_eq!(again[0].value, document.value);
    }
}

#[test]
fn what_a_cluster_would_not_take_is_told() {
    let text = format!("{}  rollout:\n    gates: [{{metric: reward, tolerance: 0.005}}]\n", endpoint("e", "m"));
    let loaded = Manifests::group(parse_documents(&format!("{MODEL}---\n{text}"), "f.yaml").unwrap()).unwrap();
    let [note] = &loaded.warnings()[..] else { panic!("{:?}", loaded.warnings()) };
    assert_eq!((note.field(), note.position().line), ("spec.rollout.gates[0].tolerance", 9));
    assert_eq!((note.severity(), note.help()), (Severity::Warning, "write it in quotes: \"0.005\""));
}

#[test]
fn directives_and_comments_belong_to_the_document_they_open() {
    let text = format!("%YAML 1.2\n# shop\n---\n{MODEL}...\n---\n# nothing\n---\n{MODEL}");
    let lines: Vec<u32> = parse_documents(&text, "f.yaml").unwrap().iter().map(|d| d.start.line).collect();
    assert_eq!(lines, [4, 9]);
}
