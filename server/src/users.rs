//! What is known of users: their history and their last good answer, in memory, under 64 locks.
//!
//! Bounded: a history keeps the newest items, and when a shard is full a newcomer takes the place of a user who was
//! not seen lately. Eviction is CLOCK (second chance), an approximation of least-recently-used: each user has one place
//! in a ring; whoever was seen since the hand last came by is spared once, and after 16 spared in a row the next one
//! goes, so that no request pays for the search.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::interner::UNKNOWN;
use crate::pseudonym::{UserKey, UserMap};

/// How many locks share the users.
pub(crate) const SHARDS: usize = 64;
/// Spared users before the next one goes.
const CHANCES: usize = 16;

/// An item and when the user last consumed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Consumed {
    pub(crate) item: u32,
    pub(crate) time_ms: i64,
}

/// A user's last good answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LastAnswer {
    pub(crate) time_ms: i64,
    /// Number and interned digest of the version that gave it.
    pub(crate) version: u64,
    pub(crate) digest: u32,
    pub(crate) items: Box<[(u32, f32)]>,
}

#[derive(Default)]
struct User {
    /// Each item once, oldest first.
    history: Vec<Consumed>,
    last: Option<LastAnswer>,
    segment: Option<u32>,
    seen: bool,
}

#[derive(Default)]
struct Shard {
    users: UserMap<User>,
    ring: VecDeque<UserKey>,
}

/// All users of a router.
pub(crate) struct Users {
    shards: Vec<Mutex<Shard>>,
    users_per_shard: usize,
    history_max: usize,
}

impl Users {
    pub(crate) fn new(users_max: usize, history_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            users_per_shard: users_max.div_ceil(SHARDS).max(1),
            history_max: history_max.max(1),
        }
    }

    /// The user's history, oldest first; empty for a stranger, who is not remembered for asking.
    pub(crate) fn history(&self, key: &UserKey) -> Vec<Consumed> {
        let mut shard = self.shard(key);
        let Some(user) = shard.users.get_mut(key) else {
            return Vec::new();
        };
        user.seen = true;
        user.history.clone()
    }

    /// Notes that the user consumed `item`. An item that is known already moves to the later of its times.
    pub(crate) fn consume(&self, key: &UserKey, item: u32, time_ms: i64) {
        let history_max = self.history_max;
        self.edit(key, |user| {
            if let Some(at) = user.history.iter().position(|one| one.item == item) {
                if user.history[at].time_ms >= time_ms {
                    return;
                }
                user.history.remove(at);
            }
            let at = user.history.partition_point(|one| one.time_ms <= time_ms);
            user.history.insert(at, Consumed { item, time_ms });
            if user.history.len() > history_max {
                user.history.remove(0);
            }
        });
    }

    /// The user's segment when last told.
    pub(crate) fn segment(&self, key: &UserKey) -> Option<u32> {
        self.shard(key).users.get(key)?.segment
    }

    /// Keeps a good answer and the segment.
    pub(crate) fn remember(&self, key: &UserKey, segment: u32, answer: LastAnswer) {
        self.edit(key, |user| {
            user.last = Some(answer);
            if segment != UNKNOWN {
                user.segment = Some(segment);
            }
        });
    }

    /// The last good answer, if it was given at `since_ms` or later.
    pub(crate) fn last_answer(&self, key: &UserKey, since_ms: i64) -> Option<LastAnswer> {
        let shard = self.shard(key);
        shard.users.get(key)?.last.clone().filter(|last| last.time_ms >= since_ms)
    }

    /// Users whose history is known.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).users.len()).sum()
    }

    /// Every user with a history, in the order of their keys.
    pub(crate) fn all(&self) -> Vec<(UserKey, Option<u32>, Vec<Consumed>)> {
        let mut all: Vec<_> = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let with_history = shard.users.iter().filter(|(_, user)| !user.history.is_empty());
            all.extend(with_history.map(|(key, user)| (*key, user.segment, user.history.clone())));
        }
        all.sort_unstable_by_key(|(key, ..)| *key);
        all
    }

    /// Sets the segment, as when a snapshot is taken up.
    pub(crate) fn set_segment(&self, key: &UserKey, segment: u32) {
        self.edit(key, |user| user.segment = Some(segment));
    }

    fn edit(&self, key: &UserKey, change: impl FnOnce(&mut User)) {
        let mut shard = self.shard(key);
        if !shard.users.contains_key(key) {
            if shard.users.len() >= self.users_per_shard {
                shard.evict();
            }
            shard.ring.push_back(*key);
        }
        let user = shard.users.entry(*key).or_default();
        user.seen = true;
        change(user);
    }

    fn shard(&self, key: &UserKey) -> MutexGuard<'_, Shard> {
        lock(&self.shards[key.shard()])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn evict(&mut self) {
        for spared in 0.. {
            let Some(key) = self.ring.pop_front() else {
                return;
            };
            match self.users.get_mut(&key) {
                Some(user) if user.seen && spared < CHANCES => {
                    user.seen = false;
                    self.ring.push_back(key);
                }
                _ => {
                    self.users.remove(&key);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> UserKey {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&n.to_le_bytes());
        UserKey(bytes)
    }

    fn items(users: &Users, n: u64) -> Vec<u32> {
        users.history(&key(n)).iter().map(|one| one.item).collect()
    }

    #[test]
    fn a_history_is_in_order_has_each_item_once_and_keeps_the_newest() {
        let users = Users::new(100, 3);
        for (item, time_ms) in [(1, 10), (2, 5), (1, 7), (3, 20), (2, 30)] {
            users.consume(&key(0), item, time_ms);
        }
        assert_eq!(items(&users, 0), [1, 3, 2]);
        users.consume(&key(0), 4, 25);
        assert_eq!(items(&users, 0), [3, 4, 2]);
        assert_eq!(items(&users, 1), [0; 0]);
    }

    #[test]
    fn users_are_bounded_and_the_active_stay() {
        // All these users are in one shard, which has room for 10.
        let users = Users::new(10 * SHARDS, 3);
        for n in 0..10 {
            users.consume(&key(n), 1, 0);
        }
        for n in 10..1_000 {
            let _ = users.history(&key(3));
            users.consume(&key(n), 1, 0);
        }
        assert_eq!(users.all().len(), 10);
        assert_eq!(items(&users, 3), [1]);
    }

    #[test]
    fn an_old_answer_is_not_given_again() {
        let users = Users::new(10, 3);
        let answer = LastAnswer { time_ms: 100, version: 1, digest: 0, items: [(1, 0.5)].into() };
        users.remember(&key(0), 7, answer.clone());
        assert_eq!(users.last_answer(&key(0), 100), Some(answer));
        assert_eq!(users.last_answer(&key(0), 101), None);
        assert_eq!(users.segment(&key(0)), Some(7));
    }
}
