//! Which events were taken already: the newest identifiers, as keyed hashes, so that a repeat counts once. Bounded: a
//! repeat that comes after very many other events is taken as new.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_128_with_seed;

#[derive(Default)]
struct Seen {
    known: HashSet<u128>,
    order: VecDeque<u128>,
}

/// The newest identifiers.
pub(crate) struct EventIds {
    seen: Mutex<Seen>,
    seed: u64,
    limit: usize,
}

impl EventIds {
    pub(crate) fn new(limit: usize) -> Self {
        Self { seen: Mutex::default(), seed: rand::random(), limit }
    }

    /// Whether the identifier is new; it is known from now on.
    pub(crate) fn is_new(&self, id: &str) -> bool {
        let hash = xxh3_128_with_seed(id.as_bytes(), self.seed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.known.insert(hash) {
            return false;
        }
        seen.order.push_back(hash);
        if seen.order.len() > self.limit
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_known_until_too_many_came_between() {
        let ids = EventIds::new(2);
        assert_eq!(["a", "a", "b", "a", "c", "a"].map(|id| ids.is_new(id)), [true, false, true, false, true, true]);
    }
}
