//! temporary
use fairway_trainer::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
struct Loud(Instant);
impl Progress for Loud {
    fn stage(&self, name: &str, total: u64) {
        eprintln!("{:8.2} stage {name} {total}", self.0.elapsed().as_secs_f64());
    }
    fn advance(&self, n: u64) {
        eprintln!("{:8.2} +{n}", self.0.elapsed().as_secs_f64());
    }
    fn note(&self, line: &str) {
        eprintln!("{:8.2} {line}", self.0.elapsed().as_secs_f64());
    }
}
#[tokio::test]
async fn probe() {
    let sql = "SELECT customer AS user_id, stock_code AS item_id, time, quantity AS weight, country AS segment FROM interactions WHERE customer IS NOT NULL AND quantity > 0 AND unit_price > 0 AND regexp_like(stock_code, '^[0-9]{5}')";
    let t = Instant::now();
    let mut spec =
        DataSpec::new(Source { url: "/work/shared/data/online-retail/transactions.parquet".into(), sql: sql.into() });
    spec.items = Some(Source {
        url: "/work/shared/data/online-retail/transactions.parquet".into(),
        sql: "SELECT stock_code AS item_id, description FROM items".into(),
    });
    let env = |k: &str, d: &str| std::env::var(k).unwrap_or(d.to_owned());
    spec.history = Duration::from_secs(env("DAYS", "3000").parse::<u64>().unwrap() * 86_400);
    let as_of: jiff::Timestamp = env("ASOF", "2012-01-01T00:00:00Z").parse().unwrap();
    let data = read(&spec, std::path::Path::new("."), as_of).await.unwrap();
    eprintln!("read {:.2}s {:#?}", t.elapsed().as_secs_f64(), data.report);
    if let Ok(cut) = std::env::var("CUT") {
        let cut: jiff::Timestamp = cut.parse().unwrap();
        let split = Split::at(&data.interactions, cut.as_millisecond(), 0).unwrap();
        let mut rows = split.train.clone();
        if let Ok(days) = std::env::var("TRAIN_DAYS") {
            rows = rows.between(cut.as_millisecond() - days.parse::<i64>().unwrap() * 86_400_000, i64::MAX);
        }
        let features: fairway_model::FeatureDefinitions = serde_json::from_str(&env("FEATURES", "{}")).unwrap();
        for family in env("FAMILIES", "popularity,ease").split(',') {
            let parameters: BTreeMap<String, String> = serde_json::from_str(&env("PARAMS", "{}")).unwrap();
            let t = Instant::now();
            let model = families::fit(
                family,
                &parameters,
                &rows,
                &data.items,
                &features,
                1,
                &Loud(Instant::now()),
                &CancelFlag::new(),
            )
            .unwrap();
            let fit = t.elapsed().as_secs_f64();
            let t = Instant::now();
            let metrics = evaluate::full_ranking(model.as_ref(), &split, &[10, 20, 50]);
            eprintln!(
                "RESULT {family} {parameters:?} users {} items {} fit {fit:.2}s eval {:.2}s R@20 {:.4} N@20 {:.4} cov {:.3}",
                split.users.len(),
                model.items().len(),
                t.elapsed().as_secs_f64(),
                metrics.overall["recall@20"],
                metrics.overall["ndcg@20"],
                metrics.overall["coverage@20"]
            );
        }
    }
    if std::env::var("TRAIN").is_ok() {
        let plan = TrainingPlan {
            model: "m".into(),
            run: "r".into(),
            reason: "CI".into(),
            seed: 1,
            data: spec,
            features: Default::default(),
            family: env("TRAIN", "ease"),
            parameters: BTreeMap::new(),
            holdout: Duration::from_secs(14 * 86400),
            refit: true,
            as_of,
        };
        let work = std::path::PathBuf::from("/tmp/trainer-probe-work");
        let progress = Loud(Instant::now());
        let outcome = tokio::task::spawn_blocking(move || {
            train(&plan, &data, None, &work, &progress, &CancelFlag::new(), &|_| Ok(()))
        })
        .await
        .unwrap()
        .unwrap();
        if let Outcome::Trained(t) = outcome {
            eprintln!("{:#}", t.provenance["work"]);
            eprintln!("{:#}", t.provenance["refit"]);
            eprintln!("{:#}", t.provenance["evaluation"]["candidate"]["overall"]);
        }
        let t = Instant::now();
        let b = fairway_model::Bundle::load(std::path::Path::new("/tmp/trainer-probe-work/bundle")).unwrap();
        eprintln!("loaded {b:?} {:.2}s", t.elapsed().as_secs_f64());
    }
}
