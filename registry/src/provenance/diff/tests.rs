//! Two versions side by side.

use super::*;
use crate::manifest::File;
use crate::provenance::tests::{any_json, whole};
use proptest::prelude::*;

fn manifest(files: &[(&str, u64, char)]) -> Manifest {
    let files = files.iter().map(|(path, bytes, digit)| File {
        path: (*path).to_owned(),
        bytes: *bytes,
        sha256: digit.to_string().repeat(64),
    });
    Manifest { format: 1, files: files.collect() }
}

fn between(before: &Value, after: &Value) -> Vec<Change> {
    let (metrics, before, after) = (BTreeMap::new(), Provenance::of(before.clone()), Provenance::of(after.clone()));
    let side = |provenance| Side { metrics: &metrics, provenance, manifest: None };
    diff(&side(&before), &side(&after))
}

fn paths(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.path.as_str()).collect()
}

#[test]
fn a_version_is_no_different_from_itself() {
    assert_eq!(between(&whole(), &whole()), []);
    let mut later = whole();
    later["run"] = json!("shop-recs-2");
    later["timings"]["fit"] = json!(99.0);
    later["energy"]["cpuSeconds"] = json!(99.0);
    later["evaluation"]["besideChampion"]["recall@20"]["first"] = json!(0.5);
    assert_eq!(between(&whole(), &later), []);
}

#[test]
fn each_kind_of_change_has_a_name_that_people_know() {
    for (pointer, value, path) in [
        ("/evaluation/candidate/overall/recall@20", json!(0.2), "metrics.recall@20"),
        (
            "/evaluation/candidate/bySegment/France/values/ndcg@20",
            json!(0.2),
            "metrics by segment.France.values.ndcg@20",
        ),
        ("/evaluation/champion/overall/recall@20", json!(0.2), "metrics of the champion then.overall.recall@20"),
        ("/evaluation/protocol/digest", json!("sha256:0"), "protocol.digest"),
        ("/training/parameters/regularization", json!("500"), "parameters.regularization"),
        ("/training/seed", json!(2), "seed"),
        ("/training/threads", json!(4), "training.threads"),
        ("/data/report/rows", json!(5), "data.report.rows"),
        ("/data/window/from", json!("2026-01-01T00:00:00Z"), "data.window.from"),
        ("/data/interactions/snapshot/digest", json!("sha256:1"), "data.interactions.snapshot.digest"),
        ("/data/interactions/schema/columns/2/type", json!("Utf8"), "data.interactions.schema.columns.time.type"),
        ("/features/digest", json!("sha256:2"), "features.digest"),
        ("/features/definitions/item/0/text/buckets", json!(8), "features.definitions.item.description.text.buckets"),
        ("/code/version", json!("0.2.0"), "code.version"),
        ("/trigger/code", json!("MaxAge"), "trigger.code"),
        ("/machine/cores", json!(64), "machine.cores"),
    ] {
        let mut later = whole();
        let before = std::mem::replace(later.pointer_mut(pointer).unwrap(), value.clone());
        let changes = between(&whole(), &later);
        assert_eq!(paths(&changes), [path]);
        assert_eq!((changes[0].before.as_ref(), changes[0].after.as_ref()), (Some(&before), Some(&value)));
    }
}

#[test]
fn numbers_say_by_how_much_and_what_is_gone_or_new_has_one_side() {
    let before = json!({"format": 1, "training": {"seed": 4, "parameters": {"dim": "8"}}, "notebook": "a"});
    let after = json!({"format": 1, "training": {"seed": 7, "parameters": {"epochs": "2"}}});
    let changes = between(&before, &after);
    assert_eq!(paths(&changes), ["parameters.dim", "parameters.epochs", "seed", "other.notebook"]);
    assert_eq!(changes[0].texts(), ["8", "-"]);
    assert_eq!(changes[1].texts(), ["-", "2"]);
    assert_eq!((changes[2].texts(), changes[2].difference), (["4".to_owned(), "7".to_owned()], Some(3.0)));
    assert_eq!(changes[3].texts(), ["a", "-"]);
}

