//! The verbs on a cluster: the same words, conditions and exit codes as for `fairway up`.

use std::time::Duration;

use anyhow::{Context, Result};
use fairway_api::model::DriftStatus;
use fairway_api::run::RunReason;
use fairway_api::{Condition, ModelExperiment, RolloutVerb, TrainingRun};
use fairway_controller::{People, Stored};
use fairway_core::Reason;
use fairway_core::endpoint::{Ended, EndpointEffect, EndpointStatus};
use fairway_core::plan::spell;
use fairway_registry::{Access, Registry};
use serde_json::{Value, json};

use crate::args::{Approve, Doctor, Place};
use crate::exit::{Code, Invalid};
use crate::output::{self, table};

const POLL_EVERY: Duration = Duration::from_secs(1);

/// An endpoint on a cluster.
pub struct Cluster {
    people: People,
    endpoint: String,
}

impl Cluster {
    /// The endpoint that the arguments name; none where they name none, and `fairway up` is meant.
    ///
    /// # Errors
    /// There is no cluster.
    pub async fn named(place: &Place) -> Result<Option<Self>> {
        let Some(endpoint) = &place.endpoint else { return Ok(None) };
        let people = People::connect(place.namespace.as_deref()).await?;
        Ok(Some(Self { people, endpoint: endpoint.clone() }))
    }

