//! The policies that are compared, from folders of manifests, and the endpoint whose record they are played on.

use std::path::Path;

use anyhow::{Result, bail};
use fairway_api::{Manifests, ObjectKey};
use fairway_sim::backtest::Named;

use crate::args::Backtest;
use crate::commands::validate;
use crate::exit::Invalid;

/// What the command line names.
pub(super) struct Loaded {
    pub(super) namespace: String,
    pub(super) endpoint: String,
    /// One a folder, in the order given.
    pub(super) policies: Vec<Named>,
}

impl Loaded {
    /// `namespace/name`, for messages.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.endpoint)
    }
}

/// Loads the folders.
///
/// # Errors
/// Manifests that are invalid, or no endpoint or several where one is needed.
pub(super) fn load(backtest: &Backtest) -> Result<Loaded> {
    let mut found: Vec<(ObjectKey, Named)> = Vec::new();
    for folder in &backtest.manifests {
        let manifests = validate::load_offline(folder, &backtest.variables)?;
        let (key, policy) = policy(&manifests, backtest, folder)?;
        found.push((key, Named { name: name(folder, &found), policy }));
    }
    let (namespace, endpoint) = endpoint(backtest, &found)?;
    Ok(Loaded { namespace, endpoint, policies: found.into_iter().map(|(_, named)| named).collect() })
}

fn policy(
    manifests: &Manifests,
    backtest: &Backtest,
    folder: &Path,
) -> Result<(ObjectKey, fairway_core::policy::EndpointPolicy)> {
    let all: Vec<&ObjectKey> = manifests.endpoints.keys().collect();
    let is_meant = |key: &&&ObjectKey| {
        backtest.endpoint.as_ref().is_none_or(|name| *name == key.name)
            && backtest.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
    };
    let meant: Vec<&ObjectKey> = all.iter().filter(is_meant).copied().collect();
    let there = all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    // A folder with one endpoint means that one, whatever the record's endpoint is called.
    let key = match (meant.as_slice(), all.as_slice()) {
        ([key], _) | ([], [key]) => *key,
        (_, []) => {
            let cure = "add the ModelEndpoint whose rollout is to be tried";
            bail!(Invalid(format!("--manifests {}: there is no ModelEndpoint in it; {cure}", folder.display())))
        }
        _ => {
            let cure = "name one with --endpoint NAME, and --namespace NS if need be";
            bail!(Invalid(format!("--manifests {}: which endpoint? there are {there}; {cure}", folder.display())))
        }
    };
    let endpoint = &manifests.endpoints[key].value.spec;
    let model = &manifests.models[&key.sibling(&endpoint.model)].value.spec;
    let policy = endpoint.policy(model.reward.within.std()).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Invalid(format!("--manifests {}: {}", folder.display(), lines.join("\n")))
    })?;
    Ok((key.clone(), policy))
}

/// The folder's own name, or its path where two have the same.
fn name(folder: &Path, before: &[(ObjectKey, Named)]) -> String {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let own =
        whole.file_stem().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned());
    if before.iter().any(|(_, named)| named.name == own) { folder.display().to_string() } else { own }
}

/// The endpoint whose record is read.
fn endpoint(backtest: &Backtest, found: &[(ObjectKey, Named)]) -> Result<(String, String)> {
    let mut keys: Vec<&ObjectKey> = found.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    if let [first, second, ..] = keys.as_slice()
        && backtest.endpoint.is_none()
    {
        bail!(Invalid(format!("whose record? the manifests name {first} and {second}: choose with --endpoint NAME")));
    }
    let only = keys.first();
    let Some(name) = backtest.endpoint.clone().or_else(|| only.map(|key| key.name.clone())) else {
        bail!(Invalid(
            "whose record? name the endpoint with --endpoint NAME, or a folder with --manifests DIR".to_owned()
        ));
    };
    let namespace = backtest.namespace.clone().or_else(|| only.map(|key| key.namespace.clone()));
    Ok((namespace.unwrap_or_else(|| "default".to_owned()), name))
}
