//! `POST /v1/recommend`: the question and the answer.

use serde::{Deserialize, Serialize};

/// What is known about the moment of the request. All of it is optional; nothing missing is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The user's segment (a country, a channel); picks the segment's popularity and decides on canary eligibility.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// False answers without the user's history and keeps the user out of every canary.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub personalize: bool,
}

impl Context {
    /// The context of an ordinary request of a user of `segment`.
    pub fn of_segment(segment: &str) -> Self {
        Self { segment: Some(segment.to_owned()), personalize: true }
    }
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

/// A request for `k` items for one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecommendRequest {
    /// The caller's identifier of the user. Never stored as it is.
    pub user: String,
    /// How many items, 1 to [`crate::ITEMS_MAX`].
    #[serde(default = "default_k")]
    pub k: usize,
    /// See [`Context`].
    #[serde(default = "anywhere")]
    pub context: Context,
    /// Items that must not be in the answer, beside what the user already consumed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

fn default_k() -> usize {
    20
}

fn anywhere() -> Context {
    Context { segment: None, personalize: true }
}

/// One recommended item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The item's identifier.
    pub item: String,
    /// The score by which it was ranked; comparable within one answer only.
    pub score: f32,
}

/// The group a user was assigned to, whatever answered in the end (intention to treat).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Track {
    /// The version that the endpoint trusts.
    Stable,
    /// The version on trial.
    Canary,
    /// Kept on the baseline, so that the whole system's effect stays measurable.
    Holdback,
    /// An arm of an experiment.
    Experiment,
}

/// The rung of the fallback chain that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rung {
    /// The version that the user was assigned to.
    Assigned,
    /// The stable version, because the canary could not answer.
    Stable,
    /// The user's last good answer.
    Cached,
    /// What sold lately in the user's segment.
    SegmentPopularity,
    /// What sold lately everywhere.
    Popularity,
}

/// The order in which others are asked when the assigned version has no answer, unless a manifest says otherwise.
pub const FALLBACK: [Rung; 4] = [Rung::Stable, Rung::Cached, Rung::SegmentPopularity, Rung::Popularity];

/// Why the answer is what it is. `Ok` when the assigned version answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The assigned version answered.
    Ok,
    /// The assigned version returned an error.
    ModelError,
    /// The assigned version did not answer in time.
    ModelTimeout,
    /// The assigned version answered something that is not an answer (no items, not-a-number scores, unknown items).
    ModelInvalid,
    /// No version is loaded.
    NoModel,
    /// The user belongs to the holdback, or to an arm of an experiment that gets the baseline.
    Holdback,
    /// The caller asked for no personalization.
    OptOut,
    /// The endpoint serves the baseline until a successor is proved.
    ServingBaseline,
    /// Too many requests at once: answered from a cheap rung.
    Overloaded,
    /// The version has nothing to say of this user yet: the baseline is shown until there is a history.
    ColdStart,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecommendResponse {
    /// Signed, self-describing identifier; feedback names it.
    pub decision: String,
    /// Best first; at most `k`.
    pub items: Vec<Item>,
    /// Number of the version that answered; 0 when a baseline did.
    pub version: u64,
    /// The group that the user was assigned to.
    pub track: Track,
    /// `experiment/arm` if that is an arm of an experiment; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arm: String,
    /// The rung that answered.
    pub served_by: Rung,
    /// Why that rung.
    pub reason: Reason,
}