    /// What serves, in the shape of a running `fairway up`.
    ///
    /// # Errors
    /// The endpoint is not there.
    pub async fn report(&self) -> Result<Value> {
        let endpoint = self.people.endpoint(&self.endpoint).await?;
        let model = self.people.model(&endpoint.spec.model).await?;
        let status = endpoint.status.unwrap_or_default();
        let target = |version: &Option<String>, digest: &Option<String>| json!({"version": version.as_ref().and_then(|it| it.parse::<u64>().ok()), "digest": digest});
        let percent = status.weight.as_deref().and_then(|it| it.trim_end_matches(['%', ' ']).parse::<f64>().ok());
        let canary = status.canary.as_ref().map(|_| {
            json!({"target": target(&status.canary, &status.canary_digest), "weight": percent.unwrap_or(0.0) * 10_000.0})
        });
        let facts = |of: &'static str, conditions: &[Condition]| -> Vec<Value> {
            let fact = |one: &Condition| {
                json!({"of": of, "type": one.type_, "status": one.status == "True",
                       "reason": {"code": one.reason, "message": one.message}})
            };
            conditions.iter().map(fact).collect()
        };
        let mut conditions = facts("endpoint", &status.conditions);
        conditions.extend(facts("model", &model.status.unwrap_or_default().conditions));
        Ok(json!({
            "running": true,
            "endpoint": self.endpoint,
            "model": endpoint.spec.model,
            "url": status.url,
            "stable": target(&status.stable, &status.stable_digest),
            "route": {"canary": canary},
            "rollout": status.rollout,
            "conditions": conditions,
            "experiments": self.experiments().await?,
        }))
    }

    /// How the endpoint's experiments stand, in the same shape.
    async fn experiments(&self) -> Result<Vec<Value>> {
        let all = self.people.experiments().await?.into_iter().filter(|it| it.spec.endpoint == self.endpoint);
        let told = |it: ModelExperiment| -> Result<Value> {
            let status = it.status.unwrap_or_default();
            let facts: Vec<Value> = status
                .conditions
                .iter()
                .map(|one| json!({"type": one.type_, "status": one.status == "True", "reason": {"code": one.reason, "message": one.message}}))
                .collect();
            let mut value = serde_json::to_value(&status)?;
            value["name"] = json!(it.metadata.name);
            value["facts"] = json!(facts);
            Ok(value)
        };
        all.map(told).collect()
    }

    /// How far the endpoint's model has drifted; none before a window was judged.
    ///
    /// # Errors
    /// The endpoint or its model is not there.
    pub async fn drift(&self) -> Result<Option<DriftStatus>> {
        let model = self.people.endpoint(&self.endpoint).await?.spec.model;
        Ok(self.people.model(&model).await?.status.and_then(|status| status.drift))
    }

    /// How the endpoint's rollouts ended: its status is too small for that, and the bucket has it, which must be readable from here.
    ///
    /// # Errors
    /// The endpoint is not there, or the bucket cannot be read.
    pub async fn history(&self, registry: Option<String>, place: &Place) -> Result<Vec<Ended>> {
        let model = self.people.endpoint(&self.endpoint).await?.spec.model;
        let named = self.people.model(&model).await?.spec.registry;
        let registry = registry.or(named).ok_or_else(|| {
            Invalid(format!(
                "the Model {model} leaves its bucket to the operator, and the cluster does not say which that is: name it with \
                 --registry URL (the chart's value registry)"
            ))
        })?;
        let options = place.state.store.options()?;
        let opened = Registry::open_with(&registry, &options, Access::Read).await.with_context(|| {
            format!("the history is in {registry}, which is opened with the variables of this shell (AWS_…) and --store-option")
        })?;
        let log = opened.endpoint(self.people.namespace(), &self.endpoint)?;
        let last = log.latest_plan::<Stored<EndpointEffect, EndpointStatus>>().await?;
        Ok(last.map(|(_, stored)| stored.plan.status.history.into_iter().collect()).unwrap_or_default())
    }

    /// Whether the endpoint is well: the exit code of `status`.
    pub fn code(report: &Value) -> Code {
        let holds = |kind: &str| {
            let conditions = report["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|it| it["of"] == "endpoint" && it["type"] == kind && it["status"] == true)
        };
        if holds("Ready") && !holds("Degraded") { Code::Done } else { Code::Error }
    }

    /// Asks something of the rollout.
    ///
    /// # Errors
    /// Nobody answers, or this person may not.
    pub async fn ask(&self, verb: RolloutVerb) -> Result<Vec<Reason>> {
        let reasons = self.people.ask(&self.endpoint, verb).await?;
        Ok(reasons.into_iter().map(|(code, message)| Reason { code, message }).collect())
    }

    /// Prints what changes until Ctrl-C; as JSON, an object a line.
    ///
    /// # Errors
    /// The endpoint is not there any more.
    pub async fn watch(&self, place: &Place) -> Result<Code> {
        let mut last = Value::Null;
        loop {
            let report = self.report().await?;
            if report != last {
                place.output.print_one(&report, super::status::draw)?;
                last = report;
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_EVERY) => {}
                _ = tokio::signal::ctrl_c() => return Ok(Code::Done),
            }
        }
    }

    /// Starts a run of the endpoint's model.
    ///
    /// # Errors
    /// This person may not.
    pub async fn start_run(
        &self,
        name: &str,
        reason: &str,
        force: bool,
        wait: Option<Duration>,
        place: &Place,
    ) -> Result<Code> {
        let model = self.people.endpoint(&self.endpoint).await?.spec.model;
        let run = self.people.start_run(name, &model, reason_of(reason), force).await?;
        match wait {
            Some(timeout) => self.watch_run(name, timeout, place).await,
            None => self.told(&run, place),
        }
    }

    /// Waits for the end of a run.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn watch_run(&self, name: &str, timeout: Duration, place: &Place) -> Result<Code> {
        let ended = async {
            let mut told = None;
            loop {
                let run = self.found(name).await?;
                if run.end().is_some() {
                    return anyhow::Ok(run);
                }
                let progress = run.status.and_then(|status| status.progress);
                if progress.is_some() && progress != told {
                    let step = progress.as_ref().and_then(|it| it.step.clone()).unwrap_or_default();
                    let percent = progress.as_ref().and_then(|it| it.percent).map(|it| format!(" {it} %"));
                    let left = progress.as_ref().and_then(|it| it.time_left.as_ref()).map(|it| format!(", {it} left"));
                    eprintln!("{name}: {step}{}{}", percent.unwrap_or_default(), left.unwrap_or_default());
                    told = progress;
                }
                tokio::time::sleep(POLL_EVERY).await;
            }
        };
        match tokio::time::timeout(timeout, ended).await {
            Ok(run) => self.told(&run?, place),
            Err(_) => {
                eprintln!("run {name} has not ended after {}; it goes on", spell(timeout));
                Ok(Code::Timeout)
            }
        }
    }

    /// What is known of a run, and how the log of its pod is read.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn run_logs(&self, name: &str, place: &Place) -> Result<Code> {
        let run = self.found(name).await?;
        place.output.print(&json!({"run": name, "status": run.status}), |_| logs(&run))?;
        Ok(Code::Done)
    }

    /// Cancels a run.
    ///
    /// # Errors
    /// There is no such run, or this person may not.
    pub async fn cancel_run(&self, name: &str, place: &Place) -> Result<Code> {
        let run = self.found(name).await?;
        if let Some(end) = run.end() {
            let why = format!("nothing to cancel: run {name} has ended ({}: {})", end.type_, end.message);
            place.output.print(&json!({"run": name, "status": run.status}), |_| why)?;
            return Ok(Code::Invalid);
        }
        self.people.cancel_run(name).await?;
        place.output.print(&json!({"run": name, "status": run.status}), |_| format!("run {name} is asked to end"))?;
        Ok(Code::Done)
    }

    async fn found(&self, name: &str) -> Result<TrainingRun> {
        let run = self.people.run(name).await?;
        let missing = || Invalid(format!("there is no TrainingRun {name} in {}", self.people.namespace()));
        Ok(run.ok_or_else(missing)?)
    }

    fn told(&self, run: &TrainingRun, place: &Place) -> Result<Code> {
        let end = run.end();
        place.output.print(&json!({"run": run.metadata.name, "status": run.status}), |_| match &end {
            Some(end) => format!("{}: {}: {}", end.type_, end.reason, end.message),
            None => "started; it has not ended".to_owned(),
        })?;
        Ok(end.map_or(Code::Done, code_of))
    }
}

