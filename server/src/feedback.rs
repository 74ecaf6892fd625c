//! How feedback is taken. Events of the reward's kind are what users consumed: they enter histories, popularity and
//! rewards. Other kinds are counted and otherwise left alone, because versions are trained on consumption.

use fairway_model::profile::consumed_index;
use fairway_wire::{Event, PeerEvent};
use serde::{Deserialize, Serialize};

use crate::decision_id::DecisionId;
use crate::interner::UNKNOWN;
use crate::pseudonym::UserKey;
use crate::router::Router;
use crate::{Problem, check};

/// What became of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Events that count.
    pub accepted: usize,
    /// Events that were taken before and do not count again.
    pub repeated: usize,
}

/// An event that was found valid.
struct Valid {
    event: Event,
    user: UserKey,
    decision: Option<DecisionId>,
}

impl Router {
    /// Takes one event.
    ///
    /// # Errors
    /// A [`Problem`] that names the field if the event is not valid, or names an answer that is not this user's.
    pub async fn event(&self, event: Event) -> Result<(), Problem> {
        self.take_event(event).map(drop)
    }

    /// Takes one event and says whether it counted.
    pub(crate) fn take_event(&self, event: Event) -> Result<Accepted, Problem> {
        let valid = self.validate(event)?;
        let accepted = usize::from(self.take(valid));
        Ok(Accepted { accepted, repeated: 1 - accepted })
    }

    /// Takes many events: all of them, or none if one is not valid.
    ///
    /// # Errors
    /// As [`event`](Self::event), with the event's place before the field: `[3].item`.
    pub fn events(&self, events: Vec<Event>) -> Result<Accepted, Problem> {
        let checked = events
            .into_iter()
            .enumerate()
            .map(|(at, event)| self.validate(event).map_err(|problem| problem.within(&format!("[{at}]"))));
        let valid: Vec<Valid> = checked.collect::<Result<_, _>>()?;
        let mut done = Accepted::default();
        for event in valid {
            if self.take(event) {
                done.accepted += 1;
            } else {
                done.repeated += 1;
            }
        }
        Ok(done)
    }

    fn validate(&self, event: Event) -> Result<Valid, Problem> {
        check::event(&event, self.now().as_millisecond())?;
        let user = self.pseudonyms.key(&event.user);
        let decision = match &event.decision {
            None => None,
            Some(text) => match DecisionId::verify(text, &self.pseudonyms) {
                None => {
                    let detail = "is not an identifier that this endpoint gave; send it as it came";
                    return Err(Problem::field("decision", detail));
                }
                Some(id) if id.cell != user.cell() => {
                    return Err(Problem::field("decision", "belongs to an answer of another user"));
                }
                id => id,
            },
        };
        Ok(Valid { event, user, decision })
    }

    /// False for a repeat.
    fn take(&self, Valid { event, user, decision }: Valid) -> bool {
        if event.id.as_ref().is_some_and(|id| !self.event_ids.is_new(id)) {
            self.metrics.repeated_events.inc();
            return false;
        }
        self.metrics.happened(event.kind);
        if event.kind != self.config.reward_event {
            return true;
        }
        let now_ms = self.now().as_millisecond();
        let time_ms = event.time.map_or(now_ms, |time| time.as_millisecond());
        let item = self.items.add(&event.item);
        self.count_consumed(item, now_ms);
        if let Some(item) = item {
            let decision = decision.map(|id| (id.time_ms, id.number));
            let segment = self.consumed(&user, item, event.segment.as_deref(), (time_ms, now_ms), decision);
            self.peers.add(now_ms, || PeerEvent {
                user: user.hex(),
                item: event.item,
                time_ms,
                segment: segment.map(|id| self.segments.name(id).to_string()).filter(|name| !name.is_empty()),
                decision,
                id: event.id,
            });
        }
        true
    }

    /// What a user did, here or at another router, enters rewards, history and popularity; times are those of the event and of now.
    /// Gives the user's segment, if it is known.
    pub(crate) fn consumed(
        &self,
        user: &UserKey,
        item: u32,
        told: Option<&str>,
        (time_ms, now_ms): (i64, i64),
        decision: Option<(i64, u32)>,
    ) -> Option<u32> {
        let segment = match told.filter(|name| !name.is_empty()) {
            Some(name) => self.segments.add(name),
            None => self.users.segment(user),
        };
        self.exposures.credit(user, item, time_ms, decision);
        self.users.consume(user, item, time_ms);
        self.popularity.add(item, segment.filter(|&id| id != UNKNOWN), time_ms, now_ms, &self.items);
        segment
    }

    /// Counts an item on the bins of stable's profile; an item that nobody knows has a bin too.
    fn count_consumed(&self, item: Option<u32>, now_ms: i64) {
        let plan = self.plan.load();
        let Some(stable) = &plan.stable else {
            return;
        };
        let index = item.and_then(|item| stable.index(item));
        let bins = stable.profile.consumed.as_ref().map(|consumed| consumed.bins.len());
        if let (Some(bin), Some(bins)) = (consumed_index(&stable.profile, index), bins) {
            self.windows.consumed(now_ms, plan.route.generation, bin, bins);
        }
    }
}
