//! Somebody else's server of the Open Inference Protocol v2 in a version's pods: the bundle is fetched and checked first,
//! their container answers from it, and ours beside it asks, checks and is asked by the routers. Pure.

use anyhow::Result;
use fairway_api::endpoint::ContainerServer;
use fairway_registry::Digest;
use fairway_wire::Target;
use serde_json::{Value, json};

use super::build::{Builder, STARTS_WITHIN_SECONDS, probe};
use crate::pod::{self, PORT};

/// Name of their container: what it says when it ends is not about the version.
pub(super) const THEIRS: &str = "model";
/// Where bundles are fetched to, each into a folder of its digest's name.
const BUNDLES: &str = "/var/lib/fairway-bundles";
/// Where their container finds the bundle, by the convention of KServe's images.
const BUNDLE: &str = "/mnt/models";
/// Where ours listens: not where theirs may, as all containers of a pod share its ports.
const BESIDE_PORT: u16 = 18_080;
/// Theirs goes on while ours hears that it is to end and answers what it has taken in.
const OUTLASTS_SECONDS: u32 = 20;

impl Builder<'_> {
    /// The port of the pods of servers.
    pub(super) fn serving_port(&self) -> u16 {
        match &self.subject.endpoint.spec.server.container {
            None => PORT,
            Some(theirs) if theirs.port == BESIDE_PORT => BESIDE_PORT + 1,
            Some(_) => BESIDE_PORT,
        }
    }

    /// The containers of a pod, and what else its spec needs for them.
    pub(super) fn beside(&self, target: &Target, theirs: &ContainerServer) -> Result<(Vec<Value>, Value)> {
        let little = || pod::resources(None, "50m", "64Mi");
        let mount = |read_only: bool| json!([{"name": "bundle", "mountPath": BUNDLES, "readOnly": read_only}]);
        let cache = format!("--cache={BUNDLES}");
        let fetch = self.serve(
            "fetch",
            target,
            &[cache.clone(), "--fetch-only".to_owned()],
            json!({"resources": little(), "volumeMounts": mount(false)}),
        )?;
        let behind = format!("--behind=http://127.0.0.1:{}", theirs.port);
        let mut server = self.server(target, self.serving_port(), &[cache, behind], little())?;
        pod::merge(&mut server, json!({"volumeMounts": mount(true)}));
        let around = json!({
            "initContainers": [fetch],
            "volumes": [{"name": "bundle", "emptyDir": {}}, {"name": "model-tmp", "emptyDir": {}}],
        });
        Ok((vec![server, self.theirs(target, theirs)?], around))
    }

    /// It sees the bundle and nothing of the registry: neither its place nor its credentials.
    fn theirs(&self, target: &Target, theirs: &ContainerServer) -> Result<Value> {
        let spec = &self.subject.endpoint.spec;
        let folder = target.digest.parse::<Digest>()?.directory();
        let mut env = vec![
            json!({"name": "FAIRWAY_BUNDLE", "value": BUNDLE}),
            json!({"name": "FAIRWAY_MODEL", "value": spec.model}),
            json!({"name": "FAIRWAY_VERSION", "value": target.version.to_string()}),
            json!({"name": "FAIRWAY_DIGEST", "value": target.digest}),
            json!({"name": "FAIRWAY_PORT", "value": theirs.port.to_string()}),
        ];
        if !theirs.env.iter().any(|variable| variable.name == "HOME") {
            // The user that it runs as has none, and the root is read-only.
            env.push(json!({"name": "HOME", "value": "/tmp"}));
        }
        env.extend(pod::env(&theirs.env));
        let probe = |path: &str, period: u32, failures: u32| probe(THEIRS, path, period, failures);
        Ok(json!({
            "name": THEIRS,
            "image": theirs.image,
            "imagePullPolicy": "IfNotPresent",
            "args": theirs.args,
            "env": env,
            "ports": [{"name": THEIRS, "containerPort": theirs.port}],
            "startupProbe": probe("/v2/health/ready", 1, STARTS_WITHIN_SECONDS),
            "readinessProbe": probe("/v2/health/ready", 2, 2),
            "livenessProbe": probe("/v2/health/live", 10, 3),
            "lifecycle": {"preStop": {"sleep": {"seconds": OUTLASTS_SECONDS}}},
            "resources": pod::resources(spec.server.resources.as_ref(), "100m", "256Mi"),
            "securityContext": pod::restricted(),
            "volumeMounts": [
                {"name": "bundle", "mountPath": BUNDLE, "subPath": folder, "readOnly": true},
                {"name": "model-tmp", "mountPath": "/tmp"},
            ],
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Subject;
    use super::super::tests::{digest, settings, subject};
    use super::*;
    use crate::apply::covers;

    fn pod(subject: &Subject) -> Value {
        let settings = settings();
        let builder = Builder { subject, settings: &settings };
        let target = Target { version: 3, digest: digest() };
        builder.servers(&target, Some(2)).unwrap()["spec"]["template"]["spec"].clone()
    }

    #[test]
    fn another_server_has_the_bundle_and_ours_before_it() {
        let container = json!({"image": "shop/mlserver:1", "port": 8080, "args": ["start", "/mnt/models"],
            "env": [{"name": "WORKERS", "value": "2"}]});
        let server = json!({"container": container, "resources": {"memory": "1Gi"}});
        let subject = subject(json!({}), json!({"server": server}));
        let pod = pod(&subject);
        let version = format!("--version={}", digest());
        let registry = ["serve", "--registry=s3://models", "--namespace=shop", "--model=recs", &*version];
        let args = |more: &[&str]| registry.iter().chain(more).map(|&it| json!(it)).collect::<Vec<_>>();
        let bundles = "--cache=/var/lib/fairway-bundles";
        let folder = digest().replace(':', "-");
        let behind = "--behind=http://127.0.0.1:8080";
        let expected = json!({
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [{
                "name": "fetch", "image": "fairway:test", "args": args(&[bundles, "--fetch-only"]),
                "envFrom": [{"secretRef": {"name": "bucket"}}],
                "volumeMounts": [{"name": "scratch"}, {"name": "tmp"}, {"name": "bundle", "readOnly": false}],
            }],
            "containers": [{
                "name": "server", "image": "fairway:test",
                "args": args(&["--listen=0.0.0.0:18080", bundles, behind]),
                "ports": [{"name": "http", "containerPort": 18_080}],
                "volumeMounts": [{"name": "scratch"}, {"name": "tmp"}, {"name": "bundle", "readOnly": true}],
            }, {
                "name": "model", "image": "shop/mlserver:1", "args": ["start", "/mnt/models"],
                "ports": [{"name": "model", "containerPort": 8080}],
                "env": [
                    {"name": "FAIRWAY_BUNDLE", "value": "/mnt/models"}, {"name": "FAIRWAY_MODEL", "value": "recs"},
                    {"name": "FAIRWAY_VERSION", "value": "3"}, {"name": "FAIRWAY_DIGEST", "value": digest()},
                    {"name": "FAIRWAY_PORT", "value": "8080"}, {"name": "HOME", "value": "/tmp"},
                    {"name": "WORKERS", "value": "2"},
                ],
                "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": "model"}},
                "resources": {"limits": {"memory": "1Gi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"mountPath": "/mnt/models", "subPath": folder, "readOnly": true}, {"mountPath": "/tmp"}],
            }],
            "volumes": [{"name": "scratch"}, {"name": "tmp"}, {"name": "bundle"}, {"name": "model-tmp"}],
        });
        assert!(covers(&pod, &expected), "{pod:#}");
        assert!(pod["containers"][1].get("envFrom").is_none(), "it has no credentials of the bucket");
    }

    #[test]
    fn both_find_a_port() {
        for (theirs, ours) in [(8080, 18_080), (18_080, 18_081)] {
            let server = json!({"container": {"image": "x", "port": theirs}});
            let subject = subject(json!({}), json!({"server": server}));
            let settings = settings();
            assert_eq!(Builder { subject: &subject, settings: &settings }.serving_port(), ours);
        }
    }

    #[test]
    fn our_own_server_needs_nothing_beside_it() {
        let signing = json!({"signing": {"publicKeys": ["a", "b"]}});
        let pod = pod(&subject(signing, json!({})));
        let args = pod["containers"][0]["args"].as_array().unwrap();
        assert!(args.contains(&json!("--signer=/etc/fairway/signers/1.pem")), "{args:?}");
        assert!(args.contains(&json!("--listen=0.0.0.0:8080")) && args.contains(&json!("--cache=/var/lib/fairway")));
        assert_eq!((pod["containers"].as_array().unwrap().len(), pod.get("initContainers")), (1, None));
        let volumes = [json!({"name": "scratch"}), json!({"name": "tmp"}), json!({"name": "signers"})];
        assert!(covers(&pod["volumes"], &json!(volumes)), "{pod:#}");
    }
}
