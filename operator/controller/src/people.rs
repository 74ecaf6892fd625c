//! A person's side of a cluster: what the command line reads and writes there, with that person's own rights.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use fairway_api::run::RunReason;
use fairway_api::{
    Model, ModelApproval, ModelEndpoint, ModelExperiment, REQUEST_ANNOTATION, REQUESTED_BY_ANNOTATION, RolloutCommand,
    RolloutVerb, TrainingRun,
};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::call::{call, has_code};
use crate::names::{ACTOR, MANAGED_BY};

/// A request is answered within this, or the operator is not there.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Somebody else's request is waited for so long: where nobody answers it, nothing is lost by another one in its place.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// Most experiments that are shown.
const EXPERIMENTS_MAX: u32 = 100;
/// A Lease that was renewed longer ago than this is nobody's.
const LEASE_OLD: i64 = 60;

/// A namespace of the cluster that the kubeconfig names.
pub struct People {
    client: Client,
    namespace: String,
}

/// What was asked of a rollout, and what came of it: code and sentence.
pub type Reasons = Vec<(String, String)>;

/// One thing that must be so.
#[derive(Clone, Debug)]
pub struct Check {
    /// What.
    pub what: String,
    /// None: it is so. Else what is missing, with the cure.
    pub missing: Option<String>,
}

impl People {
    /// Connects as whoever the kubeconfig says.
    ///
    /// # Errors
    /// There is no cluster.
    pub async fn connect(namespace: Option<&str>) -> Result<Self> {
        let config = kube::Config::infer().await.map_err(|error| no_cluster(&error))?;
        let namespace = namespace.map_or_else(|| config.default_namespace.clone(), str::to_owned);
        Ok(Self { client: Client::try_from(config).context("connecting")?, namespace })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    fn endpoints(&self) -> Api<ModelEndpoint> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn runs(&self) -> Api<TrainingRun> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// An endpoint.
    ///
    /// # Errors
    /// It is not there, or may not be read.
    pub async fn endpoint(&self, name: &str) -> Result<ModelEndpoint> {
        call(|| format!("reading ModelEndpoint {}/{name}", self.namespace), self.endpoints().get(name)).await
    }

    /// A model.
    ///
    /// # Errors
    /// It is not there, or may not be read.
    pub async fn model(&self, name: &str) -> Result<Model> {
        let api: Api<Model> = Api::namespaced(self.client.clone(), &self.namespace);
        call(|| format!("reading Model {}/{name}", self.namespace), api.get(name)).await
    }

    /// The experiments of the namespace, a hundred at most.
    ///
    /// # Errors
    /// They may not be read.
    pub async fn experiments(&self) -> Result<Vec<ModelExperiment>> {
        let api: Api<ModelExperiment> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = ListParams::default().limit(EXPERIMENTS_MAX);
        let listed = call(|| format!("listing ModelExperiments of {}", self.namespace), api.list(&params)).await?;
        Ok(listed.items)
    }

    /// By which name the API server knows this person.
    ///
    /// # Errors
    /// It does not say.
    pub async fn who(&self) -> Result<String> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let asked = SelfSubjectReview::default();
        let review = call(|| "asking who you are".to_owned(), api.create(&params, &asked)).await?;
        let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
        user.context("the API server does not say who you are")
    }

