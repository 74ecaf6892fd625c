//! A person's side of a cluster: what the command line reads and writes there, with that person's own rights.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
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

/// A request is answered within this, or the operator is not there.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(500);
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
        let config = kube::Config::infer().await.context("no cluster: KUBECONFIG or ~/.kube/config must name one")?;
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

    /// Asks something of a rollout and waits for the answer.
    ///
    /// # Errors
    /// The endpoint may not be written, or nobody answers.
    pub async fn ask(&self, endpoint: &str, verb: RolloutVerb) -> Result<Reasons> {
        let id = hex::encode(rand::random::<[u8; 8]>());
        let command = RolloutCommand { id: id.clone(), who: self.who().await?, verb };
        let patch = json!({"metadata": {"annotations": {REQUEST_ANNOTATION: command.annotation()}}});
        let (api, params) = (self.endpoints(), PatchParams::default());
        let patch = Patch::Merge(&patch);
        call(|| format!("asking ModelEndpoint {}/{endpoint}", self.namespace), api.patch(endpoint, &params, &patch))
            .await?;
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
            let missing = (!self.may(verb, resource).await?)
                .then(|| "ask for the role fairway-edit of the chart in this namespace".to_owned());
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
                let fresh = |lease: &Lease| {
                    let spec = lease.spec.as_ref();
                    let renewed = spec.and_then(|it| it.renew_time.as_ref()).map_or(0, |it| it.0.as_second());
                    lease.name_any().starts_with("fairway") && now - renewed < LEASE_OLD
                };
                let none = "none was renewed within the last minute: is the operator's Deployment running?";
                (!leases.items.iter().any(fresh)).then(|| none.to_owned())
            }
        };
        Check { what, missing }
    }
}
