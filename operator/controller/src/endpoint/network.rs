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
        // A rule without a peer would let everybody in: whoever reads metrics is named, or nobody does.
        let readers = |of: u16| {
            let from = &self.settings.metrics_from;
            (!from.is_empty()).then(|| json!({"from": from, "ports": port(of)}))
        };
        let ask = json!({"from": [{"podSelector": of("router")}], "ports": port(self.serving_port())});
        let servers = json!({"spec": {
            "podSelector": of("server"),
            "policyTypes": ["Ingress"],
            "ingress": Vec::from_iter([ask].into_iter().chain(readers(self.serving_port()))),
        }});
        let mut users = json!({"ports": port(PORT)});
        if !policy.from.is_empty() {
            users["from"] = policy.from.iter().map(peer).collect();
        }
        let asks = json!({"from": operator, "ports": port(ADMIN_PORT)});
        // Routers tell each other what users did.
        let tell = json!({"from": [{"podSelector": of("router")}], "ports": port(ADMIN_PORT)});
        let routers = json!({"spec": {
            "podSelector": of("router"),
            "policyTypes": ["Ingress"],
            "ingress": Vec::from_iter([users, asks, tell].into_iter().chain(readers(ADMIN_PORT))),
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

#[cfg(test)]
mod tests {
    use super::super::tests::{settings, subject};
    use super::*;

    /// Who may reach which port of the pods of a role: the peers of each rule, and its port.
    fn rules(policy: &Value) -> Vec<(Value, u64)> {
        let rules = policy["spec"]["ingress"].as_array().unwrap().iter();
        rules.map(|rule| (rule["from"].clone(), rule["ports"][0]["port"].as_u64().unwrap())).collect()
    }

    #[test]
    fn whoever_reads_metrics_is_let_in_where_they_are_and_nowhere_else() {
        let subject = subject(json!({}), json!({}));
        let policies = |from: Vec<Value>| {
            let settings = crate::settings::Settings { metrics_from: from, ..settings() };
            Builder { subject: &subject, settings: &settings }.network_policies()
        };
        let prometheus = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}});
        let (without, with) = (policies(Vec::new()), policies(vec![prometheus.clone()]));
        for (role, port) in [(0, PORT), (1, ADMIN_PORT)] {
            let mut expected = rules(&without[role]);
            expected.push((json!([prometheus.clone()]), u64::from(port)));
            assert_eq!(rules(&with[role]), expected);
        }
        // Only users come from everywhere.
        let open: Vec<u64> = without.iter().flat_map(rules).filter(|(from, _)| from.is_null()).map(|it| it.1).collect();
        assert_eq!(open, [u64::from(PORT)]);
    }
}
