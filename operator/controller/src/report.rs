//! Telling people: conditions as Kubernetes has them, statuses that are written when they changed, and Events.

use anyhow::Result;
use fairway_api::Condition;
use fairway_core::Reason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use crate::apply::{Made, covers};
use crate::call::{call, found};
use crate::context::Context;
use crate::look::Looked;
use crate::names::{STATUS_MANAGER, UNREADABLE_MANAGER};

/// Longest message of an Event.
const NOTE_MAX: usize = 1_000;
/// Codes that are progress, or last: conditions show them, and an Event each time would bury the others.
const QUIET: [&str; 8] =
    ["Progressing", "Baking", "NoVersion", "Loading", "Scaling", "Barred", "RunActive", "AwaitingProof"];

/// Core's conditions as the API has them. One that is not told any more is taken back where it was said to hold; the time
/// of the last change is kept where nothing changed.
pub(crate) fn conditions(
    told: &[fairway_core::Condition],
    before: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut all: Vec<Condition> = Vec::new();
    for one in told {
        let status = if one.status { "True" } else { "False" };
        all.push(condition(&one.kind, status, &one.reason, before, generation, now));
    }
    for old in before.iter().filter(|old| !told.iter().any(|one| one.kind == old.type_)) {
        let reason = Reason::new("No", "not any more");
        let status = if old.status == "True" { "False" } else { old.status.as_str() };
        let kept = old.status != "True";
        let one = condition(&old.type_, status, &reason, before, generation, now);
        all.push(if kept { Condition { observed_generation: generation, ..old.clone() } } else { one });
    }
    all.sort_by(|a, b| a.type_.cmp(&b.type_));
    all
}

/// The conditions with this one in the place of its kind's.
fn with(
    before: &[Condition],
    told: &fairway_core::Condition,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let status = if told.status { "True" } else { "False" };
    let mut all: Vec<Condition> = before.iter().filter(|old| old.type_ != told.kind).cloned().collect();
    all.push(condition(&told.kind, status, &told.reason, before, generation, now));
    all.sort_by(|a, b| a.type_.cmp(&b.type_));
    all
}

/// One condition.
fn condition(
    kind: &str,
    status: &str,
    reason: &Reason,
    before: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let since = before.iter().find(|old| old.type_ == kind && old.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.code.clone(),
        message: reason.message.chars().take(4_000).collect(),
        last_transition_time: since.map_or(Time(now), |old| old.last_transition_time.clone()),
        observed_generation: generation,
    }
}

/// Writes a status if it says something else than the one that is there; true if it did. Unless `exact`, messages count as
/// changed only if their numbers are not all that differs: evidence that grows is no news for the API server.
///
/// # Errors
/// The API server refuses or does not answer.
pub(crate) async fn status<K: Made>(
    context: &Context,
    object: &K,
    before: &Value,
    status: &Value,
    exact: bool,
) -> Result<bool> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let kind = K::kind(&());
    if let Ok(conditions) = serde_json::from_value::<Vec<Condition>>(status["conditions"].clone()) {
        context.metrics.conditions(&kind, &(namespace.clone(), name.clone()), &conditions);
    }
    if before == status || !exact && same_but_numbers(before, status) {
        return Ok(false);
    }
    write_status::<K>(context, object.meta(), STATUS_MANAGER, status).await?;
    Ok(true)
}

/// Applies a status as this manager; that the object is gone is no error. What comes back is not read as an object of its kind: it
/// may be one that cannot be.
async fn write_status<K: Made>(context: &Context, meta: &ObjectMeta, manager: &str, status: &Value) -> Result<()> {
    let (kind, version) = (K::kind(&()), K::api_version(&()));
    let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let of_kind = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &of_kind);
    let metadata = json!({"name": name, "uid": meta.uid});
    let patch = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "status": status});
    context.metrics.write(&format!("{kind}/status"));
    let params = PatchParams::apply(manager).force();
    let patched = async { found(api.patch_status(name, &params, &Patch::Apply(&patch)).await) };
    call(|| format!("writing the status of {kind} {namespace}/{name}"), patched).await.map(drop)
}

