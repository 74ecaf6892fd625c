//! What an endpoint remembers between looks. Stored with each plan: a plan of an earlier version must still be read.

use std::collections::BTreeMap;

use fairway_wire::{Route, Target};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Experiments;
use crate::approvals::Stage;
use crate::plan::Reason;
use crate::rollout::{Bake, Rollout};
use crate::scaling::Scaler;

/// What an endpoint remembers between looks; it is stored with each plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// The trusted version.
    pub stable: Option<Target>,
    /// The rollout in progress.
    pub rollout: Option<Rollout>,
    /// The promotion that is still watched.
    pub bake: Option<Bake>,
    /// Digests that were taken back, with the reason: not tried again until a person says `retry`. Bounded.
    pub barred: BTreeMap<String, String>,
    /// Since when each is, so that the oldest is forgotten first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub barred_since: BTreeMap<String, Timestamp>,
    /// The route as it was last set.
    pub route: Option<Route>,
    /// How rollouts ended, newest last. Bounded.
    pub history: Vec<Ended>,
    /// Rollouts so far; the next one's number.
    pub rollouts: u64,
    /// A version that is being fetched and verified, before it gets any user.
    #[serde(default)]
    pub loading: Option<Loading>,
    /// A way back that a person asked for, and that waits until its version is loaded.
    #[serde(default)]
    pub returning: Option<Returning>,
    /// What each router was last heard to say, so that a window that comes twice counts once. Bounded.
    #[serde(default)]
    pub heard: BTreeMap<String, Heard>,
    /// Loaded versions that the route does not name any more, with the generation of the first route without them.
    #[serde(default)]
    pub leaving: BTreeMap<String, u64>,
    /// A scaler for each version that has servers.
    #[serde(default)]
    pub scalers: BTreeMap<String, Scaler>,
    /// What parts of the users get instead.
    #[serde(default, skip_serializing_if = "Experiments::is_empty")]
    pub experiments: Experiments,
}

impl EndpointStatus {
    /// How far a version has come here.
    pub fn stage(&self, digest: &str) -> Stage {
        let is = |target: &Target| target.digest == digest;
        if self.rollout.as_ref().is_some_and(|rollout| is(&rollout.candidate)) {
            Stage::OnTrial
        } else if !self.stable.as_ref().is_some_and(is) {
            Stage::Waiting
        } else if self.bake.as_ref().is_some_and(|bake| is(&bake.rollout.candidate)) {
            Stage::Baking
        } else {
            Stage::Final
        }
    }

    /// How rollouts ended, newest last, as the model's loop counts them: each under a name that no other of the model's
    /// endpoints gives. A manifest that goes back to the former version accuses nobody.
    pub fn endings(&self, endpoint: &str) -> Vec<(String, RolloutResult)> {
        let result = |ended: &Ended| match ended.reason.code.as_str() {
            "Withdrawn" => RolloutResult::Superseded,
            _ => ended.result,
        };
        self.history.iter().map(|ended| (format!("{endpoint}/{}", ended.id), result(ended))).collect()
    }

    /// Digests of the versions that are on trial or were just promoted: a no of anybody takes them back.
    pub fn revocable(&self) -> impl Iterator<Item = &str> {
        let bake = self.bake.as_ref().map(|bake| &bake.rollout);
        self.rollout.iter().chain(bake).map(|rollout| rollout.candidate.digest.as_str())
    }
}

/// A version that is being fetched and verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loading {
    /// Its digest.
    pub digest: String,
    /// Since when.
    pub since: Timestamp,
    /// It is loaded, and waits for more servers since then.
    #[serde(default)]
    pub scaling: bool,
}

/// A way back that a person asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Returning {
    /// To this version.
    pub to: Target,
    /// Who asked.
    pub who: String,
    /// When.
    pub since: Timestamp,
}

/// What a router was last heard to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heard {
    /// Number of its newest window.
    pub seq: u64,
    /// When that ended.
    pub end: Timestamp,
}

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The rollout.
    pub id: String,
    /// The version on trial.
    pub target: Target,
    /// What became of it.
    pub result: RolloutResult,
    /// Why.
    pub reason: Reason,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Requests that were assigned to it.
    pub canary_requests: u64,
}

/// What became of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutResult {
    /// It is stable now.
    Promoted,
    /// It was taken back.
    RolledBack,
    /// A newer candidate took its place.
    Superseded,
}
