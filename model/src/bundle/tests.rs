//! Bundles are written, read, spoiled and refused.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::linear::Linear;
use crate::profile::{consumed_bins, consumed_feature, number_feature};
use crate::recommender::Query;
use crate::two_tower::TwoTowerParts;

const DAY: i64 = 86_400_000;

fn items() -> Vocabulary {
    Vocabulary::from_names((0..12).map(|i| format!("item-{i:02}")))
}

fn segments() -> Vocabulary {
    Vocabulary::from_names(["fr", "uk"])
}

fn noise(n: usize, seed: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 12.9898 + seed).sin()).collect()
}

fn ease() -> Ease {
    Ease::new(items(), noise(144, 0.0)).unwrap()
}

fn popularity() -> Popularity {
    let counts = (0..12).map(|i| (i % 5) as f32).collect();
    Popularity::new(items(), segments(), counts, vec![vec![1.0; 12]; 2], 20.0).unwrap()
}

fn two_tower() -> TwoTower {
    let parts = TwoTowerParts {
        dim: 4,
        item_vectors: noise(48, 1.0),
        history_dim: 3,
        history_embedding: noise(36, 2.0),
        segment_dim: 2,
        segment_embedding: noise(6, 3.0),
        layers: vec![
            Linear { inputs: 5, outputs: 6, weight: noise(30, 4.0), bias: noise(6, 5.0) },
            Linear { inputs: 6, outputs: 4, weight: noise(24, 6.0), bias: noise(4, 7.0) },
        ],
        temperature: 0.1,
        half_life_ms: 30 * DAY,
    };
    TwoTower::new(items(), segments(), parts).unwrap()
}

fn manifest() -> BundleManifest {
    BundleManifest {
        model: "shop-recs".into(),
        run: "shop-recs-3f9c2a1".into(),
        features: serde_json::from_str(r#"{"user": [{"name": "segment", "category": {}}]}"#).unwrap(),
        history_ms: 180 * DAY,
        trained_from_ms: 0,
        trained_through_ms: 180 * DAY,
        metrics: [("recall@20".to_owned(), 0.1875)].into(),
        parameters: [("regularization".to_owned(), "200".to_owned())].into(),
        seed: u64::MAX,
        ..BundleManifest::default()
    }
}

fn profile() -> Profile {
    let mut scores: Vec<f64> = (0..50).map(f64::from).collect();
    let features = [("score".to_owned(), number_feature(&mut scores, 10, true))];
    Profile {
        features: features.into(),
        consumed: Some(consumed_feature(10)),
        consumed_bin: consumed_bins(&[3; 12], 10),
    }
}

fn write(model: &dyn Recommender) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let golden = GoldenRequest::invent(&items(), &segments(), 8, 1);
    Bundle::write(dir.path(), manifest(), model, &profile(), &golden).unwrap();
    dir
}

fn edit(dir: &TempDir, file: &str, change: impl FnOnce(&mut Value)) {
    let path = dir.path().join(file);
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

fn files(dir: &TempDir) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

/// The one finding.
fn finding(dir: &TempDir) -> Finding {
    let mut findings = check(dir.path());
    assert_eq!(findings.len(), 1, "{findings:?}");
    let error = Bundle::load(dir.path()).unwrap_err().to_string();
    let finding = findings.remove(0);
    assert!(error.contains(&finding.what), "{error}");
    finding
}

#[test]
fn every_family_comes_back_as_it_was_byte_for_byte() {
    let families: [(&dyn Recommender, usize); 3] = [(&ease(), 6), (&popularity(), 7), (&two_tower(), 7)];
    for (model, count) in families {
        let first = write(model);
        assert_eq!(check(first.path()), []);
        let bundle = Bundle::load(first.path()).unwrap();
        assert_eq!(bundle.manifest.family, model.family());
        assert_eq!((bundle.manifest.items, bundle.manifest.seed), (12, u64::MAX));
        assert_eq!(bundle.profile, profile());
        let second = write(&*bundle.recommender);
        assert_eq!(files(&first), files(&second));
        assert_eq!(files(&first).len(), count);
        let query = Query { history: &[], segment: Some("uk"), now_ms: 0 };
        let (mut before, mut after) = ([0.0; 12], [0.0; 12]);
        model.score(&query, &mut before);
        bundle.recommender.score(&query, &mut after);
        assert_eq!(before, after);
    }
}

#[test]
fn weights_are_what_other_tools_expect() {
    let dir = write(&two_tower());
    let bytes = fs::read(dir.path().join(WEIGHTS_FILE)).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = tensors.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "item.vectors",
            "score.temperature",
            "user.history_embedding",
            "user.layers.0.bias",
            "user.layers.0.weight",
            "user.layers.1.bias",
            "user.layers.1.weight",
            "user.recency_half_life_ms",
            "user.segment_embedding"
        ]
    );
    assert_eq!(tensors.tensor("user.layers.0.weight").unwrap().shape(), [6, 5]);
    let again = safetensors::serialize(tensors.iter(), None).unwrap();
    assert_eq!(again, bytes);
}

