//! What a loop remembers between looks, and how a plan is kept: stored before anything follows from it, so that whoever
//! takes over knows what was decided and from what.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fairway_core::endpoint::EndpointInputs;
use fairway_core::policy::EndpointPolicy;
use fairway_core::{Condition, Plan, Reason};
use fairway_wire::Window;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::notify::Outbox;

/// Without effects or news a plan is stored this often, so that a crash loses little evidence.
const STORE_EVERY: Duration = Duration::from_secs(2);
/// Most windows that wait for a bucket that fails; the oldest go.
const UNREAD_MAX: usize = 10_000;

/// A stored plan: what was seen, and what followed from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored<Effect, Status> {
    /// When.
    pub time: Timestamp,
    /// Keys of the windows in the bucket that this plan took in.
    #[serde(default)]
    pub read: Vec<String>,
    /// What else an endpoint's plan was decided by: with the status of the plan before it, it can be decided again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Box<DecidedBy>>,
    /// The last request of a person that a plan has taken in, where requests have identities: none is carried out twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
    /// What people were told up to this plan, and what waits to be told: nothing is sent before it is stored.
    #[serde(default, skip_serializing_if = "Outbox::is_empty")]
    pub notices: Outbox,
    /// The decision.
    pub plan: Plan<Effect, Status>,
}

/// What an endpoint's plan was decided by, beside the status before it and the windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecidedBy {
    /// The policy, as the manifests said then.
    pub policy: EndpointPolicy,
    /// What was observed.
    pub inputs: EndpointInputs,
}

/// A loop's status, where its log stands, and what a bucket that failed has left undone.
pub struct Kept<Effect, Status> {
    /// The status of the last stored plan.
    pub status: Status,
    /// Its number; 0 before the first.
    pub seq: u64,
    /// Windows that no stored plan has taken in yet.
    pub unread: Vec<Window>,
    /// Effects of the last stored plan that are still to be carried out, in order.
    pub undone: VecDeque<Effect>,
    /// The conditions of the last plan.
    pub conditions: Vec<Condition>,
    /// What people were told, and what waits; the latter as it is stored.
    pub notices: Outbox,
    said: Vec<String>,
    stored: Option<Instant>,
}

impl<Effect: Clone, Status: Clone + PartialEq> Kept<Effect, Status> {
    /// A loop that goes on from this status, stored under this number.
    pub fn new(status: Status, seq: u64) -> Self {
        let (unread, undone) = (Vec::new(), VecDeque::new());
        Self {
            status,
            seq,
            unread,
            undone,
            said: Vec::new(),
            conditions: Vec::new(),
            stored: None,
            notices: Outbox::default(),
        }
    }

    /// Windows that the next plan takes in.
    pub fn take_in(&mut self, windows: &[Window]) {
        self.unread.extend_from_slice(windows);
        let surplus = self.unread.len().saturating_sub(UNREAD_MAX);
        self.unread.drain(..surplus);
    }

    /// Effects and news are stored at once, gathered evidence now and then.
    pub fn must_store(&self, plan: &Plan<Effect, Status>, has_effects: bool) -> bool {
        let is_due = self.stored.is_none_or(|stored| stored.elapsed() >= STORE_EVERY);
        has_effects || codes(&plan.reasons) != self.said || is_due && plan.status != self.status
    }

    /// The plan as it is stored.
    pub fn to_store(
        &self,
        time: Timestamp,
        decided_by: Option<Box<DecidedBy>>,
        plan: &Plan<Effect, Status>,
    ) -> Stored<Effect, Status> {
        Stored {
            time,
            read: self.unread.iter().map(window_key).collect(),
            decided_by,
            answered: None,
            notices: self.notices.clone(),
            plan: plan.clone(),
        }
    }

    /// What is not stored is not remembered either: the next look decides again, with what has come since.
    pub fn adopt(&mut self, plan: &Plan<Effect, Status>, is_kept: bool) {
        self.said = codes(&plan.reasons);
        self.conditions = plan.conditions.clone();
        self.undone = plan.effects.iter().cloned().collect();
        if is_kept {
            self.seq += 1;
            self.stored = Some(Instant::now());
            self.status = plan.status.clone();
            self.unread.clear();
        }
    }
}

/// Where a window is kept: keys are in order of time.
pub fn window_key(window: &Window) -> String {
    format!("{:013}-{}-{:08}", window.start.as_millisecond(), window.replica, window.seq)
}

fn codes(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(|reason| reason.code.clone()).collect()
}
