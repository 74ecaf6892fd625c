//! Where a version comes from: what its trainer wrote into `provenance.json`, with types, as a card for people, and
//! compared with another version's.
//!
//! What it does not do: it judges nothing and refuses little. Trainers of other makes and other years write here too, so
//! that every section may be missing, and what cannot be understood is kept as it is.

mod card;
mod diff;
mod sections;
mod text;

pub use card::{Attested, CardInput, card};
pub use diff::{Change, Side, comparable, diff};
pub use sections::{
    Code, Column, DataSection, Energy, Evaluation, Extra, Features, Machine, Metrics, Parent, Protocol, Refit,
    RowReport, Schema, SegmentMetrics, Snapshot, Source, TimeWindow, Training, Trigger,
};

use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The format that this version writes.
const FORMAT: u32 = 1;
/// The most bytes of a provenance: as of every JSON object of the registry.
const BYTES_MAX: usize = 16 << 20;

/// Where a version comes from.
///
/// A section that is there but has another shape than expected is kept in `extra` under its own name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Map<String, Value>")]
pub struct Provenance {
    /// The format: 1, or 0 for what says none.
    #[serde(skip_serializing_if = "unsaid")]
    pub format: u32,
    /// The model's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The run that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Why it was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// What it comes after or from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// What it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataSection>,
    /// What is derived from the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// What did the training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// How it was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// How good it was found to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// What was done after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refit: Option<Refit>,
    /// Where it was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// What that cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// Seconds by stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<BTreeMap<String, f64>>,
    /// All else.
    #[serde(flatten)]
    pub extra: Extra,
}

fn unsaid(format: &u32) -> bool {
    *format == 0
}

impl Provenance {
    /// An empty one in the format of this version.
    pub fn new() -> Provenance {
        Provenance { format: FORMAT, ..Provenance::default() }
    }

    /// Reads the bytes of a `provenance.json`; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when they are more than 16 MiB or no JSON.
    pub fn read(bytes: &[u8], path: &str) -> Result<Provenance> {
        if bytes.len() > BYTES_MAX {
            return Err(Error::corrupt(path, format!("{} bytes, the most is {BYTES_MAX}", bytes.len())));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| Error::corrupt(path, error))?;
        Ok(Provenance::of(value))
    }

    /// Takes up any JSON. What is no object is kept in `extra` as `value`.
    pub fn of(value: Value) -> Provenance {
        match value {
            Value::Object(fields) => fields.into(),
            Value::Null => Provenance::default(),
            other => Provenance { extra: BTreeMap::from([("value".to_owned(), other)]), ..Provenance::default() },
        }
    }

    /// As it is kept.
    pub fn to_value(&self) -> Value {
        // Only strings, numbers and JSON are in it, so that this cannot fail; a reader takes null as "nothing said".
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Whether it was written in a later format than this version knows.
    pub fn is_newer(&self) -> bool {
        self.format > FORMAT
    }
}

impl From<Map<String, Value>> for Provenance {
    fn from(mut fields: Map<String, Value>) -> Provenance {
        // Null says nothing.
        fields.retain(|_, value| !value.is_null());
        let format = take(&mut fields, "format").unwrap_or(0);
        if format == 0 {
            adopt(&mut fields);
        }
        Provenance {
            format,
            model: take(&mut fields, "model"),
            run: take(&mut fields, "run"),
            trigger: take(&mut fields, "trigger"),
            parent: take(&mut fields, "parent"),
            data: take(&mut fields, "data"),
            features: take(&mut fields, "features"),
            code: take(&mut fields, "code"),
            training: take(&mut fields, "training"),
            evaluation: take(&mut fields, "evaluation"),
            refit: take(&mut fields, "refit"),
            machine: take(&mut fields, "machine"),
            energy: take(&mut fields, "energy"),
            timings: take(&mut fields, "timings"),
            extra: fields.into_iter().collect(),
        }
    }
}

/// Takes a section out, if it is there and has the right shape.
fn take<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> Option<T> {
    let value = fields.remove(name)?;
    // By reference: what does not fit is put back.
    let section = T::deserialize(&value).ok();
    if section.is_none() {
        fields.insert(name.to_owned(), value);
    }
    section
}

/// Before there were formats, some fields lay elsewhere. Whatever has a place already stays as it is.
fn adopt(fields: &mut Map<String, Value>) {
    if let Some(text @ Value::String(_)) = fields.get("parent").cloned() {
        fields.insert("parent".to_owned(), json!({"champion": text}));
    }
    if let Some(text @ Value::String(_)) = fields.get("trigger").cloned() {
        fields.insert("trigger".to_owned(), json!({"message": text}));
    }
    let mut work = match fields.remove("work") {
        Some(Value::Object(work)) => work,
        other => {
            fields.extend(other.map(|other| ("work".to_owned(), other)));
            Map::new()
        }
    };
    work.retain(|_, value| !value.is_null());
    gather(fields, &mut work, "trigger", &[("reason", "message")], &[]);
    gather(fields, &mut work, "training", &["family", "parameters", "seed"].map(|name| (name, name)), &["threads"]);
    gather(fields, &mut work, "energy", &[], &["cpuSeconds"]);
    if !fields.contains_key("timings") {
        fields.extend(work.remove("seconds").map(|seconds| ("timings".to_owned(), seconds)));
    }
    if !work.is_empty() {
        fields.insert("work".to_owned(), work.into());
    }
}

/// Moves fields (from one name to another) and parts of `work` into a section, if that is not there yet.
fn gather(
    fields: &mut Map<String, Value>,
    work: &mut Map<String, Value>,
    section: &str,
    names: &[(&str, &str)],
    parts: &[&str],
) {
    if fields.contains_key(section) {
        return;
    }
    let mut moved = Map::new();
    for (old, new) in names {
        moved.extend(fields.remove(*old).map(|value| ((*new).to_owned(), value)));
    }
    for name in parts {
        moved.extend(work.remove(*name).map(|value| ((*name).to_owned(), value)));
    }
    if !moved.is_empty() {
        fields.insert(section.to_owned(), moved.into());
    }
}

#[cfg(test)]
mod tests;
