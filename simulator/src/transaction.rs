//! One row of the shop's sales, as it is written to files and read by a trainer.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A purchase. As JSON: `{"time": "2030-01-01T00:00:00Z", "user": …, "item": …, "quantity": 1, "segment": …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// When, RFC 3339, UTC.
    pub time: Timestamp,
    /// Who.
    pub user: String,
    /// What.
    pub item: String,
    /// How many, 1 or more.
    pub quantity: u32,
    /// The user's segment.
    pub segment: String,
}
