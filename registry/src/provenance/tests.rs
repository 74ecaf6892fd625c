//! Reading what trainers of this and other makes write.

use super::*;
use proptest::prelude::*;

/// As the built-in trainer writes it.
pub(super) fn whole() -> Value {
    json!({
        "format": 1,
        "model": "shop-recs",
        "run": "shop-recs-3f9c2a1",
        "trigger": {
            "code": "Drifted",
            "message": "segment has psi 0.31 > 0.25 over 5,000 requests",
            "evidence": {"feature": "segment", "psi": 0.31, "limit": 0.25},
        },
        "parent": {"champion": format!("sha256:{}", "c".repeat(64))},
        "data": {
            "interactions": {
                "url": "s3://shop/transactions/",
                "sql": "SELECT customer AS user_id, stock_code AS item_id, time\nFROM interactions",
                "sqlDigest": "sha256:51",
                "snapshot": {"digest": "sha256:52", "files": 12, "bytes": 34_567_890, "newest": "2026-11-01T02:00:00Z"},
                "schema": {"digest": "sha256:53", "columns": [
                    {"name": "user_id", "type": "Utf8"}, {"name": "item_id", "type": "Utf8"}, {"name": "time", "type": "Date32"},
                ]},
            },
            "items": null,
            "asOf": "2026-11-02T03:00:00Z",
            "window": {"from": "2026-05-06T03:00:00Z", "through": "2026-11-02T03:00:00Z"},
            "historySeconds": 15_552_000,
            "report": {
                "read": 130_000, "rows": 123_456, "users": 4_321, "items": 2_345, "describedItems": 0,
                "oldest": "2026-05-06T08:15:00Z", "newest": "2026-11-01T20:30:00Z", "digest": "sha256:54",
                "nulls": {"user_id": 0.05}, "duplicates": 0.0, "future": 0.0,
            },
        },
        "features": {
            "digest": "sha256:55",
            "definitions": {"user": [{"name": "segment", "category": {}}], "item": [{"name": "description", "text": {"buckets": 4096}}]},
        },
        "code": {"crate": "fairway-trainer", "version": "0.1.0", "revision": "4f2a9c1"},
        "training": {
            "family": "ease", "parameters": {"regularization": "200"}, "seed": 1, "mode": "full", "threads": 2,
            "deterministic": true,
        },
        "evaluation": {
            "users": 1_200,
            "candidate": {
                "overall": {"recall@20": 0.1234, "ndcg@20": 0.0801, "coverage@20": 0.41},
                "bySegment": {
                    "France": {"users": 200, "values": {"recall@20": 0.11, "ndcg@20": 0.07}},
                    "United Kingdom": {"users": 1_000, "values": {"recall@20": 0.126, "ndcg@20": 0.082}},
                },
            },
            "champion": {
                "overall": {"recall@20": 0.1198, "ndcg@20": 0.0799, "coverage@20": 0.4},
                "bySegment": {"United Kingdom": {"users": 1_000, "values": {"recall@20": 0.121, "ndcg@20": 0.08}}},
            },
            "popularity": {"overall": {"recall@20": 0.0402, "ndcg@20": 0.02, "coverage@20": 0.01}, "bySegment": {}},
            "besideChampion": {"recall@20": {"n": 1_200, "first": 0.001, "second": 0.001, "covariance": 0.0005}},
            "protocol": {
                "digest": "sha256:56", "version": 1, "ranking": "full: every item that the model knows",
                "split": "temporal: train before the cut, judge on the rest", "targets": "items consumed after the cut",
                "metrics": "recall@k = hits / min(k, targets)", "tieRule": "the smaller index first",
                "cutoff": "2026-10-18T20:30:00Z", "newest": "2026-11-01T20:30:00Z", "eligible": 1_200, "users": 1_200,
                "sampleSeed": null, "data": "sha256:54",
            },
        },
        "refit": {"done": true, "gatedSibling": "sha256:57", "rows": 123_456, "overlapAt20": 0.93, "overlapUsers": 200},
        "machine": {"cpu": "AMD EPYC", "cores": 2, "memoryBytes": 8_232_000_000_u64, "os": "linux", "arch": "x86_64"},
        "energy": {"cpuSeconds": 41.5, "method": "processor time of the process"},
        "timings": {"read": 2.0, "fit": 12.25, "evaluate": 3.5, "refit": 13.0, "write": 0.25},
    })
}

/// Objects that often have the names of sections and fields, and any JSON in them.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("2026-11-01T00:00:00Z")),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((any_name(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    let known = [
        "format",
        "model",
        "run",
        "reason",
        "trigger",
        "parent",
        "data",
        "features",
        "code",
        "training",
        "evaluation",
        "refit",
        "machine",
        "energy",
        "timings",
        "work",
        "seed",
        "family",
        "parameters",
        "threads",
        "cpuSeconds",
        "seconds",
        "report",
        "window",
        "interactions",
        "items",
        "snapshot",
        "schema",
        "columns",
        "definitions",
        "candidate",
        "champion",
        "popularity",
        "overall",
        "bySegment",
        "users",
        "values",
        "protocol",
        "digest",
        "evidence",
        "message",
        "name",
        "asOf",
    ];
    prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

