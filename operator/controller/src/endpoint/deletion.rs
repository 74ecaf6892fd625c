//! An endpoint whose data is to be deleted with it answers nobody any more: routers and servers end before that, as routers
//! write there to their last moment.

use anyhow::Result;
use fairway_core::Reason;
use kube::ResourceExt;

use crate::apply::delete;
use crate::board::Key;
use crate::context::Context;
use crate::names::ENDPOINT;

/// Deletes its Deployments, and says that pods are waited for.
pub(super) async fn stop(context: &Context, (namespace, name): &Key) -> Result<Option<Reason>> {
    let deployments = context
        .deployments
        .state_filter(|it| it.namespace().as_ref() == Some(namespace) && it.labels().get(ENDPOINT) == Some(name));
    for deployment in deployments.iter().filter(|it| it.metadata.deletion_timestamp.is_none()) {
        delete(context, deployment.as_ref()).await?;
    }
    let pods = context
        .pods
        .state_filter(|it| it.namespace().as_ref() == Some(namespace) && it.labels().get(ENDPOINT) == Some(name));
    if deployments.is_empty() && pods.is_empty() {
        return Ok(None);
    }
    let message = format!("{} pods of routers and servers are still ending; its data is deleted then", pods.len());
    Ok(Some(Reason::new("Deleting", message)))
}
