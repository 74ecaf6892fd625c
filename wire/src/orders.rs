//! What passes between the operator and a router in another process: orders one way, polls the other. In one process
//! the same things are method calls.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Route, Target, Window};

/// Key of the ConfigMap that holds an endpoint's [`Orders`] as JSON.
pub const ORDERS_KEY: &str = "orders.json";

/// What a router is to do: the route, and where the model servers are. Servers may be named before the route names
/// their version, so that routers know them when users come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Orders {
    /// Who gets which version; none before the first one.
    pub route: Option<Route>,
    /// The model servers.
    pub versions: Vec<ServedAt>,
}

/// Where a version is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedAt {
    /// Which version.
    pub target: Target,
    /// URL of its servers, without a path.
    pub url: String,
}

/// What the operator asks a router, every few seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Poll {
    /// Number of the last window that is safe in the bucket: the router forgets it and those before it. None at first.
    pub after: Option<u64>,
    /// The generation that the lease is for; another one in force does not take it.
    pub generation: u64,
    /// Until when the canary of that generation may go on without another poll.
    pub lease_until: Option<Timestamp>,
    /// Most windows in the answer.
    pub limit: u32,
}

/// What a router answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Polled {
    /// The router's incarnation: after a restart windows are counted from 0 again, under another name.
    pub replica: String,
    /// Generation of the route in force.
    pub generation: u64,
    /// Digests of the versions that it can ask.
    pub installed: Vec<String>,
    /// A person has set the canary to 0 here, under this generation.
    #[serde(default)]
    pub aborted: bool,
    /// Closed windows after the one that was named, oldest first.
    pub windows: Vec<Window>,
    /// Windows that were dropped because nobody took them.
    #[serde(default)]
    pub lost: u64,
}
