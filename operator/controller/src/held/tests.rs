//! That what is held is enough, and how much it takes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::*;
use crate::endpoint::tests::{Objects, digest, objects};
use crate::pod::merge;

/// What an API server adds to what was applied.
fn returned(mut object: Value, status: &Value) -> Value {
    let fields: serde_json::Map<String, Value> =
        (0..40).map(|n| (format!("f:some-field-{n}"), json!({".": {}, "f:name": {}, "f:value": {}}))).collect();
    let manager = |name: &str| {
        json!({"apiVersion": "apps/v1", "fieldsType": "FieldsV1", "manager": name, "operation": "Apply",
               "time": "2026-11-28T00:00:00Z", "fieldsV1": {"f:metadata": {}, "f:spec": fields}})
    };
    merge(
        &mut object,
        json!({
            "metadata": {
                "uid": "7b4c1a53-8d0e-4c39-9d43-6f3b8f6f0a11", "resourceVersion": "184467", "generation": 2,
                "creationTimestamp": "2026-11-28T00:00:00Z",
                "annotations": {"deployment.kubernetes.io/revision": "1"},
                "managedFields": [manager("fairway"), manager("kube-controller-manager")],
            },
            "status": status,
        }),
    );
    if object["kind"] == "Deployment" {
        merge(&mut object, json!({"spec": {"progressDeadlineSeconds": 600}}));
        defaults(&mut object["spec"]["template"]["spec"]);
    }
    object
}

/// What it adds to a pod's spec.
fn defaults(spec: &mut Value) {
    merge(spec, json!({"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"}));
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            merge(&mut container[probe], json!({"successThreshold": 1, "httpGet": {"scheme": "HTTP"}}));
        }
    }
}

fn deployment_status() -> Value {
    let condition = |kind: &str, reason: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "message": "Deployment has minimum availability.",
               "lastTransitionTime": "2026-11-28T00:00:00Z", "lastUpdateTime": "2026-11-28T00:00:00Z"})
    };
    json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1,
           "conditions": [condition("Available", "MinimumReplicasAvailable"), condition("Progressing", "NewReplicaSetAvailable")]})
}

/// The pod of a template, running.
fn pod_of(deployment: &Value, name: &str) -> Value {
    let template = &deployment["spec"]["template"];
    let condition = |kind: &str| json!({"type": kind, "status": "True", "observedGeneration": 1, "lastTransitionTime": "2026-11-28T00:00:00Z"});
    let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let container = json!({
        "name": "server", "image": "registry.example/fairway:1", "ready": true, "restartCount": 0, "started": true,
        "imageID": format!("registry.example/fairway@{}", digest()), "containerID": format!("containerd://{}", digest()),
        "state": {"running": {"startedAt": "2026-11-28T00:00:00Z"}}, "lastState": {},
        "volumeMounts": [{"name": "scratch", "mountPath": "/var/lib/fairway"}, {"name": "tmp", "mountPath": "/tmp"}],
    });
    let mut pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
    merge(&mut pod, json!({"metadata": {"name": name, "namespace": "shop", "generateName": "shop-01234567-"}}));
    let status = json!({"phase": "Running", "qosClass": "Burstable", "hostIP": "10.0.0.1", "podIP": "10.1.2.3",
        "podIPs": [{"ip": "10.1.2.3"}], "startTime": "2026-11-28T00:00:00Z", "conditions": kinds.map(condition),
        "containerStatuses": [container]});
    returned(pod, &status)
}

fn held<K: Read>(object: &Value) -> Held<K> {
    serde_json::from_str(&object.to_string()).unwrap()
}

#[test]
fn what_is_held_is_compared_as_the_whole_was() {
    let desired = objects(2).servers;
    let deployment: Held<Deployment> = held(&returned(desired.clone(), &deployment_status()));
    assert_eq!(deployment.facts, Replicas { ordered: 2, ready: 1 });
    assert_eq!(deployment.meta().annotations.as_ref().unwrap()[DIGEST], digest());
    assert!(!deployment.stands(&objects(3).servers).unwrap());
    for _ in 0..2 {
        assert!(deployment.stands(&desired).unwrap());
        assert!(!deployment.stands(&objects(3).servers).unwrap());
    }
    deployment.is_as(&objects(3).servers);
    assert!(deployment.stands(&objects(3).servers).unwrap() && !deployment.stands(&desired).unwrap());
    let mut changed = returned(desired.clone(), &deployment_status());
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("somebody's");
    assert!(!held::<Deployment>(&changed).stands(&desired).unwrap(), "what somebody has changed is seen");

    let desired = objects(2).servers_service;
    let mut service = returned(desired.clone(), &json!({"loadBalancer": {}}));
    merge(&mut service, json!({"spec": {"clusterIP": "10.96.0.9", "type": "ClusterIP"}}));
    assert!(held::<Service>(&service).stands(&desired).unwrap());
    service["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Shop", "name": "other", "uid": "u", "controller": true}]);
    let mut ours = desired;
    ours["metadata"]["ownerReferences"] = json!([{"uid": "mine", "controller": true}]);
    let taken = held::<Service>(&service).stands(&ours).unwrap_err().to_string();
    assert!(taken.contains("is of Shop other: rename one of the two"), "{taken}");
}

