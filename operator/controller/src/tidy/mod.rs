//! Deletes versions that their Model's retention no longer keeps, as `fairway up` does: each model once a day, only while this
//! process leads, and beside the looks, so that none of them waits for it. Whoever leads next goes on where it was: what may
//! go, and since when, is in the bucket.
//!
//! What may go is the registry's to say. What this cluster relies on is told to it here: see [`used`].

mod due;
#[cfg(test)]
mod tests;
mod used;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fairway_api::Model;
use fairway_core::Reason;
use fairway_registry::{Author, Digest, Registry};
use jiff::Timestamp;
use kube::ResourceExt;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::board::Key;
use crate::context::{Context, Guarded};
use crate::names::ACTOR;
use crate::report;
use due::Due;
use used::{Reliance, Used};

/// Between two models: of thousands that are due at once, so many a minute begin.
const PAUSE: Duration = Duration::from_secs(2);
/// Models at once. A bucket that hangs keeps a place for no longer than [`DEADLINE`].
const AT_ONCE: usize = 2;
/// Longest for one model: what was condemned and is not gone by then goes the next time.
const DEADLINE: Duration = Duration::from_secs(900);

/// Goes on for ever. What is under way ends with it, and is harmless to repeat.
pub(crate) async fn tidy(context: Arc<Context>) {
    let (mut due, used) = (Due::default(), Arc::<Used>::default());
    let mut running: JoinSet<(String, bool)> = JoinSet::new();
    let mut ticks = tokio::time::interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(ended) = running.join_next() => {
                if let Ok((uid, true)) = ended {
                    due.succeeded(&uid, Instant::now());
                }
            }
            _ = ticks.tick(), if running.len() < AT_ONCE => {
                let models = context.models.store().state();
                let tidied = models.iter().filter_map(|it| readable(it));
                if let Some(model) = due.next(tidied.map(|model| (uid(model), model)), Instant::now()) {
                    running.spawn(one(context.clone(), used.clone(), model.clone()));
                }
            }
        }
    }
}

/// A model that is to be tidied: one that is stopped loses nothing, and one that is deleted has its own way.
fn readable(model: &Guarded<Model>) -> Option<&Model> {
    let model = model.0.as_ref().ok()?;
    (model.metadata.deletion_timestamp.is_none() && !model.spec.suspend).then_some(model)
}

fn uid(model: &Model) -> String {
    model.uid().unwrap_or_default()
}

/// One model. Gives its identity, and whether all went well.
async fn one(context: Arc<Context>, used: Arc<Used>, model: Model) -> (String, bool) {
    let outcome = tokio::time::timeout(DEADLINE, in_its_bucket(&context, &used, &model)).await;
    let late = || anyhow::anyhow!("it took longer than {} s", DEADLINE.as_secs());
    let outcome = outcome.unwrap_or_else(|_| Err(late()));
    let succeeded = outcome.is_ok();
    let reason = match outcome {
        Ok(None) => return (uid(&model), succeeded),
        Ok(Some(told)) => Reason::new("VersionsDeleted", told),
        Err(error) => {
            let again = due::AGAIN.as_secs() / 60;
            Reason::new(
                "DeletionFailed",
                format!("old versions were not deleted, tried again in {again} min: {error:#}"),
            )
        }
    };
    let (namespace, name) = (model.namespace().unwrap_or_default(), model.name_any());
    context.metrics.decided("model", &reason.code);
    match succeeded {
        true => tracing::info!(namespace, name, "{}", reason.message),
        false => tracing::warn!(namespace, name, "{}", reason.message),
    }
    report::event(&context, &model, &reason).await;
    (uid(&model), succeeded)
}

async fn in_its_bucket(context: &Context, used: &Used, model: &Model) -> Result<Option<String>> {
    let key: Key = (model.namespace().unwrap_or_default(), model.name_any());
    let bucket = context.buckets.of(&context.client, model, context.settings.registry.as_deref()).await?;
    let reliance = Reliance::of(context, &key);
    let keeps = model.spec.retention.versions;
    collect(bucket.registry(), used, &key, keeps, &reliance, crate::clock::now()).await
}

/// Deletes what may go by now: what that was, in words.
async fn collect(
    registry: &Registry,
    used: &Used,
    key: &Key,
    keeps: u32,
    reliance: &Reliance,
    time: Timestamp,
) -> Result<Option<String>> {
    let log = registry.model(&key.0, &key.1)?;
    let mut in_use = used.by_plans(registry, &key.0).await.context("reading what endpoints use")?;
    let state = log.state().await.context("reading the model's log")?;
    in_use.extend(reliance.digests(&state).collect::<Vec<Digest>>());
    let author = Author { actor: ACTOR, reason: "spec.retention of the Model", time };
    Ok(log.tidy(keeps, in_use, author).await?.told())
}
