//! A model whose data is to be deleted with it is served by nobody, and trained by nobody.

use anyhow::Result;
use fairway_api::ModelEndpoint;
use fairway_core::Reason;
use kube::ResourceExt;

use crate::apply::delete;
use crate::board::Key;
use crate::context::{Context, Guarded};
use crate::names::MODEL;

/// Deletes its Jobs, and says what is waited for: endpoints above all, which a person must delete.
pub(super) async fn stop(context: &Context, (namespace, name): &Key) -> Result<Option<Reason>> {
    // One that cannot be read may serve it as well.
    let serves = |it: &Guarded<ModelEndpoint>| it.0.as_ref().map_or(true, |endpoint| endpoint.spec.model == *name);
    let endpoints = context.endpoints.state_filter(|it| it.namespace().as_ref() == Some(namespace) && serves(it));
    let mut serving: Vec<String> = endpoints.iter().map(|it| it.name_any()).collect();
    if !serving.is_empty() {
        serving.sort();
        let message = format!(
            "the ModelEndpoint {} still serves it: delete that first, or set spec.deletionPolicy: Orphan to keep its versions",
            serving.join(", ")
        );
        return Ok(Some(Reason::new("StillServed", message)));
    }
    let jobs = context
        .jobs
        .state_filter(|it| it.namespace().as_ref() == Some(namespace) && it.labels().get(MODEL) == Some(name));
    for job in jobs.iter().filter(|it| it.metadata.deletion_timestamp.is_none()) {
        delete(context, job.as_ref()).await?;
    }
    let pods = context
        .pods
        .state_filter(|it| it.namespace().as_ref() == Some(namespace) && it.labels().get(MODEL) == Some(name));
    let is_over = jobs.is_empty() && pods.is_empty();
    Ok((!is_over).then(|| Reason::new("Deleting", "its trainers are still ending; its data is deleted then")))
}
