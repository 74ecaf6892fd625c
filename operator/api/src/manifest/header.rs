//! What every document begins with: `apiVersion`, `kind` and `metadata`. It does not look into `spec`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::check::Check;
use super::tree::{Node, Value, joined};
use crate::error::{FieldError, Position, allowed, closest, distance};

/// The group of Fairway's own kinds.
const GROUP: &str = "fairway.dev";
/// The version of this crate's types.
const VERSION: &str = "v1alpha1";
/// The kinds of this version.
const KINDS: [&str; 5] = ["Model", "TrainingRun", "ModelEndpoint", "ModelExperiment", "ModelApproval"];
/// Fields of `metadata` that people or the API server write.
const METADATA: [&str; 15] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "generateName",
    "finalizers",
    "ownerReferences",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// What is wrong, and where.
pub(super) type Problem = (Position, FieldError);

/// What a document says it is.
pub(super) enum Header {
    /// One of [`KINDS`].
    Ours(&'static str),
    /// Its apiVersion and kind.
    Other(String, String),
}

/// Reads what a document says it is.
pub(super) fn header(node: &Node) -> Result<Header, Problem> {
    let wrong = |at, field: &str, problem: String, help: String| Err((at, FieldError::new(field, problem, help)));
    let ours = format!("{GROUP}/{VERSION}");
    if !matches!(node.value, Value::Map(_)) {
        let help = format!("a manifest begins with apiVersion: {ours}");
        return wrong(node.at, "", format!("a manifest is a map, {} was found", node.found()), help);
    }
    let Some(api_version) = node.get("apiVersion").and_then(|found| Some((found.at, found.text()?))) else {
        let at = node.get("apiVersion").map_or(node.at, |found| found.at);
        return wrong(at, "apiVersion", "`apiVersion` is missing".into(), format!("apiVersion: {ours}"));
    };
    let (at, api_version) = api_version;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if group == GROUP && version != VERSION || group != GROUP && group.len() < 32 && distance(group, GROUP) <= 2 {
        let problem = format!("`{api_version}` is not supported");
        return wrong(at, "apiVersion", problem, format!("did you mean `{ours}`? it is what this version reads"));
    }
    let kind = node.get("kind");
    if group != GROUP {
        let kind = kind.and_then(Node::text).unwrap_or_default();
        return Ok(Header::Other(api_version.to_owned(), kind.to_owned()));
    }
    let Some((at, kind)) = kind.and_then(|found| Some((found.at, found.text()?))) else {
        let at = kind.map_or(node.at, |found| found.at);
        return wrong(at, "kind", "`kind` is missing".into(), allowed("", &KINDS));
    };
    match KINDS.into_iter().find(|known| *known == kind) {
        Some(known) => Ok(Header::Ours(known)),
        None => wrong(at, "kind", format!("`{kind}` is not a kind of {ours}"), allowed(kind, &KINDS)),
    }
}

/// Whether a document of another group was probably meant to be one of ours: by its kind, or by a group of our name.
pub(super) fn is_near_miss(api_version: &str, kind: &str) -> bool {
    let group = api_version.split_once('/').map_or(api_version, |(group, _)| group);
    // Groups below ours are ours, and are read elsewhere.
    !group.ends_with(&format!(".{GROUP}")) && (KINDS.contains(&kind) || group.split('.').any(|part| part == "fairway"))
}

/// Checks `metadata`, which every kind shares; `key` is where it stands.
pub(super) fn metadata(node: &Node, key: Position, check: &mut Check) {
    let Value::Map(entries) = &node.value else {
        return check.misfit(
            node.at,
            "metadata",
            format!("a map is expected, {} was found", node.found()),
            "metadata: {name: …}",
        );
    };
    for entry in entries {
        let path = joined("metadata", &entry.key);
        if !METADATA.contains(&entry.key.as_str()) {
            let help = match closest(&entry.key, METADATA) {
                Some(guess) => format!("did you mean `{guess}`?"),
                None => "name, namespace, labels, annotations".to_owned(),
            };
            check.misfit(entry.at, &path, format!("there is no field `{}` here", entry.key), help);
        }
        if ["name", "namespace"].contains(&entry.key.as_str()) {
            let name = entry.node.text().unwrap_or_default();
            if !is_dns_label(name) {
                let found = entry.node.text().map_or_else(|| entry.node.found(), |name| format!("`{name}`"));
                let help =
                    "lower-case letters, digits and `-`, beginning and ending with a letter or digit, at most 63";
                check.misfit(entry.node.at, &path, format!("{found} is not a name"), help);
            }
        }
    }
    if node.get("name").is_none() {
        check.misfit(
            key,
            "metadata.name",
            "`name` is missing",
            "every object has a name; a run's is its idempotency key",
        );
    }
    // What is left of the metadata is Kubernetes' own; its types say what is wrong.
    if let Err(error) = serde_json::from_value::<ObjectMeta>(node.json()) {
        check.misfit(key, "metadata", error.to_string(), "");
    }
}

/// RFC 1123: what a name may be wherever Kubernetes or a bucket puts it.
pub(crate) fn is_dns_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}
