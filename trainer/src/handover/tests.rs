//! What is handed over reads back as the very data, and what comes back is judged like what was trained here.

use super::*;
use crate::plan::Source;
use crate::progress::Silent;
use crate::{DataSpec, Outcome};

fn sales() -> String {
    let mut text = "user,item,day,segment\n".to_owned();
    for user in 0..40 {
        for visit in 0..10 {
            let (item, day) = ((user * 7 + visit * 3) % 31, 1 + visit * 2 + user % 3);
            let segment = if user % 3 == 0 { "" } else { "uk" };
            text.push_str(&format!("u{user},i{item},2027-01-{day:02},{segment}\n"));
        }
    }
    text
}

#[tokio::test]
async fn there_and_back_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sales.csv"), sales()).unwrap();
    std::fs::write(dir.path().join("items.csv"), "item_id,title,brand\ni1,A red cup,acme\ni2,,acme\n").unwrap();
    let sql = r#"SELECT "user" AS user_id, item AS item_id, CAST(day AS TIMESTAMP) AS time, segment FROM interactions"#;
    let mut spec = DataSpec::new(Source { url: "sales.csv".to_owned(), sql: sql.to_owned() });
    spec.items = Some(Source { url: "items.csv".to_owned(), sql: "SELECT * FROM items".to_owned() });
    let as_of = "2027-02-01T00:00:00Z".parse().unwrap();
    let data = crate::read(&spec, dir.path(), as_of).await.unwrap();
    let plan: TrainingPlan = serde_json::from_value(serde_json::json!({
        "model": "m", "run": "r", "reason": "CI", "seed": 7, "family": "ease", "asOf": "2027-02-01T00:00:00Z",
        "holdout": "144h", "data": spec, "refit": false, "parameters": {"minUsers": "1"},
    }))
    .unwrap();
    let desk = dir.path().join("desk");
    hand_over(&plan, &data, &desk).unwrap();

    let sql = "SELECT user_id, item_id, time, weight, segment FROM interactions";
    let mut again = DataSpec::new(Source { url: INTERACTIONS_FILE.to_owned(), sql: sql.to_owned() });
    again.items = Some(Source { url: ITEMS_FILE.to_owned(), sql: "SELECT * FROM items".to_owned() });
    let again = crate::read(&again, &desk, as_of).await.unwrap();
    assert_eq!((&again.interactions, &again.items), (&data.interactions, &data.items));
    assert_eq!(again.report.digest, data.report.digest);
    let sql = "SELECT user_id, item_id, time FROM interactions WHERE holdout";
    let judged_on = DataSpec::new(Source { url: INTERACTIONS_FILE.to_owned(), sql: sql.to_owned() });
    let judged_on = crate::read(&judged_on, &desk, as_of).await.unwrap();
    let split = Split::new(&data.interactions, plan.holdout, None, plan.seed).unwrap();
    assert_eq!(judged_on.interactions.len(), split.holdout.len());

    let work = dir.path().join("work");
    let trained = crate::train(&plan, &data, None, &work, &Silent, &CancelFlag::new(), &|_| Ok(())).unwrap();
    let Outcome::Trained(trained) = trained else { panic!("{trained:?}") };
    let bundle = fairway_model::Bundle::load(&trained.bundle).unwrap();
    let found = evaluate(&plan, &again, &*bundle.recommender, None, &Silent, &CancelFlag::new()).unwrap();
    assert_eq!(found, trained.evaluation);
    let record = provenance(&plan, &again, &bundle.manifest, &found).to_value();
    assert_eq!((&record["run"], &record["training"]["family"]), (&"r".into(), &"ease".into()));
}
