//! What differs between two versions: metrics, parameters, data, code, files.
//!
//! What it does not do: it judges nothing, and draws no table. What differs in any case is left out: names of runs,
//! timings, energy, and the spread of metrics.

use super::{Provenance, text};
use crate::Manifest;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The most changes that are listed.
const CHANGES_MAX: usize = 2_000;
/// How deep values are compared part by part.
const DEPTH_MAX: usize = 24;
/// The most values of one side that are compared.
const LEAVES_MAX: usize = 50_000;
/// Longest text that is shown whole, in characters.
const TEXT_MAX: usize = 2_000;
/// Longest path.
const PATH_MAX: usize = 400;

/// One of two versions.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What the log says was measured.
    pub metrics: &'a BTreeMap<String, f64>,
    /// Where it comes from.
    pub provenance: &'a Provenance,
    /// Its files.
    pub manifest: Option<&'a Manifest>,
}

/// Something that is not the same in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What: `metrics.recall@20`, `parameters.regularization`, `data.report.rows`, `files.weights.safetensors`, ….
    pub path: String,
    /// In the first; `None`: it is not there.
    pub before: Option<Value>,
    /// In the second.
    pub after: Option<Value>,
    /// By how much it grew, if both are numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
}

impl Change {
    /// Both values in one line each, with nothing in them that a terminal would obey; `-` where there is none.
    pub fn texts(&self) -> [String; 2] {
        [&self.before, &self.after].map(|side| match side {
            None => "-".to_owned(),
            Some(Value::String(words)) => text::plain(words),
            Some(value) => text::plain(&value.to_string()),
        })
    }
}

/// Where in a provenance things lie, what they are called here, and in which order they are listed. The first that fits
/// counts; `None` is not compared.
const PLACES: [(&str, Option<&str>); 23] = [
    ("evaluation.candidate.overall", Some("metrics")),
    ("evaluation.candidate.bySegment", Some("metrics by segment")),
    ("evaluation.users", Some("metrics users")),
    ("evaluation.champion", Some("metrics of the champion then")),
    ("evaluation.popularity", Some("metrics of popularity")),
    ("evaluation.besideChampion", None),
    ("evaluation.besidePopularity", None),
    ("evaluation.protocol", Some("protocol")),
    ("evaluation", Some("evaluation")),
    ("training.parameters", Some("parameters")),
    ("training.seed", Some("seed")),
    ("training", Some("training")),
    ("data", Some("data")),
    ("features", Some("features")),
    ("code", Some("code")),
    ("parent", Some("parent")),
    ("trigger", Some("trigger")),
    ("refit", Some("refit")),
    ("machine", Some("machine")),
    ("run", None),
    ("timings", None),
    ("energy", None),
    ("format", None),
];

/// A leaf's place in the list and its path in words.
type Key = (usize, String);

/// What differs, in the order metrics, training, data, features, code, causes, machine, other fields, files; within
/// that by name. Of more than 2,000 changes the last one listed says how many are left out.
pub fn diff(before: &Side<'_>, after: &Side<'_>) -> Vec<Change> {
    let (before, mut after) = (leaves(before), leaves(after));
    let mut all: BTreeMap<Key, (Option<Value>, Option<Value>)> =
        before.into_iter().map(|(key, value)| (key.clone(), (Some(value), after.remove(&key)))).collect();
    all.extend(after.into_iter().map(|(key, value)| (key, (None, Some(value)))));
    all.retain(|_, (before, after)| before != after);
    let left_out = all.len().saturating_sub(CHANGES_MAX);
    let kept = if left_out > 0 { CHANGES_MAX - 1 } else { CHANGES_MAX };
    let mut changes: Vec<Change> =
        all.into_iter().take(kept).map(|((_, path), (before, after))| change(path, before, after)).collect();
    if left_out > 0 {
        changes.push(change("(not listed)".to_owned(), None, Some(json!(format!("{} more changes", left_out + 1)))));
    }
    changes
}

/// Whether the metrics of both were made in the same way on the same data, so that they may be compared. `None` when one
/// of them does not say.
pub fn comparable(before: &Provenance, after: &Provenance) -> Option<bool> {
    let digest = |side: &Provenance| side.evaluation.as_ref()?.protocol.as_ref()?.digest.clone();
    Some(digest(before)? == digest(after)?)
}

