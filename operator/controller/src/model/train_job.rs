//! A run's Job as a TrainJob of Kubeflow's. Whose the pods are is turned around: they are those of a runtime of the platform's
//! (ClusterTrainingRuntime), and what a TrainJob may do is fill it. It can change containers that the runtime has, and add none;
//! so that the runtime for somebody else's container has two of ours, which `charts/fairway/templates/trainjob.yaml` shows:
//!
//! | in the part `node` | | filled with |
//! |---|---|---|
//! | `prepare` | init container | the run, the bucket and its credentials, as environment |
//! | `publish` | init container that goes on (`restartPolicy: Always`), and publishes when `node` has ended | the same |
//! | `node` | the container that trains | image, arguments, environment, resources of the manifest |
//!
//! A built-in family needs `node` alone, whatever the runtime. Pure, but for [`Told::of`].

use anyhow::Result;
use fairway_api::model::{FailureAction, Failures, RuntimeRef, Trainer};
use fairway_core::model::ActiveRun;
use serde_json::{Map, Value, json};

use super::job_set::together;
use super::{Subject, build};
use crate::buckets::{url_of, variables_of};
use crate::context::Context;
use crate::job_kinds::NODE;

/// Ours, after somebody else's that trains.
const PUBLISHES: &str = "publish";
/// Whose patch of the runtime it is.
const MANAGER: &str = "fairway.dev/operator";
/// What a patch may say of a pod, as the Job's has it.
const OF_PODS: [&str; 6] =
    ["serviceAccountName", "volumes", "imagePullSecrets", "securityContext", "nodeSelector", "tolerations"];
/// What a patch may say of a container.
const OF_CONTAINERS: [&str; 2] = ["volumeMounts", "securityContext"];

/// What containers of ours are told in a runtime that is not ours.
pub(super) struct Told {
    registry: String,
    model: String,
    run: String,
    /// The Secret with the bucket's credentials, and its variables: a patch can name them one by one only.
    secret: Option<(String, Vec<String>)>,
}

impl Told {
    /// Of a run.
    ///
    /// # Errors
    /// No bucket is named, or the Secret cannot be read.
    pub(super) async fn of(context: &Context, subject: &Subject, run: &ActiveRun) -> Result<Self> {
        let (namespace, model) = &subject.key;
        let secret = match &subject.model.spec.storage_secret_ref {
            Some(secret) => Some((secret.name.clone(), variables_of(&context.client, namespace, &secret.name).await?)),
            None => None,
        };
        let registry = url_of(&subject.model, context.settings.registry.as_deref())?.to_owned();
        Ok(Self { registry, model: model.clone(), run: run.name.clone(), secret })
    }

    fn run(&self) -> impl Iterator<Item = Value> {
        [("FAIRWAY_REGISTRY", &self.registry), ("FAIRWAY_MODEL", &self.model), ("FAIRWAY_RUN", &self.run)]
            .into_iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
    }

    fn credentials(&self) -> impl Iterator<Item = Value> {
        self.secret.iter().flat_map(|(secret, variables)| {
            let one = move |name: &String| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}});
            variables.iter().map(one)
        })
    }
}

/// What is the runtime's to say.
pub(super) fn refusal(trainer: &Trainer) -> Option<String> {
    let of_runtime = |field: &str, what: &str| {
        Some(format!(
            "spec.trainer.{field}: {what} of a TrainJob is what its runtime says: leave it out, or use JobSet"
        ))
    };
    if trainer.pod_template.priority_class_name.is_some() {
        return of_runtime("podTemplate.priorityClassName", "the priority");
    }
    if trainer.failures.retries != Failures::default().retries {
        return of_runtime("failures.retries", "how often it is tried again");
    }
    // What ends a run by a reason is carried out by the operator itself.
    let told_a_job = |rule: &fairway_api::model::FailureRule| {
        !rule.exit_codes.is_empty() || !matches!(rule.then, FailureAction::Fail)
    };
    let rule = trainer.failures.rules.iter().position(told_a_job)?;
    of_runtime(&format!("failures.rules[{rule}]"), "the failure policy")
}

