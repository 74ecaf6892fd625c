//! What people ask of a rollout: an annotation, carried out once and answered in the status.

use anyhow::{Context as _, Result};
use fairway_api::endpoint::{RequestReason, RequestStatus};
use fairway_api::values::VersionRef;
use fairway_api::{ModelEndpoint, REQUEST_ANNOTATION, RolloutCommand};
use fairway_core::Reason;
use fairway_core::endpoint::RolloutRequest;
use fairway_registry::State;
use fairway_wire::Target;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::wanted::{target_of, version_named};

/// Most reasons in an answer.
const REASONS_MAX: usize = 16;

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

/// What came of a request.
pub(super) fn answer(request: &Request, reasons: &[Reason], now: Timestamp) -> RequestStatus {
    let told = |reason: &Reason| RequestReason { code: reason.code.clone(), message: reason.message.clone() };
    let refused = request.asked.as_ref().err().map(|why| Reason::new("Invalid", why.clone()));
    RequestStatus {
        id: request.id.clone(),
        answered: Some(Time(now)),
        reasons: refused.iter().chain(reasons).take(REASONS_MAX).map(told).collect(),
    }
}

/// The answer that a status has to hold: that of this process, or the one that is there. A request that another process has taken
/// in without being able to say so is answered too; what came of it is in that plan.
pub(super) fn to_tell(
    answer: Option<&RequestStatus>,
    answered: Option<&str>,
    told: Option<&RequestStatus>,
    now: Timestamp,
) -> Option<RequestStatus> {
    let untold = answered.filter(|id| told.is_none_or(|told| told.id != **id));
    let late = |id: &str| RequestStatus {
        id: id.to_owned(),
        answered: Some(Time(now)),
        reasons: vec![RequestReason {
            code: "Taken".to_owned(),
            message:
                "an operator that was stopped has taken this request in; `fairway rollout history` says what came of it"
                    .to_owned(),
        }],
    };
    answer.cloned().or_else(|| untold.map(late)).or_else(|| told.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_until_the_status_holds_it() {
        let now = Timestamp::UNIX_EPOCH;
        let request = |id: &str| Request { id: id.to_owned(), asked: Err("no such verb".to_owned()) };
        let ours = answer(&request("2"), &[Reason::new("Paused", "ann")], now);
        assert_eq!(ours.reasons.iter().map(|it| it.code.as_str()).collect::<Vec<_>>(), ["Invalid", "Paused"]);
        let before = answer(&request("1"), &[], now);
        let told = |answer, answered, told| to_tell(answer, answered, told, now);
        assert_eq!(told(None, None, None), None);
        assert_eq!(told(None, Some("1"), Some(&before)), Some(before.clone()));
        assert_eq!(told(Some(&ours), Some("2"), Some(&before)), Some(ours.clone()));
        // Begun anew between the plan and the status.
        let late = told(None, Some("2"), Some(&before)).unwrap();
        assert_eq!((late.id.as_str(), late.reasons[0].code.as_str()), ("2", "Taken"));
    }
}