#[test]
fn moved_items_do_not_answer_as_before() {
    let dir = write(&ease());
    // Still sorted and of the right number, but the weights now belong to other items.
    edit(&dir, ITEMS_FILE, |names| {
        let names = names.as_array_mut().unwrap();
        names.rotate_left(1);
        *names.last_mut().unwrap() = "item-99".into();
    });
    let finding = finding(&dir);
    assert_eq!(finding.file, GOLDEN_FILE);
    assert!(finding.what.contains("golden answers are not reproduced"), "{finding}");
    assert!(finding.cure.contains("order of the weights"));
}

#[test]
fn names_out_of_order_are_refused() {
    let dir = write(&ease());
    edit(&dir, ITEMS_FILE, |names| names.as_array_mut().unwrap().swap(3, 4));
    let finding = finding(&dir);
    assert_eq!(finding.file, ITEMS_FILE);
    assert!(finding.what.contains("sorted by bytes"), "{finding}");
}

#[test]
fn what_was_changed_afterwards_is_found() {
    let far = "9".repeat(64);
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, Change<'_>, &str, &str); 9] = [
        (BUNDLE_FILE, &|m| m["format"] = 2.into(), BUNDLE_FILE, "format"),
        (BUNDLE_FILE, &|m| m["family"] = "ials".into(), WEIGHTS_FILE, "not known"),
        (BUNDLE_FILE, &|m| m["family"] = "popularity".into(), WEIGHTS_FILE, "segments.json"),
        (BUNDLE_FILE, &|m| m["items"] = 11.into(), BUNDLE_FILE, "items.json has 12"),
        (BUNDLE_FILE, &|m| m["featuresDigest"] = far.as_str().into(), BUNDLE_FILE, "featuresDigest"),
        (BUNDLE_FILE, &|m| m["tieRule"] = "random".into(), BUNDLE_FILE, "tieRule"),
        (BUNDLE_FILE, &|m| m["metrics"]["recall@20"] = Value::Null, BUNDLE_FILE, "null"),
        (BUNDLE_FILE, &|m| m["trainedFromMs"] = i64::MAX.into(), BUNDLE_FILE, "trainedFromMs"),
        (PROFILE_FILE, &|p| p["features"]["score"]["is_score"] = false.into(), PROFILE_FILE, "digest"),
    ];
    for (file, change, found_in, word) in cases {
        let dir = write(&ease());
        edit(&dir, file, change);
        let finding = finding(&dir);
        assert_eq!(finding.file, found_in, "{finding}");
        assert!(finding.what.contains(word) && !finding.cure.is_empty(), "{finding}");
    }
}

#[test]
fn a_profile_that_does_not_fit_is_found_though_its_digest_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let mut broken = profile();
    broken.consumed_bin = vec![0; 11];
    broken.consumed_bin[3] = 10;
    broken.features.get_mut("score").unwrap().reference = fairway_stats::Histogram::with_len(3);
    let golden = [GoldenRequest::new(vec![], None, 5)];
    Bundle::write(dir.path(), manifest(), &ease(), &broken, &golden).unwrap();
    let findings = check(dir.path());
    let words = ["reference counts", "11 entries for 12 items", "beyond the 10"];
    assert_eq!(findings.len(), words.len());
    for (finding, word) in findings.iter().zip(words) {
        assert!(finding.file == PROFILE_FILE && finding.what.contains(word), "{finding}");
    }
}

