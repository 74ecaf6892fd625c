//! Whole runs on the small invented shop.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_model::{Bundle, FeatureDefinitions};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::*;
use crate::data::DataReport;
use crate::plan::{DataSpec, Source};
use crate::progress::Silent;
use crate::sample;

fn plan(family: &str, parameters: &[(&str, &str)]) -> TrainingPlan {
    TrainingPlan {
        model: "shop".to_owned(),
        run: "shop-1".to_owned(),
        reason: "CI".to_owned(),
        trigger: Some("Asked".to_owned()),
        evidence: BTreeMap::from([("psi".to_owned(), serde_json::json!(0.31))]),
        champion: Some("sha256:1".to_owned()),
        warm_start: false,
        seed: 11,
        data: DataSpec::new(Source { url: "a.csv".to_owned(), sql: "SELECT …".to_owned() }),
        features: FeatureDefinitions::default(),
        family: family.to_owned(),
        parameters: parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        holdout: Duration::from_secs(14 * 86_400),
        refit: true,
        as_of: Timestamp::from_millisecond(100 * sample::DAY_MS).unwrap(),
    }
}

fn data() -> Data {
    let interactions = sample::interactions();
    let at = |ms: Option<&i64>| Timestamp::from_millisecond(*ms.unwrap()).unwrap();
    let report = DataReport {
        read: interactions.len() as u64,
        rows: interactions.len() as u64,
        users: interactions.users.len() as u64,
        items: interactions.items.len() as u64,
        nulls: BTreeMap::new(),
        duplicates: 0.0,
        future: 0.0,
        newest: at(interactions.time_ms.last()),
        oldest: at(interactions.time_ms.first()),
        described_items: 0,
        digest: "sha256:0".to_owned(),
    };
    let reading = crate::machine::Spent { seconds: 1.5, ..Default::default() };
    Data { interactions, items: sample::texts(), report, origin: Default::default(), items_origin: None, reading }
}

fn go(plan: &TrainingPlan, work: &Path, champion: Option<&Bundle>) -> Trained {
    match train(plan, &data(), champion, work, &Silent, &CancelFlag::new(), &|_| Ok(())).unwrap() {
        Outcome::Trained(trained) => trained,
        other => panic!("{other:?}"),
    }
}

fn digests(dir: &Path) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let digest = |path: &Path| hex::encode(Sha256::digest(std::fs::read(path).unwrap()));
    files.map(|entry| (entry.file_name().into_string().unwrap(), digest(&entry.path()))).collect()
}

#[test]
fn the_same_plan_makes_the_same_bundle_byte_for_byte() {
    let two_tower = [("dim", "8"), ("epochs", "2"), ("batchSize", "256"), ("minUsers", "2")];
    for (family, parameters) in
        [("popularity", &[][..]), ("ease", &[("regularization", "20")][..]), ("two-tower", &two_tower[..])]
    {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let plan = plan(family, parameters);
        let first = go(&plan, one.path(), None);
        let second = go(&plan, two.path(), None);
        let found = digests(&first.bundle);
        assert_eq!(found, digests(&second.bundle), "{family}");
        assert!(found.contains_key("bundle.json") && found.contains_key("golden.jsonl"), "{found:?}");
        assert_eq!(first.evaluation, second.evaluation);
    }
}

#[test]
fn a_bundle_loads_and_says_where_it_comes_from() {
    let work = tempfile::tempdir().unwrap();
    let data = data();
    let earlier = tempfile::tempdir().unwrap();
    let champion = Bundle::load(&go(&plan("popularity", &[]), earlier.path(), None).bundle).unwrap();
    let trained = go(&plan("ease", &[("regularization", "20")]), work.path(), Some(&champion));
    assert_eq!(trained.bundle, work.path().join("bundle"));
    let bundle = Bundle::load(&trained.bundle).unwrap();
    assert_eq!((bundle.manifest.family.as_str(), bundle.manifest.seed), ("ease", 11));
    assert_eq!(bundle.manifest.trained_through_ms, data.report.newest.as_millisecond());
    let sibling = bundle.manifest.gated_sibling.unwrap();
    assert!(sibling.starts_with("sha256:"));
    assert_eq!(bundle.profile.consumed_bin.len(), bundle.recommender.items().len());
    let evaluation = &trained.evaluation;
    assert_eq!(evaluation.candidate.overall["recall@20"], bundle.manifest.metrics["recall@20"]);
    assert!(evaluation.champion.is_some() && evaluation.users > 100);
    // Users keep to their group, which popularity cannot know.
    assert!(
        evaluation.candidate.overall["recall@10"] > 1.5 * evaluation.popularity.overall["recall@10"],
        "{evaluation:?}"
    );
    assert_eq!(evaluation.candidate.by_segment.keys().collect::<Vec<_>>(), ["fr", "uk"]);
    assert_eq!(evaluation.protocol.data, "sha256:0");
    let provenance = &trained.provenance;
    assert_eq!(provenance["refit"]["gatedSibling"], sibling.as_str());
    assert_eq!(provenance["refit"]["rows"], data.interactions.len());
    assert!(provenance["refit"]["overlapAt20"].as_f64().unwrap() > 0.5, "{provenance}");
    assert!(!provenance.to_string().contains("user 1"));
    let provenance = fairway_registry::provenance::Provenance::of(provenance.clone());
    assert!(provenance.format == 1 && provenance.extra.is_empty(), "{:?}", provenance.extra);
    let judged = provenance.evaluation.unwrap();
    assert_eq!(judged.candidate.unwrap().overall, evaluation.candidate.overall);
    assert_eq!(judged.protocol.unwrap().digest.unwrap(), evaluation.protocol.digest);
    assert_eq!(provenance.data.unwrap().report.unwrap().rows, Some(data.report.rows));
    assert_eq!(
        (provenance.training.unwrap().seed, provenance.features.unwrap().definitions.is_some()),
        (Some(11), true)
    );
    let trigger = provenance.trigger.unwrap();
    assert_eq!((trigger.code.as_deref(), trigger.message.as_deref()), (Some("Asked"), Some("CI")));
    assert_eq!(trigger.evidence["psi"], 0.31);
    assert_eq!(provenance.parent.unwrap().champion.unwrap(), "sha256:1");
    assert_eq!(provenance.timings.unwrap()["read"], 1.5);
    assert!(provenance.machine.unwrap().cores.is_some() && provenance.energy.unwrap().method.is_some());
    // Only the bundle is left.
    assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 1);
}

