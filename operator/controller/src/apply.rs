//! Making the cluster say what is wanted: server-side apply of what differs, deletion of what was seen. What is there
//! already is not written again, so that a loop at rest writes nothing.

use std::fmt::Debug;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::ApiResource;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::call::{call, found, is_conflict};
use crate::context::Context;
use crate::copies::Copies;
use crate::held::{Held, Read};
use crate::names::{ACTOR, MANAGED_BY};

/// A kind that the operator makes.
pub(crate) trait Made:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize
{
}

impl<K> Made for K where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
{
}

/// Makes sure that an object is there as described, unless the copy of the cluster says that it is. An object that belongs
/// to somebody else is left alone.
///
/// # Errors
/// The name is taken, or the API server refuses or does not answer.
pub(crate) async fn ensure<K: Made>(context: &Context, copies: &Copies<K>, desired: &Value) -> Result<()> {
    let (namespace, name) = place(desired)?;
    if let Some(existing) = copies.get(namespace, name) {
        let actual = serde_json::to_value(existing.as_ref())?;
        refuse_foreign(&K::kind(&()), &actual, desired)?;
        if covers(&actual, desired) {
            return Ok(());
        }
    }
    apply::<K>(context, desired).await
}

/// The same, of a kind of which there are many.
///
/// # Errors
/// See [`ensure`].
pub(crate) async fn ensure_held<K: Read>(context: &Context, copies: &Copies<Held<K>>, desired: &Value) -> Result<()> {
    ensure_held_with(context, copies, desired, |desired| desired).await
}

/// The same, where something is applied with it that is no reason to apply it: what others go on to change.
///
/// # Errors
/// See [`ensure`].
pub(crate) async fn ensure_held_with<K: Read>(
    context: &Context,
    copies: &Copies<Held<K>>,
    desired: &Value,
    applied: impl FnOnce(Value) -> Value,
) -> Result<()> {
    let (namespace, name) = place(desired)?;
    let existing = copies.get(namespace, name);
    if existing.as_ref().map_or(Ok(false), |it| it.stands(desired))? {
        return Ok(());
    }
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    let applied = patch(context, &api, &K::kind(&()), namespace, name, &applied(desired.clone())).await?;
    if let Some(existing) = existing.filter(|it| it.resource_version() == applied.resource_version()) {
        existing.is_as(desired);
    }
    Ok(())
}

/// Whether the copy of the cluster says that an object is there as described.
///
/// # Errors
/// The name is taken.
pub(crate) fn stands<K: Read>(copies: &Copies<Held<K>>, desired: &Value) -> Result<bool> {
    let (namespace, name) = place(desired)?;
    copies.get(namespace, name).map_or(Ok(false), |existing| existing.stands(desired))
}

/// Applies an object that says so little that nothing in it is in conflict with somebody else's by its name.
///
/// # Errors
/// See [`ensure`].
pub(crate) async fn apply_if_free<K: Made>(context: &Context, desired: &Value) -> Result<()> {
    let (namespace, name) = place(desired)?;
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    refuse_others(&api, &K::kind(&()), namespace, name, desired).await?;
    apply::<K>(context, desired).await
}

/// Applies an object, unless it is somebody else's.
///
/// # Errors
/// The name is taken, or the API server refuses or does not answer.
pub(crate) async fn apply<K: Made>(context: &Context, desired: &Value) -> Result<()> {
    let (namespace, name) = place(desired)?;
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    patch(context, &api, &K::kind(&()), namespace, name, desired).await.map(drop)
}

/// Applies an object of a kind that not every cluster has.
///
/// # Errors
/// The cluster does not have it, or the API server refuses or does not answer.
pub(crate) async fn apply_of(context: &Context, kind: &ApiResource, desired: &Value) -> Result<()> {
    let (namespace, name) = place(desired)?;
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, kind);
    patch(context, &api, &kind.kind, namespace, name, desired).await.map(drop)
}

/// Takes fields from nobody before it is known whose the object is: what one finds under its name, made by others and unlabelled,
/// is in no copy of the cluster.
async fn patch<K: Clone + Debug + DeserializeOwned + Serialize>(
    context: &Context,
    api: &Api<K>,
    kind: &str,
    namespace: &str,
    name: &str,
    desired: &Value,
) -> Result<K> {
    let (what, patch, params) =
        (|| format!("applying {kind} {namespace}/{name}"), Patch::Apply(desired), PatchParams::apply(ACTOR));
    context.metrics.write(kind);
    tracing::debug!(kind, namespace, name, "apply");
    match call(what, api.patch(name, &params, &patch)).await {
        Err(error) if is_conflict(&error) => {
            refuse_others(api, kind, namespace, name, desired).await?;
            context.metrics.write(kind);
            tracing::info!(kind, namespace, name, "taken back from whoever has changed it");
            call(what, api.patch(name, &params.force(), &patch)).await
        }
        other => other,
    }
}