/// Puts conditions beside those that are there.
///
/// # Errors
/// The API server refuses or does not answer.
pub(crate) async fn tell<K: Looked>(
    context: &Context,
    object: &K,
    told: &[fairway_core::Condition],
    now: Timestamp,
) -> Result<()> {
    let before = serde_json::to_value(object.status())?;
    let mut after = match object.status() {
        Some(status) => serde_json::to_value(status)?,
        None => serde_json::to_value(K::Status::default())?,
    };
    let mut conditions: Vec<Condition> = serde_json::from_value(after["conditions"].clone()).unwrap_or_default();
    for one in told {
        conditions = with(&conditions, one, object.meta().generation, now);
    }
    after["conditions"] = serde_json::to_value(conditions)?;
    status(context, object, &before, &after, false).await?;
    Ok(())
}

/// What keeps an object from being looked at, or a plan from being carried out. What serves goes on serving.
pub(crate) fn degraded(error: &anyhow::Error) -> fairway_core::Condition {
    let reason = Reason::new("Unreachable", without_bodies(&format!("{error:#}")));
    fairway_core::Condition { kind: "Degraded".to_owned(), status: true, reason }
}

/// A store's answer in XML has the number of the request in it, which is another one each time, and nothing that its code does not
/// say.
fn without_bodies(message: &str) -> String {
    match message.split_once("<?xml").or_else(|| message.split_once("<Error>")) {
        None => message.to_owned(),
        Some((before, body)) => {
            let said = |tag: &str| {
                let (_, rest) = body.split_once(&format!("<{tag}>"))?;
                Some(rest.split_once('<')?.0)
            };
            let said: Vec<&str> = ["Code", "Message"].into_iter().filter_map(said).collect();
            format!("{before}{}", said.join(": "))
        }
    }
}

/// Says so in an object's status.
pub(crate) async fn failure<K: Looked>(context: &Context, object: &K, error: &anyhow::Error) {
    if let Err(error) = tell(context, object, &[degraded(error)], crate::clock::now()).await {
        tracing::debug!(kind = %K::kind(&()), name = object.name_any(), "cannot tell a failure: {error:#}");
    }
}

/// Says that a manifest cannot be read which the API server has taken. Nobody looks at what it is about until it is another one, and
/// nobody knows its status: the condition is put beside those that are there, as another manager of the status.
///
/// # Errors
/// The API server refuses or does not answer.
pub(crate) async fn unreadable<K: Looked>(context: &Context, invalid: &InvalidObject) -> Result<()> {
    let meta = &invalid.metadata;
    let (namespace, name) = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let kind = K::kind(&());
    let deleted = match meta.deletion_timestamp {
        Some(_) => "; nor can its data be deleted, and it stays until its finalizer is taken off",
        None => "",
    };
    let message = format!(
        "{}: the API server has taken this manifest, and the operator cannot read it. What serves goes on as it was, and is          neither scaled nor rolled out nor taken back until the manifest is mended{deleted}",
        invalid.error
    );
    tracing::warn!(%kind, namespace, name, "{message}");
    let reason = Reason::new("Invalid", message);
    let told = condition("Degraded", "True", &reason, &[], meta.generation, crate::clock::now());
    context.metrics.conditions(&kind, &(namespace.clone(), name.clone()), std::slice::from_ref(&told));
    write_status::<K>(context, meta, UNREADABLE_MANAGER, &json!({"conditions": [told]})).await
}

/// Tells reasons as Events. Events are for people and may be lost.
pub(crate) async fn events<K>(context: &Context, object: &K, kind: &str, reasons: &[Reason], said: &mut Vec<String>)
where
    K: Resource<DynamicType = ()>,
{
    let codes: Vec<String> = reasons.iter().map(|reason| reason.code.clone()).collect();
    for reason in reasons {
        if said.contains(&reason.code) {
            continue;
        }
        context.metrics.decided(kind, &reason.code);
        if QUIET.contains(&reason.code.as_str()) {
            continue;
        }
        tracing::info!(kind, object = %object.meta().name.as_deref().unwrap_or_default(), reason = %reason.code, "{}", reason.message);
        event(context, object, reason).await;
    }
    *said = codes;
}

