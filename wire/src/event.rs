//! `POST /v1/events`: what users did.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the user did with the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// Looked at it.
    View,
    /// Opened it from a list.
    Click,
    /// Bought, played, read to the end: consumed.
    Purchase,
}

/// One piece of feedback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The caller's identifier of the user. Never stored as it is.
    pub user: String,
    /// The item.
    pub item: String,
    /// What happened.
    pub kind: EventKind,
    /// When; the time of arrival if left out. More than a minute in the future is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The answer that it belongs to, if known; otherwise the user's exposures within the reward's horizon share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The user's segment, for popularity by segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// The caller's identifier of the event: the same one twice counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}
