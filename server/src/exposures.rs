//! Exposures that wait for what users do: who was shown what, and which lists are compared in pairs. When the reward's
//! horizon is over an exposure matures; it is counted then, with or without a reward, so that quick feedback is never
//! over-represented.
//!
//! Bounded: when too many wait, the oldest are dropped without being counted at all, and that is counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::interner::UNKNOWN;
use crate::pseudonym::{UserKey, UserMap};
use crate::users::SHARDS;
use crate::windows::{ArmId, Matured, PairId};

/// Most exposures of one user that wait.
const PER_USER: usize = 256;
/// Most distinct items that are noted for one exposure.
const ITEMS: usize = 256;

/// Lists for the comparison in pairs, as they were at the time of the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lists {
    /// Stable's version and list.
    pub(crate) stable: (u32, Vec<u32>),
    pub(crate) popularity: Vec<u32>,
    /// The candidate's version and list, if it answered unseen.
    pub(crate) shadow: Option<(u32, Vec<u32>)>,
}

/// One answer that waits for feedback.
#[derive(Clone, Debug)]
pub(crate) struct Exposure {
    pub(crate) time_ms: i64,
    pub(crate) number: u32,
    pub(crate) generation: u64,
    pub(crate) arm: ArmId,
    pub(crate) shown: Box<[u32]>,
    pub(crate) lists: Option<Box<Lists>>,
    /// What the user consumed since, each item once, and whether it counts for the answer that was shown.
    pub(crate) consumed: Vec<(u32, bool)>,
}

impl Exposure {
    fn note(&mut self, item: u32, credited: bool) {
        let listed = self.shown.contains(&item)
            || self.lists.as_ref().is_some_and(|lists| {
                // The unseen list may still be on its way, so with lists every item is noted.
                lists.shadow.is_none()
                    || lists.stable.1.contains(&item)
                    || lists.popularity.contains(&item)
                    || lists.shadow.as_ref().is_some_and(|(_, list)| list.contains(&item))
            });
        match self.consumed.iter().position(|(known, _)| *known == item) {
            Some(at) => self.consumed[at].1 |= credited,
            None if !listed || self.consumed.len() >= ITEMS => {}
            None => self.consumed.push((item, credited)),
        }
    }

    fn mature(&self, cell: u8, cap: f64) -> Matured {
        let reward = |list: &[u32], counts: fn(bool) -> bool| {
            let hits = self.consumed.iter().filter(|(item, c)| counts(*c) && list.contains(item));
            (hits.count() as f64).min(cap)
        };
        let mut pairs = Vec::new();
        if let Some(lists) = &self.lists {
            let any = |list: &[u32]| reward(list, |_| true);
            let (stable, mine) = &lists.stable;
            let generation = self.generation;
            let of_stable = any(mine);
            let against = PairId { version: *stable, against: UNKNOWN, generation };
            pairs.push((against, of_stable, any(&lists.popularity)));
            if let Some((candidate, list)) = &lists.shadow {
                let against = PairId { version: *candidate, against: *stable, generation };
                pairs.push((against, any(list), of_stable));
            }
        }
        let reward = reward(&self.shown, |credited| credited);
        Matured { arm: self.arm, generation: self.generation, cell, reward, pairs }
    }
}

#[derive(Default)]
struct Shard {
    users: UserMap<VecDeque<Exposure>>,
    /// In the order of arrival: when it matures, whose it is, its number.
    order: VecDeque<(i64, UserKey, u32)>,
    waiting: usize,
}

/// All exposures that wait.
pub(crate) struct Exposures {
    shards: Vec<Mutex<Shard>>,
    within_ms: i64,
    cap: f64,
    per_shard: usize,
    overflowed: AtomicU64,
}

