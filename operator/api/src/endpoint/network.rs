//! Who may reach an endpoint, by which way in, and who is told of what happens to it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::ModelEndpointSpec;
use crate::error::FieldError;
use crate::workload::{SecretKeyRef, is_default};

/// Who may reach the pods over the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkPolicy {
    /// Whether the operator writes NetworkPolicies.
    pub mode: NetworkPolicyMode,
    /// Who may ask the routers, and the Gateway among them. Default: everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub from: Vec<Peer>,
}

/// Whether the operator writes NetworkPolicies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyMode {
    /// Model servers answer their routers and the operator only, routers those who are named, and the operator.
    #[default]
    Enforce,
    /// The operator writes none.
    Off,
}

/// Pods that may ask: those with all these labels, in namespaces with all those.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Peer {
    /// Labels of the namespaces. Default: this namespace.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub namespace_labels: BTreeMap<String, String>,
    /// Labels of the pods. Default: all pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub pod_labels: BTreeMap<String, String>,
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 63 }
    })
}

/// A way in through Gateways. The operator makes an HTTPRoute of this name to the routers' Service and owns all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRoute {
    /// The Gateways.
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Vec<ParentRef>,
    /// Names of the hosts. Default: all that the Gateways have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
    /// Beginning of the path that is routed here.
    #[serde(default = "everything", skip_serializing_if = "is_everything")]
    #[schemars(length(min = 1, max = 1024), extend("pattern" = "^/"))]
    pub path_prefix: String,
}

fn everything() -> String {
    "/".to_owned()
}

fn is_everything(path: &str) -> bool {
    path == "/"
}

/// A Gateway, and what of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace. Default: this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Its listener. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// A webhook, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notification {
    /// The Secret's entry with the URL: whoever knows it may write there.
    pub url_secret_ref: SecretKeyRef,
    /// What is told.
    #[serde(default = "what_people_want_to_know")]
    #[schemars(length(min = 1, max = 16))]
    pub on: Vec<NotificationEvent>,
    /// The text, for receivers that ask for a form of their own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub format: NotificationFormat,
    /// The Secret's entry with the secrets that requests are signed with, one a line: `whsec_` and the base64 of 24 to 64
    /// bytes. Without it nothing is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret_ref: Option<SecretKeyRef>,
}

fn what_people_want_to_know() -> Vec<NotificationEvent> {
    use NotificationEvent::{Degraded, Paused, Promoted, RolledBack};
    vec![Promoted, RolledBack, Paused, Degraded]
}

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum NotificationEvent {
    /// A version meets its first users.
    RolloutStarted,
    /// A version has got its next weight.
    StepTaken,
    /// A version has become the stable one.
    Promoted,
    /// A version was taken back.
    RolledBack,
    /// A rollout waits for a person.
    Paused,
    /// The endpoint does not do what it should.
    Degraded,
    /// Routers report nothing.
    TelemetryMissing,
}

/// The form of what is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NotificationFormat {
    /// The event as CloudEvents has it.
    #[default]
    CloudEvent,
    /// `{"text": …}`, as chat programs take it.
    Text,
}

impl ModelEndpointSpec {
    pub(super) fn check_network(&self, errors: &mut Vec<FieldError>) {
        for (i, notification) in self.notifications.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for (k, event) in notification.on.iter().enumerate().filter(|(_, event)| !seen.insert(**event)) {
                let field = format!("spec.notifications[{i}].on[{k}]");
                errors.push(FieldError::new(field, format!("{event:?} is there already"), "each event once"));
            }
        }
        let Some(route) = &self.http_route else { return };
        if !route.path_prefix.starts_with('/') {
            let problem = format!("`{}` does not begin with /", route.path_prefix);
            errors.push(FieldError::new("spec.httpRoute.pathPrefix", problem, "a path, such as /shop"));
        }
    }
}
