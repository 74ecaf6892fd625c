//! The highest demand lately: what must be over before replicas are taken away.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::elapsed;

/// Parts of the delay: a slot is forgotten late by at most one of them.
const PARTS: u32 = 64;

/// The highest demand between `opened` and `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    opened: Timestamp,
    last: Timestamp,
    highest: u32,
}

/// A sliding maximum, in at most 66 slots of falling height.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Highest(VecDeque<Slot>);

impl Highest {
    /// Adds the demand of a look. Where nothing is known of the `delay` before (a new scaler, a long silence), the
    /// `replicas` that there are count as needed, so that the delay begins anew.
    pub(super) fn record(&mut self, demand: u32, replicas: u32, delay: Duration, now: Timestamp) {
        self.0.retain(|slot| elapsed(slot.last, now) < delay);
        let demand = if self.0.is_empty() { demand.max(replicas) } else { demand };
        while self.0.back().is_some_and(|slot| slot.highest <= demand) {
            self.0.pop_back();
        }
        match self.0.back_mut().filter(|slot| elapsed(slot.opened, now) < delay / PARTS) {
            Some(slot) => slot.last = slot.last.max(now),
            None => self.0.push_back(Slot { opened: now, last: now, highest: demand }),
        }
        while self.0.len() > PARTS as usize + 2 {
            self.0.pop_front();
        }
    }

    /// The highest demand of the last `delay`; 0 if none was recorded.
    pub(super) fn within(&self, delay: Duration, now: Timestamp) -> u32 {
        self.0.iter().filter(|slot| elapsed(slot.last, now) < delay).map(|slot| slot.highest).max().unwrap_or(0)
    }
}