#[test]
fn everything_that_is_missing_is_listed_at_once() {
    let nothing = tempfile::tempdir().unwrap();
    let found: Vec<String> = check(nothing.path()).into_iter().map(|finding| finding.file).collect();
    assert_eq!(found, [BUNDLE_FILE, ITEMS_FILE, PROFILE_FILE, GOLDEN_FILE, CARD_FILE]);
    let dir = write(&ease());
    fs::remove_file(dir.path().join(CARD_FILE)).unwrap();
    assert_eq!(check(dir.path())[0].file, CARD_FILE);
    assert!(Bundle::load(dir.path()).is_ok(), "a card is for people");
}

#[test]
fn cut_and_foreign_weights_are_refused() {
    let dir = write(&ease());
    let path = dir.path().join(WEIGHTS_FILE);
    let bytes = fs::read(&path).unwrap();
    for broken in [&bytes[..bytes.len() - 4], &bytes[..5], b"\xff\xff\xff\xff\xff\xff\xff\xff{}", b""] {
        fs::write(&path, broken).unwrap();
        assert_eq!(finding(&dir).file, WEIGHTS_FILE);
    }
    fs::File::create(&path).unwrap().set_len((64 << 30) + 1).unwrap();
    assert!(finding(&dir).what.contains("more than"));
    let other = write(&two_tower());
    fs::copy(other.path().join(WEIGHTS_FILE), &path).unwrap();
    assert!(finding(&dir).what.contains("`item_item.weight` is missing"));
}

#[test]
fn a_changed_weight_is_refused_and_an_honest_nan_is_not() {
    let dir = write(&ease());
    let path = dir.path().join(WEIGHTS_FILE);
    let mut bytes = fs::read(&path).unwrap();
    let from = bytes.len() - 144 * 4;
    for (at, byte) in bytes.iter_mut().enumerate().skip(from) {
        // The sign bit of every fourth weight.
        *byte ^= if (at - from) % 16 == 3 { 0x80 } else { 0 };
    }
    fs::write(&path, bytes).unwrap();
    assert_eq!(finding(&dir).file, GOLDEN_FILE);
    let broken = Ease::new(items(), vec![f32::NAN; 144]).unwrap();
    let dir = write(&broken);
    assert!(Bundle::load(dir.path()).is_ok());
}

#[test]
fn infinite_scores_are_golden_too() {
    let mut weights = vec![0.5; 144];
    weights[12..24].fill(f32::INFINITY);
    let dir = tempfile::tempdir().unwrap();
    let golden = [GoldenRequest::new(vec!["item-01".into()], None, 3)];
    let model = Ease::new(items(), weights).unwrap();
    Bundle::write(dir.path(), manifest(), &model, &profile(), &golden).unwrap();
    assert!(Bundle::load(dir.path()).is_ok());
}

