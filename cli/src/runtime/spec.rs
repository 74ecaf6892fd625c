//! One model and its endpoint, as the embedded runtime needs them: the manifests' types turned into the policies of
//! `fairway-core` and the plans of `fairway-trainer`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairway_api::values::VersionRef;
use fairway_api::{FieldErrors, Manifests, Model, ModelEndpoint, ModelExperimentSpec, model as manifest};
use fairway_core::policy::{EndpointPolicy, ModelPolicy};
use fairway_model::FeatureDefinitions;
use fairway_registry::sign::{PrivateKey, PublicKey};
use fairway_trainer::{Check, DataSpec, Source, TrainingPlan};
use fairway_wire::{EventKind, Rung};
use jiff::Timestamp;

use crate::exit::Invalid;

/// What one embedded loop runs.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Namespace of both.
    pub namespace: String,
    /// The model's name.
    pub model: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// URL of the registry.
    pub registry: String,
    /// The folder of the manifests: relative data URLs start here.
    pub base: PathBuf,
    /// When to train.
    pub model_policy: ModelPolicy,
    /// How to roll out.
    pub endpoint_policy: EndpointPolicy,
    /// The version that the endpoint follows.
    pub version: VersionRef,
    /// Experiments on the endpoint, by name.
    pub experiments: BTreeMap<String, ModelExperimentSpec>,
    /// What counts as reward.
    pub reward_event: EventKind,
    /// How long feedback may take.
    pub reward_within: Duration,
    /// Most reward of one exposure.
    pub reward_cap: f64,
    /// Share of answers in the decision log.
    pub decision_sample: f64,
    /// Most items kept of a user's history.
    pub history_max: usize,
    /// Who is asked, in this order, when the assigned version has no answer.
    pub fallback: Vec<Rung>,
    /// How a version is made.
    pub recipe: Recipe,
    /// How many of the newest versions are kept.
    pub(super) keeps: u32,
    /// Keys of which one must have signed a version that is served; none: no signature is asked for.
    pub(super) signers: Vec<PublicKey>,
    /// Signs what is trained here.
    pub signing_key: Option<Arc<PrivateKey>>,
}

/// How a model's versions are made, as its manifest says: what every run's plan has in common.
#[derive(Clone, Debug)]
pub struct Recipe {
    model: String,
    data: DataSpec,
    features: FeatureDefinitions,
    family: String,
    parameters: BTreeMap<String, String>,
    holdout: Duration,
    refit: bool,
}

impl Spec {
    /// Takes the one endpoint of the manifests and its model.
    ///
    /// # Errors
    /// No endpoint, more than one, or a policy that cannot be used.
    pub fn from_manifests(manifests: &Manifests, base: &Path, default_registry: &str) -> Result<Self> {
        let mut endpoints = manifests.endpoints.iter();
        let Some((key, endpoint)) = endpoints.next() else {
            bail!(Invalid("no ModelEndpoint in these manifests: add one that names the model to serve".to_owned()));
        };
        if let Some((other, _)) = endpoints.next() {
            bail!(Invalid(format!(
                "two endpoints, {key} and {other}: one process serves one; give each its own folder"
            )));
        }
        let model = &manifests.models[&key.sibling(&endpoint.value.spec.model)];
        let spec = Self::new(&key.namespace, &model.value, &endpoint.value, base, default_registry)?;
        // Every experiment names an endpoint of its namespace, and there is one.
        let experiments = manifests.experiments.iter().map(|(key, at)| (key.name.clone(), at.value.spec.clone()));
        Ok(Self { experiments: experiments.collect(), ..spec })
    }

    fn new(
        namespace: &str,
        model: &Model,
        endpoint: &ModelEndpoint,
        base: &Path,
        default_registry: &str,
    ) -> Result<Self> {
        let (spec, serving) = (&model.spec, &endpoint.spec);
        if spec.trainer.builtin.is_none() {
            bail!(Invalid(
                "spec.trainer.container cannot run here: one process trains the built-in families".to_owned()
            ));
        }
        let reward_within = spec.reward.within.std();
        Ok(Self {
            namespace: namespace.to_owned(),
            model: name(model.metadata.name.as_ref())?,
            endpoint: name(endpoint.metadata.name.as_ref())?,
            registry: spec.registry.clone().unwrap_or_else(|| default_registry.to_owned()),
            base: base.to_owned(),
            model_policy: spec.policy().map_err(FieldErrors)?,
            endpoint_policy: spec.endpoint_policy(serving).map_err(FieldErrors)?,
            version: serving.version.clone(),
            experiments: BTreeMap::new(),
            reward_event: spec.reward.event.into(),
            reward_within,
            reward_cap: spec.reward.cap.get(),
            decision_sample: spec.decision_sample(serving),
            history_max: 500,
            fallback: serving.fallback.iter().copied().map(Into::into).collect(),
            recipe: Recipe::of(model)?,
            keeps: spec.retention.versions,
            signers: signers(spec.signing.as_ref())?,
            signing_key: None,
        })
    }
}