#[test]
fn without_refit_the_judged_model_is_served() {
    let work = tempfile::tempdir().unwrap();
    let plan = TrainingPlan { refit: false, ..plan("popularity", &[]) };
    let trained = go(&plan, work.path(), None);
    let manifest = Bundle::load(&trained.bundle).unwrap().manifest;
    assert_eq!(manifest.gated_sibling, None);
    assert!(manifest.trained_through_ms < data().report.newest.as_millisecond() - 13 * sample::DAY_MS);
    assert_eq!(trained.provenance["refit"]["overlapAt20"], 1.0);
}

/// What a run says to people.
#[derive(Default)]
struct Notes(std::sync::Mutex<Vec<String>>);

impl Progress for Notes {
    fn stage(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn note(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

#[test]
fn weights_are_begun_from_only_where_they_know_nothing_of_the_holdout() {
    let parameters = [("dim", "8"), ("epochs", "4"), ("warmEpochs", "1"), ("batchSize", "256"), ("minUsers", "2")];
    let make = |plan: &TrainingPlan, champion: Option<&Bundle>| {
        let (work, notes) = (tempfile::tempdir().unwrap(), Notes::default());
        let run = train(plan, &data(), champion, work.path(), &notes, &CancelFlag::new(), &|_| Ok(()));
        let Outcome::Trained(trained) = run.unwrap() else { panic!("not trained") };
        let mode = trained.provenance["training"]["mode"].as_str().unwrap().to_owned();
        (Bundle::load(&trained.bundle).unwrap(), mode, notes.0.into_inner().unwrap().join("\n"))
    };
    let cold = plan("two-tower", &parameters);
    let warm = TrainingPlan { warm_start: true, ..cold.clone() };
    let (judged_on_old, ..) = make(&TrainingPlan { refit: false, ..cold.clone() }, None);
    let (refitted, ..) = make(&cold, None);

    let (_, mode, notes) = make(&warm, Some(&judged_on_old));
    assert!(mode == "warm-start" && notes.contains("begins from the champion's weights"), "{mode} {notes}");
    assert!(notes.contains("epoch 1 of 1") && !notes.contains("of 4"), "{notes}");
    let (_, mode, notes) = make(&warm, Some(&refitted));
    assert!(mode == "full" && notes.contains("learned from the holdout"), "{mode} {notes}");
    assert!(notes.contains("epoch 4 of 4"), "{notes}");
    let (_, mode, notes) = make(&warm, None);
    assert!(mode == "full" && notes.contains("there is no champion"), "{mode} {notes}");
    let (_, mode, notes) = make(&cold, Some(&judged_on_old));
    assert!(mode == "full" && !notes.contains("begins from"), "{mode} {notes}");
    let (_, mode, notes) = make(&TrainingPlan { warm_start: true, ..plan("popularity", &[]) }, Some(&judged_on_old));
    assert!(mode == "full" && notes.contains("from the data alone"), "{mode} {notes}");
}

#[test]
fn a_rejected_candidate_leaves_no_bundle() {
    let work = tempfile::tempdir().unwrap();
    // An older try's bundle does not survive either.
    go(&plan("popularity", &[]), work.path(), None);
    let refuse =
        |evaluation: &Evaluation| Err(format!("recall@20 is {:.4}", evaluation.candidate.overall["recall@20"]));
    let outcome =
        train(&plan("popularity", &[]), &data(), None, work.path(), &Silent, &CancelFlag::new(), &refuse).unwrap();
    let Outcome::Rejected { evaluation, why } = outcome else { panic!("{outcome:?}") };
    assert!(why.starts_with("recall@20 is 0."), "{why}");
    assert_eq!(evaluation.candidate, evaluation.popularity);
    assert!(!work.path().join("bundle").exists());
}

#[test]
fn a_cancelled_run_leaves_no_bundle_and_wrong_plans_do_no_work() {
    let work = tempfile::tempdir().unwrap();
    let cancel = CancelFlag::new();
    cancel.cancel();
    let outcome = train(&plan("ease", &[]), &data(), None, work.path(), &Silent, &cancel, &|_| Ok(())).unwrap();
    assert!(matches!(outcome, Outcome::Cancelled { .. }), "{outcome:?}");
    assert!(!work.path().join("bundle").exists());
    for (plan, word) in [
        (plan("svd", &[]), "two-tower"),
        (plan("ease", &[("lambda", "3")]), "regularization"),
        (plan("ease", &[("minUsers", "1000")]), "minUsers"),
        (TrainingPlan { holdout: Duration::from_secs(999 * 86_400), ..plan("ease", &[]) }, "holdout"),
    ] {
        let error = train(&plan, &data(), None, work.path(), &Silent, &CancelFlag::new(), &|_| Ok(())).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}
