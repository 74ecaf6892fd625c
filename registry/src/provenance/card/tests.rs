//! A whole card, an empty one, and cards of anything.

use super::*;
use crate::provenance::tests::{any_json, whole};
use proptest::prelude::*;
use serde_json::{Value, json};

fn about(provenance: Value) -> CardInput {
    CardInput {
        model: "shop/shop-recs".to_owned(),
        version: 7,
        digest: format!("sha256:{}", "0123456789abcdef".repeat(4)).parse().unwrap(),
        aliases: vec!["champion".to_owned(), "previous".to_owned()],
        status: Some("live".to_owned()),
        run: "shop-recs-3f9c2a1".to_owned(),
        registered: "2026-11-02T03:04:05.678Z".parse().unwrap(),
        bytes: 1_234_567,
        files: 6,
        metrics: BTreeMap::from([("recall@20".to_owned(), 0.1234)]),
        labels: BTreeMap::from([("family".to_owned(), "ease".to_owned())]),
        provenance: Provenance::of(provenance),
        approvals: Some(vec![Attested {
            by: "alice".to_owned(),
            at: Some("2026-11-02T09:00:00Z".parse().unwrap()),
            says: "holdout looked at, segments are fine".to_owned(),
        }]),
        signatures: Some(Vec::new()),
    }
}

#[test]
fn a_whole_card() {
    assert_eq!(card(&about(whole())), include_str!("golden.md"));
}

#[test]
fn of_nothing_a_card_says_that_nothing_is_recorded() {
    let nothing = CardInput { metrics: BTreeMap::new(), approvals: None, signatures: None, ..about(json!({})) };
    let card = card(&nothing);
    for word in [
        "family that is not recorded",
        "None were recorded.",
        "## Data\n\nNothing was recorded.",
        "Not looked up here.",
    ] {
        assert!(card.contains(word), "{word}\n{card}");
    }
    let limits = card.split("## Limits").nth(1).unwrap();
    for word in ["metrics", "data", "image digest", "energy", "champion then", "approvals", "seed"] {
        assert!(limits.contains(word), "{word}\n{limits}");
    }
    // The log's metrics are shown where the trainer wrote none.
    assert!(super::card(&about(json!({}))).contains("| `recall@20` | 0.1234 |"));
}

#[test]
fn a_trainer_s_words_are_words() {
    let evil = "</p><script>x</script>\n# Approved\n| a | b |\n[x](https://evil) `y` \u{1b}[2J\u{202e}";
    let card = card(&about(json!({
        "format": 1,
        "trigger": {"code": evil, "message": evil, "evidence": {evil: evil}},
        "training": {"family": evil, "parameters": {evil: evil}},
        "data": {"interactions": {"url": evil, "sql": "SELECT 1\n```\n# Approved"}},
        "evaluation": {"candidate": {"overall": {evil: 0.5}, "bySegment": {evil: {"users": 1, "values": {evil: 0.5}}}}},
        "machine": {"cpu": evil},
        evil: evil,
    })));
    assert!(!card.contains(['\u{1b}', '\u{202e}']), "{card}");
    let mut in_block = false;
    for line in card.lines() {
        if line.starts_with("````") {
            in_block = !in_block;
        }
        assert!(in_block || !line.starts_with("# Approved"), "{line}");
        // Outside code spans every mark is escaped; a cell with a bar in it is a sentence.
        let bars = line.replace("\\|", "").matches('|').count();
        assert!(!line.starts_with('|') || [3, 4, 5].contains(&bars), "{line}");
    }
    assert!(!in_block);
    assert!(
        !card.lines().any(|line| line.starts_with('|') && line.contains("<script>") && !line.contains("\\<script"))
    );
}

#[test]
fn long_lists_are_cut() {
    let many =
        |n: usize| -> serde_json::Map<String, Value> { (0..n).map(|i| (format!("p{i:05}"), json!(1.0))).collect() };
    let columns: Vec<Value> = (0..10_000).map(|i| json!({"name": format!("c{i}"), "type": "Utf8"})).collect();
    let provenance = json!({
        "format": 1,
        "training": {"parameters": many(10_000)},
        "timings": many(10_000),
        "evaluation": {"candidate": {"overall": many(10_000)}},
        "data": {"interactions": {"sql": "x".repeat(1 << 20), "schema": {"columns": columns}}},
        "other": "y".repeat(1 << 20),
    });
    let card = card(&about(provenance));
    assert!(card.len() < 40_000, "{}", card.len());
    assert!(card.contains("9960 more are in the JSON") && card.contains("and 9960 more"), "{card}");
}

proptest! {
    #[test]
    fn any_json_makes_a_card(value in any_json(), text in any::<String>()) {
        let mut about = about(value);
        about.aliases = vec![text.clone()];
        about.status = Some(text.clone());
        about.labels = BTreeMap::from([(text.clone(), text)]);
        let card = card(&about);
        prop_assert!(card.starts_with("# shop/shop-recs, version 7"));
        prop_assert!(!card.chars().any(|c| c != '\n' && c.is_control()));
        prop_assert!(card.len() < 200_000);
    }
}