    /// Asks something of a rollout and waits for the answer. Somebody else's request that is about to be answered is not written over.
    ///
    /// # Errors
    /// The endpoint may not be written, or nobody answers.
    pub async fn ask(&self, endpoint: &str, verb: RolloutVerb) -> Result<Reasons> {
        let id = hex::encode(rand::random::<[u8; 8]>());
        let command = RolloutCommand { id: id.clone(), who: self.who().await?, verb };
        let waits_until = Instant::now() + TURN_WITHIN;
        loop {
            let seen = self.endpoint(endpoint).await?;
            if Instant::now() < waits_until && waits(&seen) {
                tokio::time::sleep(LOOK_EVERY).await;
            } else if self.request(&seen, &command).await? {
                break;
            }
        }
        let answered = async {
            loop {
                let status = self.endpoint(endpoint).await?.status.unwrap_or_default();
                if let Some(answer) = status.last_request.filter(|it| it.id == id) {
                    return anyhow::Ok(answer.reasons.into_iter().map(|it| (it.code, it.message)).collect());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(ANSWERED_WITHIN, answered).await {
            Ok(reasons) => reasons,
            Err(_) => bail!(
                "no operator has answered within {} s: `fairway doctor` says what is missing; the request stands",
                ANSWERED_WITHIN.as_secs()
            ),
        }
    }

    /// Writes a request, unless the endpoint has changed since it was seen.
    async fn request(&self, seen: &ModelEndpoint, command: &RolloutCommand) -> Result<bool> {
        let patch = json!({"metadata": {
            "resourceVersion": seen.metadata.resource_version,
            "annotations": {REQUEST_ANNOTATION: command.annotation()},
        }});
        let (api, name) = (self.endpoints(), seen.name_any());
        let written = async {
            match api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Err(error) if has_code(&error, 409) => Ok(false),
                other => other.map(|_| true),
            }
        };
        call(|| format!("asking ModelEndpoint {}/{name}", self.namespace), written).await
    }

    /// Starts a run, or finds the one of this name.
    ///
    /// # Errors
    /// Runs may not be made here.
    pub async fn start_run(&self, name: &str, model: &str, reason: RunReason, force: bool) -> Result<TrainingRun> {
        let spec = fairway_api::TrainingRunSpec { model: model.to_owned(), reason, force, cancel: false };
        let (mut run, params) = (TrainingRun::new(name, spec), PostParams::default());
        run.annotations_mut().insert(REQUESTED_BY_ANNOTATION.to_owned(), self.who().await?);
        let api = self.runs();
        let made = async {
            match api.create(&params, &run).await {
                Err(error) if has_code(&error, 409) => api.get(name).await,
                other => other,
            }
        };
        call(|| format!("creating TrainingRun {}/{name}", self.namespace), made).await
    }

    /// A run, if it is there.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn run(&self, name: &str) -> Result<Option<TrainingRun>> {
        call(|| format!("reading TrainingRun {}/{name}", self.namespace), self.runs().get_opt(name)).await
    }

    /// Ends a run where it is.
    ///
    /// # Errors
    /// It is not there, or may not be written.
    pub async fn cancel_run(&self, name: &str) -> Result<()> {
        let patch = json!({"spec": {"cancel": true}});
        let (api, params, patch) = (self.runs(), PatchParams::default(), Patch::Merge(&patch));
        call(|| format!("cancelling TrainingRun {}/{name}", self.namespace), api.patch(name, &params, &patch)).await?;
        Ok(())
    }

    /// Says yes or no to a version, in this person's name.
    ///
    /// # Errors
    /// This person may not.
    pub async fn judge(&self, approval: serde_json::Value) -> Result<String> {
        let api: Api<ModelApproval> = Api::namespaced(self.client.clone(), &self.namespace);
        let approval: ModelApproval = serde_json::from_value(approval)?;
        let params = PostParams::default();
        let made = call(|| "giving your word (ModelApproval)".to_owned(), api.create(&params, &approval)).await?;
        Ok(made.name_any())
    }

    /// What a cluster must have for all of this.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn doctor(&self, operator: &str) -> Result<Vec<Check>> {
        let version = call(|| "asking for the version".to_owned(), self.client.apiserver_version()).await?;
        let mut checks =
            vec![Check { what: format!("the API server answers ({})", version.git_version), missing: None }];
        checks.extend(self.definitions().await?);
        checks.extend(self.rights().await?);
        checks.push(self.leader(operator).await);
        Ok(checks)
    }