/// Asks whose an object is, if there is one by this name.
async fn refuse_others<K: Clone + Debug + DeserializeOwned + Serialize>(
    api: &Api<K>,
    kind: &str,
    namespace: &str,
    name: &str,
    desired: &Value,
) -> Result<()> {
    let what = || format!("looking for {kind} {namespace}/{name}");
    match call(what, async { found(api.get(name).await) }).await? {
        Some(existing) => refuse_foreign(kind, &serde_json::to_value(existing)?, desired),
        None => Ok(()),
    }
}

/// Deletes an object that nobody watches, if it is there and the operator has made it.
///
/// # Errors
/// The API server refuses or does not answer; that there is none, or no such kind, is none.
pub(crate) async fn delete_ours(context: &Context, kind: &ApiResource, namespace: &str, name: &str) -> Result<()> {
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, kind);
    let what = || format!("looking for {} {namespace}/{name}", kind.kind);
    let Some(found) = call(what, async { found(api.get(name).await) }).await? else { return Ok(()) };
    if found.labels().get(MANAGED_BY).is_none_or(|by| by != ACTOR) {
        return Ok(());
    }
    remove(context, &api, &kind.kind, namespace, &found.metadata).await
}

/// Deletes the very object that was seen; one that was made anew under its name stays.
///
/// # Errors
/// The API server refuses or does not answer; that it is gone already is none.
pub(crate) async fn delete<K: Made>(context: &Context, seen: &ObjectMeta) -> Result<()> {
    let namespace = seen.namespace.as_deref().unwrap_or_default();
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    remove(context, &api, &K::kind(&()), namespace, seen).await
}

async fn remove<K: Clone + Debug + DeserializeOwned>(
    context: &Context,
    api: &Api<K>,
    kind: &str,
    namespace: &str,
    seen: &ObjectMeta,
) -> Result<()> {
    let name = seen.name.as_deref().unwrap_or_default();
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions { uid: seen.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    context.metrics.write(kind);
    tracing::debug!(kind, namespace, name, "delete");
    let deleted = async { found(api.delete(name, &params).await) };
    call(|| format!("deleting {kind} {namespace}/{name}"), deleted).await.map(drop)
}

fn place(desired: &Value) -> Result<(&str, &str)> {
    let text = |field: &str| desired["metadata"][field].as_str();
    text("namespace").zip(text("name")).context("an object of ours has a namespace and a name")
}

/// Two manifests can ask for one name; the first has it.
pub(crate) fn refuse_foreign(kind: &str, actual: &Value, desired: &Value) -> Result<()> {
    let wanted = desired["metadata"]["ownerReferences"][0]["uid"].as_str();
    let owners = actual["metadata"]["ownerReferences"].as_array();
    let owner = owners.and_then(|all| all.iter().find(|owner| owner["controller"] == true));
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    if wanted.is_some() && owner.and_then(|owner| owner["uid"].as_str()) != wanted {
        let of = |owner: &Value| format!("of {} {}", text(owner, "kind"), text(owner, "name"));
        let of = owner.map_or("nobody's".to_owned(), of);
        bail!("{kind} {} is there already and is {of}: rename one of the two", text(&actual["metadata"], "name"));
    }
    Ok(())
}

/// Whether everything that is wanted is there; what others have added does not matter.
pub(crate) fn covers(actual: &Value, desired: &Value) -> bool {
    match (actual, desired) {
        (Value::Object(actual), Value::Object(desired)) => desired.iter().all(|(key, wanted)| match actual.get(key) {
            Some(found) => covers(found, wanted),
            // What is empty is left out on the way.
            None => is_empty(wanted),
        }),
        (Value::Array(actual), Value::Array(desired)) => {
            actual.len() == desired.len() && actual.iter().zip(desired).all(|(found, wanted)| covers(found, wanted))
        }
        (actual, desired) => actual == desired,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_add_does_not_matter() {
        let actual = json!({"spec": {"replicas": 2, "paused": true, "list": [{"a": 1, "b": 2}]}, "status": {}});
        let table = [
            (json!({"spec": {"replicas": 2}}), true),
            (json!({"spec": {"replicas": 3}}), false),
            (json!({"spec": {"list": [{"a": 1}]}}), true),
            (json!({"spec": {"list": [{"a": 1}, {"a": 2}]}}), false),
            (json!({"spec": {"absent": {}}}), true),
            (json!({"spec": {"absent": 0}}), false),
        ];
        for (desired, expected) in table {
            assert_eq!(covers(&actual, &desired), expected, "{desired}");
        }
    }
}
