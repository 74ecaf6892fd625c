//! The endpoint's ModelExperiments: what they ask for, the records of those that have ended, and their statuses.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use fairway_api::{ModelExperiment, ModelExperimentStatus};
use fairway_core::experiment::Record;
use fairway_registry::{EndpointLog, State};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{Decided, EndpointLoop, Opened, Subject};
use crate::context::{Context, Guarded};
use crate::experiments::{Experiments, experiment_conditions, experiment_status, experiments, keep_record};
use crate::names::ENDPOINT;
use crate::report;

/// Records that this process has seen in the bucket.
#[derive(Default)]
pub(super) struct Archived(BTreeSet<String>);

impl Archived {
    /// Keeps a record.
    pub(super) async fn keep(&mut self, log: &EndpointLog, record: &Record) -> Result<()> {
        keep_record(log, record).await?;
        self.0.insert(record.rules.name.clone());
        Ok(())
    }
}

/// The endpoint's experiments, as far as they can be read; one that cannot be read is told by nobody but `kubectl`.
fn of_endpoint(context: &Context, subject: &Subject) -> Vec<Arc<Guarded<ModelExperiment>>> {
    let mut all = context.experiments.of(ENDPOINT, &subject.key);
    all.retain(|it| it.0.is_ok());
    all.sort_by_key(|it| it.name_any());
    all
}

impl EndpointLoop {
    /// What manifests ask for, as core takes it.
    pub(super) fn experiments(
        &self,
        context: &Context,
        subject: &Subject,
        opened: &Opened,
        registered: Option<&State>,
    ) -> Experiments {
        let objects = of_endpoint(context, subject);
        let readable = objects.iter().filter_map(|it| it.0.as_ref().ok());
        // One that is being deleted asks for nothing any more.
        let alive = readable.filter(|it| it.metadata.deletion_timestamp.is_none());
        let named: Vec<_> = alive.map(|it| (it.name_any(), &it.spec)).collect();
        let named = named.iter().map(|(name, spec)| (name.as_str(), *spec));
        experiments(named, &opened.kept.status, registered, &self.archived.0)
    }

    /// Says in each experiment's status how it stands.
    pub(super) async fn report_experiments(
        &self,
        context: &Context,
        subject: &Subject,
        decided: &Decided,
        now: Timestamp,
    ) -> Result<()> {
        for object in of_endpoint(context, subject) {
            let Ok(experiment) = &object.0 else { continue };
            let name = experiment.name_any();
            let known = decided.plan.status.experiments.known.get(&name);
            let refused = decided.refused.get(&name);
            let before = experiment.status.clone().unwrap_or_default();
            let generation = experiment.metadata.generation;
            let told = experiment_conditions(known, refused, now);
            let after = ModelExperimentStatus {
                conditions: report::conditions(&told, &before.conditions, generation, now),
                ..known.map_or_else(ModelExperimentStatus::default, |known| experiment_status(known, generation))
            };
            let before = serde_json::to_value(&experiment.status)?;
            report::status(context, experiment, &before, &serde_json::to_value(after)?, false).await?;
        }
        Ok(())
    }
}
