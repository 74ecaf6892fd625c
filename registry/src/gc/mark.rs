//! Which trees may go, and which may go now. Pure.

use crate::retention::kept;
use crate::state::State;
use crate::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So old a tree without a version is at least when it goes, whatever the grace: a small one is uploaded without a pin.
const ON_ITS_WAY: Duration = Duration::from_secs(3_600);

/// A tree in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Its digest, as its folder's name says.
    pub digest: Digest,
    /// The size of its objects.
    pub bytes: u64,
    /// How many they are.
    pub objects: usize,
    /// When the newest of them was written, by the store's clock.
    pub newest: Timestamp,
}

/// A tree that nothing keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Its digest.
    pub digest: Digest,
    /// The versions that it is; none: it was uploaded and never registered.
    pub versions: Vec<u64>,
    /// The size of its objects.
    pub bytes: u64,
    /// From when on it may be deleted, if nothing keeps it until then.
    pub due: Timestamp,
}

/// What could go at some time: written down, so that a later collection knows since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// When.
    pub time: Timestamp,
    /// Which trees.
    pub digests: BTreeSet<Digest>,
}

fn after(time: Timestamp, grace: Duration) -> Timestamp {
    time.checked_add(grace).unwrap_or(Timestamp::MAX)
}

/// The trees that nothing keeps: no version that is kept, nobody outside, and no youth of a tree
/// that may still become a version.
pub(super) fn candidates(
    state: &State,
    trees: &[Tree],
    in_use: &BTreeSet<Digest>,
    now: Timestamp,
    grace: Duration,
) -> Vec<Candidate> {
    let kept = kept(state, in_use, now);
    let mut of_version: BTreeMap<&Digest, Vec<u64>> = BTreeMap::new();
    for (number, version) in &state.versions {
        of_version.entry(&version.digest).or_default().push(*number);
    }
    let free = |numbers: &[u64]| numbers.iter().all(|number| kept.get(number).is_some_and(BTreeSet::is_empty));
    let sizes: BTreeMap<&Digest, &Tree> = trees.iter().map(|tree| (&tree.digest, tree)).collect();
    let bytes = |digest: &Digest| sizes.get(digest).map_or(0, |tree| tree.bytes);
    let versions = of_version.iter().filter(|(_, numbers)| free(numbers)).map(|(digest, numbers)| Candidate {
        digest: (*digest).clone(),
        versions: numbers.clone(),
        bytes: bytes(digest),
        due: Timestamp::MIN,
    });
    let orphan = |tree: &&Tree| {
        !of_version.contains_key(&tree.digest)
            && !in_use.contains(&tree.digest)
            && state.condemned.get(&tree.digest).is_none_or(|it| it.swept)
    };
    let orphans = trees.iter().filter(orphan).map(|tree| Candidate {
        digest: tree.digest.clone(),
        versions: Vec::new(),
        bytes: tree.bytes,
        // What was never registered must also be old: it may be on its way, and an upload may have begun again.
        due: after(tree.newest, grace.max(ON_ITS_WAY)),
    });
    versions.chain(orphans).collect()
}

/// Parts candidates into those that may go now and those that must wait, each with the time from
/// which on it may go: the grace after the first of the plans that have named it without a break.
/// `plans` holds this collection's own plan too.
pub(super) fn due(
    candidates: Vec<Candidate>,
    plans: &BTreeMap<Timestamp, &Plan>,
    now: Timestamp,
    grace: Duration,
) -> (Vec<Candidate>, Vec<Candidate>) {
    let since = |digest: &Digest| {
        let unbroken = plans.values().rev().filter(|plan| plan.time <= now);
        unbroken.take_while(|plan| plan.digests.contains(digest)).last().map_or(now, |plan| plan.time)
    };
    let mut all = candidates;
    for candidate in &mut all {
        candidate.due = candidate.due.max(after(since(&candidate.digest), grace));
    }
    all.into_iter().partition(|candidate| candidate.due <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Retention, Version};

    const DAY: Duration = Duration::from_secs(86_400);

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn version(tree: &str) -> Version {
        Version::plain(digest(tree), day(0))
    }

    /// Versions 1 to 4 of trees a, b, a and c, of which the newest one is kept.
    fn state() -> State {
        let rule = Retention { versions: 1, days: 0, rollback_days: 0 };
        let mut state = State { retention: Some(rule), ..State::default() };
        for tree in ["a", "b", "a", "c"] {
            state.add(version(tree));
        }
        state
    }

    fn trees(names: &[&str]) -> Vec<Tree> {
        names.iter().map(|name| Tree { digest: digest(name), bytes: 7, objects: 2, newest: day(100) }).collect()
    }

    fn names(candidates: &[Candidate]) -> Vec<(&'static str, Vec<u64>)> {
        let name =
            |it: &Candidate| ["a", "b", "c", "x", "y"].into_iter().find(|name| digest(name) == it.digest).unwrap();
        let mut named: Vec<_> = candidates.iter().map(|it| (name(it), it.versions.clone())).collect();
        named.sort();
        named
    }

    #[test]
    fn what_nothing_keeps() {
        let all = trees(&["a", "b", "c", "x", "y"]);
        let found = |state: &State, used: &[&str]| {
            let used = used.iter().map(|name| digest(name)).collect();
            names(&candidates(state, &all, &used, day(101), DAY))
        };
        let both = vec![("a", vec![1, 3]), ("b", vec![2]), ("x", vec![]), ("y", vec![])];
        assert_eq!(found(&state(), &[]), both);
        assert_eq!(found(&state(), &["a", "x"]), [("b", vec![2]), ("y", vec![])]);
        let mut aliased = state();
        aliased.aliases.insert("mine".to_owned(), 3);
        assert_eq!(found(&aliased, &["x", "y"]), [("b", vec![2])], "version 1 is the same tree as version 3");
        let mut condemned = state();
        condemned.condemn(&[2], &[digest("b"), digest("x")], 9, day(1));
        assert_eq!(found(&condemned, &[]), [("a", vec![1, 3]), ("y", vec![])], "those are being deleted already");
        condemned.condemned.get_mut(&digest("x")).unwrap().swept = true;
        assert_eq!(found(&condemned, &[]), [("a", vec![1, 3]), ("x", vec![]), ("y", vec![])], "it came back");
    }

    #[test]
    fn nothing_goes_before_its_grace() {
        let plan =
            |at: i64, named: &[&str]| Plan { time: day(at), digests: named.iter().map(|name| digest(name)).collect() };
        let plans = [
            plan(90, &["a", "b", "x"]),
            plan(95, &["a", "x"]),
            plan(99, &["a", "b", "x"]),
            plan(102, &["a", "b", "x", "y"]),
        ];
        let plans = plans.iter().map(|plan| (plan.time, plan)).collect();
        let all = candidates(&state(), &trees(&["a", "b", "c", "x", "y"]), &BTreeSet::new(), day(102), DAY * 5);
        let (now, waiting) = due(all, &plans, day(102), DAY * 5);
        assert_eq!(names(&now), [("a", vec![1, 3])], "x is only two days old, b was kept on day 95");
        let when: BTreeMap<_, _> = waiting.iter().map(|it| (it.digest.clone(), it.due)).collect();
        assert_eq!((when[&digest("b")], when[&digest("x")], when[&digest("y")]), (day(104), day(105), day(107)));
        let (at_once, _) = due(
            candidates(&state(), &[], &BTreeSet::new(), day(102), Duration::ZERO),
            &plans,
            day(102),
            Duration::ZERO,
        );
        assert_eq!(names(&at_once), [("a", vec![1, 3]), ("b", vec![2])]);
    }
}