#[test]
fn what_is_written_is_read_with_its_types_and_nothing_is_lost() {
    let provenance = Provenance::of(whole());
    assert!(provenance.extra.is_empty(), "{:?}", provenance.extra);
    assert_eq!(provenance.format, 1);
    let data = provenance.data.as_ref().unwrap();
    assert_eq!(data.report.as_ref().unwrap().rows, Some(123_456));
    assert_eq!(data.extra["historySeconds"], 15_552_000);
    assert_eq!(data.interactions.as_ref().unwrap().schema.as_ref().unwrap().columns[2].kind, "Date32");
    let evaluation = provenance.evaluation.as_ref().unwrap();
    assert_eq!(evaluation.candidate.as_ref().unwrap().by_segment["France"].users, 200);
    assert_eq!(evaluation.extra["besideChampion"]["recall@20"]["n"], 1_200);
    assert_eq!(provenance.refit.as_ref().unwrap().overlap_at20, Some(0.93));
    // Only what is null is left out.
    let mut expected = whole();
    expected["data"].as_object_mut().unwrap().remove("items");
    expected["evaluation"]["popularity"].as_object_mut().unwrap().remove("bySegment");
    assert_eq!(provenance.to_value(), expected);
    let text = serde_json::to_vec(&provenance).unwrap();
    assert_eq!(Provenance::read(&text, "p").unwrap(), provenance);
    assert_eq!(serde_json::from_slice::<Provenance>(&text).unwrap(), provenance);
}

#[test]
fn what_was_written_before_there_were_formats_is_taken_up() {
    let provenance = Provenance::of(json!({
        "model": "m", "run": "r", "reason": "CI", "family": "ease", "parameters": {"regularization": "20"}, "seed": 7,
        "work": {"seconds": {"fit": 1.5}, "cpuSeconds": 2.5, "threads": 2, "other": 1},
    }));
    assert_eq!(provenance.format, 0);
    assert_eq!(provenance.trigger.unwrap().message.unwrap(), "CI");
    let training = provenance.training.unwrap();
    assert_eq!((training.family.as_deref(), training.seed, training.threads), (Some("ease"), Some(7), Some(2)));
    assert_eq!(training.parameters["regularization"], "20");
    assert_eq!(provenance.timings.unwrap()["fit"], 1.5);
    assert_eq!(provenance.energy.unwrap().cpu_seconds, Some(2.5));
    assert_eq!(provenance.extra, BTreeMap::from([("work".to_owned(), json!({"other": 1}))]));

    let brought = Provenance::of(json!({"trigger": "leaky", "parent": "sha256:0"}));
    assert_eq!(brought.trigger.unwrap().message.unwrap(), "leaky");
    assert_eq!(brought.parent.unwrap().champion.unwrap(), "sha256:0");
}

#[test]
fn a_section_of_another_shape_is_kept_as_it_is() {
    for (field, value) in [
        ("data", json!("somewhere")),
        ("data", json!({"asOf": "yesterday"})),
        ("evaluation", json!({"candidate": {"overall": {"recall@20": "high"}}})),
        ("timings", json!([1, 2])),
        ("format", json!(-1)),
        ("model", json!({"name": "m"})),
        ("notebook", json!("a.ipynb")),
    ] {
        let given = json!({"format": 1, "seed": 3, field: value.clone()});
        let provenance = Provenance::of(given.clone());
        assert_eq!(provenance.extra[field], value);
        assert_eq!(Provenance::of(provenance.to_value()), provenance, "{field}");
    }
    assert!(Provenance::of(json!({"format": 2})).is_newer() && !Provenance::new().is_newer());
    assert_eq!(Provenance::of(json!([1])).extra["value"], json!([1]));
    assert_eq!(Provenance::of(Value::Null), Provenance::default());
}

#[test]
fn what_is_no_json_or_too_much_is_refused() {
    let deep = "[".repeat(1_000);
    let long = " ".repeat(BYTES_MAX + 1);
    for (bytes, word) in [("", "EOF"), ("{", "EOF"), (deep.as_str(), "recursion"), (long.as_str(), "the most is")] {
        let error = Provenance::read(bytes.as_bytes(), "provenance.json of x").unwrap_err().to_string();
        assert!(error.starts_with("provenance.json of x: damaged") && error.contains(word), "{error}");
    }
}

proptest! {
    #[test]
    fn any_json_is_read_and_written_back_the_same(value in any_json()) {
        let provenance = Provenance::of(value);
        prop_assert_eq!(&Provenance::of(provenance.to_value()), &provenance);
        let text = serde_json::to_vec(&provenance).unwrap();
        prop_assert_eq!(&Provenance::read(&text, "p").unwrap(), &provenance);
    }
}
