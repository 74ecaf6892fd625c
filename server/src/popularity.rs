//! What was consumed lately: live counts in daily buckets by the time of the event, everywhere and by segment.
//!
//! Answers come from lists of the 500 most consumed items, renewed lazily: after a number of events that grows with the
//! number of items, or when a dirty list is older than 5 minutes. Ties are broken by item identifier. Reading takes no
//! lock. It is the baseline that every version must beat, so it knows nothing of users.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::config::millis;
use crate::interner::Interner;

const DAY_MS: i64 = 86_400_000;
/// Length of a list; more than the most items that an answer may hold and an ordinary history together.
const LISTED: usize = 500;
/// A dirty list is renewed after this, on the router's clock.
const STALE_MS: i64 = 300_000;
/// A list is renewed after this share of its items (one in eight) in events, and at most this many.
const DIRTY_MAX: usize = 4_096;

/// One listed item.
#[derive(Clone, Debug)]
pub(crate) struct Popular {
    pub(crate) item: u32,
    pub(crate) name: Arc<str>,
    /// Its share of the consumption.
    pub(crate) share: f32,
}

#[derive(Clone, Default)]
struct Lists {
    global: Arc<[Popular]>,
    by_segment: HashMap<u32, Arc<[Popular]>>,
}

#[derive(Default)]
struct Scope {
    days: VecDeque<(i64, HashMap<u32, u32>)>,
    counts: HashMap<u32, u64>,
    total: u64,
    dirty: usize,
}

#[derive(Default)]
struct Counts {
    global: Scope,
    by_segment: HashMap<u32, Scope>,
}

/// Counts and the lists made from them.
pub(crate) struct Popularity {
    counts: Mutex<Counts>,
    lists: ArcSwap<Lists>,
    next_look_ms: AtomicI64,
    days: i64,
}

/// The counts of one scope for a snapshot: segment (`None`: everywhere), then days with items and counts.
pub(crate) type ScopeDays = (Option<u32>, Vec<(i64, Vec<(u32, u32)>)>);