#[test]
fn golden_lines_are_readable_and_excluded_histories_stay_out() {
    let dir = write(&popularity());
    let text = fs::read_to_string(dir.path().join(GOLDEN_FILE)).unwrap();
    assert_eq!(text.lines().count(), 8);
    let requests = golden::parse(text.as_bytes()).unwrap();
    assert!(requests.iter().any(|request| request.segment.is_some()));
    for request in &requests {
        assert!(request.answer().all(|(item, _)| !request.history.iter().any(|seen| seen == item)));
    }
    assert_eq!(requests[0].answer().next(), Some(("item-04", 20.0 * 4.0 / 21.0)));
    let first = text.lines().next().unwrap();
    assert!(first.starts_with(r#"{"answer":[["item-04","#) && first.ends_with(r#""history":[],"k":20}"#), "{first}");
}

#[test]
fn too_few_and_too_many_golden_requests_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let request = || GoldenRequest::new(vec![], None, 1);
    for golden in [vec![], vec![request(); GOLDEN_MAX + 1], vec![GoldenRequest::new(vec![], None, 0)]] {
        assert!(Bundle::write(dir.path(), manifest(), &ease(), &profile(), &golden).is_err());
    }
    let mut infinite = manifest();
    infinite.metrics.insert("ndcg@20".into(), f64::NAN);
    let error = Bundle::write(dir.path(), infinite, &ease(), &profile(), &[request()]).unwrap_err();
    assert!(error.to_string().contains("ndcg@20"));
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing was written");
}

#[test]
fn the_schema_has_the_fields_that_are_written() {
    let schema = bundle_schema();
    let dir = write(&ease());
    let text = fs::read_to_string(dir.path().join(BUNDLE_FILE)).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    let written = written.as_object().unwrap();
    let mut required: Vec<&str> = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    required.sort_unstable();
    let mut keys: Vec<&str> = written.keys().map(String::as_str).collect();
    assert!(keys.is_sorted());
    assert_eq!(keys, required);
    keys.push("gatedSibling");
    let mut known: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    known.sort_unstable();
    keys.sort_unstable();
    assert_eq!(known, keys);
    for (key, value) in written {
        let is = match value {
            Value::String(_) => "string",
            Value::Number(n) if n.is_u64() || n.is_i64() => "integer",
            _ => "object",
        };
        let mut property = &schema["properties"][key];
        if let Some(name) = property["$ref"].as_str() {
            property = schema.pointer(&name[1..]).unwrap();
        }
        assert_eq!(property["type"], is, "{key}");
    }
    let families = schema["properties"]["family"]["enum"].as_array().unwrap();
    assert_eq!(families, &[Popularity::FAMILY, Ease::FAMILY, TwoTower::FAMILY]);
}

#[test]
fn the_card_says_what_was_trained_on_what() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = BundleManifest { gated_sibling: Some("sha256:5".into()), ..manifest() };
    Bundle::write(dir.path(), manifest, &ease(), &profile(), &[GoldenRequest::new(vec![], None, 1)]).unwrap();
    let card = fs::read_to_string(dir.path().join(CARD_FILE)).unwrap();
    for part in [
        "# shop-recs",
        "`ease` model of 12 items",
        "1970-06-30",
        "| recall@20 | 0.1875 |",
        "| regularization | 200 |",
        "sha256:5",
        "180d",
    ] {
        assert!(card.contains(part), "{part} in {card}");
    }
}

#[test]
fn a_family_of_somebody_else_is_described_and_its_answers_are_checked() {
    let dir = write(&ease());
    edit(&dir, BUNDLE_FILE, |bundle| bundle["family"] = "a-transformer".into());
    fs::remove_file(dir.path().join(WEIGHTS_FILE)).unwrap();
    assert!(Bundle::load(dir.path()).is_err());
    let described = Bundle::describe(dir.path()).unwrap();
    assert_eq!((described.manifest.family.as_str(), described.items.len()), ("a-transformer", 12));
    let model = ease();
    for request in &described.golden {
        let history = request.seen(&described.items, described.manifest.trained_through_ms);
        assert!(history.is_sorted_by_key(|seen| seen.time_ms));
        let mut scores = vec![0.0; 12];
        let query = Query { history: &history, segment: request.segment.as_deref(), now_ms: 0 };
        model.score(&query, &mut scores);
        let mut best = Vec::new();
        crate::top_k(&scores, |item| history.iter().any(|seen| seen.item == item), request.k, &mut best);
        let mut answer: Vec<(String, f32)> =
            best.into_iter().map(|(item, score)| (described.items.name(item).to_owned(), score)).collect();
        assert_eq!(request.differs_from(&answer), None);
        answer.pop();
        assert!(request.differs_from(&answer).unwrap().contains("items where"));
    }
    edit(&dir, BUNDLE_FILE, |bundle| bundle["items"] = 11.into());
    assert!(Bundle::describe(dir.path()).unwrap_err().to_string().contains("items.json has 12"));
}
