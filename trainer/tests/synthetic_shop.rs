//! From a file to a bundle that serves, through the public interface alone, on an invented shop.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use fairway_model::{Bundle, FeatureDefinitions, Query, Seen, top_k};
use fairway_trainer::{CancelFlag, Check, DataSpec, Outcome, Silent, Source, TrainingPlan, read, train};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DAY_MS: i64 = 86_400_000;

/// JSON lines: 120 users who keep to one of three ranges of 20 items.
fn sales() -> String {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut lines = String::new();
    for user in 0..120_u32 {
        for visit in 0..6_i64 {
            let time_ms = (visit * 15 + i64::from(user % 15)) * DAY_MS;
            for _ in 0..2 {
                let item = (user % 3) * 20 + random.random_range(0..20_u32).min(random.random_range(0..20));
                let _ = writeln!(
                    lines,
                    r#"{{"time":{time_ms},"user":"u{user}","item":"i{item:02}","quantity":1,"segment":"s{}"}}"#,
                    user % 2
                );
            }
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_file_to_bundle() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sales.jsonl"), sales()).unwrap();
    let sql = "SELECT \"user\" AS user_id, item AS item_id, time, quantity AS weight, segment FROM interactions WHERE quantity > 0";
    let mut spec = DataSpec::new(Source { url: "sales.jsonl".to_owned(), sql: sql.to_owned() });
    spec.checks = vec![Check::MinRows(1_000), Check::Max { column: "weight".to_owned(), max: 100.0 }];
    let as_of = jiff::Timestamp::from_millisecond(90 * DAY_MS).unwrap();
    let plan = TrainingPlan {
        model: "shop".to_owned(),
        run: "shop-1".to_owned(),
        reason: "CI".to_owned(),
        trigger: None,
        evidence: BTreeMap::new(),
        champion: None,
        warm_start: false,
        seed: 1,
        data: spec,
        features: FeatureDefinitions::default(),
        family: "ease".to_owned(),
        parameters: BTreeMap::from([("regularization".to_owned(), "10".to_owned())]),
        holdout: Duration::from_secs(14 * 86_400),
        refit: true,
        as_of,
    };
    let data = read(&plan.data, dir.path(), as_of).await.unwrap();
    assert_eq!((data.report.rows, data.report.users), (1_440, 120));
    let work = dir.path().join("work");
    let judge = |evaluation: &fairway_trainer::Evaluation| {
        let (ours, theirs) = (evaluation.candidate.overall["recall@20"], evaluation.popularity.overall["recall@20"]);
        if ours > theirs { Ok(()) } else { Err(format!("{ours} is not above {theirs}")) }
    };
    let outcome =
        tokio::task::spawn_blocking(move || train(&plan, &data, None, &work, &Silent, &CancelFlag::new(), &judge));
    let Outcome::Trained(trained) = outcome.await.unwrap().unwrap() else { panic!("not trained") };

    let bundle = Bundle::load(&trained.bundle).unwrap();
    let items = bundle.recommender.items();
    let history: Vec<Seen> =
        ["i20", "i21", "i23"].map(|name| Seen { item: items.get(name).unwrap(), time_ms: 0 }).into();
    let mut scores = vec![0.0; items.len()];
    bundle.recommender.score(&Query { history: &history, segment: Some("s1"), now_ms: 90 * DAY_MS }, &mut scores);
    let mut best = Vec::new();
    top_k(&scores, |item| history.iter().any(|seen| seen.item == item), 5, &mut best);
    let names: Vec<&str> = best.iter().map(|(item, _)| items.name(*item)).collect();
    assert!(names.iter().all(|name| ("i20".."i40").contains(name)), "{names:?}");
}
