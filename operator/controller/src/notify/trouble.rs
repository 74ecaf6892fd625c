//! What keeps an endpoint from being looked at at all: a bucket that is away, a manifest that contradicts itself. It has no
//! plan to be stored with, so it is remembered by this process alone. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use fairway_api::ModelEndpoint;
use fairway_core::{Condition, Reason, plan};
use jiff::Timestamp;

use super::outbox::{Outbox, Waiting};

/// Looks that fail for less are tried again, and nobody is told.
const LASTS: Duration = Duration::from_secs(60);

/// See above.
#[derive(Default)]
pub(crate) struct Trouble {
    since: Option<Timestamp>,
    told: Option<Outbox>,
}

impl Trouble {
    /// A look has failed with this, or has not.
    pub(crate) fn after(
        &mut self,
        endpoint: &ModelEndpoint,
        error: Option<String>,
        done: &BTreeSet<(String, String)>,
        now: Timestamp,
    ) {
        self.since = error.as_ref().map(|_| self.since.unwrap_or(now));
        let lasting = self.since.is_some_and(|since| plan::elapsed(since, now) >= LASTS);
        let told = error.filter(|_| lasting).map(|error| Condition {
            kind: "Degraded".to_owned(),
            status: true,
            reason: Reason::new("Unreachable", error),
        });
        if told.is_none() && self.told.is_none() {
            return;
        }
        let found = endpoint.spec.escalated(&super::object(endpoint), "", &[], &told.into_iter().collect::<Vec<_>>());
        let before = self.told.take().unwrap_or_else(|| Outbox::beginning(now));
        self.told = Some(before.after(&endpoint.spec, &found, done, now));
    }

    pub(crate) fn waiting(&self) -> &[Waiting] {
        self.told.as_ref().map_or(&[], Outbox::waiting)
    }
}