    async fn definitions(&self) -> Result<Vec<Check>> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let mut checks = Vec::new();
        for kind in ["models", "trainingruns", "modelendpoints", "modelexperiments", "modelapprovals"] {
            let name = format!("{kind}.fairway.dev");
            let found = call(|| format!("reading the definition {name}"), api.get_opt(&name)).await;
            let missing = match found {
                Ok(Some(_)) => None,
                Ok(None) => Some("it is not there: install the chart, or apply charts/fairway/files/crds".to_owned()),
                Err(error) => Some(format!("{error:#}")),
            };
            checks.push(Check { what: format!("the definition {name}"), missing });
        }
        Ok(checks)
    }

    async fn rights(&self) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        for (verb, resource) in [("list", "models"), ("patch", "modelendpoints"), ("create", "trainingruns")] {
            let what = format!("you may {verb} {resource} in {}", self.namespace);
            let missing = (!self.may(verb, resource).await?).then(|| {
                "ask for the ClusterRole edit in this namespace: the chart's rights are part of it".to_owned()
            });
            checks.push(Check { what, missing });
        }
        Ok(checks)
    }

    async fn may(&self, verb: &str, resource: &str) -> Result<bool> {
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let attributes = ResourceAttributes {
            group: Some("fairway.dev".to_owned()),
            namespace: Some(self.namespace.clone()),
            resource: Some(resource.to_owned()),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let (params, review) = (PostParams::default(), SelfSubjectAccessReview { spec, ..Default::default() });
        let answer = call(|| "asking for your rights".to_owned(), api.create(&params, &review)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Whether an operator leads: its Lease was renewed lately.
    async fn leader(&self, operator: &str) -> Check {
        let what = format!("an operator leads (a Lease in {operator})");
        let api: Api<Lease> = Api::namespaced(self.client.clone(), operator);
        let (params, now) = (ListParams::default().limit(100), crate::clock::now().as_second());
        let missing = match call(|| format!("reading the Leases of {operator}"), api.list(&params)).await {
            Err(error) => Some(format!("{error:#}; name its namespace with --operator-namespace")),
            Ok(leases) => {
                let none = "none was renewed within the last minute: is the operator's Deployment running there? Another \
                            namespace is named with --operator-namespace";
                (!leases.items.iter().any(|lease| leads(lease, now))).then(|| none.to_owned())
            }
        };
        Check { what, missing }
    }
}

/// Whether a request stands that no operator has answered.
fn waits(endpoint: &ModelEndpoint) -> bool {
    let asked = endpoint.annotations().get(REQUEST_ANNOTATION).and_then(|text| RolloutCommand::id_of(text));
    let answered = endpoint.status.as_ref().and_then(|status| status.last_request.as_ref()).map(|it| it.id.as_str());
    asked.is_some_and(|id| answered != Some(id.as_str()))
}

/// Whether it is the Lease of an operator that leads. Its name is that of the release, so it is known by its label; one that an
/// older operator made has none, and is called as the chart calls it.
fn leads(lease: &Lease, now: i64) -> bool {
    let ours = lease.labels().get(MANAGED_BY).map_or_else(|| lease.name_any().contains(ACTOR), |who| who == ACTOR);
    let renewed = lease.spec.as_ref().and_then(|it| it.renew_time.as_ref()).map_or(0, |it| it.0.as_second());
    ours && now - renewed < LEASE_OLD
}

/// Says once what is wrong with the kubeconfig: the error's own text has each of its causes in it again.
fn no_cluster(error: &kube::config::InferConfigError) -> anyhow::Error {
    let why = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    anyhow!("no cluster: KUBECONFIG or ~/.kube/config must name one: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_not_answered_has_its_turn() {
        let endpoint = |asked: Option<&str>, answered: Option<&str>| -> ModelEndpoint {
            let note = asked.map(|id| format!("{{\"id\":\"{id}\",\"who\":\"ann\",\"verb\":\"pause\"}}"));
            let object = json!({
                "apiVersion": "fairway.dev/v1alpha1", "kind": "ModelEndpoint", "spec": {"model": "recs"},
                "metadata": {"name": "shop", "annotations": {REQUEST_ANNOTATION: note.unwrap_or_default()}},
                "status": {"lastRequest": answered.map(|id| json!({"id": id, "reasons": []}))},
            });
            serde_json::from_value(object).unwrap()
        };
        let table =
            [(None, None, false), (Some("1"), None, true), (Some("1"), Some("0"), true), (Some("1"), Some("1"), false)];
        for (asked, answered, expected) in table {
            assert_eq!(waits(&endpoint(asked, answered)), expected, "{asked:?} {answered:?}");
        }
    }

    #[test]
    fn who_leads_is_known_by_the_label_or_by_a_name_of_the_chart() {
        let now = 1_800_000_000;
        let lease = |name: &str, label: Option<&str>, age: i64| -> Lease {
            let labels = label.map(|who| json!({ MANAGED_BY: who }));
            let renewed = jiff::Timestamp::from_second(now - age).unwrap();
            let renewed = renewed.strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
            let lease = json!({"metadata": {"name": name, "labels": labels}, "spec": {"renewTime": renewed}});
            serde_json::from_value(lease).unwrap()
        };
        for (name, label, age, expected) in [
            ("fairway", None, 3, true),
            ("prod-fairway", None, 3, true),
            ("ops", Some("fairway"), 3, true),
            ("ops", Some("fairway"), LEASE_OLD, false),
            ("fairway-of-somebody", Some("Helm"), 3, false),
            ("cert-manager", None, 3, false),
        ] {
            assert_eq!(leads(&lease(name, label, age), now), expected, "{name}");
        }
    }
}