impl Popularity {
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            counts: Mutex::default(),
            lists: ArcSwap::default(),
            next_look_ms: AtomicI64::new(i64::MIN),
            days: (millis(window) / DAY_MS).clamp(1, 3_660),
        }
    }

    /// Counts a consumption of `item` and renews the lists that are due.
    pub(crate) fn add(&self, item: u32, segment: Option<u32>, time_ms: i64, now_ms: i64, names: &Interner) {
        let mut counts = self.lock();
        self.count(&mut counts, item, segment, time_ms, now_ms);
        let due = |scope: &Scope| scope.dirty >= (scope.counts.len() / 8).clamp(1, DIRTY_MAX);
        let segment = segment.filter(|id| counts.by_segment.get(id).is_some_and(due));
        if due(&counts.global) || segment.is_some() {
            self.publish(&mut counts, names, |id, scope| match id {
                None => due(scope),
                some => some == segment,
            });
        }
    }

    /// Counts without renewing any list; [`renew`](Self::renew) comes after.
    pub(crate) fn seed(&self, item: u32, segment: Option<u32>, time_ms: i64, now_ms: i64) {
        self.count(&mut self.lock(), item, segment, time_ms, now_ms);
    }

    /// Adds to one scope alone, as when a snapshot is taken up.
    pub(crate) fn restore(&self, (segment, days): &ScopeDays, now_ms: i64) {
        let mut counts = self.lock();
        let scope = match segment {
            None => &mut counts.global,
            Some(segment) => counts.by_segment.entry(*segment).or_default(),
        };
        for (day, items) in days {
            for &(item, n) in items {
                scope.add(item, *day, n, self.oldest_day(now_ms));
            }
        }
    }

    /// Forgets what is too old and makes every list anew.
    pub(crate) fn renew(&self, now_ms: i64, names: &Interner) {
        let oldest = self.oldest_day(now_ms);
        let mut counts = self.lock();
        counts.scopes().for_each(|(_, scope)| scope.expire(oldest));
        self.publish(&mut counts, names, |_, _| true);
        self.next_look_ms.store(now_ms.saturating_add(STALE_MS), Ordering::Relaxed);
    }

    /// The best `k` of the segment's list that `excluded` lets pass, filled up from everywhere, best first, and how
    /// many of them the segment gave. Scores fall along the list.
    pub(crate) fn best(
        &self,
        segment: Option<u32>,
        excluded: impl Fn(u32) -> bool,
        k: usize,
        out: &mut Vec<Popular>,
    ) -> usize {
        out.clear();
        let lists = self.lists.load();
        if let Some(list) = segment.and_then(|id| lists.by_segment.get(&id)) {
            out.extend(list.iter().filter(|one| !excluded(one.item)).take(k).cloned());
        }
        let local = out.len();
        let least = out.last().map_or(1.0, |one| one.share);
        for one in lists.global.iter() {
            if out.len() >= k {
                break;
            }
            if !excluded(one.item) && !out[..local].iter().any(|had| had.item == one.item) {
                out.push(Popular { share: one.share * least, ..one.clone() });
            }
        }
        local
    }

    /// Renews dirty lists whose time has come; costs one load when nothing is due.
    pub(crate) fn look(&self, now_ms: i64, names: &Interner) {
        if now_ms < self.next_look_ms.load(Ordering::Relaxed) {
            return;
        }
        self.next_look_ms.store(now_ms.saturating_add(STALE_MS), Ordering::Relaxed);
        let oldest = self.oldest_day(now_ms);
        let mut counts = self.lock();
        counts.scopes().for_each(|(_, scope)| scope.expire(oldest));
        self.publish(&mut counts, names, |_, scope| scope.dirty > 0);
    }

    /// All counts, in order.
    pub(crate) fn all(&self) -> Vec<ScopeDays> {
        let mut counts = self.lock();
        let mut all: Vec<ScopeDays> = counts.scopes().map(|(id, scope)| (id, scope.days())).collect();
        all.sort_unstable_by_key(|(segment, _)| *segment);
        all
    }

    fn oldest_day(&self, now_ms: i64) -> i64 {
        now_ms.div_euclid(DAY_MS) - self.days + 1
    }

    fn count(&self, counts: &mut Counts, item: u32, segment: Option<u32>, time_ms: i64, now_ms: i64) {
        let (day, oldest) = (time_ms.div_euclid(DAY_MS), self.oldest_day(now_ms));
        counts.global.add(item, day, 1, oldest);
        if let Some(segment) = segment {
            counts.by_segment.entry(segment).or_default().add(item, day, 1, oldest);
        }
    }

    fn publish(&self, counts: &mut Counts, names: &Interner, due: impl Fn(Option<u32>, &Scope) -> bool) {
        let mut lists = Lists::clone(&self.lists.load());
        names.with_names(|names| {
            for (id, scope) in counts.scopes() {
                if due(id, scope) {
                    let list = scope.list(names);
                    match id {
                        None => lists.global = list,
                        Some(id) => drop(lists.by_segment.insert(id, list)),
                    }
                }
            }
        });
        self.lists.store(Arc::new(lists));
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn scopes(&mut self) -> impl Iterator<Item = (Option<u32>, &mut Scope)> {
        let segments = self.by_segment.iter_mut().map(|(id, scope)| (Some(*id), scope));
        std::iter::once((None, &mut self.global)).chain(segments)
    }
}

impl Scope {
    fn add(&mut self, item: u32, day: i64, n: u32, oldest: i64) {
        self.expire(oldest);
        if day < oldest || n == 0 {
            return;
        }
        let at = self.days.partition_point(|(known, _)| *known < day);
        if self.days.get(at).is_none_or(|(known, _)| *known != day) {
            self.days.insert(at, (day, HashMap::new()));
        }
        let count = self.days[at].1.entry(item).or_default();
        // What the day cannot hold is not counted in the sum either, so that it can be taken out again.
        let n = n.min(u32::MAX - *count);
        *count += n;
        *self.counts.entry(item).or_default() += u64::from(n);
        self.total += u64::from(n);
        self.dirty += 1;
    }

    fn expire(&mut self, oldest: i64) {
        while self.days.front().is_some_and(|(day, _)| *day < oldest) {
            let Some((_, items)) = self.days.pop_front() else {
                return;
            };
            for (item, n) in items {
                if let Some(count) = self.counts.get_mut(&item) {
                    *count -= u64::from(n);
                    if *count == 0 {
                        self.counts.remove(&item);
                    }
                }
                self.total -= u64::from(n);
            }
            self.dirty += 1;
        }
    }

