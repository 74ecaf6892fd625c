//! One look at an object of ours, whichever kind: whether it can be read, what is remembered of it, and that a failure is
//! told.

use std::sync::Arc;

use anyhow::Result;
use futures::future::BoxFuture;
use kube::ResourceExt;
use kube::core::object::HasStatus;
use kube::runtime::controller::Action;
use serde::Serialize;

use crate::apply::Made;
use crate::board::Key;
use crate::context::{Context, Guarded, Loops};
use crate::report;

/// A kind with a loop of its own.
pub(crate) trait Looked: Made + HasStatus<Status: Default + Serialize> {
    /// What is remembered between looks.
    type Loop: Default + Send;

    /// Where that is.
    fn loops(context: &Context) -> &Loops<Self::Loop>;

    /// The look itself.
    ///
    /// # Errors
    /// The bucket, the API server or a manifest cannot be used.
    fn look<'a>(
        &'a self,
        memory: &'a mut Self::Loop,
        context: &'a Arc<Context>,
        key: Key,
    ) -> BoxFuture<'a, Result<Action>>;

    /// Forgets what the other loops were told of it.
    fn forget(context: &Context, key: &Key);
}

/// Looks at an object once.
///
/// # Errors
/// See [`Looked::look`]; told in the object's conditions too.
pub(crate) async fn look<K: Looked>(context: &Arc<Context>, guarded: &Guarded<K>) -> Result<Action> {
    let object = match &guarded.0 {
        Ok(object) => object,
        Err(invalid) => anyhow::bail!("the manifest cannot be read: {}", invalid.error),
    };
    let uid = object.uid().unwrap_or_default();
    let key: Key = (object.namespace().unwrap_or_default(), object.name_any());
    if object.meta().deletion_timestamp.is_some() {
        K::loops(context).forget(&uid).await;
        K::forget(context, &key);
        return Ok(Action::await_change());
    }
    let memory = K::loops(context).of(&uid).await;
    let mut memory = memory.lock().await;
    let outcome = object.look(&mut memory, context, key).await;
    if let Err(error) = &outcome {
        report::failure(context, object, error).await;
    }
    outcome
}
