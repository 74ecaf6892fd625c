//! What cannot be asked of the cluster although each part of it can. The same rules stand in the schema, as CEL.

use std::collections::BTreeSet;

use super::{EnvVar, PodTemplate, Resources, TaintEffect, Toleration, TolerationOperator};
use crate::error::FieldError;

/// Labels and annotations of this prefix are the operator's: selectors and watches rest on them.
const OURS: &str = "fairway.dev/";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Checks a pod's template that stands at `field`.
pub(crate) fn pod(field: &str, pod: &PodTemplate, errors: &mut Vec<FieldError>) {
    for key in pod.labels.keys().filter(|key| key.starts_with(OURS) || *key == MANAGED_BY) {
        let problem = format!("`{key}` is set by the operator");
        errors.push(FieldError::new(format!("{field}.labels"), problem, "a label of your own domain"));
    }
    for key in pod.annotations.keys().filter(|key| key.starts_with(OURS)) {
        let problem = format!("`{key}` is set by the operator");
        errors.push(FieldError::new(format!("{field}.annotations"), problem, "an annotation of your own domain"));
    }
    for (name, labels) in [("labels", &pod.labels), ("nodeSelector", &pod.node_selector)] {
        for (key, value) in labels.iter().filter(|(_, value)| !is_label_value(value)) {
            let help = "letters, digits, -, _ and ., beginning and ending with a letter or digit, at most 63";
            let problem = format!("`{value}` is not the value of a label");
            errors.push(FieldError::new(format!("{field}.{name}.{key}"), problem, help));
        }
    }
    let mut spreads = Vec::new();
    for (i, spread) in pod.topology_spread.iter().enumerate() {
        let one = (&spread.topology_key, spread.when_unsatisfiable);
        if spreads.contains(&one) {
            let problem = format!("`{}` is there already with {:?}", one.0, one.1);
            errors.push(FieldError::new(format!("{field}.topologySpread[{i}]"), problem, "each once"));
        }
        spreads.push(one);
    }
    for (i, toleration) in pod.tolerations.iter().enumerate() {
        if let Err(problem) = toleration_fits(toleration) {
            let help = "{key: K, value: V}, {key: K, operator: Exists} or {operator: Exists}";
            errors.push(FieldError::new(format!("{field}.tolerations[{i}]"), problem, help));
        }
    }
}

fn toleration_fits(toleration: &Toleration) -> Result<(), &'static str> {
    match toleration.operator {
        TolerationOperator::Exists if toleration.value.is_some() => Err("Exists has no value"),
        TolerationOperator::Equal if toleration.key.is_none() => Err("Equal needs a key"),
        _ if toleration.toleration_seconds.is_some() && toleration.effect != Some(TaintEffect::NoExecute) => {
            Err("tolerationSeconds needs effect: NoExecute")
        }
        _ => Ok(()),
    }
}

/// What Kubernetes takes as the value of a label.
fn is_label_value(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.is_empty() || text.len() <= 63 && text.chars().all(inner) && text.starts_with(ends) && text.ends_with(ends)
}

/// Checks resources that stand at `field`.
pub(crate) fn resources(field: &str, resources: Option<&Resources>, errors: &mut Vec<FieldError>) {
    for (name, amount) in resources.iter().flat_map(|resources| &resources.devices) {
        if !name.contains('/') || amount.as_str().parse::<u32>().is_err() {
            let problem = format!("`{name}: {amount}` is not a number of devices");
            let help = "a whole number by the name of a device plugin: {nvidia.com/gpu: 1}";
            errors.push(FieldError::new(format!("{field}.devices"), problem, help));
        }
    }
}

/// Checks a container's environment that stands at `field`.
pub(crate) fn environment(field: &str, env: &[EnvVar], errors: &mut Vec<FieldError>) {
    let mut names = BTreeSet::new();
    for (i, variable) in env.iter().enumerate() {
        let (at, name) = (format!("{field}[{i}]"), variable.name.as_str());
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(plain) {
            let problem = format!("`{name}` is not a name");
            errors.push(FieldError::new(format!("{at}.name"), problem, "letters, digits and _, such as LOG_LEVEL"));
        }
        if name.starts_with("FAIRWAY_") {
            let problem = format!("`{name}` is set by the operator");
            errors.push(FieldError::new(format!("{at}.name"), problem, "a name that does not begin with FAIRWAY_"));
        }
        if variable.value.is_some() == variable.secret_key_ref.is_some() {
            let both = variable.value.is_some();
            let problem = if both { "both value and secretKeyRef are named" } else { "it has no value" };
            let help = "name exactly one: value: info, or secretKeyRef: {name: shop, key: token}";
            errors.push(FieldError::new(&at, problem, help));
        }
        if !names.insert(name) {
            errors.push(FieldError::new(format!("{at}.name"), format!("`{name}` is there already"), "each name once"));
        }
    }
}
