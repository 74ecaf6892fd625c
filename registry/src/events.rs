//! What happened in a model's log, as CloudEvents 1.0 that other systems understand, and (in
//! `events/signature.rs`) the signature by which a receiver knows who sent them.
//! Pure: it reads no log and sends nothing.
//!
//! One entry is one event, and its number is the cursor: who has handled event 7 of a model goes on
//! with entry 8. Nothing of an event depends on when, how often or from where it is sent.
//!
//! Sources: CloudEvents 1.0.2, its JSON format and its HTTP binding (structured mode), and its
//! `sequence` extension: github.com/cloudevents/spec.

mod signature;
#[cfg(test)]
mod tests;

pub use signature::{Headers, ID, SECRETS_MAX, SIGNATURE, Secret, TIMESTAMP, TOLERANCE_SECONDS, header, verify};

use crate::digest::sha256;
use crate::{Digest, Entry, Operation, Reference, State, Target, Timestamp, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use url::Url;

/// The media type of an event in an HTTP body.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";
/// The most versions and the most trees that an event lists: receivers like small bodies.
const LIST_MAX: usize = 100;

/// An event. As JSON it is a CloudEvent in structured mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// The version of CloudEvents: `1.0`.
    pub specversion: String,
    /// Tells events apart: the same entry has the same one for ever, wherever the registry lies.
    /// `namespace/model/number-check`, with `_` for `.`, which a signature uses to part its fields.
    pub id: String,
    /// The model's folder in the registry, as a URL without credentials.
    pub source: String,
    /// What kind of thing happened: `dev.fairway.registry.….v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it happened to: `models:/name/3`, `models:/name@alias` or `models:/name`.
    pub subject: String,
    /// When, as the entry says.
    pub time: Timestamp,
    /// The media type of `data`: `application/json`.
    pub datacontenttype: String,
    /// The entry's number, with zeros in front, so that texts sort as numbers do.
    pub sequence: String,
    /// The event itself.
    pub data: Data,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// The model's namespace.
    pub namespace: String,
    /// The model's name.
    pub model: String,
    /// The entry's number: the cursor.
    pub seq: u64,
    /// Who did it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What was done.
    pub operation: Operation,
    /// The version that it was done to, or that the alias points to now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Described>,
    /// All aliases afterwards.
    pub aliases: BTreeMap<String, u64>,
    /// How many versions and trees `operation` would list besides; the log has them all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: usize,
}

/// A version, as far as an event describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    /// Its number.
    pub number: u64,
    /// The digest of its tree.
    pub digest: Digest,
    /// The run that made it.
    pub run: String,
    /// When it was registered.
    pub registered: Timestamp,
    /// The size of its files, in bytes.
    pub bytes: u64,
    /// What the trainer measured.
    pub metrics: BTreeMap<String, f64>,
    /// Words for people and selectors.
    pub labels: BTreeMap<String, String>,
    /// The aliases that point to it now. Numbers are never given twice: one that points to a version
    /// in the event of its registration was moved by that registration.
    pub aliases: Vec<String>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The event of an entry. `registry` is the registry's URL; only its place becomes part of the event.
pub fn event(registry: &str, namespace: &str, model: &str, entry: &Entry) -> CloudEvent {
    let (operation, omitted) = shortened(&entry.operation);
    CloudEvent {
        specversion: "1.0".to_owned(),
        id: id(namespace, model, entry),
        source: source(registry, namespace, "models", model),
        kind: format!("dev.fairway.registry.{}.v1", kind(&entry.operation)),
        subject: subject(model, &entry.operation),
        time: entry.time,
        datacontenttype: "application/json".to_owned(),
        sequence: format!("{:020}", entry.seq),
        data: Data {
            namespace: namespace.to_owned(),
            model: model.to_owned(),
            seq: entry.seq,
            actor: entry.actor.clone(),
            reason: entry.reason.clone(),
            operation,
            version: version(&entry.operation).and_then(|number| described(number, &entry.state)),
            aliases: entry.state.aliases.clone(),
            omitted,
        },
    }
}

