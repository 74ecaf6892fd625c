//! Exposures that wait for what users do: who was shown what, and which lists are compared in pairs. When the reward's
//! horizon is over an exposure matures; it is counted then, with or without a reward, so that quick feedback is never
//! over-represented.
//!
//! Bounded, and fair to what is compared. Whoever drops the oldest when there is no room has nothing that ever matures. So only a
//! sample of the users is waited for: all of them at first, and each time that there is no room only half of those before. Who is
//! among them is a hash of the user that has nothing to do with groups, cells or behaviour, and what is waited for is waited for to
//! the end: of each arm the same share of users is counted, with all that they were shown.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::interner::UNKNOWN;
use crate::pseudonym::{UserKey, UserMap};
use crate::users::SHARDS;
use crate::windows::{ArmId, Matured, PairId};

/// Most exposures of one user that wait. Further ones are not taken: whether one waits depends on what was before it and not on
/// what comes of it, so that those that are counted have an arm's mean. To drop the oldest for them would be to count none at all
/// of those users who come most.
const PER_USER: usize = 256;
/// Most distinct items that are noted for one exposure.
const ITEMS: usize = 256;

/// How often the share of users who are waited for can be halved: to one in a million.
const HALVINGS_MAX: u32 = 20;

/// Lists for the comparison in pairs, as they were at the time of the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lists {
    /// Stable's version and list; none if it was not shown and has not answered unseen.
    pub(crate) stable: Option<(u32, Vec<u32>)>,
    pub(crate) popularity: Vec<u32>,
    /// The candidate's version and list, if it answered unseen.
    #[serde(rename = "shadow")]
    pub(crate) candidate: Option<(u32, Vec<u32>)>,
}

