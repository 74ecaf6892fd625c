//! An endpoint's Services, in front of its routers and of each version's servers. They are made beside the looks, a few at a
//! time in the whole process: an API server gives out addresses of the cluster one by one, and goes on with a request that
//! nobody waits for any more. Of hundreds at once, each with a deadline, many would be made twice, and all would wait.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::core::v1::Service;
use kube::{Resource, ResourceExt};
use serde_json::Value;
use tokio::task::JoinSet;

use super::observe::has_role;
use crate::apply::{delete, ensure_held, stands};
use crate::board::Key;
use crate::context::Context;
use crate::names;

/// Services that the process makes at once: enough that the API server always has the next one.
pub(crate) const AT_ONCE: usize = 4;

/// Those of one endpoint.
#[derive(Default)]
pub(super) struct Services {
    /// Being made; given up with the endpoint.
    making: JoinSet<Result<()>>,
    /// Why they could not be made the last time.
    failed: Option<String>,
}

impl Services {
    /// Sees to it that Services are there as described, in this order, and waits for none of them.
    ///
    /// # Errors
    /// One could not be made the last time, or its name is taken.
    pub(super) fn see_to(&mut self, context: &Arc<Context>, wanted: Vec<Value>) -> Result<()> {
        while let Some(made) = self.making.try_join_next() {
            self.failed = made.context("making a Service").flatten().err().map(|error| format!("{error:#}"));
        }
        let mut missing = Vec::new();
        for service in wanted {
            if !stands(&context.services, &service)? {
                missing.push(service);
            }
        }
        if missing.is_empty() {
            self.failed = None;
        } else if self.making.is_empty() {
            self.making.spawn(make(context.clone(), missing));
        }
        self.failed.as_ref().map_or(Ok(()), |why| Err(anyhow!("{why}")))
    }
}

async fn make(context: Arc<Context>, services: Vec<Value>) -> Result<()> {
    for service in services {
        let _turn = context.services_at_once.acquire().await?;
        ensure_held::<Service>(&context, &context.services, &service).await?;
    }
    Ok(())
}

/// Deletes the Services of servers that are not among these.
pub(super) async fn remove(context: &Context, key: &Key, kept: &[String]) -> Result<()> {
    for service in context.services.of(names::ENDPOINT, key) {
        if has_role(service.as_ref(), "server") && !kept.contains(&service.name_any()) {
            delete::<Service>(context, service.meta()).await?;
        }
    }
    Ok(())
}