/// Tells one reason.
pub(crate) async fn event<K: Resource<DynamicType = ()>>(context: &Context, object: &K, reason: &Reason) {
    let event = Event {
        type_: if is_warning(&reason.code) { EventType::Warning } else { EventType::Normal },
        reason: reason.code.clone(),
        note: Some(reason.message.chars().take(NOTE_MAX).collect()),
        action: "Decide".to_owned(),
        secondary: None,
    };
    let about = object.object_ref(&());
    if let Err(error) = call(|| "telling an Event".to_owned(), context.recorder.publish(&event, &about)).await {
        tracing::debug!("{error:#}");
    }
}

fn is_warning(code: &str) -> bool {
    const WARNINGS: [&str; 16] = [
        "RolledBack",
        "Reverted",
        "Rejected",
        "Failed",
        "BlockedByFailedLoad",
        "TelemetryMissing",
        "BreakerOpen",
        "BudgetSpent",
        "Degradation",
        "DataStale",
        "DataInvalid",
        "Aborted",
        "Unreachable",
        "Invalid",
        "NotificationFailed",
        "DeletionFailed",
    ];
    WARNINGS.contains(&code)
}

/// Equal, or different in the numbers of messages only.
fn same_but_numbers(before: &Value, after: &Value) -> bool {
    covers(&calm(before.clone()), &calm(after.clone())) && covers(&calm(after.clone()), &calm(before.clone()))
}

fn calm(mut status: Value) -> Value {
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if let Some(message) = condition["message"].as_str() {
            let calm: String = message.chars().filter(|c| !c.is_ascii_digit() && !".,+-%".contains(*c)).collect();
            condition["message"] = Value::String(calm);
        }
    }
    if status.is_null() { json!({}) } else { status }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_evidence_is_no_news() {
        let status = |message: &str, status: &str| json!({"stable": "3", "conditions": [{"type": "Progressing", "status": status, "message": message}]});
        assert!(same_but_numbers(&status("120 of 500 requests", "True"), &status("480 of 500 requests", "True")));
        assert!(!same_but_numbers(&status("120 of 500 requests", "True"), &status("120 of 500 requests", "False")));
        assert!(!same_but_numbers(&status("waits", "True"), &status("goes on", "True")));
        assert!(!same_but_numbers(&Value::Null, &status("waits", "True")));
    }

    #[test]
    fn a_failure_that_is_the_same_reads_the_same() {
        let of = |request: u32| {
            let body = format!(
                "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>No key</Message><RequestId>{request:x}ABC</RequestId></Error>"
            );
            without_bodies(&format!("reading the plan: status 403: {body}"))
        };
        assert_eq!(of(1), "reading the plan: status 403: AccessDenied: No key");
        assert_eq!(of(1), of(0xF00));
        assert_eq!(without_bodies("no answer within 10 s"), "no answer within 10 s");
    }

    #[test]
    fn what_is_not_told_any_more_is_taken_back() {
        let now = Timestamp::UNIX_EPOCH;
        let told = |kind: &str| fairway_core::Condition {
            kind: kind.to_owned(),
            status: true,
            reason: Reason::new("Why", "because"),
        };
        let first = conditions(&[told("Ready"), told("Paused")], &[], Some(1), now);
        let later = now + std::time::Duration::from_secs(60);
        let second = conditions(&[told("Ready")], &first, Some(2), later);
        let of = |kind: &str| second.iter().find(|one| one.type_ == kind).unwrap();
        assert_eq!((of("Ready").status.as_str(), of("Ready").last_transition_time.0), ("True", now));
        assert_eq!((of("Paused").status.as_str(), of("Paused").last_transition_time.0), ("False", later));
        assert_eq!(of("Paused").observed_generation, Some(2));
    }
}
