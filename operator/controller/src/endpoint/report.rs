//! An endpoint's status, and its Events.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fairway_api::{ModelEndpoint, ModelEndpointStatus};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Decided, EndpointLoop, Subject, reason_of};
use crate::context::Context;
use crate::report;

/// Numbers in messages are brought up to date this often while something is going on.
const NUMBERS: Duration = Duration::from_secs(15);

impl EndpointLoop {
    pub(super) async fn report(
        &mut self,
        context: &Context,
        subject: &Subject,
        decided: &Decided,
        now: Timestamp,
    ) -> Result<()> {
        let endpoint = &subject.endpoint;
        report::events(context, endpoint, "endpoint", &decided.plan.reasons, &mut self.said).await;
        let before = endpoint.status.clone().unwrap_or_default();
        let mut after = serde_json::to_value(status(&before, subject, decided, now))?;
        if let Some(request) = &decided.request {
            after["lastRequest"] = json!({
                "id": request.id,
                "answered": now,
                "reasons": decided.plan.reasons,
            });
        } else if let Some(last) = last_request(endpoint)? {
            after["lastRequest"] = last;
        }
        let before = serde_json::to_value(&endpoint.status)?;
        let is_busy = decided.plan.status.rollout.is_some() || decided.plan.status.bake.is_some();
        let exact = is_busy && self.reported.is_none_or(|reported| reported.elapsed() >= NUMBERS);
        if report::status(context, endpoint, &before, &after, exact).await? {
            self.reported = Some(Instant::now());
        }
        Ok(())
    }
}

fn last_request(endpoint: &ModelEndpoint) -> Result<Option<Value>> {
    let status = serde_json::to_value(&endpoint.status).context("a status is plain data")?;
    Ok(status.get("lastRequest").cloned())
}

fn status(before: &ModelEndpointStatus, subject: &Subject, decided: &Decided, now: Timestamp) -> ModelEndpointStatus {
    let status = &decided.plan.status;
    let generation = subject.endpoint.metadata.generation;
    let canary = status.rollout.as_ref();
    ModelEndpointStatus {
        observed_generation: generation,
        stable: status.stable.as_ref().map(|target| target.version.to_string()),
        canary: canary.map(|rollout| rollout.candidate.version.to_string()),
        weight: canary.map(|rollout| rollout.weight(&subject.policy).to_string()),
        conditions: report::conditions(&decided.plan.conditions, &before.conditions, generation, now),
        ..ModelEndpointStatus::default()
    }
}

/// Says in the endpoint's status why it cannot be looked at. What serves goes on serving.
pub(super) async fn failure(context: &Context, endpoint: &ModelEndpoint, error: &anyhow::Error) {
    let before = endpoint.status.clone().unwrap_or_default();
    let reason = reason_of(error);
    let generation = endpoint.metadata.generation;
    let mut after = before.clone();
    let mut conditions = before.conditions.clone();
    conditions.retain(|one| one.type_ != "Degraded");
    let now = Timestamp::now();
    conditions.push(report::condition("Degraded", "True", &reason, &before.conditions, generation, now));
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    after.conditions = conditions;
    let written = async {
        let (before, after) = (serde_json::to_value(&endpoint.status)?, serde_json::to_value(&after)?);
        report::status(context, endpoint, &before, &after, false).await
    };
    if let Err(error) = written.await {
        tracing::debug!("cannot tell a failure: {error:#}");
    }
}
