//! Decisions that wait for the log: a bounded buffer in numbers, so that a request pays for no strings. When it is full
//! decisions are dropped and counted; nothing ever waits for the log.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fairway_wire::{Decision, Reason, Rung, Track};
use xxhash_rust::xxh3::xxh3_64;

use crate::config::timestamp;
use crate::decision_id::DecisionId;
use crate::interner::Interner;
use crate::pseudonym::{Pseudonyms, UserKey};

/// A decision in numbers.
pub(crate) struct Logged {
    pub(crate) id: DecisionId,
    pub(crate) user: UserKey,
    pub(crate) segment: u32,
    pub(crate) digest: u32,
    pub(crate) track: Track,
    pub(crate) arm: u32,
    pub(crate) served_by: Rung,
    pub(crate) reason: Reason,
    pub(crate) generation: u64,
    pub(crate) latency_us: u64,
    pub(crate) items: Box<[(u32, f32)]>,
}

/// The numbers' names.
pub(crate) struct DecisionNames<'a> {
    pub(crate) items: &'a Interner,
    pub(crate) segments: &'a Interner,
    pub(crate) versions: &'a Interner,
    pub(crate) arms: &'a Interner,
    pub(crate) pseudonyms: &'a Pseudonyms,
}

/// The buffer.
pub(crate) struct Decisions {
    waiting: Mutex<Vec<Logged>>,
    limit: usize,
    sample: f64,
}

impl Decisions {
    pub(crate) fn new(limit: usize, sample: f64) -> Self {
        Self { waiting: Mutex::default(), limit, sample }
    }

    /// Whether the answer with this number is in the sample.
    pub(crate) fn sampled(&self, number: u32) -> bool {
        // 64 bits of hash as a number in [0, 1).
        self.sample >= 1.0 || (xxh3_64(&number.to_be_bytes()) as f64) < self.sample * 2_f64.powi(64)
    }

    /// Keeps the decision; false if there was no room.
    pub(crate) fn push(&self, decision: Logged) -> bool {
        let mut waiting = self.lock();
        let room = waiting.len() < self.limit;
        if room {
            waiting.push(decision);
        }
        room
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Hands out what waits, oldest first.
    pub(crate) fn take(&self, names: &DecisionNames<'_>) -> Vec<Decision> {
        let taken = std::mem::take(&mut *self.lock());
        taken.into_iter().map(|one| one.named(names)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Logged>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logged {
    fn named(self, names: &DecisionNames<'_>) -> Decision {
        let text = |all: &[std::sync::Arc<str>], id: u32| {
            all.get(id as usize).map(|name| name.to_string()).unwrap_or_default()
        };
        let items = names.items.with_names(|all| self.items.iter().map(|one| text(all, one.0)).collect());
        Decision {
            decision: self.id.sign(names.pseudonyms),
            time: timestamp(self.id.time_ms),
            user: self.user.hex(),
            segment: names.segments.name(self.segment).to_string(),
            digest: names.versions.name(self.digest).to_string(),
            track: self.track,
            arm: names.arms.name(self.arm).to_string(),
            served_by: self.served_by,
            reason: self.reason,
            propensity: f64::from(self.id.propensity_ppm) / 1e6,
            generation: self.generation,
            latency_us: self.latency_us,
            items,
            scores: self.items.iter().map(|one| one.1).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_the_share_asked_for() {
        for (sample, least, most) in [(0.0, 0, 0), (0.1, 900, 1_100), (1.0, 10_000, 10_000)] {
            let decisions = Decisions::new(1, sample);
            let n = (0..10_000).filter(|&number| decisions.sampled(number)).count();
            assert!((least..=most).contains(&n), "{sample}: {n}");
        }
    }
}