impl Exposures {
    pub(crate) fn new(within_ms: i64, cap: f64, pending_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            within_ms,
            cap,
            per_shard: pending_max.div_ceil(SHARDS).max(1),
            overflowed: AtomicU64::new(0),
        }
    }

    pub(crate) fn add(&self, user: &UserKey, exposure: Exposure) {
        let mut shard = self.shard(user);
        let overflowing = shard.users.get(user).is_some_and(|mine| mine.len() >= PER_USER);
        let mut dropped = u64::from(overflowing && shard.pop_of(user).is_some());
        while shard.waiting >= self.per_shard {
            let Some((_, key, number)) = shard.order.pop_front() else {
                break;
            };
            dropped += u64::from(shard.pop(&key, number).is_some());
        }
        self.overflowed.fetch_add(dropped, Ordering::Relaxed);
        let matures_ms = exposure.time_ms.saturating_add(self.within_ms);
        shard.order.push_back((matures_ms, *user, exposure.number));
        shard.users.entry(*user).or_default().push_back(exposure);
        shard.waiting += 1;
    }

    /// Adds the unseen list to an exposure that still waits.
    pub(crate) fn add_shadow(&self, user: &UserKey, number: u32, version: u32, list: Vec<u32>) {
        let mut shard = self.shard(user);
        let mine = shard.users.get_mut(user).and_then(|all| all.iter_mut().find(|one| one.number == number));
        if let Some(lists) = mine.and_then(|exposure| exposure.lists.as_mut()) {
            lists.shadow = Some((version, list));
        }
    }

    /// Notes that the user consumed `item`. Exposures within the horizon share it; with `only` (time and number of an
    /// answer) it counts for that answer alone. Comparisons in pairs see it in any case.
    pub(crate) fn credit(&self, user: &UserKey, item: u32, time_ms: i64, only: Option<(i64, u32)>) {
        let mut shard = self.shard(user);
        for exposure in shard.users.get_mut(user).into_iter().flatten() {
            let age = time_ms.saturating_sub(exposure.time_ms);
            if (0..self.within_ms).contains(&age) {
                let mine = only.is_none_or(|only| only == (exposure.time_ms, exposure.number));
                exposure.note(item, mine);
            }
        }
    }

    /// Takes what has matured by now.
    pub(crate) fn sweep(&self, now_ms: i64) -> Vec<Matured> {
        let mut matured = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            while let Some(&(at, key, number)) = shard.order.front().filter(|one| one.0 <= now_ms) {
                debug_assert!(at <= now_ms);
                shard.order.pop_front();
                if let Some(exposure) = shard.pop(&key, number) {
                    matured.push(exposure.mature(key.cell(), self.cap));
                }
            }
        }
        matured
    }

    /// Forgets the user.
    pub(crate) fn forget(&self, user: &UserKey) {
        let mut shard = self.shard(user);
        let mine = shard.users.remove(user).map_or(0, |mine| mine.len());
        shard.waiting -= mine;
        shard.order.retain(|(_, key, _)| key != user);
    }

    /// How many wait, and how many were dropped because too many did.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let waiting = self.shards.iter().map(|shard| lock(shard).waiting as u64).sum();
        (waiting, self.overflowed.load(Ordering::Relaxed))
    }

    /// Everything that waits, in the order of time and user.
    pub(crate) fn all(&self) -> Vec<(UserKey, Exposure)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let users = shard.users.iter();
            all.extend(users.flat_map(|(key, mine)| mine.iter().map(|one| (*key, one.clone()))));
        }
        all.sort_by_key(|(key, one)| (one.time_ms, one.number, *key));
        all
    }

    fn shard(&self, user: &UserKey) -> MutexGuard<'_, Shard> {
        lock(&self.shards[user.shard()])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Takes the exposure with this number; its place in the order may stay behind and is skipped later.
    fn pop(&mut self, user: &UserKey, number: u32) -> Option<Exposure> {
        let mine = self.users.get_mut(user)?;
        let at = mine.iter().position(|one| one.number == number)?;
        let exposure = mine.remove(at);
        if mine.is_empty() {
            self.users.remove(user);
        }
        self.waiting -= usize::from(exposure.is_some());
        exposure
    }

    /// Takes the user's oldest exposure with its place in the order.
    fn pop_of(&mut self, user: &UserKey) -> Option<Exposure> {
        let number = self.users.get(user)?.front()?.number;
        if let Some(at) = self.order.iter().position(|one| one.1 == *user && one.2 == number) {
            self.order.remove(at);
        }
        self.pop(user, number)
    }
}

#[cfg(test)]
mod tests {
    use fairway_wire::Track;

