//! The CustomResourceDefinitions, and the reference of all fields, both generated from the types.

use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::{Model, ModelApproval, ModelEndpoint, ModelExperiment, TrainingRun};

/// The CustomResourceDefinitions of this version, ready to apply.
pub fn crds() -> Vec<Value> {
    [Model::crd(), TrainingRun::crd(), ModelEndpoint::crd(), ModelExperiment::crd(), ModelApproval::crd()]
        .into_iter()
        .map(|crd| {
            let mut crd = serde_json::to_value(crd).expect("a CustomResourceDefinition is plain data");
            for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
                let schema = &mut version["schema"]["openAPIV3Schema"];
                tidy(schema);
                // Names of what is made, labels and the bucket's paths rest on it.
                schema["x-kubernetes-validations"] = json!([{
                    "rule": "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
                    "message": "a name has lower-case letters, digits and -, begins and ends with a letter or digit, and has at most 63 of them"
                }]);
            }
            crd
        })
        .collect()
}

/// The API server warns about formats that it does not know (`uint32`), and defaults of null say nothing.
fn tidy(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if object.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        object.remove("format");
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if object.get("nullable").is_some() {
        object.remove("nullable");
    }
    // A definition may not say it; what is not named is unknown all the same.
    if object.get("additionalProperties") == Some(&Value::Bool(false)) {
        object.remove("additionalProperties");
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(name) {
            tidy(inner);
        }
    }
    for property in object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        tidy(property);
    }
}

/// Every field of every kind as Markdown tables: field, type, default, meaning.
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# Manifests: every field\n\nGenerated from the types. Durations are written with the units d, h, m, s and ms (`1h30m`). \
         A percentage is relative, a bare\nnumber absolute. A field without a default is required, unless it says optional.\n",
    );
    for crd in crds() {
        let names = &crd["spec"]["names"];
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let (kind, short) = (text(&names["kind"]), text(&names["shortNames"][0]));
        let meaning = text(&schema["properties"]["spec"]["description"]);
        out.push_str(&format!("\n## {kind}\n\n{meaning} Short name `{short}`.\n\n"));
        out.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
        rows("", &schema["properties"]["spec"], None, &mut out);
    }
    out
}

fn rows(path: &str, schema: &Value, inherited: Option<&Value>, out: &mut String) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        // A default of the whole group says what each of its fields is when the group is left out.
        let default = field.get("default").or_else(|| inherited.and_then(|group| group.get(name)));
        let shown = match default {
            _ if required.contains(&name.as_str()) => "required".to_owned(),
            Some(value) if is_short(value) => format!("`{}`", plain(value)),
            Some(Value::Object(_)) => "see its fields".to_owned(),
            Some(_) => "see meaning".to_owned(),
            None => "optional".to_owned(),
        };
        let meaning = text(&field["description"]).replace('\n', " ").replace('|', "\\|");
        out.push_str(&format!("| `{path}` | {} | {shown} | {meaning} |\n", kind_of(field)));
        rows(&path, field, default, out);
        rows(&format!("{path}[]"), &field["items"], None, out);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(Value::is_string),
        Value::Object(object) => object.is_empty(),
        _ => true,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn kind_of(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| format!("`{}`", plain(value))).collect::<Vec<_>>().join(", ");
    }
    let title = text(&schema["title"]);
    if crate::values::check(title, "").is_some() {
        return title.to_lowercase();
    }
    match text(&schema["type"]) {
        "array" => format!("list of {}", kind_of(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => "map of text".to_owned(),
        "object" => "map".to_owned(),
        "string" => "text".to_owned(),
        "integer" => match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            _ => "whole number".to_owned(),
        },
        "boolean" => "true or false".to_owned(),
        _ => "any".to_owned(),
    }
}