/// The TrainJob that does what a Job would.
pub(super) fn train_job(job: Value, name: &str, runtime: &RuntimeRef, told: &Told) -> Value {
    let template = &job["spec"]["template"];
    let mut pod = picked(&template["spec"], &OF_PODS);
    let inits = template["spec"]["initContainers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = |name: &str| inits.iter().find(|one| one["name"] == name);
    let ours = &template["spec"]["containers"][0];
    let trainer = match named(build::THEIRS) {
        Some(theirs) => {
            let both = named(build::PREPARES).map(|it| (build::PREPARES, it)).into_iter().chain([(PUBLISHES, ours)]);
            let patches = both.map(|(name, like)| {
                let more = told.run().chain(told.credentials());
                patch(name, like, Some(env(like).chain(more).collect()))
            });
            pod.insert("initContainers".to_owned(), patches.collect());
            pod.insert("containers".to_owned(), json!([patch(NODE, theirs, None)]));
            let env = env(theirs).chain(together(runtime.nodes, name, NODE)).collect::<Vec<_>>();
            json!({"image": theirs["image"], "args": theirs["args"], "env": env, "resourcesPerNode": theirs["resources"]})
        }
        None => {
            pod.insert("containers".to_owned(), json!([patch(NODE, ours, None)]));
            let env = env(ours).chain(told.credentials()).collect::<Vec<_>>();
            // The runtime's image may have been another program's.
            let command = json!(["fairway"]);
            json!({
                "image": ours["image"], "command": command, "args": ours["args"], "env": env, "resourcesPerNode": ours["resources"],
            })
        }
    };
    let pod = json!({"metadata": template["metadata"], "spec": pod});
    let part = json!({"name": NODE, "template": {"spec": {"template": pod}}});
    let mut spec = json!({
        "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "ClusterTrainingRuntime", "name": runtime.name},
        "activeDeadlineSeconds": job["spec"]["activeDeadlineSeconds"],
        "trainer": trainer,
        "runtimePatches": [{
            "manager": MANAGER,
            "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [part]}}},
        }],
    });
    spec["trainer"]["numNodes"] = json!(runtime.nodes);
    if job["spec"]["suspend"] == json!(true) {
        spec["suspend"] = json!(true);
    }
    let mut metadata = job["metadata"].clone();
    metadata["name"] = json!(name);
    json!({"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": metadata, "spec": spec})
}

/// What makes a container of the runtime one like this. The variables of `node` are the TrainJob's own.
fn patch(name: &str, like: &Value, env: Option<Vec<Value>>) -> Value {
    let mut patch = picked(like, &OF_CONTAINERS);
    patch.insert("name".to_owned(), json!(name));
    patch.extend(env.map(|env| ("env".to_owned(), json!(env))));
    Value::Object(patch)
}

fn env(container: &Value) -> impl Iterator<Item = Value> {
    container["env"].as_array().into_iter().flatten().cloned()
}

fn picked(from: &Value, fields: &[&str]) -> Map<String, Value> {
    let found = fields.iter().filter_map(|field| Some(((*field).to_owned(), from.get(field)?.clone())));
    found.collect()
}

#[cfg(test)]
mod tests {
    use fairway_core::Reason;
    use fairway_core::model::RunMode;

    use super::*;
    use crate::settings::Settings;

    fn made(trainer: Value, nodes: u32) -> Value {
        let spec = json!({
            "registry": "s3://models", "storageSecretRef": {"name": "bucket"}, "serviceAccountName": "trains",
            "data": {"interactions": {"url": "s3://b/x/", "sql": "SELECT 1"}},
            "reward": {"event": "purchase", "within": "1d"}, "trainer": trainer,
        });
        let model = json!({"apiVersion": "fairway.dev/v1alpha1", "kind": "Model", "metadata": {"name": "recs", "namespace": "shop", "uid": "u"}, "spec": spec});
        let model = serde_json::from_value(model).unwrap();
        let subject = Subject::of(&model, ("shop".to_owned(), "recs".to_owned())).unwrap();
        let run = ActiveRun {
            name: "recs-0007-drift".to_owned(),
            reason: Reason::new("Drift", "it drifted"),
            started: jiff::Timestamp::UNIX_EPOCH,
            automatic: true,
            mode: RunMode::default(),
        };
        let job = build::job(&subject, &Settings::of_tests(), &run).unwrap();
        let runtime =
            RuntimeRef { kind: fairway_api::model::RuntimeKind::TrainJob, name: Some("fairway".to_owned()), nodes };
        let told = Told {
            registry: "s3://models".to_owned(),
            model: "recs".to_owned(),
            run: run.name,
            secret: Some(("bucket".to_owned(), vec!["AWS_REGION".to_owned(), "AWS_ACCESS_KEY_ID".to_owned()])),
        };
        train_job(job, "recs-0007-drift-train", &runtime, &told)
    }

    fn pod(train: &Value) -> &Value {
        let part = &train["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0];
        assert_eq!(part["name"], "node");
        &part["template"]["spec"]["template"]
    }

    fn names(list: &Value) -> Vec<&str> {
        list.as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect()
    }

    #[test]
    fn somebody_elses_container_is_the_node_and_ours_are_told_the_run() {
        let container = json!({"image": "theirs:1", "args": ["--fast"], "env": [{"name": "LEVEL", "value": "3"}]});
        let train = made(
            json!({"container": container, "deadline": "30m", "queueName": "gpu", "resources": {"memory": "2Gi", "devices": {"nvidia.com/gpu": "1"}},
                "podTemplate": {"nodeSelector": {"disk": "fast"}, "labels": {"team": "a"}}}),
            4,
        );
        assert_eq!(train["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "gpu");
        assert_eq!(train["metadata"]["ownerReferences"][0]["kind"], "Model");
        let spec = &train["spec"];
        assert_eq!((&spec["suspend"], &spec["activeDeadlineSeconds"]), (&json!(true), &json!(1800)));
        assert_eq!(spec["runtimeRef"]["name"], "fairway");
        let theirs = &spec["trainer"];
        assert_eq!(
            (&theirs["image"], &theirs["args"], &theirs["numNodes"]),
            (&json!("theirs:1"), &json!(["--fast"]), &json!(4))
        );
        assert_eq!(theirs["resourcesPerNode"]["limits"]["nvidia.com/gpu"], "1");
        let told = names(&theirs["env"]);
        assert!(["FAIRWAY_DIR", "LEVEL", "FAIRWAY_NODES"].iter().all(|name| told.contains(name)), "{told:?}");
        assert!(!told.contains(&"AWS_ACCESS_KEY_ID"), "the bucket's credentials are none of its business");
        let first = theirs["env"].as_array().unwrap().iter().find(|it| it["name"] == "FAIRWAY_FIRST_NODE").unwrap();
        assert_eq!(first["value"], "recs-0007-drift-train-node-0-0.recs-0007-drift-train");

        let pod = pod(&train);
        assert_eq!(pod["metadata"]["labels"]["fairway.dev/run"], "recs-0007-drift");
        assert_eq!(pod["metadata"]["labels"]["team"], "a");
        let spec = &pod["spec"];
        assert_eq!((&spec["nodeSelector"]["disk"], &spec["serviceAccountName"]), (&json!("fast"), &json!("trains")));
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(names(&spec["initContainers"]), ["prepare", "publish"]);
        for ours in spec["initContainers"].as_array().unwrap() {
            let told = names(&ours["env"]);
            for name in ["FAIRWAY_NAMESPACE", "FAIRWAY_REGISTRY", "FAIRWAY_MODEL", "FAIRWAY_RUN", "AWS_REGION"] {
                assert!(told.contains(&name), "{name} of {told:?}");
            }
            assert_eq!(ours["volumeMounts"][0]["mountPath"], "/var/lib/fairway");
        }
        // A patch cannot say more of a container than this.
        assert_eq!(names(&spec["containers"]), ["node"]);
        let fields: Vec<&String> = spec["containers"][0].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["name", "securityContext", "volumeMounts"]);
    }

    #[test]
    fn a_built_in_family_is_the_node_of_any_runtime() {
        let train = made(json!({"builtin": {"family": "ease"}}), 1);
        let spec = &train["spec"];
        assert!(spec.get("suspend").is_none());
        assert_eq!(
            (&spec["trainer"]["image"], &spec["trainer"]["command"]),
            (&json!("fairway:test"), &json!(["fairway"]))
        );
        let args = spec["trainer"]["args"].as_array().unwrap();
        assert!(args.starts_with(&[json!("train")]) && args.contains(&json!("--run=recs-0007-drift")), "{args:?}");
        assert!(names(&spec["trainer"]["env"]).contains(&"AWS_ACCESS_KEY_ID"));
        let pod = &pod(&train)["spec"];
        assert!(pod.get("initContainers").is_none());
        assert_eq!(names(&pod["volumes"]), ["scratch", "tmp"]);
    }
}
