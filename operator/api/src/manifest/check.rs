//! Holds a document against the schema of its kind and reports all that does not fit: unknown and missing fields, wrong
//! types, values out of range. The schema is the one that the cluster gets. Contradictions between fields are not its affair.

use serde_json::Value as Schema;

use super::tree::{Node, Value, joined, shortened};
use crate::error::{FieldError, Position, allowed};
use crate::values;

/// Something that does not fit, and where.
pub(super) struct Misfit {
    pub(super) at: Position,
    pub(super) error: FieldError,
}

/// Most misfits reported of one document: beyond it the document is something else.
const MISFITS_MAX: usize = 100;

/// Collects misfits.
#[derive(Default)]
pub(super) struct Check {
    pub(super) misfits: Vec<Misfit>,
    /// What can be read here, but not by the API server.
    pub(super) notes: Vec<FieldError>,
}

impl Check {
    pub(super) fn misfit(&mut self, at: Position, path: &str, problem: impl Into<String>, help: impl Into<String>) {
        if self.misfits.len() < MISFITS_MAX {
            self.misfits.push(Misfit { at, error: FieldError::new(path, problem, help) });
        }
    }

    /// Checks a node that stands at `path`; `key` is where its key stands.
    pub(super) fn node(&mut self, node: &Node, key: Position, schema: &Schema, path: &str) {
        if let Some(title) = schema["title"].as_str()
            && values::check(title, "").is_some()
        {
            return self.scalar(node, title, path);
        }
        match (schema["type"].as_str(), &node.value) {
            (Some("object"), Value::Map(_)) => self.map(node, key, schema, path),
            (Some("array"), Value::List(items)) => self.list(items, node, schema, path),
            (Some("string"), Value::Text(text)) => self.text(text, node, schema, path),
            (Some("integer"), Value::Integer(n)) => self.integer(*n, node, schema, path),
            (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some(expected), _) => self.wrong_type(expected, node, schema, path),
        }
    }

    fn scalar(&mut self, node: &Node, title: &str, path: &str) {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Integer(n) => n.to_string(),
            Value::Float(n) => n.to_string(),
            _ => {
                let help = values::check(title, "").and_then(Result::err).map(|e| e.help);
                return self.misfit(node.at, path, format!("{} was found", node.found()), help.unwrap_or_default());
            }
        };
        if let Some(Err(error)) = values::check(title, &text) {
            self.misfit(node.at, path, error.problem, error.help);
        } else if matches!(node.value, Value::Float(_)) && self.notes.len() < MISFITS_MAX {
            let problem = "Kubernetes takes only text and whole numbers here";
            self.notes.push(FieldError::new(path, problem, format!("write it in quotes: \"{text}\"")));
        }
    }

    fn map(&mut self, node: &Node, key: Position, schema: &Schema, path: &str) {
        let Value::Map(entries) = &node.value else {
            return;
        };
        let properties = schema["properties"].as_object();
        let rest = schema["additionalProperties"].as_object();
        for entry in entries {
            let path = joined(path, &entry.key);
            if let Some(property) = properties.and_then(|all| all.get(&entry.key)) {
                if !matches!(entry.node.value, Value::Null) {
                    self.node(&entry.node, entry.at, property, &path);
                }
            } else if let Some(rest) = rest {
                self.node(&entry.node, entry.at, &Schema::Object(rest.clone()), &path);
            } else if let Some(properties) = properties {
                let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                self.misfit(
                    entry.at,
                    &path,
                    format!("there is no field `{}` here", shortened(&entry.key)),
                    allowed(&entry.key, &known),
                );
            } else {
                let help = "it has no settings: write {}";
                self.misfit(entry.at, &path, format!("there is no field `{}` here", shortened(&entry.key)), help);
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Schema::as_str) {
            if node.get(name).is_none_or(|found| matches!(found.value, Value::Null)) {
                let meaning = schema["properties"][name]["description"].as_str().unwrap_or_default();
                self.misfit(key, &joined(path, name), format!("`{name}` is missing"), meaning.replace('\n', " "));
            }
        }
    }

    fn list(&mut self, items: &[Node], node: &Node, schema: &Schema, path: &str) {
        let (min, max) = (schema["minItems"].as_u64().unwrap_or(0), schema["maxItems"].as_u64().unwrap_or(u64::MAX));
        let found = items.len() as u64;
        if found < min {
            let problem = match found {
                0 => "the list is empty".to_owned(),
                1 => "1 entry".to_owned(),
                _ => format!("{found} entries"),
            };
            let help =
                if min == 1 { "at least 1 entry, or leave it out".to_owned() } else { format!("at least {min}") };
            return self.misfit(node.at, path, problem, help);
        }
        if found > max {
            return self.misfit(node.at, path, format!("{found} entries"), format!("at most {max}"));
        }
        for (i, item) in items.iter().enumerate() {
            self.node(item, item.at, &schema["items"], &format!("{path}[{i}]"));
        }
    }

    fn text(&mut self, text: &str, node: &Node, schema: &Schema, path: &str) {
        if let Some(values) = schema["enum"].as_array() {
            let known: Vec<&str> = values.iter().filter_map(Schema::as_str).collect();
            if !known.contains(&text) {
                self.misfit(node.at, path, format!("`{}` is not known here", shortened(text)), allowed(text, &known));
            }
            return;
        }
        let length = text.chars().count() as u64;
        if length < schema["minLength"].as_u64().unwrap_or(0) {
            let problem = if length == 0 {
                "the text is empty or too short".to_owned()
            } else {
                format!("`{}` is too short", shortened(text))
            };
            self.misfit(node.at, path, problem, description(schema));
        } else if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
            self.misfit(node.at, path, format!("the text has {length} characters"), format!("at most {max}"));
        }
    }

    fn integer(&mut self, n: i64, node: &Node, schema: &Schema, path: &str) {
        // The schema generator writes bounds as floats; all are far below 2^53.
        let bound = |name: &str| schema[name].as_f64();
        let (min, max) = (bound("minimum"), bound("maximum"));
        if min.is_some_and(|min| (n as f64) < min) || max.is_some_and(|max| n as f64 > max) {
            let range = match (min, max) {
                (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
                (Some(min), None) => format!("a whole number, {min} or more"),
                _ => description(schema),
            };
            self.misfit(node.at, path, format!("{n} is out of range"), range);
        }
    }

    fn wrong_type(&mut self, expected: &str, node: &Node, schema: &Schema, path: &str) {
        let (wanted, help) = match (expected, &node.value) {
            ("object", _) => ("a map", description(schema)),
            ("array", _) => ("a list", description(schema)),
            ("integer", _) => ("a whole number", description(schema)),
            ("boolean", _) => ("true or false", description(schema)),
            (_, Value::Integer(_) | Value::Float(_) | Value::Bool(_)) => {
                let bare = node.found().trim_start_matches("the number ").trim_matches('`').to_owned();
                ("text", format!("write it in quotes: \"{bare}\""))
            }
            _ => ("text", description(schema)),
        };
        self.misfit(node.at, path, format!("{wanted} is expected, {} was found", node.found()), help);
    }
}

fn description(schema: &Schema) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}