fn change(path: String, before: Option<Value>, after: Option<Value>) -> Change {
    let number = |side: &Option<Value>| side.as_ref().and_then(Value::as_f64);
    let grown = number(&before).zip(number(&after)).map(|(before, after)| after - before);
    Change { path: text::plain(&path), before, after, difference: grown.filter(|grown| grown.is_finite()) }
}

/// Everything that is compared, by place and path.
fn leaves(side: &Side<'_>) -> BTreeMap<Key, Value> {
    let mut found = BTreeMap::new();
    flatten("", &side.provenance.to_value(), 0, &mut found);
    let mut leaves: BTreeMap<Key, Value> =
        found.into_iter().filter_map(|(path, value)| Some((named(&path)?, value))).collect();
    // The log's numbers stand for the version; a trainer of another make may write them nowhere else.
    leaves.extend(
        side.metrics
            .iter()
            .map(|(name, value)| ((0, short(&format!("metrics.{}", part(name)), PATH_MAX)), json!(value))),
    );
    let files = side.manifest.map(|manifest| manifest.files.as_slice()).unwrap_or_default();
    leaves.extend(files.iter().map(|file| {
        let content = format!("{} bytes, sha256 {}", file.bytes, file.sha256.get(..12).unwrap_or(&file.sha256));
        ((PLACES.len() + 1, format!("files.{}", file.path)), json!(content))
    }));
    leaves
}

/// The key of a path in the provenance, unless it is not compared.
fn named(path: &str) -> Option<Key> {
    for (order, (place, name)) in PLACES.iter().enumerate() {
        if let Some(rest) = path.strip_prefix(place)
            && (rest.is_empty() || rest.starts_with('.'))
        {
            return Some((order, format!("{}{rest}", (*name)?)));
        }
    }
    Some((PLACES.len(), format!("other.{path}")))
}

fn flatten(path: &str, value: &Value, depth: usize, into: &mut BTreeMap<String, Value>) {
    if into.len() >= LEAVES_MAX {
        return;
    }
    let below = |name: &str| match path {
        "" => short(&part(name), PATH_MAX),
        path => short(&format!("{path}.{}", part(name)), PATH_MAX),
    };
    let insert = |into: &mut BTreeMap<String, Value>, leaf: Value| {
        into.insert(path.to_owned(), leaf);
    };
    match value {
        Value::Object(fields) if depth < DEPTH_MAX && !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| flatten(&below(name), value, depth + 1, into));
        }
        Value::Array(values) if depth < DEPTH_MAX && !values.is_empty() => {
            let names = element_names(values);
            values.iter().zip(names).for_each(|(value, name)| flatten(&below(&name), value, depth + 1, into));
        }
        Value::String(text) => insert(into, json!(short(text, TEXT_MAX))),
        Value::Object(_) | Value::Array(_) if depth >= DEPTH_MAX => {
            insert(into, json!(short(&value.to_string(), TEXT_MAX)))
        }
        // An empty provenance is no leaf.
        _ if depth == 0 => {}
        other => insert(into, other.clone()),
    }
}

/// Elements are known by their `name` where each has one of its own, so that one that is put in between does not move
/// all others; else by their number from 0.
fn element_names(values: &[Value]) -> Vec<String> {
    let names: Option<Vec<&str>> = values.iter().map(|value| value.get("name")?.as_str()).collect();
    let distinct = names.filter(|names| {
        let mut seen: Map<String, Value> = Map::new();
        names.iter().all(|name| seen.insert((*name).to_owned(), Value::Null).is_none())
    });
    match distinct {
        Some(names) => names.into_iter().map(str::to_owned).collect(),
        None => (0..values.len()).map(|index| index.to_string()).collect(),
    }
}

/// A name as a part of a path. One with a point in it is quoted, so that two ways of nesting have two paths.
fn part(name: &str) -> String {
    if name.contains(['.', '"']) { json!(name).to_string() } else { name.to_owned() }
}

/// A long text is told from another one by its digest.
fn short(text: &str, max: usize) -> String {
    if text.chars().nth(max).is_none() {
        return text.to_owned();
    }
    let head: String = text.chars().take(100).collect();
    format!("{head}… ({})", crate::Digest::of(text.as_bytes()))
}

#[cfg(test)]
mod tests;
