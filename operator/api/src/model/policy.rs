//! From the manifest's model to the policy that core decides by, with every contradiction named. All are reported, not
//! only the first.

use std::collections::BTreeSet;

use fairway_core::policy::{Degradation, Mode, ModelPolicy, RunPolicy};

use super::{DegradationAction, Family, ItemFeature, ModelSpec, Source, TrainingMode, UserFeature};
use crate::error::{FieldError, positive};
use crate::values::Duration;
use crate::workload::is_default;

/// The shortest degradation period: a week holds every weekday once.
const WEEK: Duration = Duration::days(7);
/// Longest quiet time after a rollout that nobody asked for: drift is looked at over a day.
const DAY: Duration = Duration::days(1);
/// Where data can be read from.
const DATA_SCHEMES: [&str; 11] = ["s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "http", "https", "file", "memory"];
/// Where a registry can be, as the registry itself knows it.
const REGISTRY_SCHEMES: [&str; 9] = ["s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "file", "memory"];

impl ModelSpec {
    /// The policy that core decides by.
    ///
    /// # Errors
    /// All fields that contradict each other or that this version does not support.
    pub fn policy(&self) -> Result<ModelPolicy, Vec<FieldError>> {
        let mut errors = Vec::new();
        self.check_registry(&mut errors);
        self.check_data(&mut errors);
        self.check_features(&mut errors);
        self.check_training(&mut errors);
        self.check_job(&mut errors);
        self.check_retrain(&mut errors);
        let admission = self.admission_policy(&mut errors);
        let schedule = self.retrain.cron(&mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let retrain = &self.retrain;
        Ok(ModelPolicy {
            admission,
            run: RunPolicy {
                mode: match self.trainer.mode {
                    TrainingMode::Full => Mode::Full,
                    TrainingMode::WarmStart => Mode::WarmStart { full_every: self.trainer.full_every },
                },
                history_after_drift: retrain.drift.history.map(Duration::std),
                recipe: self.recipe(),
            },
            drift_psi: retrain.drift.psi.get(),
            drift_window: retrain.drift.window.std(),
            degradation: match retrain.degradation.then {
                DegradationAction::Ignore => Degradation::Ignore,
                DegradationAction::Retrain => Degradation::Retrain,
                DegradationAction::ServeBaselineAndRetrain => Degradation::ServeBaselineAndRetrain,
            },
            period: self.reward.within.max(WEEK).std(),
            schedule,
            new_data: retrain.new_data.map(|new| new.share.fraction()),
            max_age: Some(retrain.max_age.std()),
            // Half of the time for those who ask, so that erasures can wait for each other, half for what must be done.
            erasure_lead: self.retention.erasure.std() / 2,
            cooldown: retrain.cooldown.std(),
            after_rollout: retrain.after_rollout.unwrap_or(retrain.cooldown.min(DAY)).std(),
            reward_within: self.reward.within.std(),
            budget_runs: retrain.budget.runs,
            budget_per: retrain.budget.per.std(),
            breaker: retrain.breaker.rejections,
            half_open_after: Some(retrain.breaker.half_open_after.std()),
            run_deadline: self.trainer.deadline.std(),
            run_prefix: String::new(),
            suspended: self.suspend,
        })
    }

    /// What a run is made from and how, in 16 letters: what a person changes where a run came to nothing.
    fn recipe(&self) -> String {
        let parts = (&self.data, &self.features, &self.trainer, &self.evaluation);
        let text = serde_json::to_string(&parts).unwrap_or_default();
        // FNV-1a, 64 bit: the same in every version of this program.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    /// What is written down and understood, but not acted on by `fairway up`.
    pub fn warnings(&self) -> Vec<FieldError> {
        let mut notes = Vec::new();
        let mut note = |set: bool, field: &str, problem: &str, help: &str| {
            if set {
                notes.push(FieldError::new(field, problem, help));
            }
        };
        let trainer = &self.trainer;
        note(
            self.retrain.new_data.is_some(),
            "spec.retrain.newData",
            "new rows are not counted in this version: this never asks for a run",
            "drift, degradation, schedule and maxAge do",
        );
        note(
            self.evaluation.latency.is_some(),
            "spec.evaluation.latency",
            "golden requests are not timed in this version",
            "a gate of the rollout on slow answers: {metric: slow, over: 50ms}",
        );
        note(
            self.retention.erasure != super::Retention::default().erasure,
            "spec.retention.erasure",
            "the rows of a single user are not erased in this version",
            "leave it out",
        );
        let registry = self.registry.as_deref().filter(|name| !name.contains('/'));
        note(
            registry.is_some(),
            "spec.registry",
            "this is a folder where `fairway` is started, and no bucket; on Kubernetes it is refused",
            &registry.map(|name| format!("did you mean s3://{name}? A folder is written ./{name}")).unwrap_or_default(),
        );
        note(
            trainer.mode == TrainingMode::WarmStart
                && trainer.builtin.as_ref().is_none_or(|builtin| builtin.family != Family::TwoTower),
            "spec.trainer.mode",
            "only the family two-tower begins from the champion's weights: this trains from nothing",
            "",
        );
        self.cluster_notes(&mut notes);
        notes.extend(self.retrain.crowded());
        notes
    }

    /// What only a cluster can do.
    fn cluster_notes(&self, notes: &mut Vec<FieldError>) {
        let trainer = &self.trainer;
        let mut note = |set: bool, field: &str, problem: &str, help: &str| {
            if set {
                notes.push(FieldError::new(field, problem, help));
            }
        };
        note(
            self.storage_secret_ref.is_some(),
            "spec.storageSecretRef",
            "the Secret is read on Kubernetes only",
            "for `fairway up` give the bucket's credentials in the environment (AWS_ACCESS_KEY_ID, GOOGLE_SERVICE_ACCOUNT, …)",
        );
        note(
            trainer.container.is_some(),
            "spec.trainer.container",
            "container trainers are started on Kubernetes only: `fairway up` never trains this model",
            "use trainer.builtin",
        );
        let set = [
            ("spec.serviceAccountName", self.service_account_name.is_some()),
            ("spec.trainer.resources", trainer.resources.is_some()),
            ("spec.trainer.queueName", trainer.queue_name.is_some()),
            ("spec.trainer.runtimeRef", trainer.runtime_ref.is_some()),
            ("spec.trainer.failures", trainer.failures != super::Failures::default()),
            ("spec.trainer.podTemplate", !is_default(&trainer.pod_template)),
            ("spec.deletionPolicy", !is_default(&self.deletion_policy)),
        ];
        let problem = "this is acted on by Kubernetes only: `fairway up` trains in its own process";
        notes.extend(set.iter().filter(|(_, set)| *set).map(|(field, _)| FieldError::new(*field, problem, "")));
    }

    fn check_registry(&self, errors: &mut Vec<FieldError>) {
        // Without a scheme it is the path of a folder.
        let scheme = self.registry.as_deref().and_then(|url| url.split_once("://")).map(|(scheme, _)| scheme);
        if let Some(scheme) = scheme.filter(|scheme| !REGISTRY_SCHEMES.contains(scheme)) {
            let help =
                "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, file:///path/of/a/folder or memory://";
            errors.push(FieldError::new("spec.registry", format!("`{scheme}://` cannot hold a registry"), help));
        }
    }

    fn check_data(&self, errors: &mut Vec<FieldError>) {
        let data = &self.data;
        check_source("spec.data.interactions", &data.interactions, errors);
        if let Some(items) = &data.items {
            check_source("spec.data.items", items, errors);
        }
        positive("spec.data.history", data.history, errors);
        if let Some(freshness) = data.freshness {
            positive("spec.data.freshness", freshness, errors);
        }
        for (i, check) in data.checks.iter().enumerate() {
            let forms = "a check is {minRows: N}, {column: C, max: N} or {column: C, nullRatio: 5%}";
            let about_column = check.column.is_some() || check.max.is_some() || check.null_ratio.is_some();
            let problem = match (check.min_rows, &check.column, check.max, check.null_ratio) {
                (Some(_), ..) if about_column => "minRows stands alone",
                (Some(_), ..) | (None, Some(_), Some(_), None) | (None, Some(_), None, Some(_)) => {
                    continue;
                }
                (None, Some(_), Some(_), Some(_)) => "max and nullRatio are two checks",
                (None, Some(_), None, None) => "a column without max or nullRatio asks for nothing",
                (None, None, None, None) => "the check is empty",
                (None, None, ..) => "column is missing",
            };
            errors.push(FieldError::new(format!("spec.data.checks[{i}]"), problem, forms));
        }
    }

    fn check_features(&self, errors: &mut Vec<FieldError>) {
        let mut names = BTreeSet::new();
        let user = self.features.user.iter().map(|feature| (&feature.name, feature.kinds()));
        let item = self.features.item.iter().map(|feature| (&feature.name, feature.kinds()));
        let user = user.enumerate().map(|(i, f)| (format!("spec.features.user[{i}]"), f, "category or recency"));
        let item = item.enumerate().map(|(i, f)| (format!("spec.features.item[{i}]"), f, "text, category or rolling"));
        for (field, (name, kinds), allowed) in user.chain(item) {
            if kinds != 1 {
                let problem = format!("{kinds} kinds of feature are named, one is needed");
                errors.push(FieldError::new(&field, problem, format!("name exactly one of {allowed}")));
            }
            if !names.insert(name) {
                errors.push(FieldError::new(
                    format!("{field}.name"),
                    format!("`{name}` is taken"),
                    "each feature needs its own name",
                ));
            }
        }
    }

    fn check_training(&self, errors: &mut Vec<FieldError>) {
        let trainer = &self.trainer;
        if trainer.builtin.is_some() == trainer.container.is_some() {
            let found =
                if trainer.builtin.is_some() { "both builtin and container are named" } else { "no trainer is named" };
            errors.push(FieldError::new("spec.trainer", found, "name exactly one: builtin: {family: ease}"));
        }
        positive("spec.trainer.deadline", trainer.deadline, errors);
        positive("spec.reward.within", self.reward.within, errors);
        if self.reward.cap.get() <= 0.0 {
            errors.push(FieldError::new(
                "spec.reward.cap",
                "a cap of 0 leaves no reward to measure",
                "a number above 0, such as 10",
            ));
        }
        let (holdout, history) = (self.evaluation.holdout, self.data.history);
        positive("spec.evaluation.holdout", holdout, errors);
        if holdout.std() * 2 >= history.std() {
            let problem = format!("{holdout} is not shorter than half the history ({history})");
            let help = "too little would be left to train on: shorten the holdout or lengthen data.history";
            errors.push(FieldError::new("spec.evaluation.holdout", problem, help));
        }
    }

    fn check_retrain(&self, errors: &mut Vec<FieldError>) {
        self.retrain.check(errors);
        positive("spec.retrain.drift.window", self.retrain.drift.window, errors);
        if let Some(history) = self.retrain.drift.history {
            let field = "spec.retrain.drift.history";
            if history > self.data.history {
                let problem = format!("{history} is longer than data.history ({})", self.data.history);
                errors.push(FieldError::new(field, problem, "shorten it, or leave it out"));
            }
            if self.evaluation.holdout.std() * 2 >= history.std() {
                let problem =
                    format!("the holdout ({}) is not shorter than half of {history}", self.evaluation.holdout);
                errors.push(FieldError::new(field, problem, "too little would be left to train on: lengthen it"));
            }
        }
    }
}

impl UserFeature {
    fn kinds(&self) -> usize {
        usize::from(self.category.is_some()) + usize::from(self.recency.is_some())
    }
}

impl ItemFeature {
    fn kinds(&self) -> usize {
        usize::from(self.text.is_some()) + usize::from(self.category.is_some()) + usize::from(self.rolling.is_some())
    }
}

fn check_source(field: &str, source: &Source, errors: &mut Vec<FieldError>) {
    // Without a scheme it is a path.
    let scheme = source.url.split_once("://").map(|(scheme, _)| scheme);
    if let Some(scheme) = scheme.filter(|scheme| !DATA_SCHEMES.contains(scheme)) {
        let help = "a path beside this file, or s3://, gs://, az://, https://, http:// or file:///";
        errors.push(FieldError::new(format!("{field}.url"), format!("data cannot be read from `{scheme}://`"), help));
    }
    let word: String = source.sql.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    if !["select", "with"].contains(&word.to_lowercase().as_str()) {
        let problem = format!("the statement begins with `{word}`");
        errors.push(FieldError::new(format!("{field}.sql"), problem, "one SELECT (WITH may come before it)"));
    }
}
