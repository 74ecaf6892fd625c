//! What the cluster gets, and the reference that is generated from it.

use fairway_api::{crds, reference_markdown};
use serde_json::Value;

/// Every object within a value.
fn walk(value: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(object);
            object.values().for_each(|inner| walk(inner, visit));
        }
        Value::Array(items) => items.iter().for_each(|inner| walk(inner, visit)),
        _ => {}
    }
}

#[test]
fn names_and_status() {
    let crds = crds();
    let names: Vec<_> = crds.iter().map(|crd| crd["metadata"]["name"].as_str().unwrap()).collect();
    let expected = ["models", "trainingruns", "modelendpoints", "modelexperiments", "modelapprovals"];
    assert_eq!(names, expected.map(|plural| format!("{plural}.fairway.dev")));
    for (crd, short) in crds.iter().zip(["fwm", "fwr", "fwe", "fwx", "fwa"]) {
        assert_eq!(crd["spec"]["names"]["shortNames"], serde_json::json!([short]));
        assert_eq!(crd["spec"]["names"]["categories"], serde_json::json!(["fairway"]));
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        let version = &crd["spec"]["versions"][0];
        assert_eq!(version["name"], "v1alpha1");
        assert!(version["subresources"]["status"].is_object());
        let conditions = &version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-map-keys"], serde_json::json!(["type"]));
    }
}

#[test]
fn the_schema_is_one_that_kubernetes_takes() {
    let known = [
        "x-kubernetes-int-or-string",
        "x-kubernetes-validations",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
    ];
    for crd in crds() {
        walk(&crd["spec"]["versions"][0]["schema"], &mut |object| {
            for key in object.keys().filter(|key| key.starts_with("x-")) {
                assert!(known.contains(&key.as_str()), "{key}");
            }
            assert!(
                !object.contains_key("$ref") && !object.contains_key("oneOf") && !object.contains_key("anyOf"),
                "{object:?}"
            );
            if let Some(Value::String(format)) = object.get("format") {
                assert!(["int32", "int64", "date-time"].contains(&format.as_str()), "{format}");
            }
            assert_ne!(object.get("additionalProperties"), Some(&Value::Bool(false)), "{object:?}");
            if object.get("type").is_some_and(Value::is_array) {
                panic!("a field has several types: {object:?}");
            }
        });
    }
}

#[test]
fn an_endpoint_scales_by_its_least_replicas() {
    let endpoint = &crds()[2];
    let scale = &endpoint["spec"]["versions"][0]["subresources"]["scale"];
    let expected = serde_json::json!({
        "specReplicasPath": ".spec.scaling.min",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector"
    });
    assert_eq!(*scale, expected);
    let properties = &endpoint["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    // Without a default the path would lead nowhere on an endpoint that says nothing of scaling.
    assert_eq!(properties["spec"]["properties"]["scaling"]["default"]["min"], 1);
    assert_eq!(properties["status"]["properties"]["replicas"]["format"], "int32");
}

#[test]
fn nothing_is_unbounded() {
    for crd in crds() {
        walk(&crd["spec"]["versions"][0]["schema"], &mut |object| {
            let bounded = match object.get("type").and_then(Value::as_str) {
                Some("array") => object.contains_key("maxItems"),
                Some("object") if object.contains_key("additionalProperties") => object.contains_key("maxProperties"),
                Some("string") => ["maxLength", "enum", "format"].iter().any(|key| object.contains_key(*key)),
                _ => true,
            };
            assert!(bounded, "{object:?}");
        });
    }
}

#[test]
fn every_field_says_what_it_is() {
    for crd in crds() {
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        walk(spec, &mut |object| {
            let Some(Value::Object(properties)) = object.get("properties") else { return };
            for (name, field) in properties {
                let described = field["description"].as_str().is_some_and(|text| text.ends_with('.'));
                assert!(described, "{name}: {field}");
                let typed = field["type"].is_string() || field["x-kubernetes-int-or-string"] == true;
                assert!(typed, "{name}: {field}");
            }
        });
    }
}

#[test]
fn the_reference_lists_every_field() {
    let text = reference_markdown();
    for row in [
        "| `data.history` | duration | `180d` | How far back a training run looks. |",
        "| `data.interactions.url` | text | required |",
        "| `retrain.budget.runs` | 1 to 1000 | `6` | Number of runs. |",
        "| `trainer.builtin.family` | `popularity`, `ease`, `two-tower` | required | Which family. |",
        "| `rollout.falseAlarmRate` | share | `5%` |",
        "| `rollout.steps[].weight` | 1 to 100 | required |",
        "| `fallback` | list of `Stable`, `Cached`, `SegmentPopularity`, `Popularity` | `[Stable, Cached, SegmentPopularity, Popularity]` |",
        "| `reason` | `Manual`, `CI`, `Initial`, `Drift`, `PredictionDrift`, `Degradation`, `NewData`, `Schedule`, `MaxAge`, `Erasure` | `Manual` | Why it was started. |",
        "| `retrain.breaker.halfOpenAfter` | duration | `30d` |",
        "| `evaluation.gates[].segments` | `Overall`, `Each` | `Overall` |",
    ] {
        assert!(text.contains(row), "{row}\n{text}");
    }
    assert_eq!(text.matches("\n## ").count(), 5);
}
