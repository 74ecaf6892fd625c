//! One look at an object of ours, whichever kind: whether it can be read, what is remembered of it, what follows when it is
//! deleted, and that a failure is told.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fairway_api::workload::DeletionPolicy;
use fairway_core::Reason;
use fairway_registry::Registry;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::object::HasStatus;
use kube::runtime::controller::Action;
use serde::Serialize;

use crate::apply::Made;
use crate::board::Key;
use crate::buckets::Place;
use crate::context::{Context, Guarded, Loops};
use crate::{deletion, report};

/// Wait after somebody else was first: what is there now is only not known yet.
pub(crate) const AFTER_CONFLICT: Duration = Duration::from_secs(1);

/// A look that was made, and whose status says so, but not all that was decided could be carried out.
#[derive(Debug, thiserror::Error)]
#[error("what was decided could be carried out in part only")]
pub(crate) struct InPart;

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

    /// What becomes of its data in the bucket.
    fn deletion_policy(&self) -> DeletionPolicy;

    /// Where that is.
    ///
    /// # Errors
    /// Nobody says.
    fn place(&self, context: &Context) -> Result<Place>;

    /// Ends what writes there, a step at a time: what is still waited for, or nothing.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    fn stop<'a>(context: &'a Context, key: &'a Key) -> BoxFuture<'a, Result<Option<Reason>>>;

    /// Deletes the data, a step at a time: whether all is gone.
    ///
    /// # Errors
    /// The bucket cannot be used, or something there may not be deleted.
    fn erase<'a>(registry: &'a Registry, key: &'a Key, now: Timestamp) -> BoxFuture<'a, Result<bool>>;
}

/// Looks at an object once.
///
/// # Errors
/// See [`Looked::look`]; told in the object's conditions too.
pub(crate) async fn look<K: Looked>(context: &Arc<Context>, guarded: &Guarded<K>) -> Result<Action> {
    let object = match &guarded.0 {
        Ok(object) => object,
        // Another manifest wakes it.
        Err(invalid) => return report::unreadable::<K>(context, invalid).await.map(|()| Action::await_change()),
    };
    let uid = object.uid().unwrap_or_default();
    let key: Key = (object.namespace().unwrap_or_default(), object.name_any());
    let outcome = if object.meta().deletion_timestamp.is_some() {
        K::loops(context).forget(&uid).await;
        K::forget(context, &key);
        deletion::go_on(context, object, &key).await
    } else {
        let memory = K::loops(context).of(&uid).await;
        let mut memory = memory.lock().await;
        match deletion::prepare(context, object).await {
            Ok(true) => object.look(&mut memory, context, key).await,
            Ok(false) => Ok(Action::requeue(AFTER_CONFLICT)),
            Err(error) => Err(error),
        }
    };
    if let Some(error) = outcome.as_ref().err().filter(|error| !error.is::<InPart>()) {
        report::failure(context, object, error).await;
    }
    outcome
}
