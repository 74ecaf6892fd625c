//! One row of the decision log: who was shown what, by which version, why, with which propensity.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Reason, Rung, Track};

/// A served answer as it is logged. Users appear only as keyed HMACs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The answer's identifier.
    pub decision: String,
    /// When it was given.
    pub time: Timestamp,
    /// Keyed HMAC of the user, hex.
    pub user: String,
    /// The user's segment; empty if unknown.
    pub segment: String,
    /// Digest of the version that answered; empty for a baseline.
    pub digest: String,
    /// The assigned group.
    pub track: Track,
    /// `experiment/arm` of users in an experiment; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arm: String,
    /// The rung that answered.
    pub served_by: Rung,
    /// Why.
    pub reason: Reason,
    /// Probability with which a user like this one was assigned to this group.
    pub propensity: f64,
    /// Generation of the route in force.
    pub generation: u64,
    /// Time taken, microseconds.
    pub latency_us: u64,
    /// Item identifiers, best first.
    pub items: Vec<String>,
    /// Their scores.
    pub scores: Vec<f32>,
}
