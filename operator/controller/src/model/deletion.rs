//! A model whose data is to be deleted with it is served by nobody, and trained by nobody.

use anyhow::Result;
use fairway_api::ModelEndpoint;
use fairway_core::Reason;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;

use crate::board::Key;
use crate::context::{Context, Guarded};
use crate::deletion;
use crate::job_kinds::{JobSet, TrainJob};
use crate::names::MODEL;

/// Deletes its Jobs, of whatever kind, and says what is waited for: endpoints above all, which a person must delete.
pub(super) async fn stop(context: &Context, key: &Key) -> Result<Option<Reason>> {
    let (namespace, name) = key;
    // One that cannot be read may serve it as well.
    let serves = |it: &Guarded<ModelEndpoint>| it.0.as_ref().map_or(true, |endpoint| endpoint.spec.model == *name);
    let endpoints =
        context.endpoints.store().state_filter(|it| it.namespace().as_ref() == Some(namespace) && serves(it));
    let mut serving: Vec<String> = endpoints.iter().map(|it| it.name_any()).collect();
    if !serving.is_empty() {
        serving.sort();
        let message = format!(
            "the ModelEndpoint {} still serves it: delete that first, or set spec.deletionPolicy: Orphan to keep its versions",
            serving.join(", ")
        );
        return Ok(Some(Reason::new("StillServed", message)));
    }
    let mut pods = deletion::end::<Job, _>(context, &context.jobs, MODEL, key).await?;
    if let Some(sets) = context.job_sets.find().await? {
        pods = pods.max(deletion::end::<JobSet, _>(context, &sets, MODEL, key).await?);
    }
    if let Some(trains) = context.train_jobs.find().await? {
        pods = pods.max(deletion::end::<TrainJob, _>(context, &trains, MODEL, key).await?);
    }
    Ok(pods.map(|_| Reason::new("Deleting", "its trainers are still ending; its data is deleted then")))
}