/// The entry's transaction and its place in the chain tell apart two logs that had the same name, one
/// after the other. They are hashed: a log that somebody wrote into must not get to write headers.
fn id(namespace: &str, model: &str, entry: &Entry) -> String {
    let place = format!("{}\n{}", entry.previous.as_deref().unwrap_or_default(), entry.txn);
    let check: String = sha256(place.as_bytes()).chars().take(16).collect();
    format!("{namespace}/{model}/{}-{check}", entry.seq).replace('.', "_")
}

/// Where events come from: a folder of the registry (`kind`: `models` or `endpoints`), as a URL without credentials. Of a
/// registry that is not known, the folder alone.
pub fn source(registry: &str, namespace: &str, kind: &str, name: &str) -> String {
    let place = Url::parse(registry).map(|mut url| {
        // The user of an `abfs` URL is its container. The rest can only be, or stand beside, a secret.
        if !url.scheme().starts_with("abfs") {
            let _ = url.set_username("");
        }
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        url.to_string()
    });
    format!("{}/{namespace}/{kind}/{name}", place.unwrap_or_default().trim_end_matches('/'))
}

fn kind(operation: &Operation) -> &'static str {
    match operation {
        Operation::Registered { .. } => "version.registered",
        Operation::Aliased { .. } => "alias.moved",
        Operation::Judged { approved: true, .. } => "version.approved",
        Operation::Judged { approved: false, .. } => "version.rejected",
        Operation::Withdrawn { .. } => "version.withdrawn",
        Operation::Held { held: true, .. } => "version.held",
        Operation::Held { held: false, .. } => "version.released",
        Operation::Protected { .. } => "alias.protected",
        Operation::Retained { .. } => "retention.changed",
        Operation::Signed { .. } => "version.signed",
        // A collection may find nothing but trees that never became a version.
        Operation::Condemned { versions, .. } if versions.is_empty() => "trees.condemned",
        Operation::Condemned { .. } => "versions.deleted",
        Operation::Swept { .. } => "trees.swept",
    }
}

fn subject(model: &str, operation: &Operation) -> String {
    let target = match operation {
        Operation::Registered { version }
        | Operation::Judged { version, .. }
        | Operation::Withdrawn { version, .. }
        | Operation::Held { version, .. }
        | Operation::Signed { version, .. } => Target::Number(*version),
        Operation::Aliased { alias, .. } | Operation::Protected { alias, .. } => Target::Alias(alias.clone()),
        Operation::Retained { .. } | Operation::Condemned { .. } | Operation::Swept { .. } => {
            return format!("models:/{model}");
        }
    };
    Reference { model: Some(model.to_owned()), target }.to_string()
}

/// The number of the version that an operation is about.
fn version(operation: &Operation) -> Option<u64> {
    match operation {
        Operation::Registered { version }
        | Operation::Judged { version, .. }
        | Operation::Withdrawn { version, .. }
        | Operation::Held { version, .. }
        | Operation::Signed { version, .. } => Some(*version),
        Operation::Aliased { to, .. } => *to,
        Operation::Protected { .. }
        | Operation::Retained { .. }
        | Operation::Condemned { .. }
        | Operation::Swept { .. } => None,
    }
}

fn described(number: u64, state: &State) -> Option<Described> {
    let Version { number, digest, run, registered, bytes, metrics, labels, .. } = state.versions.get(&number)?.clone();
    let aliases = state.aliases_of(number).into_iter().map(str::to_owned).collect();
    Some(Described { number, digest, run, registered, bytes, metrics, labels, aliases })
}

/// The operation without the end of its long lists, and how much that was.
fn shortened(operation: &Operation) -> (Operation, usize) {
    let mut operation = operation.clone();
    let mut omitted = 0;
    if let Operation::Condemned { versions, .. } = &mut operation {
        omitted += versions.len().saturating_sub(LIST_MAX);
        versions.truncate(LIST_MAX);
    }
    if let Operation::Condemned { digests, .. } | Operation::Swept { digests } = &mut operation {
        omitted += digests.len().saturating_sub(LIST_MAX);
        digests.truncate(LIST_MAX);
    }
    (operation, omitted)
}