#[test]
fn the_log_s_metrics_stand_for_the_version() {
    let nothing = Provenance::default();
    let (one, two) =
        (BTreeMap::from([("recall@20".to_owned(), 0.25)]), BTreeMap::from([("recall@20".to_owned(), 0.5)]));
    let side = |metrics| Side { metrics, provenance: &nothing, manifest: None };
    let changes = diff(&side(&one), &side(&two));
    assert_eq!((paths(&changes), changes[0].difference), (vec!["metrics.recall@20"], Some(0.25)));
}

#[test]
fn files_are_added_removed_and_changed() {
    let (metrics, nothing) = (BTreeMap::new(), Provenance::default());
    let one = manifest(&[("bundle.json", 10, 'a'), ("golden.jsonl", 5, 'b'), ("old.bin", 1, 'c')]);
    let two = manifest(&[("bundle.json", 11, 'd'), ("golden.jsonl", 5, 'b'), ("new.bin", 2, 'e')]);
    let side = |manifest| Side { metrics: &metrics, provenance: &nothing, manifest: Some(manifest) };
    let changes: Vec<(String, [String; 2])> =
        diff(&side(&one), &side(&two)).iter().map(|change| (change.path.clone(), change.texts())).collect();
    let file = |bytes: u64, digit: &str| format!("{bytes} bytes, sha256 {}", digit.repeat(12));
    let expected = [
        ("files.bundle.json", [file(10, "a"), file(11, "d")]),
        ("files.new.bin", ["-".to_owned(), file(2, "e")]),
        ("files.old.bin", [file(1, "c"), "-".to_owned()]),
    ];
    assert_eq!(changes, expected.map(|(path, texts)| (path.to_owned(), texts)));
}

#[test]
fn metrics_may_be_compared_when_their_protocols_are_the_same() {
    let mut other = whole();
    other["evaluation"]["protocol"]["digest"] = json!("sha256:0");
    let (one, other) = (Provenance::of(whole()), Provenance::of(other));
    assert_eq!(comparable(&one, &one), Some(true));
    assert_eq!(comparable(&one, &other), Some(false));
    assert_eq!(comparable(&one, &Provenance::default()), None);
}

#[test]
fn very_many_changes_and_very_deep_values_are_cut() {
    let many: Map<String, Value> = (0..CHANGES_MAX + 5).map(|n| (format!("f{n:05}"), json!(n))).collect();
    let changes = between(&json!({}), &many.into());
    assert_eq!(changes.len(), CHANGES_MAX);
    assert_eq!(changes[CHANGES_MAX - 1].texts()[1], "6 more changes");

    let nested = |leaf: &str| (0..100).fold(json!(leaf), |inner, _| json!([inner]));
    let changes = between(&json!({"x": nested("a")}), &json!({"x": nested("b")}));
    assert_eq!(changes.len(), 1, "{changes:?}");

    // Only the end differs.
    let long = |end: &str| json!({"x": format!("{}{end}", "a".repeat(TEXT_MAX))});
    assert_eq!(between(&long("b"), &long("c")).len(), 1);
    // Two ways of nesting are two paths.
    assert_eq!(paths(&between(&json!({"a.b": 1}), &json!({"a": {"b": 1}}))), ["other.\"a.b\"", "other.a.b"]);
}

proptest! {
    #[test]
    fn any_two_are_compared_and_the_other_way_round_mirrors(one in any_json(), two in any_json()) {
        let there = between(&one, &two);
        let back = between(&two, &one);
        prop_assert_eq!(paths(&there), paths(&back));
        for (there, back) in there.iter().zip(&back) {
            prop_assert_eq!((&there.before, &there.after), (&back.after, &back.before));
            prop_assert!(there.texts().iter().all(|text| !text.chars().any(char::is_control)));
        }
        prop_assert!(there.iter().all(|change| change.before != change.after));
        prop_assert_eq!(between(&one, &one), vec![]);
    }
}
