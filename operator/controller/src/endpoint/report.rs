//! An endpoint's status, and its Events.

use std::time::{Duration, Instant};

use anyhow::Result;
use fairway_api::endpoint::{RequestStatus, RolloutProgress};
use fairway_api::{ModelEndpoint, ModelEndpointStatus};
use fairway_core::{Condition, Reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;

use super::{Decided, EndpointLoop, Subject, requests};
use crate::context::Context;
use crate::names::{ENDPOINT, ROLE};
use crate::report;
pub(super) use crate::report::degraded;

/// Numbers in messages are brought up to date this often while something is going on.
const NUMBERS: Duration = Duration::from_secs(15);
/// An endpoint that is suspended is looked at this often.
const SUSPENDED: Duration = Duration::from_secs(60);

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
        let answer = self.opened.as_ref().and_then(|opened| {
            requests::to_tell(opened.answer.as_ref(), opened.answered.as_deref(), before.last_request.as_ref(), now)
        });
        let after = serde_json::to_value(status(&before, subject, decided, answer, now))?;
        let before = serde_json::to_value(&endpoint.status)?;
        let is_busy = decided.plan.status.rollout.is_some() || decided.plan.status.bake.is_some();
        let exact = is_busy && self.reported.is_none_or(|reported| reported.elapsed() >= NUMBERS);
        if report::status(context, endpoint, &before, &after, exact).await? {
            self.reported = Some(Instant::now());
        }
        Ok(())
    }
}

fn status(
    before: &ModelEndpointStatus,
    subject: &Subject,
    decided: &Decided,
    answer: Option<RequestStatus>,
    now: Timestamp,
) -> ModelEndpointStatus {
    let status = &decided.plan.status;
    let (namespace, name) = &subject.key;
    let generation = subject.endpoint.metadata.generation;
    let (stable, canary) = (status.stable.as_ref(), status.rollout.as_ref());
    let sum = |of: fn(&fairway_core::endpoint::Servers) -> u32| {
        i32::try_from(decided.seen.servers.values().map(of).sum::<u32>()).ok()
    };
    ModelEndpointStatus {
        // Of the last manifest that was carried out: what the one before asked for is taken away then.
        observed_generation: if decided.in_part { before.observed_generation } else { generation },
        url: Some(format!("http://{name}.{namespace}.svc")),
        replicas: sum(|servers| servers.ordered),
        ready_replicas: sum(|servers| servers.ready),
        selector: Some(format!("{ENDPOINT}={name},{ROLE}=server")),
        route_generation: status.route.as_ref().and_then(|route| i64::try_from(route.generation).ok()),
        stable: stable.map(|target| target.version.to_string()),
        stable_digest: stable.map(|target| target.digest.clone()),
        canary: canary.map(|rollout| rollout.candidate.version.to_string()),
        canary_digest: canary.map(|rollout| rollout.candidate.digest.clone()),
        weight: canary.map(|rollout| rollout.weight(&subject.policy).to_string()),
        rollout: progress(subject, decided),
        next_look: None,
        last_request: answer,
        conditions: report::conditions(&decided.plan.conditions, &before.conditions, generation, now),
    }
}

fn progress(subject: &Subject, decided: &Decided) -> Option<RolloutProgress> {
    let steps = i32::try_from(subject.policy.steps.as_slice().len()).unwrap_or(i32::MAX);
    let status = &decided.plan.status;
    let bake = status.bake.as_ref().map(|bake| RolloutProgress {
        step: steps.saturating_add(1),
        steps,
        started: Some(Time(bake.rollout.started)),
        ..RolloutProgress::default()
    });
    let rollout = status.rollout.as_ref().map(|rollout| RolloutProgress {
        step: i32::try_from(rollout.step).unwrap_or(i32::MAX).saturating_add(1),
        steps,
        started: Some(Time(rollout.started)),
        step_started: Some(Time(rollout.weight_since)),
        // A number that grows at every look is told in the condition's message, now and then.
        requests: None,
    });
    rollout.or(bake)
}

/// Says that nobody looks at it.
pub(super) async fn suspended(context: &Context, endpoint: &ModelEndpoint, now: Timestamp) -> Result<Action> {
    let reason = Reason::new("Suspended", "spec.suspend is true: nothing is started, rolled out, scaled or taken back");
    let told = Condition { kind: "Degraded".to_owned(), status: true, reason };
    report::tell(context, endpoint, &[told], now).await?;
    Ok(Action::requeue(SUSPENDED))
}
