//! What was told and what still waits for a webhook, as it is stored with an endpoint's plan. Pure.

use std::collections::BTreeSet;

use fairway_api::ModelEndpointSpec;
use fairway_core::escalation::{Finding, Notice, Told, tell};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Most notices that wait; the oldest go.
const WAITING_MAX: usize = 64;

/// See above.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outbox {
    told: Told,
    waiting: Vec<Waiting>,
}

/// A notice that some webhook has not taken yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// When it was made.
    pub time: Timestamp,
    /// What is told.
    pub notice: Notice,
    /// The webhooks that it waits for.
    pub to: BTreeSet<String>,
}

impl Outbox {
    /// One whose notices have ids of their own, whatever was told before.
    pub(crate) fn beginning(now: Timestamp) -> Self {
        let told = Told::beginning(u64::try_from(now.as_second()).unwrap_or_default());
        Self { told, waiting: Vec::new() }
    }

    /// Whether nothing was ever told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    /// Whether these notices must be stored: others wait than before.
    pub(crate) fn is_news(&self, stored: &Self) -> bool {
        self.waiting != stored.waiting
    }

    /// With what this look has found, and without what was `done` (a notice's id, and a webhook) or has nobody left to go to.
    pub(crate) fn after(
        &self,
        spec: &ModelEndpointSpec,
        found: &[Finding],
        done: &BTreeSet<(String, String)>,
        now: Timestamp,
    ) -> Self {
        let mut next = self.clone();
        let notices = tell(&mut next.told, &spec.escalation(), found, now);
        let asks = |notice: &Notice| {
            let asking = spec.notifications.iter().filter(|one| one.tells(&notice.finding));
            asking.map(fairway_api::endpoint::Notification::key).collect()
        };
        next.waiting.extend(notices.into_iter().map(|notice| Waiting { time: now, to: asks(&notice), notice }));
        for waiting in &mut next.waiting {
            let id = &waiting.notice.id;
            waiting.to.retain(|to| {
                spec.notifications.iter().any(|one| one.key() == *to) && !done.contains(&(id.clone(), to.clone()))
            });
        }
        next.waiting.retain(|waiting| !waiting.to.is_empty());
        let surplus = next.waiting.len().saturating_sub(WAITING_MAX);
        next.waiting.drain(..surplus);
        next
    }
}
