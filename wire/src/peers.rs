//! What the routers of an endpoint tell each other. A user's requests and events reach any of them, and each is to know the whole
//! history, and to credit the answers that it gave.

use serde::{Deserialize, Serialize};

/// Events that one router took, in the order in which it took them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerEvents {
    /// The incarnation that took them.
    pub replica: String,
    /// Number of the first one, counted by that incarnation. What was heard before is left out.
    pub first: u64,
    /// The events.
    pub events: Vec<PeerEvent>,
}

/// An event that counts as consumption.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerEvent {
    /// The user's pseudonym, 32 hex digits: all routers of an endpoint have the same key.
    pub user: String,
    /// What was consumed.
    pub item: String,
    /// When, milliseconds since 1970.
    pub time_ms: i64,
    /// The user's segment, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// Time and number of the answer that it is for; of any that showed the item where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<(i64, u32)>,
    /// What tells it from others, where whoever sent it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Who heard it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerHeard {
    /// The incarnation that heard: one that hears itself is left alone from then on.
    pub replica: String,
}
