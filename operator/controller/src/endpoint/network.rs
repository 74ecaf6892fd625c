//! Who may reach an endpoint's pods, and the way in through a Gateway. Pure: objects as they are applied.

use std::collections::BTreeMap;

use fairway_api::endpoint::{NetworkPolicyMode, Peer};
use serde_json::{Value, json};

use super::build::Builder;
use crate::names::{ENDPOINT, ROLE};
use crate::pod::{ADMIN_PORT, PORT};

impl Builder<'_> {
    /// The NetworkPolicies of servers and routers; none where the manifest wants none.
    pub(super) fn network_policies(&self) -> Vec<Value> {
        let policy = &self.subject.endpoint.spec.network_policy;
        if policy.mode == NetworkPolicyMode::Off {
            return Vec::new();
        }
        let of = |role: &str| json!({"matchLabels": {ENDPOINT: self.name(), ROLE: role}});
        let port = |port: u16| json!([{"protocol": "TCP", "port": port}]);
        let operator =
            json!([{"namespaceSelector": labels(&[("kubernetes.io/metadata.name", &self.settings.namespace)])}]);
        let servers = json!({"spec": {
            "podSelector": of("server"),
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": of("router")}], "ports": port(self.serving_port())}],
        }});
        let mut users = json!({"ports": port(PORT)});
        if !policy.from.is_empty() {
            users["from"] = policy.from.iter().map(peer).collect();
        }
        let routers = json!({"spec": {
            "podSelector": of("router"),
            "policyTypes": ["Ingress"],
            // Routers tell each other what users did.
            "ingress": [
                users,
                {"from": operator, "ports": port(ADMIN_PORT)},
                {"from": [{"podSelector": of("router")}], "ports": port(ADMIN_PORT)},
            ],
        }});
        const API: &str = "networking.k8s.io/v1";
        let object = |role: &str, spec: Value| {
            self.object(API, "NetworkPolicy", &crate::names::child(self.name(), role), role, spec)
        };
        vec![object("server", servers), object("router", routers)]
    }

    /// The HTTPRoute to the routers' Service, where one is asked for.
    pub(super) fn http_route(&self) -> Option<Value> {
        let route = self.subject.endpoint.spec.http_route.as_ref()?;
        let spec = json!({"spec": {
            "parentRefs": route.parent_refs,
            "hostnames": route.hostnames,
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": route.path_prefix}}],
                "backendRefs": [{"name": self.name(), "port": 80}],
            }],
        }});
        Some(self.object("gateway.networking.k8s.io/v1", "HTTPRoute", self.name(), "router", spec))
    }
}

fn labels(pairs: &[(&str, &str)]) -> Value {
    json!({"matchLabels": pairs.iter().copied().collect::<BTreeMap<_, _>>()})
}

fn peer(peer: &Peer) -> Value {
    let mut from = json!({"podSelector": {"matchLabels": peer.pod_labels}});
    if !peer.namespace_labels.is_empty() {
        from["namespaceSelector"] = json!({"matchLabels": peer.namespace_labels});
    }
    from
}
