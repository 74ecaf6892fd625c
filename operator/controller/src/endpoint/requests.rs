//! What people ask of a rollout: `fairway rollout …` writes it as an annotation, and the status says what came of it.

use fairway_api::ModelEndpoint;
use fairway_core::endpoint::RolloutRequest;
use serde::{Deserialize, Serialize};

/// The annotation. One request at a time: the next one is written when this one is answered.
const ANNOTATION: &str = "fairway.dev/request";
/// Longest text of it.
const LONGEST: usize = 4_096;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Command {
    /// Its identity: it is carried out once.
    pub(super) id: String,
    /// Who asks.
    pub(super) who: String,
    /// What.
    #[serde(flatten)]
    pub(super) request: RolloutRequest,
}

/// The request that no plan has answered yet.
pub(super) fn unanswered(endpoint: &ModelEndpoint, answered: Option<&str>) -> Option<Command> {
    let text = endpoint.metadata.annotations.as_ref()?.get(ANNOTATION)?;
    if text.len() > LONGEST {
        return None;
    }
    match serde_json::from_str::<Command>(text) {
        Ok(command) => (answered != Some(command.id.as_str())).then_some(command),
        Err(error) => {
            tracing::warn!("the annotation {ANNOTATION} cannot be read and is left alone: {error}");
            None
        }
    }
}
