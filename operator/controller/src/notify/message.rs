//! A notice as it is sent: a CloudEvent like those of `fairway registry watch`, or one line for a chat. Pure.

use fairway_api::ModelEndpoint;
use fairway_api::endpoint::{NotificationEvent, NotificationFormat};
use fairway_registry::events;
use kube::ResourceExt;
use serde_json::json;

use super::outbox::Waiting;

/// Digits of the endpoint's identity in an id: endpoints of one name in two clusters tell different things.
const MARK: usize = 8;

/// What is sent.
#[derive(Debug, PartialEq)]
pub(crate) struct Message {
    /// The same at each attempt.
    pub(crate) id: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn message(
    endpoint: &ModelEndpoint,
    registry: &str,
    format: NotificationFormat,
    waiting: &Waiting,
) -> Message {
    let (notice, id) = (&waiting.notice, id(endpoint, &waiting.notice.id));
    if format == NotificationFormat::Text {
        let body = json!({"text": notice.text}).to_string().into_bytes();
        return Message { id, content_type: "application/json", body };
    }
    let (namespace, name) = (endpoint.namespace().unwrap_or_default(), endpoint.name_any());
    let finding = &notice.finding;
    let event = NotificationEvent::of(finding);
    let body = json!({
        "specversion": "1.0",
        "id": id,
        "source": events::source(registry, &namespace, "endpoints", &name),
        "type": format!("dev.fairway.endpoint.{}.v1", event.map_or("found", kind)),
        "subject": format!("endpoints:/{name}"),
        "time": waiting.time,
        "datacontenttype": "application/json",
        "data": {
            "namespace": namespace,
            "endpoint": name,
            "model": endpoint.spec.model,
            "event": event,
            "kind": notice.kind,
            "code": finding.code,
            "severity": finding.severity.to_string(),
            "message": finding.message,
            "evidence": finding.evidence,
            "since": notice.since,
            "text": notice.text,
        },
    });
    Message { id, content_type: events::CONTENT_TYPE, body: body.to_string().into_bytes() }
}

/// A signature parts its fields by `.`.
fn id(endpoint: &ModelEndpoint, notice: &str) -> String {
    let mark: String = endpoint.uid().unwrap_or_default().chars().take(MARK).collect();
    format!("{notice}-{mark}").replace('.', "_")
}

fn kind(event: NotificationEvent) -> &'static str {
    match event {
        NotificationEvent::RolloutStarted => "rollout.started",
        NotificationEvent::StepTaken => "rollout.stepped",
        NotificationEvent::Paused => "rollout.paused",
        NotificationEvent::Promoted => "version.promoted",
        NotificationEvent::RolledBack => "version.rolledback",
        NotificationEvent::Degraded => "degraded",
        NotificationEvent::TelemetryMissing => "telemetry.missing",
    }
}
