//! An endpoint whose data is to be deleted with it answers nobody any more: routers and servers end before that, as routers
//! write there to their last moment.

use anyhow::Result;
use fairway_core::Reason;
use k8s_openapi::api::apps::v1::Deployment;

use crate::board::Key;
use crate::context::Context;
use crate::deletion;
use crate::names::ENDPOINT;

/// Deletes its Deployments, and says that pods are waited for.
pub(super) async fn stop(context: &Context, key: &Key) -> Result<Option<Reason>> {
    let pods = deletion::end::<Deployment, _>(context, &context.deployments, ENDPOINT, key).await?;
    Ok(pods.map(|pods| {
        let message = format!("{pods} pods of routers and servers are still ending; its data is deleted then");
        Reason::new("Deleting", message)
    }))
}