    fn list(&mut self, names: &[Arc<str>]) -> Arc<[Popular]> {
        self.dirty = 0;
        let name = |item: u32| names.get(item as usize).map_or("", |name| name);
        let mut order: Vec<(u64, u32)> = self.counts.iter().map(|(&item, &n)| (n, item)).collect();
        let better = |a: &(u64, u32), b: &(u64, u32)| b.0.cmp(&a.0).then_with(|| name(a.1).cmp(name(b.1)));
        if order.len() > LISTED {
            order.select_nth_unstable_by(LISTED, better);
            order.truncate(LISTED);
        }
        order.sort_unstable_by(better);
        let total = self.total.max(1) as f64;
        let listed = order.into_iter().map(|(n, item)| Popular {
            item,
            name: names.get(item as usize).cloned().unwrap_or_default(),
            share: (n as f64 / total) as f32,
        });
        listed.collect()
    }

    fn days(&self) -> Vec<(i64, Vec<(u32, u32)>)> {
        let sorted = |items: &HashMap<u32, u32>| {
            let mut items: Vec<(u32, u32)> = items.iter().map(|(&item, &n)| (item, n)).collect();
            items.sort_unstable();
            items
        };
        self.days.iter().map(|(day, items)| (*day, sorted(items))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: Duration = Duration::from_secs(3 * 86_400);

    fn best(popularity: &Popularity, segment: Option<u32>, k: usize) -> (Vec<String>, usize) {
        let mut out = Vec::new();
        let local = popularity.best(segment, |_| false, k, &mut out);
        assert!(out.is_sorted_by(|a, b| a.share >= b.share), "{out:?}");
        (out.iter().map(|one| one.name.to_string()).collect(), local)
    }

    #[test]
    fn counts_by_segment_with_ties_by_name_and_fills_up() {
        let (popularity, names) = (Popularity::new(DAYS), Interner::new(100));
        let [pear, fig, apple] = ["pear", "fig", "apple"].map(|name| names.add_trusted(name));
        for (item, segment) in [(pear, Some(0)), (apple, Some(1)), (fig, Some(1)), (fig, None)] {
            popularity.add(item, segment, 0, 0, &names);
        }
        assert_eq!(best(&popularity, None, 9).0, ["fig", "apple", "pear"]);
        assert_eq!(best(&popularity, Some(0), 2), (vec!["pear".into(), "fig".into()], 1));
        assert_eq!(best(&popularity, Some(1), 2), (vec!["apple".into(), "fig".into()], 2));
        assert_eq!(best(&popularity, Some(7), 1), (vec!["fig".into()], 0));
        let mut out = Vec::new();
        popularity.best(None, |item| item == fig, 1, &mut out);
        assert_eq!(&*out[0].name, "apple");
    }

    #[test]
    fn old_days_are_forgotten_whatever_the_order_of_events() {
        let (popularity, names) = (Popularity::new(DAYS), Interner::new(100));
        let [old, new] = ["old", "new"].map(|name| names.add_trusted(name));
        for _ in 0..3 {
            popularity.add(old, None, 0, 0, &names);
        }
        popularity.add(new, None, 2 * DAY_MS, 2 * DAY_MS, &names);
        popularity.add(old, None, DAY_MS, 2 * DAY_MS, &names);
        assert_eq!(best(&popularity, None, 9).0, ["old", "new"]);
        popularity.look(4 * DAY_MS, &names);
        assert_eq!(best(&popularity, None, 9).0, ["new"]);
        // Too late to count.
        popularity.add(old, None, DAY_MS, 4 * DAY_MS, &names);
        assert_eq!(popularity.all(), [(None, vec![(2, vec![(new, 1)])])]);
    }

    #[test]
    fn a_list_is_renewed_by_events_or_by_time() {
        let (popularity, names) = (Popularity::new(DAYS), Interner::new(1000));
        for i in 0..160 {
            popularity.seed(names.add_trusted(&format!("{i:03}")), None, 0, 0);
        }
        popularity.renew(0, &names);
        popularity.add(100, None, 1, 1, &names);
        assert_eq!(best(&popularity, None, 1).0, ["000"]);
        popularity.look(1 + STALE_MS, &names);
        assert_eq!(best(&popularity, None, 1).0, ["100"]);
        for _ in 0..20 {
            popularity.add(101, None, 1, 1, &names);
        }
        assert_eq!(best(&popularity, None, 1).0, ["101"]);
    }
}
