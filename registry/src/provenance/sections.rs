//! The sections of a provenance, as they stand in `provenance.json`: names in camelCase, times in RFC 3339, digests as
//! `sha256:…`. All is optional; what is not known here stays in `extra` and is written back as it was.
//!
//! What it does not do: it checks no value. A trainer writes this of itself; a signature says who wrote it.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Fields by name that have no meaning here.
pub type Extra = BTreeMap<String, Value>;

/// What the version was trained on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSection {
    /// Who consumed what, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interactions: Option<Source>,
    /// Features of items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Source>,
    /// The moment of the run: later rows did not exist for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// The stretch of time that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<TimeWindow>,
    /// What was found in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<RowReport>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// `from <= time < through`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeWindow {
    /// The first moment inside.
    pub from: Timestamp,
    /// The first moment after it.
    pub through: Timestamp,
}

/// A place and the SELECT that makes rows of what lies there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// A path or URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The SELECT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// The digest of its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql_digest: Option<String>,
    /// The files as they were when reading began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// The columns of the SELECT's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Which files there were. Two snapshots with the same digest listed the same files in the same state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Over the sorted list of files: name, size, and entity tag or time of change. `None` when there were too many to
    /// list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How many files (when there is no digest: at least so many).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Their size together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// When the newest was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Timestamp>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Columns of a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schema {
    /// Over names and types in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The columns, or the first of very many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A column of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, in the words of the engine that read it.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Counts and shares of the rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RowReport {
    /// Rows that were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Rows that were used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Different users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u64>,
    /// Different items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<u64>,
    /// Items that have features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub described_items: Option<u64>,
    /// The oldest row that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// The newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Timestamp>,
    /// Over the rows and features themselves, whatever files they came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Other fields; the built-in trainer writes `nulls`, `duplicates` and `future`, which are shares.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What is derived from the data, in trainer and server alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Features {
    /// The digest of the definitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The definitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definitions: Option<Value>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What did the training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Code {
    /// The package.
    #[serde(rename = "crate", skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The revision of its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The digest of the container image that it ran in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How it was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The kind of model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Hyperparameters by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Value>,
    /// The seed of all randomness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// `full`: from nothing; `warmStart`: from the parent's weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Threads that it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// Whether the same plan on the same data gives the same bytes again (same machine and threads).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deterministic: Option<bool>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The versions that this one comes after or from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parent {
    /// The digest of the version that served when this one was trained. It was judged beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub champion: Option<String>,
    /// The digest of the version whose weights were the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_start: Option<String>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Why it was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// One word: `Drifted`, `Degraded`, `MaxAge`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// A sentence: what, the number against its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Numbers, digests and names that it rests on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, Value>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How good it was found to be, offline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// How it was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Users that it was judged on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u64>,
    /// This version (before any refit).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Metrics>,
    /// The version that served then, on the same users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub champion: Option<Metrics>,
    /// What is popular, on the same users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub popularity: Option<Metrics>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Metrics by name, over all users and over those of each segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Over all users.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overall: BTreeMap<String, f64>,
    /// By segment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_segment: BTreeMap<String, SegmentMetrics>,
}

/// Metrics of the users of one segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SegmentMetrics {
    /// How many users.
    #[serde(default)]
    pub users: u64,
    /// Metrics by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, f64>,
}

/// How metrics were made. Two numbers may be compared exactly when the digests of their protocols are equal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    /// Over all the fields that define it, the digest of the data among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Which items are ranked, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranking: Option<String>,
    /// How rows were divided, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// What a user has to hit, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<String>,
    /// What the metrics are, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// How equal scores are ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tie_rule: Option<String>,
    /// The first moment of the holdout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutoff: Option<Timestamp>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What was done after the judgement: what is served may be fitted again on all rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refit {
    /// Whether it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<bool>,
    /// The digest of the weights that were judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gated_sibling: Option<String>,
    /// Rows that the served weights were fitted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Mean share of the first 20 items that judged and served weights agree on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap_at20: Option<f64>,
    /// Users that this was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap_users: Option<u64>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Where it was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The processor's model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Logical processors that the process may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u64>,
    /// Memory that the process may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The instruction set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What it cost to make.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Energy {
    /// Processor time, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Energy, in joules. `None` where nothing could be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joules: Option<f64>,
    /// How both were measured, and what else is in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}