/// Whose list comes after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unseen {
    Stable,
    Candidate,
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
                // An unseen list may still be on its way: without it every item is noted.
                let may_hold =
                    |list: &Option<(u32, Vec<u32>)>| list.as_ref().is_none_or(|(_, all)| all.contains(&item));
                may_hold(&lists.stable) || may_hold(&lists.candidate) || lists.popularity.contains(&item)
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
        if let Some(lists) = &self.lists
            && let Some((stable, mine)) = &lists.stable
        {
            let any = |list: &[u32]| reward(list, |_| true);
            let generation = self.generation;
            let of_stable = any(mine);
            let against = PairId { version: *stable, against: UNKNOWN, generation };
            pairs.push((against, of_stable, any(&lists.popularity)));
            if let Some((candidate, list)) = &lists.candidate {
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
    users: UserMap<Vec<Exposure>>,
    /// When each matures, whose it is, its number; the next one first.
    order: BinaryHeap<Reverse<(i64, UserKey, u32)>>,
    waiting: usize,
    /// The share of users whose exposures are here.
    halvings: u32,
}

/// All exposures that wait.
pub(crate) struct Exposures {
    shards: Vec<Mutex<Shard>>,
    within_ms: i64,
    cap: f64,
    per_shard: usize,
    /// How often the share of users who are waited for was halved.
    halvings: AtomicU32,
    given_up: AtomicU64,
}

impl Exposures {
    pub(crate) fn new(within_ms: i64, cap: f64, pending_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            within_ms,
            cap,
            per_shard: pending_max.div_ceil(SHARDS).max(1),
            halvings: AtomicU32::new(0),
            given_up: AtomicU64::new(0),
        }
    }

    /// Whether the user is one of those who are waited for.
    pub(crate) fn waits_for(&self, user: &UserKey) -> bool {
        is_sampled(user, self.halvings.load(Ordering::Relaxed))
    }

    /// Takes an exposure; false if it does not wait.
    pub(crate) fn add(&self, user: &UserKey, exposure: Exposure) -> bool {
        let mut shard = self.shard(user);
        loop {
            let halvings = self.halvings.load(Ordering::Relaxed);
            self.trim(&mut shard, halvings);
            if !is_sampled(user, halvings) {
                return false;
            }
            let mine = shard.users.get(user).map_or(0, Vec::len);
            let full = shard.waiting >= self.per_shard;
            if mine >= PER_USER || (full && halvings >= HALVINGS_MAX) {
                self.given_up.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            if !full {
                break;
            }
            // Whoever else found no room meanwhile has halved the same share, and not once more.
            let (order, next) = (Ordering::Relaxed, halvings + 1);
            let _ = self.halvings.compare_exchange(halvings, next, order, order);
        }
        let matures_ms = exposure.time_ms.saturating_add(self.within_ms);
        shard.order.push(Reverse((matures_ms, *user, exposure.number)));
        shard.users.entry(*user).or_default().push(exposure);
        shard.waiting += 1;
        true
    }

    /// Drops what waits of users who are waited for no more.
    fn trim(&self, shard: &mut Shard, halvings: u32) {
        if shard.halvings < halvings {
            let before = shard.waiting;
            shard.users.retain(|user, _| is_sampled(user, halvings));
            shard.order.retain(|Reverse((_, user, _))| is_sampled(user, halvings));
            shard.waiting = shard.users.values().map(Vec::len).sum();
            self.given_up.fetch_add((before - shard.waiting) as u64, Ordering::Relaxed);
        }
        shard.halvings = halvings;
    }

    /// Adds a list that nobody saw to an exposure that still waits. A version that knows nothing of the user has none: stable would
    /// show what is popular; from the candidate nothing is to be learnt then.
    pub(crate) fn add_unseen(&self, user: &UserKey, number: u32, who: Unseen, version: u32, list: Option<Vec<u32>>) {
        let mut shard = self.shard(user);
        let mine = shard.users.get_mut(user).and_then(|all| all.iter_mut().find(|one| one.number == number));
        let Some(lists) = mine.and_then(|exposure| exposure.lists.as_mut()) else {
            return;
        };
        match who {
            Unseen::Stable => {
                let list = list.unwrap_or_else(|| lists.popularity.clone());
                lists.stable = Some((version, list));
            }
            Unseen::Candidate => lists.candidate = list.map(|list| (version, list)),
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

    /// Takes what has matured by now. Where there is much room again, twice as many users are waited for from now on.
    pub(crate) fn sweep(&self, now_ms: i64) -> Vec<Matured> {
        let mut matured = Vec::new();
        let mut waiting = 0;
        let halvings = self.halvings.load(Ordering::Relaxed);
        for shard in &self.shards {
            let mut shard = lock(shard);
            self.trim(&mut shard, halvings);
            while let Some(&Reverse((_, key, number))) = shard.order.peek().filter(|one| one.0.0 <= now_ms) {
                shard.order.pop();
                if let Some(exposure) = shard.pop(&key, number) {
                    matured.push(exposure.mature(key.cell(), self.cap));
                }
            }
            waiting += shard.waiting;
        }
        // At half of what there is room for they would soon be halved again.
        if halvings > 0 && waiting < self.per_shard * SHARDS / 4 {
            let (order, next) = (Ordering::Relaxed, halvings - 1);
            let _ = self.halvings.compare_exchange(halvings, next, order, order);
        }
        matured
    }

    /// The share of users who are waited for.
    pub(crate) fn share(&self) -> f64 {
        0.5_f64.powi(self.halvings.load(Ordering::Relaxed).min(HALVINGS_MAX) as i32)
    }

    /// How many wait, and how many were given up for want of room.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let waiting = self.shards.iter().map(|shard| lock(shard).waiting as u64).sum();
        (waiting, self.given_up.load(Ordering::Relaxed))
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

/// Whether the user is in the sample that was halved so often.
fn is_sampled(user: &UserKey, halvings: u32) -> bool {
    user.lot() >> (48 - halvings) == 0
}

impl Shard {
    fn pop(&mut self, user: &UserKey, number: u32) -> Option<Exposure> {
        let mine = self.users.get_mut(user)?;
        let at = mine.iter().position(|one| one.number == number)?;
        let exposure = mine.remove(at);
        if mine.is_empty() {
            self.users.remove(user);
        }
        self.waiting -= 1;
        Some(exposure)
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
        let lists = Lists { stable: Some((1, vec![1, 2])), popularity: vec![3], candidate: None };
        exposure.lists = Some(Box::new(lists));
        exposures.add(&ANN, exposure);
        for item in [1, 2, 3, 4] {
            exposures.credit(&ANN, item, 1, Some((7, 7)));
        }
        exposures.add_unseen(&ANN, 1, Unseen::Candidate, 2, Some(vec![2, 3, 4]));
        let matured = exposures.sweep(100);
        let popularity = PairId { version: 1, against: UNKNOWN, generation: 5 };
        let shadow = PairId { version: 2, against: 1, generation: 5 };
        assert_eq!(matured[0].pairs, [(popularity, 2.0, 1.0), (shadow, 3.0, 2.0)]);
        assert_eq!(matured[0].reward, 0.0);
    }

    /// What stable would have shown may come late, and may not come at all.
    #[test]
    fn an_unseen_list_of_stable_is_compared_if_it_came() {
        for (list, expected) in [
            (Some(Some(vec![1, 5])), Some((2.0, 1.0))),
            // It knows nothing of the user, and would show what is popular.
            (Some(None), Some((1.0, 1.0))),
            (None, None),
        ] {
            let exposures = Exposures::new(100, 9.0, 1_000);
            let mut exposure = shown(0, 1, &[3]);
            exposure.lists = Some(Box::new(Lists { stable: None, popularity: vec![3], candidate: None }));
            exposures.add(&ANN, exposure);
            for item in [1, 3, 5] {
                exposures.credit(&ANN, item, 1, None);
            }
            if let Some(list) = list {
                exposures.add_unseen(&ANN, 1, Unseen::Stable, 7, list);
            }
            let pairs: Vec<_> = exposures.sweep(100)[0].pairs.iter().map(|pair| (pair.1, pair.2)).collect();
            assert_eq!(pairs, Vec::from_iter(expected));
        }
    }

    fn user(n: u32) -> UserKey {
        crate::Pseudonyms::new(b"test key").key(&format!("user-{n}"))
    }

    /// Ten times as many answers as there is room for within the horizon, of users who buy each second thing that they are shown.
    #[test]
    fn when_too_many_come_those_of_a_sample_of_the_users_still_mature() {
        let room = 20 * SHARDS;
        let exposures = Exposures::new(1_000, 9.0, room);
        let mut matured = Vec::new();
        for number in 0..30 * room as u32 {
            let (time_ms, ann) = (i64::from(number) * 100 / room as i64, user(number % 20_000));
            let waits = exposures.add(&ann, shown(time_ms, number, &[1]));
            assert!(!waits || exposures.waits_for(&ann));
            if number % 2 == 0 {
                exposures.credit(&ann, 1, time_ms, Some((time_ms, number)));
            }
            if number % 100 == 0 {
                matured.extend(exposures.sweep(time_ms));
            }
        }
        let (waiting, given_up) = exposures.counts();
        assert!(waiting <= room as u64 && given_up > 0, "{waiting} wait, {given_up} were given up");
        assert!((1.0 / 32.0..=1.0 / 8.0).contains(&exposures.share()), "{}", exposures.share());
        // Some of those that mature by the end, as many as there is room for at a time, and a mean that is theirs all.
        assert!(matured.len() > room / 2, "{}", matured.len());
        let mean = rewards(&matured).iter().sum::<f64>() / matured.len() as f64;
        assert!((mean - 0.5).abs() < 0.1, "{mean}");
        // When nobody comes any more, everybody is waited for again.
        (0..10).for_each(|n| drop(exposures.sweep(1_000_000 + n)));
        assert_eq!((exposures.counts().0, exposures.share()), (0, 1.0));
    }

    #[test]
    fn the_sample_says_nothing_of_cells_and_locks() {
        let users = (0..200_000).map(user);
        let sampled: Vec<UserKey> = users.filter(|user| is_sampled(user, 3)).collect();
        let share = sampled.len() as f64 / 200_000.0;
        assert!((share - 0.125).abs() < 0.003, "{share}");
        // Pearson's statistic against equal shares; the 99.9 % quantiles of 255 and of 63 degrees of freedom.
        let chi_square = |of: &dyn Fn(&UserKey) -> usize, groups: usize| {
            let mut counts = vec![0.0; groups];
            sampled.iter().for_each(|user| counts[of(user)] += 1.0);
            let expected = sampled.len() as f64 / groups as f64;
            counts.iter().map(|n: &f64| (n - expected).powi(2) / expected).sum::<f64>()
        };
        let (cells, locks) = (chi_square(&|user| usize::from(user.cell()), 256), chi_square(&UserKey::shard, 64));
        assert!(cells < 330.5 && locks < 103.4, "{cells}, {locks}");
        // Whoever is in a smaller sample was in the larger one.
        assert!(sampled.iter().all(|user| (0..3).all(|halvings| is_sampled(user, halvings))));
    }

    #[test]
    fn the_first_answers_of_a_user_who_comes_often_are_counted() {
        let exposures = Exposures::new(100, 9.0, 1_000_000);
        let waits = |time_ms, number| exposures.add(&ANN, shown(time_ms, number, &[1]));
        assert!((0..PER_USER as u32).all(|number| waits(i64::from(number) / 64, number)));
        assert!(!waits(50, 1_000), "one user cannot take all places");
        assert_eq!(exposures.counts(), (PER_USER as u64, 1));
        assert_eq!(exposures.sweep(100).len(), 64);
        // As soon as one is counted there is room for another.
        assert!(waits(101, 1_001));
    }

    #[test]
    fn they_mature_in_the_order_of_their_time_however_they_came() {
        let exposures = Exposures::new(100, 9.0, 1_000);
        // A clock that was ahead for a while, and a snapshot that is taken up late.
        for (number, time_ms) in [(1, 9_000_000), (2, 20), (3, 10)] {
            exposures.add(&ANN, shown(time_ms, number, &[1]));
        }
        assert_eq!((exposures.sweep(110).len(), exposures.sweep(120).len(), exposures.counts().0), (1, 1, 1));
    }
}
