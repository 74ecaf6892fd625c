//! Manifests that are taken and manifests that are refused, in one table: read here by the loader, held against the schema and
//! its CEL rules, and by the tests on a cluster against an API server.

use fairway_api::{crds, parse_documents};
use kube_cel::Validator;
use serde::Deserialize;
use serde_json::Value;

/// One row of `table.yaml`, whose head says what the fields mean.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Row {
    name: String,
    /// The object as it is before; without it the manifest is new.
    before: Option<Value>,
    manifest: Value,
    /// What an API server says.
    accepted: bool,
    /// What the loader says, where it knows more or less than the schema.
    offline: Option<bool>,
    field: Option<String>,
    message: Option<String>,
}

fn table() -> Vec<Row> {
    serde_saphyr::from_str(include_str!("table.yaml")).unwrap()
}

/// What the CEL rules say of a row, with the schema's defaults filled in first as an API server does it.
fn cel(row: &Row) -> Vec<String> {
    let crd = crds().into_iter().find(|crd| crd["spec"]["names"]["kind"] == row.manifest["kind"]).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    match Validator::new().validate(schema, &row.manifest, row.before.as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_vec().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_loader_agrees() {
    for row in table() {
        // What changes is not the loader's affair: it sees one state.
        let expected = row.offline.unwrap_or(row.accepted || row.before.is_some());
        let text = serde_json::to_string(&row.manifest).unwrap();
        match parse_documents(&text, "row.json") {
            Ok(_) => assert!(expected, "{}: the loader takes it", row.name),
            Err(errors) => {
                assert!(!expected, "{}: {}", row.name, errors[0]);
                let fields: Vec<&str> = errors.iter().map(|error| error.field()).collect();
                let field = row.field.as_deref().unwrap_or_default();
                assert!(fields.contains(&field), "{}: {field} is none of {fields:?}", row.name);
            }
        }
    }
}

#[test]
fn the_rules_agree() {
    for row in table() {
        let said = cel(&row);
        if row.accepted {
            assert!(said.is_empty(), "{}: {said:?}", row.name);
        } else if let Some(message) = &row.message {
            assert!(said.iter().any(|error| error.contains(message.as_str())), "{}: {said:?}", row.name);
        }
    }
}

#[test]
fn every_rule_refuses_something() {
    fn collect(schema: &Value, out: &mut Vec<String>) {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            out.push(rule["message"].as_str().unwrap().to_owned());
        }
        for inner in schema["properties"].as_object().into_iter().flat_map(serde_json::Map::values) {
            collect(inner, out);
        }
        for name in ["items", "additionalProperties"] {
            if schema[name].is_object() {
                collect(&schema[name], out);
            }
        }
    }
    let mut rules = Vec::new();
    for crd in crds() {
        collect(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut rules);
    }
    let refused: Vec<String> = table().iter().filter(|row| !row.accepted).flat_map(cel).collect();
    for rule in rules {
        assert!(refused.iter().any(|said| said.contains(&rule)), "no row of the table is refused by: {rule}");
    }
}

#[test]
fn names_are_told_apart() {
    let mut names: Vec<String> = table().into_iter().map(|row| row.name).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}