    use super::*;

    const ANN: UserKey = UserKey([7; 16]);
    const ARM: ArmId = ArmId { version: 1, track: Track::Stable, segment: UNKNOWN, arm: UNKNOWN };

    fn shown(time_ms: i64, number: u32, items: &[u32]) -> Exposure {
        let (shown, consumed) = (items.into(), vec![]);
        Exposure { time_ms, number, generation: 5, arm: ARM, shown, lists: None, consumed }
    }

    fn rewards(matured: &[Matured]) -> Vec<f64> {
        matured.iter().map(|one| one.reward).collect()
    }

    #[test]
    fn feedback_within_the_horizon_counts_once_per_item_up_to_the_cap() {
        let exposures = Exposures::new(100, 2.0, 1_000);
        exposures.add(&ANN, shown(0, 1, &[1, 2, 3, 4]));
        exposures.add(&ANN, shown(50, 2, &[1, 9]));
        for (item, time_ms) in [(1, 10), (1, 20), (9, 20), (2, 99), (3, 99), (9, 100), (4, -1)] {
            exposures.credit(&ANN, item, time_ms, None);
        }
        exposures.credit(&UserKey([8; 16]), 1, 60, None);
        assert_eq!(rewards(&exposures.sweep(99)), [0.0; 0]);
        let matured = exposures.sweep(100);
        assert_eq!(rewards(&matured), [2.0]);
        assert_eq!((matured[0].cell, matured[0].generation, matured[0].arm), (7, 5, ARM));
        assert_eq!(rewards(&exposures.sweep(1_000)), [1.0]);
        assert_eq!(exposures.counts(), (0, 0));
    }

    #[test]
    fn a_named_answer_is_credited_alone() {
        let exposures = Exposures::new(100, 9.0, 1_000);
        exposures.add(&ANN, shown(0, 1, &[1]));
        exposures.add(&ANN, shown(0, 2, &[1]));
        exposures.credit(&ANN, 1, 5, Some((0, 2)));
        assert_eq!(rewards(&exposures.sweep(100)), [0.0, 1.0]);
    }

    #[test]
    fn lists_are_compared_on_all_that_was_consumed() {
        let exposures = Exposures::new(100, 9.0, 1_000);
        let mut exposure = shown(0, 1, &[1]);
        let lists = Lists { stable: (1, vec![1, 2]), popularity: vec![3], shadow: None };
        exposure.lists = Some(Box::new(lists));
        exposures.add(&ANN, exposure);
        for item in [1, 2, 3, 4] {
            exposures.credit(&ANN, item, 1, Some((7, 7)));
        }
        exposures.add_shadow(&ANN, 1, 2, vec![2, 3, 4]);
        let matured = exposures.sweep(100);
        let popularity = PairId { version: 1, against: UNKNOWN, generation: 5 };
        let shadow = PairId { version: 2, against: 1, generation: 5 };
        assert_eq!(matured[0].pairs, [(popularity, 2.0, 1.0), (shadow, 3.0, 2.0)]);
        assert_eq!(matured[0].reward, 0.0);
    }

    #[test]
    fn too_many_drop_the_oldest_and_say_so() {
        let exposures = Exposures::new(100, 9.0, 3 * SHARDS);
        for number in 0..5 {
            exposures.add(&ANN, shown(i64::from(number), number, &[1]));
        }
        assert_eq!(exposures.counts(), (3, 2));
        let waiting: Vec<u32> = exposures.all().iter().map(|(_, one)| one.number).collect();
        assert_eq!(waiting, [2, 3, 4]);
        exposures.forget(&ANN);
        assert_eq!(exposures.counts(), (0, 2));
        assert!(exposures.sweep(1_000).is_empty());
    }

    #[test]
    fn one_user_cannot_take_all_places() {
        let exposures = Exposures::new(100, 9.0, 1_000_000);
        for number in 0..2 * PER_USER as u32 {
            exposures.add(&ANN, shown(0, number, &[1]));
        }
        assert_eq!(exposures.counts(), (PER_USER as u64, PER_USER as u64));
        assert_eq!(exposures.sweep(100).len(), PER_USER);
    }
}
