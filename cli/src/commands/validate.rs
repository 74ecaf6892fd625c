//! `fairway validate`: manifests checked offline, and the loading that every command shares.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use fairway_api::{FieldError, Located, ManifestError, Manifests, ObjectKey, Other};
use serde::Serialize;

use crate::args::Validate;
use crate::exit::{Code, Invalid};
use crate::story::Story;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    models: Vec<String>,
    endpoints: Vec<String>,
    runs: Vec<String>,
    experiments: Vec<String>,
    approvals: Vec<String>,
    /// Documents that were passed over, each with its place.
    passed_over: Vec<String>,
    warnings: Vec<String>,
}

/// Checks a folder or a file.
///
/// # Errors
/// All that is wrong, in one message; or there is nothing of Fairway's.
pub fn run(validate: &Validate) -> Result<Code> {
    let manifests = load_offline(&validate.path, &validate.variables)?;
    let checked = Checked {
        models: names(&manifests.models),
        endpoints: names(&manifests.endpoints),
        runs: names(&manifests.runs),
        experiments: names(&manifests.experiments),
        approvals: names(&manifests.approvals),
        passed_over: manifests.others.iter().filter(|other| other.value.kind != "Story").map(passed_over).collect(),
        warnings: manifests.warnings().iter().map(ToString::to_string).collect(),
    };
    let kinds = [&checked.models, &checked.endpoints, &checked.runs, &checked.experiments, &checked.approvals];
    if kinds.iter().all(|kind| kind.is_empty()) {
        let passed: String = checked.passed_over.iter().map(|one| format!("\npassed over: {one}")).collect();
        let path = validate.path.display();
        bail!(Invalid(format!("there is no manifest of Fairway in {path} (apiVersion: fairway.dev/v1alpha1){passed}")));
    }
    validate.output.print(&checked, |checked| {
        let mut lines = checked.warnings.clone();
        lines.extend(checked.passed_over.iter().map(|one| format!("passed over: {one}")));
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let mut counts = vec![
            count(checked.models.len(), "model"),
            count(checked.endpoints.len(), "endpoint"),
            count(checked.runs.len(), "run"),
        ];
        let seldom = [(&checked.experiments, "experiment"), (&checked.approvals, "approval")];
        counts.extend(seldom.iter().filter(|(all, _)| !all.is_empty()).map(|(all, what)| count(all.len(), what)));
        lines.push(format!("valid: {}", counts.join(", ")));
        lines.join("\n")
    })?;
    Ok(Code::Done)
}

fn names<T>(objects: &BTreeMap<ObjectKey, Located<T>>) -> Vec<String> {
    objects.keys().map(ToString::to_string).collect()
}

/// A document of somebody else's, and what it was probably meant to be.
fn passed_over(other: &Located<Other>) -> String {
    let Other { api_version, kind, .. } = &other.value;
    let guess = other.value.guess().map(|guess| format!(": did you mean apiVersion: {guess}?")).unwrap_or_default();
    format!("{}:{}: {kind} ({api_version}){guess}", other.file, other.start.line)
}

/// Loads manifests, prints what this version does not act on, and refuses what is wrong.
///
/// # Errors
/// All that is wrong, in one message.
pub fn load(path: &Path, variables: &BTreeMap<String, String>) -> Result<Manifests> {
    let manifests = load_quietly(path, variables)?;
    for warning in manifests.warnings() {
        eprintln!("{warning}");
    }
    Ok(manifests)
}

/// Loads manifests that nothing will be run from: a check needs no real folder or file. Prints nothing.
///
/// # Errors
/// All that is wrong, in one message.
pub(super) fn load_offline(path: &Path, pairs: &[String]) -> Result<Manifests> {
    let mut variables = variables(pairs)?;
    variables.entry("state".to_owned()).or_insert_with(|| "/state".to_owned());
    variables.entry("data".to_owned()).or_insert_with(|| "/data.parquet".to_owned());
    load_quietly(path, &variables)
}

fn load_quietly(path: &Path, variables: &BTreeMap<String, String>) -> Result<Manifests> {
    let manifests = fairway_api::load_dir_with(path, variables).map_err(|errors| invalid(&errors))?;
    check_policies(&manifests)?;
    Story::find(&manifests)?;
    Ok(manifests)
}

/// Values that are fine alone and wrong together.
fn check_policies(manifests: &Manifests) -> Result<()> {
    let mut errors = Vec::new();
    for model in manifests.models.values() {
        if let Err(fields) = model.value.spec.policy() {
            errors.extend(fields.into_iter().map(|field| model.error(field)));
        }
        let Some(builtin) = &model.value.spec.trainer.builtin else { continue };
        if let Err(error) = fairway_trainer::families::check(builtin.family.name(), &builtin.parameters) {
            let (field, problem) = ("spec.trainer.builtin".to_owned(), error.to_string());
            errors.push(model.error(FieldError { field, problem, help: String::new() }));
        }
    }
    for (key, endpoint) in &manifests.endpoints {
        let Some(model) = manifests.models.get(&key.sibling(&endpoint.value.spec.model)) else { continue };
        if let Err(fields) = endpoint.value.spec.policy(model.value.spec.reward.within.std()) {
            errors.extend(fields.into_iter().map(|field| endpoint.error(field)));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(invalid(&errors)) }
}

fn invalid(errors: &[ManifestError]) -> anyhow::Error {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Invalid(format!("the manifests are invalid\n\n{}", lines.join("\n\n"))).into()
}

/// `NAME=VALUE` pairs.
///
/// # Errors
/// A pair without `=`.
pub fn variables(pairs: &[String]) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            bail!(Invalid(format!("--set {pair}: write NAME=VALUE")));
        };
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}
