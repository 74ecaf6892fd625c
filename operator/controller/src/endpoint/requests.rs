//! What people ask of a rollout: an annotation, carried out once and answered in the status.

use anyhow::{Context as _, Result};
use fairway_api::values::VersionRef;
use fairway_api::{ModelEndpoint, REQUEST_ANNOTATION, RolloutCommand};
use fairway_core::endpoint::RolloutRequest;
use fairway_registry::State;
use fairway_wire::Target;

use crate::wanted::{target_of, version_named};

/// One request that no plan has answered yet.
pub(super) struct Request {
    /// Its identity: it is carried out once.
    pub(super) id: String,
    /// Who asks, and what core is asked; or what of it cannot be used.
    pub(super) asked: Result<(String, RolloutRequest), String>,
}

impl Request {
    pub(super) fn verb(&self) -> Option<(String, RolloutRequest)> {
        self.asked.clone().ok()
    }
}

/// The request that the annotation holds, unless it was answered.
pub(super) fn unanswered(endpoint: &ModelEndpoint, answered: Option<&str>, state: Option<&State>) -> Option<Request> {
    let text = endpoint.metadata.annotations.as_ref()?.get(REQUEST_ANNOTATION)?;
    let id = RolloutCommand::id_of(text)?;
    if answered == Some(id.as_str()) {
        return None;
    }
    let asked = RolloutCommand::parse(text).map_err(|error| error.to_string()).and_then(|command| {
        let request = command.request(|version| resolve(version, state)).map_err(|error| format!("{error:#}"))?;
        Ok((command.who, request))
    });
    Some(Request { id, asked })
}

fn resolve(version: &VersionRef, state: Option<&State>) -> Result<Target> {
    let state = state.context("no version is registered yet")?;
    version_named(state, version).map(target_of).with_context(|| format!("there is no version {version}"))
}