/// What a TrainingRun records of `--reason`: its other reasons are the operator's own.
fn reason_of(text: &str) -> RunReason {
    if text.eq_ignore_ascii_case("CI") { RunReason::CI } else { RunReason::Manual }
}

/// A run's conditions, and the command that reads the log of its pod.
fn logs(run: &TrainingRun) -> String {
    let status = run.status.clone().unwrap_or_default();
    let rows = status.conditions.iter().map(|one| {
        vec![
            output::time(one.last_transition_time.0),
            one.type_.clone(),
            one.status.clone(),
            one.reason.clone(),
            one.message.clone(),
        ]
    });
    let pod = match (&status.logs, &status.job) {
        (Some(command), _) => format!("what its trainer said, while its pod is there: {command}"),
        (None, Some(job)) => format!("its job is {job}"),
        (None, None) => "no job was made for it".to_owned(),
    };
    format!("{}\n\n{pod}", table(&["since", "condition", "holds", "reason", "message"], rows))
}

fn code_of(end: &Condition) -> Code {
    match end.type_.as_str() {
        "Complete" => Code::Done,
        "Rejected" => Code::Rejected,
        "Suppressed" => Code::Suppressed,
        _ => Code::Failed,
    }
}

/// `fairway doctor`.
///
/// # Errors
/// There is no cluster.
pub async fn doctor(doctor: &Doctor) -> Result<Code> {
    let people = People::connect(doctor.namespace.as_deref()).await?;
    let checks = people.doctor(&doctor.operator_namespace).await?;
    let value: Vec<Value> = checks.iter().map(|it| json!({"check": it.what, "missing": it.missing})).collect();
    doctor.output.print(&value, |_| {
        let rows = checks.iter().map(|it| {
            let word = if it.missing.is_none() { "ok" } else { "MISSING" };
            vec![word.to_owned(), it.what.clone(), it.missing.clone().unwrap_or_default()]
        });
        table(&["", "check", "cure"], rows)
    })?;
    Ok(if checks.iter().all(|it| it.missing.is_none()) { Code::Done } else { Code::Error })
}

/// `fairway approve`.
///
/// # Errors
/// There is nothing to approve, or this person may not.
pub async fn approve(approve: Approve) -> Result<Code> {
    let people = People::connect(approve.namespace.as_deref()).await?;
    let digest = match approve.digest {
        Some(digest) => digest,
        None => {
            let status = people.model(&approve.model).await?.status.unwrap_or_default();
            status.challenger_digest.context("the model has no challenger: name a version with --digest")?
        }
    };
    let who = people.who().await?;
    let word = if approve.reject { "Reject" } else { "Approve" };
    let hex: String = digest.trim_start_matches("sha256:").chars().take(8).collect();
    let tag: String = who.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let tag: String = tag.trim_matches('-').chars().take(40).collect();
    let name = format!("{}-{hex}-{}", approve.model, tag.trim_matches('-'));
    let approval = json!({
        "apiVersion": "fairway.dev/v1alpha1",
        "kind": "ModelApproval",
        "metadata": {"name": name, "namespace": people.namespace()},
        "spec": {"model": approve.model, "digest": digest, "word": word, "approver": who, "reason": approve.reason},
    });
    let name = people.judge(approval.clone()).await?;
    let mut told = approval["spec"].clone();
    told["approval"] = json!(name);
    approve.output.print(&told, |_| format!("{word}: ModelApproval {name} of {digest}"))?;
    Ok(Code::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_s_log_is_its_conditions_and_the_command_for_the_rest() {
        let run = |status: Value| -> TrainingRun {
            let run = json!({"apiVersion": "fairway.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "r"},
                "spec": {"model": "recs"}, "status": status});
            serde_json::from_value(run).unwrap()
        };
        let condition = json!([{"type": "Suppressed", "status": "True", "reason": "Cooldown", "message": "in 3d",
            "lastTransitionTime": "2026-11-01T00:00:00Z"}]);
        let text = logs(&run(json!({"conditions": condition})));
        assert!(
            text.contains("Suppressed") && text.contains("in 3d") && text.ends_with("no job was made for it"),
            "{text}"
        );
        let command = "kubectl logs -n shop job/r-train";
        assert!(logs(&run(json!({"conditions": [], "job": "r-train", "logs": command}))).ends_with(command));
    }

    #[test]
    fn ci_is_a_reason_of_its_own() {
        let reasons = ["CI", "ci", "asked on the command line", "Drift"].map(reason_of);
        assert_eq!(reasons, [RunReason::CI, RunReason::CI, RunReason::Manual, RunReason::Manual]);
    }
}