impl Recipe {
    /// Reads a manifest. A trainer of somebody else's has a family and parameters of its own.
    ///
    /// # Errors
    /// A field that cannot be used.
    pub fn of(model: &Model) -> Result<Self> {
        let spec = &model.spec;
        let builtin = spec.trainer.builtin.as_ref();
        Ok(Self {
            model: name(model.metadata.name.as_ref())?,
            data: data_spec(&spec.data)?,
            features: features(&spec.features)?,
            family: builtin.map_or("container", |builtin| builtin.family.name()).to_owned(),
            parameters: builtin.map(|builtin| builtin.parameters.clone()).unwrap_or_default(),
            holdout: spec.evaluation.holdout.std(),
            refit: spec.evaluation.refit && builtin.is_some(),
        })
    }

    /// Where the data comes from.
    pub fn data(&self) -> &DataSpec {
        &self.data
    }

    /// The family that is trained.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// The family's parameters.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
    }

    /// The plan of a run, resolved once: what it will read, and up to which moment. `previous_newest` is the newest row that
    /// the champion knows.
    pub fn plan(
        &self,
        run: &str,
        cause: Cause<'_>,
        as_of: Timestamp,
        previous_newest: Option<Timestamp>,
    ) -> TrainingPlan {
        TrainingPlan {
            model: self.model.clone(),
            run: run.to_owned(),
            reason: cause.reason.message.clone(),
            trigger: Some(cause.reason.code.clone()),
            evidence: cause.evidence,
            champion: cause.champion,
            warm_start: cause.mode.warm_start,
            seed: 1,
            data: DataSpec {
                previous_newest,
                history: cause.mode.history.unwrap_or(self.data.history),
                ..self.data.clone()
            },
            features: self.features.clone(),
            family: self.family.clone(),
            parameters: self.parameters.clone(),
            holdout: self.holdout,
            refit: self.refit,
            as_of,
        }
    }
}

/// Why a run is started, and what that rests on.
pub struct Cause<'a> {
    /// The trigger.
    pub reason: &'a fairway_core::Reason,
    /// How it trains.
    pub mode: fairway_core::model::RunMode,
    /// What the monitors held when it was decided.
    pub evidence: BTreeMap<String, serde_json::Value>,
    /// The digest of the version that serves.
    pub champion: Option<String>,
}

/// The keys of which one must have signed a version; none: unsigned versions are served.
fn signers(signing: Option<&manifest::Signing>) -> Result<Vec<PublicKey>> {
    let keys = signing.map(|signing| signing.public_keys.as_slice()).unwrap_or_default();
    let read = |(index, pem): (usize, &String)| {
        PublicKey::from_pem(pem).map_err(|error| Invalid(format!("spec.signing.publicKeys[{index}]: {error}")).into())
    };
    keys.iter().enumerate().map(read).collect()
}

fn name(name: Option<&String>) -> Result<String> {
    name.cloned().context("a manifest without metadata.name")
}

fn data_spec(data: &manifest::Data) -> Result<DataSpec> {
    let source = |source: &manifest::Source| Source { url: source.url.clone(), sql: source.sql.clone() };
    let check = |check: &manifest::Check| match (check.min_rows, &check.column, check.max, check.null_ratio) {
        (Some(rows), ..) => Ok(Check::MinRows(rows)),
        (_, Some(column), Some(max), _) => Ok(Check::Max { column: column.clone(), max: max.get() }),
        (_, Some(column), _, Some(ratio)) => Ok(Check::NullRatio { column: column.clone(), max: ratio.fraction() }),
        _ => bail!("a check is {{minRows: N}}, {{column: C, max: N}} or {{column: C, nullRatio: 5%}}"),
    };
    Ok(DataSpec {
        items: data.items.as_ref().map(source),
        history: data.history.std(),
        freshness: data.freshness.map(fairway_api::values::Duration::std),
        checks: data.checks.iter().map(check).collect::<Result<_>>()?,
        ..DataSpec::new(source(&data.interactions))
    })
}

/// Both crates read the same manifest text; the value travels through it.
fn features(features: &manifest::Features) -> Result<FeatureDefinitions> {
    let text = serde_json::to_value(features)?;
    serde_json::from_value(text).context("spec.features")
}
