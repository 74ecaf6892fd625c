//! The objects that an endpoint consists of, as they are applied. Pure: from manifests and decisions, nothing else.

use anyhow::{Context as _, Result};
use fairway_api::workload::DeletionPolicy;
use fairway_wire::{ORDERS_KEY, Orders, RouterSettings, ServedAt, Target};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::Subject;
use crate::buckets::url_of;
use crate::names::{self, ACTOR};
use crate::pod::{self, ADMIN_PORT, PORT, SCRATCH};
use crate::settings::Settings;

/// A pod that goes serves on for so long, until everybody has heard.
const DRAIN_SECONDS: u32 = 5;
/// A server has so long to fetch its version and to reproduce its golden answers.
pub(super) const STARTS_WITHIN_SECONDS: u32 = 600;
/// Where the public keys are mounted of which one must have signed a version.
const SIGNERS: &str = "/etc/fairway/signers";
/// Where the routers' secrets are mounted.
const KEYS: &str = "/etc/fairway/keys";

/// Makes the objects of one endpoint.
pub(super) struct Builder<'a> {
    pub(super) subject: &'a Subject,
    pub(super) settings: &'a Settings,
}

impl Builder<'_> {
    pub(super) fn name(&self) -> &str {
        &self.subject.key.1
    }

    pub(super) fn object(&self, api: &str, kind: &str, name: &str, role: &str, more: Value) -> Value {
        let mut object = json!({
            "apiVersion": api,
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": self.subject.key.0,
                "labels": names::labels(self.name(), role),
                "ownerReferences": self.subject.endpoint.controller_owner_ref(&()).into_iter().collect::<Vec<_>>(),
            },
        });
        pod::merge(&mut object, more);
        object
    }

    /// Servers of one version. `replicas`: none leaves the number to whoever scales them.
    pub(super) fn servers(&self, target: &Target, replicas: Option<u32>) -> Result<Value> {
        let name = names::of_version(self.name(), &target.digest);
        let model = self.subject.model()?;
        let spec = &self.subject.endpoint.spec;
        let (containers, around) = match &spec.server.container {
            None => {
                let resources = pod::resources(spec.server.resources.as_ref(), "50m", "64Mi");
                (vec![self.server(target, PORT, &[format!("--cache={SCRATCH}")], resources)?], json!({}))
            }
            Some(theirs) => self.beside(target, theirs)?,
        };
        let selector = json!({"app.kubernetes.io/instance": name});
        let annotations = json!({names::DIGEST: target.digest, names::VERSION: target.version.to_string()});
        let mut labels = serde_json::to_value(names::labels(self.name(), "server"))?;
        pod::merge(&mut labels, selector.clone());
        let more = &spec.server.pod_template;
        let mut pod = pod::spec(
            containers,
            json!({
                "terminationGracePeriodSeconds": 30,
                "topologySpreadConstraints": pod::spread(&selector, more),
            }),
        );
        pod::merge(&mut pod, around);
        if model.spec.signing.is_some() {
            let map = json!({"name": names::child(self.name(), "signers")});
            pod::merge(&mut pod, json!({"volumes": [{"name": "signers", "configMap": map}]}));
        }
        let account = model.spec.service_account_name.as_deref();
        let deployment = self.object(
            "apps/v1",
            "Deployment",
            &name,
            "server",
            json!({
                "metadata": {"annotations": annotations},
                "spec": {
                    "selector": {"matchLabels": selector},
                    "revisionHistoryLimit": 1,
                    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                    "template": pod::template(&labels, &annotations, pod, account, more),
                },
            }),
        );
        Ok(with_replicas(deployment, replicas))
    }

    /// The container that routers ask. `more` are arguments beside those that name the version.
    pub(super) fn server(&self, target: &Target, port: u16, more: &[String], resources: Value) -> Result<Value> {
        let mut args = vec![format!("--listen=0.0.0.0:{port}")];
        args.extend_from_slice(more);
        let probe = |path: &str, period: u32, failures: u32| probe("http", path, period, failures);
        let more = json!({
            "ports": [{"name": "http", "containerPort": port}],
            "startupProbe": probe("/v2/health/ready", 1, STARTS_WITHIN_SECONDS),
            "readinessProbe": probe("/v2/health/ready", 2, 2),
            "livenessProbe": probe("/v2/health/live", 10, 3),
            "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
            "resources": resources,
        });
        self.serve("server", target, &args, more)
    }

    /// A container that runs `fairway serve` for a version.
    pub(super) fn serve(&self, name: &str, target: &Target, args: &[String], mut more: Value) -> Result<Value> {
        let model = self.subject.model()?;
        let mut all = vec![
            "serve".to_owned(),
            format!("--registry={}", url_of(model, self.settings.registry.as_deref())?),
            format!("--namespace={}", self.subject.key.0),
            format!("--model={}", self.subject.endpoint.spec.model),
            format!("--version={}", target.digest),
        ];
        let signers = model.spec.signing.as_ref().map_or(0, |signing| signing.public_keys.len());
        all.extend((0..signers).map(|n| format!("--signer={SIGNERS}/{n}.pem")));
        all.extend_from_slice(args);
        if signers > 0 {
            let mount = json!({"name": "signers", "mountPath": SIGNERS, "readOnly": true});
            pod::merge(&mut more, json!({"volumeMounts": [mount]}));
        }
        Ok(pod::container(name, self.settings, &all, model, more))
    }

    /// Where the servers of a version are reached.
    pub(super) fn servers_service(&self, target: &Target) -> Value {
        let name = names::of_version(self.name(), &target.digest);
        let spec = json!({"spec": {
            "selector": {"app.kubernetes.io/instance": name},
            "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
        }});
        self.object("v1", "Service", &name, "server", spec)
    }

    /// What the routers are told.
    pub(super) fn orders(&self, orders: &Orders) -> Result<Value> {
        let text = serde_json::to_string(orders)?;
        let data = json!({"data": {ORDERS_KEY: text}});
        Ok(self.object("v1", "ConfigMap", &names::of_orders(self.name()), "router", data))
    }

    /// The public keys of which one must have signed a version; none where no signature is asked for.
    pub(super) fn signers(&self) -> Result<Option<Value>> {
        let Some(signing) = &self.subject.model()?.spec.signing else { return Ok(None) };
        let keys = signing.public_keys.iter().enumerate().map(|(n, key)| (format!("{n}.pem"), key));
        let data = json!({"data": keys.collect::<std::collections::BTreeMap<_, _>>()});
        Ok(Some(self.object("v1", "ConfigMap", &names::child(self.name(), "signers"), "server", data)))
    }

    /// What routers count and keep.
    pub(super) fn router_settings(&self) -> Result<RouterSettings> {
        let model = &self.subject.model()?.spec;
        let reward = &model.reward;
        Ok(RouterSettings {
            reward_event: reward.event.into(),
            reward_within_ms: u64::try_from(reward.within.std().as_millis()).unwrap_or(u64::MAX),
            reward_cap: reward.cap.get(),
            decision_sample: model.decision_sample(&self.subject.endpoint.spec),
            fallback: self.subject.endpoint.spec.fallback.iter().copied().map(Into::into).collect(),
            ..RouterSettings::default()
        })
    }

    /// A version as routers reach it.
    pub(super) fn served_at(&self, target: &Target) -> ServedAt {
        let name = names::of_version(self.name(), &target.digest);
        ServedAt { target: target.clone(), url: format!("http://{name}.{}.svc:{PORT}", self.subject.key.0) }
    }

    /// The routers themselves.
    pub(super) fn routers(&self) -> Result<Value> {
        let name = names::of_routers(self.name());
        let model = self.subject.model()?;
        let spec = &self.subject.endpoint.spec;
        let args: Vec<String> = [
            "router".to_owned(),
            format!("--namespace={}", self.subject.key.0),
            format!("--endpoint={}", self.name()),
            format!("--model={}", spec.model),
            format!("--orders-configmap={}", names::of_orders(self.name())),
            format!("--registry={}", url_of(model, self.settings.registry.as_deref())?),
            format!("--listen=0.0.0.0:{PORT}"),
            format!("--admin=0.0.0.0:{ADMIN_PORT}"),
            format!("--users-key={KEYS}/users.key"),
            format!("--admin-token-file={KEYS}/admin.token"),
        ]
        .into();
        // Asked where no user can keep them waiting: a router that is busy is not to be started again.
        let more = json!({
            "ports": [{"name": "http", "containerPort": PORT}, {"name": "admin", "containerPort": ADMIN_PORT}],
            "startupProbe": probe("admin", "/readyz", 1, 60),
            "readinessProbe": probe("admin", "/readyz", 2, 2),
            "livenessProbe": probe("admin", "/healthz", 10, 3),
            "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
            "resources": pod::resources(spec.router.resources.as_ref(), "50m", "64Mi"),
            "volumeMounts": [{"name": "keys", "mountPath": KEYS, "readOnly": true}],
        });
        let container = pod::container("router", self.settings, &args, model, more);
        let selector = json!({"app.kubernetes.io/instance": name});
        let mut labels = serde_json::to_value(names::labels(self.name(), "router"))?;
        pod::merge(&mut labels, selector.clone());
        let more = &spec.router.pod_template;
        // What they have counted rests on their settings: with others they are started again.
        let settings = json!({"fairway.dev/settings": serde_json::to_string(&self.router_settings()?)?});
        let pod = pod::spec(
            vec![container],
            json!({
                "terminationGracePeriodSeconds": 30,
                "topologySpreadConstraints": pod::spread(&selector, more),
                "volumes": [{"name": "keys", "secret": {"secretName": keys_name(self.name()), "defaultMode": 0o440}}],
            }),
        );
        Ok(self.object(
            "apps/v1",
            "Deployment",
            &name,
            "router",
            json!({"spec": {
                "replicas": spec.router.replicas,
                "selector": {"matchLabels": selector},
                "revisionHistoryLimit": 1,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": pod::template(&labels, &settings, pod, Some(&name), more),
            }}),
        ))
    }

    /// Where users are served: the endpoint's own name.
    pub(super) fn service(&self) -> Value {
        let spec = json!({"spec": {
            "selector": {"app.kubernetes.io/instance": names::of_routers(self.name())},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        }});
        self.object("v1", "Service", self.name(), "router", spec)
    }

    /// What routers may do: read their own orders, and nothing else.
    pub(super) fn account(&self) -> [Value; 3] {
        let name = names::of_routers(self.name());
        let rules = json!({"rules": [{
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [names::of_orders(self.name())],
            "verbs": ["get", "list", "watch"],
        }]});
        let binding = json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.subject.key.0}],
        });
        const RBAC: &str = "rbac.authorization.k8s.io/v1";
        [
            self.object("v1", "ServiceAccount", &name, "router", json!({})),
            self.object(RBAC, "Role", &name, "router", rules),
            self.object(RBAC, "RoleBinding", &name, "router", binding),
        ]
    }

    pub(super) fn has_several_routers(&self) -> bool {
        self.subject.endpoint.spec.router.replicas > 1
    }

    /// Of several routers one at a time may go, and of servers, of whichever version, if there are several. One alone may always
    /// go: what is left of before holds nothing up. Nor do those that are not ready.
    pub(super) fn budgets(&self) -> Vec<Value> {
        let budget = |role: &str| {
            let spec = json!({"spec": {
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": {"matchLabels": {names::ENDPOINT: self.name(), names::ROLE: role}},
            }});
            self.object("policy/v1", "PodDisruptionBudget", &names::child(self.name(), role), role, spec)
        };
        let several = self.subject.endpoint.spec.scaling.min > 1;
        let wanted = [("router", self.has_several_routers()), ("server", several)];
        wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(role, _)| budget(role)).collect()
    }

    /// The key of users' pseudonyms and the token of the routers' admin port: made once, never changed, since a user's group and
    /// what the bucket knows of users follow from the key. So it goes with the endpoint only where that data does.
    pub(super) fn keys(&self) -> Value {
        let random = || hex::encode(rand::random::<[u8; 32]>());
        let data = json!({
            "immutable": true,
            "stringData": {"users.key": random(), "admin.token": random()},
        });
        let mut keys = self.object("v1", "Secret", &keys_name(self.name()), "router", data);
        if self.subject.endpoint.spec.deletion_policy == DeletionPolicy::Orphan {
            keys["metadata"]["ownerReferences"] = json!([]);
        }
        keys
    }
}

/// A Deployment with so many pods; none leaves the number to whoever scales it.
pub(super) fn with_replicas(mut deployment: Value, replicas: Option<u32>) -> Value {
    if let Some(replicas) = replicas {
        deployment["spec"]["replicas"] = json!(replicas);
    }
    deployment
}

/// A question over HTTP to a port of the pod, every `period` seconds.
pub(super) fn probe(port: &str, path: &str, period: u32, failures: u32) -> Value {
    json!({"httpGet": {"path": path, "port": port}, "periodSeconds": period, "failureThreshold": failures,
           "timeoutSeconds": 2})
}

/// Name of the Secret with the routers' keys.
pub(super) fn keys_name(endpoint: &str) -> String {
    names::child(endpoint, "keys")
}

/// What is read back of orders that are in the cluster.
pub(super) fn orders_of(map: &k8s_openapi::api::core::v1::ConfigMap) -> Result<Orders> {
    let data = map.data.as_ref().and_then(|data| data.get(ORDERS_KEY));
    let text = data.with_context(|| format!("{} of {ACTOR} has no {ORDERS_KEY}", map.name_any()))?;
    serde_json::from_str(text).context("the orders cannot be read")
}
