//! What becomes of the bucket's data when an object is deleted. With `deletionPolicy: Delete` a finalizer keeps the object
//! until what writes there has ended and its data is gone. With `Orphan` there is none, and nothing is touched.

use std::time::Duration;

use anyhow::{Context as _, Result};
use fairway_api::workload::DeletionPolicy;
use fairway_core::{Condition, Reason};
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Resource};
use serde_json::{Value, json};

use crate::apply::{Made, delete};
use crate::board::Key;
use crate::buckets::Place;
use crate::call::{call, has_code};
use crate::context::Context;
use crate::copies::Copies;
use crate::look::{AFTER_CONFLICT, Looked};
use crate::names::{ACTOR, BUCKET};
use crate::report;

/// Objects of the bucket that one look deletes.
pub(crate) const MOST: usize = 1_000;
/// Longest that one look deletes.
const DELETES_WITHIN: Duration = Duration::from_secs(60);
/// What is waited for is looked at this often.
const WAITS: Duration = Duration::from_secs(2);
/// Between two looks that delete.
const GOES_ON: Duration = Duration::from_millis(500);
/// Said where it does not go on.
const CURE: &str = "its data in the bucket is still there (spec.deletionPolicy: Orphan lets it go and leaves the data)";

/// Puts the finalizer on an object whose data is to go with it, before it has any, and takes it off one whose data is to
/// stay. False if somebody else has changed the object meanwhile.
///
/// # Errors
/// Nobody says where its data is, or the API server refuses or does not answer.
pub(crate) async fn prepare<K: Looked>(context: &Context, object: &K) -> Result<bool> {
    let place = match object.deletion_policy() {
        DeletionPolicy::Delete => Some(object.place(context)?),
        DeletionPolicy::Orphan => None,
    };
    mark(context, object, place.as_ref()).await
}

/// Goes on deleting an object.
///
/// # Errors
/// The API server or the bucket cannot be used: the object stays.
pub(crate) async fn go_on<K: Looked>(context: &Context, object: &K, key: &Key) -> Result<Action> {
    let is_held = object.meta().finalizers.iter().flatten().any(|it| it == BUCKET);
    if !is_held {
        return Ok(Action::await_change());
    }
    if object.deletion_policy() == DeletionPolicy::Delete {
        if let Some(waits) = K::stop(context, key).await? {
            return still_there(context, object, waits, WAITS).await;
        }
        if !erased(context, object, key).await.context(CURE)? {
            let reason = Reason::new("Deleting", "its data in the bucket is being deleted");
            return still_there(context, object, reason, GOES_ON).await;
        }
        tracing::info!(kind = %K::kind(&()), namespace = key.0, name = key.1, "its data in the bucket is gone");
    }
    let is_free = mark(context, object, None).await?;
    Ok(if is_free { Action::await_change() } else { Action::requeue(AFTER_CONFLICT) })
}

async fn erased<K: Looked>(context: &Context, object: &K, key: &Key) -> Result<bool> {
    let place = object.place(context).or_else(|unknown| noted(object).context(unknown))?;
    let bucket = context.buckets.at(&context.client, &key.0, &place).await?;
    let erased = K::erase(bucket.registry(), key, crate::clock::now());
    let late = || format!("the bucket did not answer within {} s", DELETES_WITHIN.as_secs());
    let erased = tokio::time::timeout(DELETES_WITHIN, erased).await.with_context(late)?;
    bucket.forget(key);
    erased
}

async fn still_there<K: Looked>(context: &Context, object: &K, reason: Reason, pause: Duration) -> Result<Action> {
    let told = ["Deleted", "Ready", "Degraded"].map(|kind| {
        let reason = reason.clone();
        Condition { kind: kind.to_owned(), status: false, reason }
    });
    report::tell(context, object, &told, crate::clock::now()).await?;
    Ok(Action::requeue(pause))
}

/// Deletes what was made of a kind for an object, whose kind `label` names: how many pods of its are still there, or none if both
/// are gone.
///
/// # Errors
/// The API server refuses or does not answer.
pub(crate) async fn end<K: Made, C: Resource<DynamicType = ()> + Clone + 'static>(
    context: &Context,
    made: &Copies<C>,
    label: &'static str,
    key: &Key,
) -> Result<Option<usize>> {
    let made = made.of(label, key);
    for one in made.iter().filter(|it| it.meta().deletion_timestamp.is_none()) {
        delete::<K>(context, one.meta()).await?;
    }
    let pods = context.pods.of(label, key).len();
    Ok((!made.is_empty() || pods > 0).then_some(pods))
}

/// The place as it was when the object was last looked at: what names it may have been deleted since.
fn noted<K: Looked>(object: &K) -> Result<Place> {
    let text = object.meta().annotations.as_ref().and_then(|all| all.get(BUCKET));
    serde_json::from_str(text.with_context(|| format!("it has no annotation {BUCKET}"))?)
        .with_context(|| format!("its annotation {BUCKET}"))
}

/// Makes finalizer and annotation say that this place is to be cleared first; none: neither is there.
async fn mark<K: Looked>(context: &Context, object: &K, place: Option<&Place>) -> Result<bool> {
    let Some(patch) = marked(object, place)? else { return Ok(true) };
    let (kind, meta) = (K::kind(&()), object.meta());
    let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    let params = PatchParams { field_manager: Some(ACTOR.to_owned()), ..PatchParams::default() };
    context.metrics.write(&kind);
    let written = async {
        match api.patch(name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => Ok(true),
            Err(error) if has_code(&error, 409) => Ok(false),
            Err(error) if has_code(&error, 404) => Ok(true),
            Err(error) => Err(error),
        }
    };
    call(|| format!("writing the finalizer of {kind} {namespace}/{name}"), written).await
}

/// The patch that does so, if anything is to be done. Others' finalizers stay, those too that came since: then the version
/// is another one.
fn marked<K: Looked>(object: &K, place: Option<&Place>) -> Result<Option<Value>> {
    let meta = object.meta();
    let before = meta.finalizers.clone().unwrap_or_default();
    let mut after: Vec<String> = before.iter().filter(|it| *it != BUCKET).cloned().collect();
    after.extend(place.map(|_| BUCKET.to_owned()));
    let note = place.map(serde_json::to_string).transpose()?;
    let noted = meta.annotations.as_ref().and_then(|all| all.get(BUCKET));
    if after.len() == before.len() && note.as_ref() == noted {
        return Ok(None);
    }
    Ok(Some(json!({"metadata": {
        "resourceVersion": meta.resource_version,
        "finalizers": after,
        "annotations": {BUCKET: note},
    }})))
}

#[cfg(test)]
mod tests;
