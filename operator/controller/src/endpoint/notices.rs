//! What an endpoint's webhooks are told at each look: what its plan has found, stored with the plan; and what keeps it from
//! being looked at.

use fairway_api::ModelEndpoint;
use fairway_core::Plan;
use fairway_core::endpoint::{EndpointEffect, EndpointStatus};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{EndpointLoop, Subject};
use crate::buckets::url_of;
use crate::context::Context;
use crate::notify::{self, Deliveries, Outbox, Route, Waiting};
use crate::report;

/// What is to be stored with a plan: what was told up to now, this plan's findings among it.
pub(super) fn of_plan(
    subject: &Subject,
    stored: &Outbox,
    deliveries: &Deliveries,
    (seq, plan): (u64, &Plan<EndpointEffect, EndpointStatus>),
    now: Timestamp,
) -> Outbox {
    let spec = &subject.endpoint.spec;
    let object = notify::object(&subject.endpoint);
    let found = spec.escalated(&object, &format!("plan {seq}"), &plan.reasons, &plan.conditions);
    stored.after(spec, &found, deliveries.done(), now)
}

impl EndpointLoop {
    /// The end of each look, whatever became of it: harm is acted on first, and people hear of it then.
    pub(super) async fn notify(&mut self, context: &Context, endpoint: &ModelEndpoint, error: Option<&anyhow::Error>) {
        let now = crate::clock::now();
        let error = error.map(|error| format!("{error:#}"));
        self.trouble.after(endpoint, error, self.deliveries.done(), now);
        let stored = self.opened.as_ref().map_or(&[][..], |opened| opened.kept.notices.waiting());
        let waiting: Vec<&Waiting> = stored.iter().chain(self.trouble.waiting()).collect();
        self.deliveries.are_kept(&waiting);
        if waiting.is_empty() {
            return;
        }
        let (namespace, model) = (endpoint.namespace().unwrap_or_default(), &endpoint.spec.model);
        let model = context.models.get(&namespace, model);
        let default = context.settings.registry.as_deref();
        let url = model.as_ref().and_then(|model| url_of(model.0.as_ref().ok()?, default).ok());
        let registry = url.or(default).unwrap_or_default();
        let route = Route { client: &context.client, hooks: &context.hooks, endpoint, registry };
        let said = self.deliveries.deliver(&route, &waiting, now).await;
        context.metrics.notified(std::mem::take(&mut self.deliveries.counted));
        for reason in said {
            tracing::warn!(endpoint = endpoint.name_any(), "{}", reason.message);
            report::event(context, endpoint, &reason).await;
        }
    }
}