#[test]
fn of_pods_where_they_are_and_how_they_fail() {
    let mut pod = pod_of(&objects(1).servers, "one");
    let healthy: Held<Pod> = held(&pod);
    assert_eq!(healthy.facts.pod_ip.as_deref(), Some("10.1.2.3"));
    assert_eq!(healthy.facts.conditions.as_ref().unwrap().len(), 1, "whether it is ready");
    assert!(healthy.facts.container_statuses.is_none());
    assert!(matches!(&*healthy.compared(), Compared::By(text) if text.is_empty()), "nothing is applied to it");
    assert_eq!(healthy.meta().annotations.as_ref().unwrap()[DIGEST], digest());
    pod["status"]["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 2, "message": "so"}});
    let failed: Held<Pod> = held(&pod);
    let status = &failed.facts.container_statuses.as_ref().unwrap()[0];
    assert_eq!((status.name.as_str(), &status.state), ("server", &None));
    assert_eq!(status.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 2);
}

/// Memory of this process that is no file, in KiB.
fn used() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// `cargo test --workspace -- --ignored --nocapture so_much_memory` prints how much the copies of so many endpoints take, whole
/// and as they are held.
#[test]
#[ignore = "measures, and asserts little: no other test may run beside it"]
fn so_much_memory() {
    const ENDPOINTS: usize = 2_000;
    let Objects { servers, routers, service, servers_service, orders } = objects(1);
    let deployments = [&servers, &routers].map(|it| (returned(it.clone(), &deployment_status()).to_string(), it));
    let services = [&service, &servers_service];
    let services = services.map(|it| (returned(it.clone(), &json!({"loadBalancer": {}})).to_string(), it));
    let pods = [pod_of(&servers, "one"), pod_of(&routers, "two")].map(|it| it.to_string());
    let orders = returned(orders, &json!({})).to_string();

    fn whole<K: Made>(text: &str) -> Arc<K> {
        let mut object: K = serde_json::from_str(text).unwrap();
        object.meta_mut().managed_fields = None;
        Arc::new(object)
    }
    fn kept<K: Read>(text: &str) -> Arc<Held<K>> {
        Arc::new(serde_json::from_str(text).unwrap())
    }
    fn found<K: Read>((text, desired): &(String, &Value)) -> Arc<Held<K>> {
        let held = kept(text);
        assert!(held.stands(desired).unwrap());
        held
    }
    type All = Vec<Box<dyn std::any::Any>>;
    let many = |make: &dyn Fn(&mut All)| {
        let (before, mut all) = (used(), All::new());
        (0..ENDPOINTS).for_each(|_| make(&mut all));
        let took = used() - before;
        // What a round needed meanwhile, and the list itself, are the same for both.
        (took as f64 / ENDPOINTS as f64, all)
    };
    let without_spec = |text: &String| {
        let mut pod = Arc::unwrap_or_clone(whole::<Pod>(text));
        pod.spec = None;
        Arc::new(pod)
    };
    let maps = many(&|all| all.push(Box::new(whole::<ConfigMap>(&orders))));
    let rows = [
        (
            "2 Deployments",
            many(&|all| deployments.iter().for_each(|it| all.push(Box::new(whole::<Deployment>(&it.0))))),
            many(&|all| deployments.iter().for_each(|it| all.push(Box::new(found::<Deployment>(it))))),
        ),
        (
            "2 Services",
            many(&|all| services.iter().for_each(|it| all.push(Box::new(whole::<Service>(&it.0))))),
            many(&|all| services.iter().for_each(|it| all.push(Box::new(found::<Service>(it))))),
        ),
        (
            "2 pods",
            many(&|all| pods.iter().for_each(|it| all.push(Box::new(without_spec(it))))),
            many(&|all| pods.iter().for_each(|it| all.push(Box::new(kept::<Pod>(it))))),
        ),
    ];
    println!("KiB an endpoint: ConfigMap {:.1}", maps.0);
    for (what, whole, held) in &rows {
        println!("KiB an endpoint: {what} {:.1} whole, {:.1} held", whole.0, held.0);
        assert!(held.0 < whole.0, "{what}");
    }
}
