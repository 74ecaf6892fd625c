//! Which rows are for training and which for judging: a cut in time, as a server would have met them.
//!
//! What it does not do: nothing is drawn by chance but which users are looked at when there are very many.

use std::time::Duration;

use fairway_model::{Interactions, NONE, Seen};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::TrainError;
use crate::fingerprint;

/// Most users that are judged on; of more, a sample by seeded hash.
pub const USERS_MAX: usize = 20_000;
/// Shortest holdout that what the champion knows may leave.
const DAY_MS: i64 = 86_400_000;
/// The cut-offs of all metrics.
pub const KS: [usize; 3] = [10, 20, 50];

/// A user who had a history before the cut and consumed something new after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldoutUser {
    /// Index in the data's users.
    pub user: u32,
    /// Index in the data's segments of the newest known segment before the cut, else of the first after it; or [`NONE`].
    pub segment: u32,
    /// The items before the cut, each once at its newest time, oldest first; indices of the data's items.
    pub history: Vec<Seen>,
    /// Items consumed after the cut and not before it, each once, ascending.
    pub targets: Vec<u32>,
}

/// Training rows, holdout rows, and the users that are judged on.
#[derive(Clone, Debug)]
pub struct Split {
    /// Rows before the cut.
    pub train: Interactions,
    /// Rows from the cut on.
    pub holdout: Interactions,
    /// The cut: the moment at which users are thought to ask, milliseconds since 1970 UTC.
    pub cutoff_ms: i64,
    /// In the order of their names.
    pub users: Vec<HoldoutUser>,
    /// How all this was done.
    pub protocol: Protocol,
}

/// How a model was judged. Two numbers may be compared when their protocols' digests are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    /// Grows when the meaning of a metric changes.
    pub version: u32,
    /// Every known item is ranked.
    pub ranking: String,
    /// How rows were divided.
    pub split: String,
    /// What a user has to hit.
    pub targets: String,
    /// What the metrics are.
    pub metrics: String,
    /// How equal scores are ordered.
    pub tie_rule: String,
    /// The cut.
    pub cutoff: Timestamp,
    /// The newest row of the holdout.
    pub newest: Timestamp,
    /// Users who could have been judged on.
    pub eligible: u64,
    /// Users who were.
    pub users: u64,
    /// Seed of the sample when not all were.
    pub sample_seed: Option<u64>,
    /// Digest of the data.
    pub data: String,
    /// `sha256:…` of the fields above.
    pub digest: String,
}

impl Split {
    /// The newest `holdout` of the rows is for judging, but only what is newer than `known`, the newest row that the champion
    /// knows: what it was trained on would favour it. A day is judged on in any case.
    ///
    /// # Errors
    /// When no rows are left to train on, or no user can be judged.
    pub fn new(
        data: &Interactions,
        holdout: Duration,
        known: Option<Timestamp>,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let newest = data.time_ms.last().copied().unwrap_or(0);
        let length = i64::try_from(holdout.as_millis()).unwrap_or(i64::MAX);
        let asked = newest.saturating_sub(length);
        let unseen = known.map_or(i64::MIN, |known| known.as_millisecond().saturating_add(1));
        let cutoff = asked.max(unseen.min(newest.saturating_sub(DAY_MS)));
        Self::at(data, cutoff, seed).map_err(|error| match error {
            TrainError::TooLittle { what, .. } if cutoff > asked => {
                TrainError::TooLittle { what, cure: "the champion knows what is older: wait for newer rows" }
            }
            error => error,
        })
    }

    /// Rows from `cutoff_ms` on are for judging.
    ///
    /// # Errors
    /// When no rows are left to train on, or no user can be judged.
    pub fn at(data: &Interactions, cutoff_ms: i64, seed: u64) -> Result<Self, TrainError> {
        let train = data.between(i64::MIN, cutoff_ms);
        let holdout = data.between(cutoff_ms, i64::MAX);
        let too_little =
            |what: String| TrainError::TooLittle { what, cure: "shorten evaluation.holdout, or lengthen data.history" };
        let cutoff = instant(cutoff_ms);
        if train.is_empty() {
            return Err(too_little(format!("all {} rows lie in the holdout, which begins at {cutoff}", data.len())));
        }
        let (users, eligible) = users(&train, &holdout, seed);
        if users.is_empty() {
            let what = format!(
                "none of the {} users has a history before {cutoff} and something new after it",
                data.users.len()
            );
            return Err(too_little(what));
        }
        let newest = instant(data.time_ms.last().copied().unwrap_or(cutoff_ms));
        let protocol = Protocol::new(cutoff, newest, eligible, users.len(), seed);
        Ok(Self { train, holdout, cutoff_ms, users, protocol })
    }
}

fn instant(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Protocol {
    fn new(cutoff: Timestamp, newest: Timestamp, eligible: usize, users: usize, seed: u64) -> Self {
        let mut protocol = Self {
            version: 1,
            ranking: "full: every item that the model knows, without the user's history".to_owned(),
            split: "temporal: train before the cut, judge on the rest; users with a history before it".to_owned(),
            targets:
                "items consumed after the cut and not before it; those that the model does not know count as missed"
                    .to_owned(),
            metrics:
                "recall@k = hits / min(k, targets); ndcg@k over the ideal of min(k, targets) hits; mean over users; \
                      coverage@k = different items in all top k / items in training"
                    .to_owned(),
            tie_rule: fairway_model::bundle::TIE_RULE.to_owned(),
            cutoff,
            newest,
            eligible: eligible as u64,
            users: users as u64,
            sample_seed: (users < eligible).then_some(seed),
            data: String::new(),
            digest: String::new(),
        };
        protocol.seal();
        protocol
    }

    /// Names the data that the split was made of.
    #[must_use]
    pub fn of_data(mut self, digest: &str) -> Self {
        self.data = digest.to_owned();
        self.seal();
        self
    }

    fn seal(&mut self) {
        self.digest.clear();
        let text = serde_json::to_string(self).expect("strings, numbers and times are always JSON");
        self.digest = fingerprint::of_bytes(text.as_bytes());
    }
}

/// Who is judged on, and how many could have been.
fn users(train: &Interactions, holdout: &Interactions, seed: u64) -> (Vec<HoldoutUser>, usize) {
    let histories = by_user(train);
    let after = by_user(holdout);
    let mut eligible: Vec<HoldoutUser> = Vec::new();
    for user in 0..train.users.len() as u32 {
        let (before, after) = (histories.rows(user), after.rows(user));
        if before.is_empty() || after.is_empty() {
            continue;
        }
        let history = history(train, before.iter().copied());
        let mut known: Vec<u32> = history.iter().map(|seen| seen.item).collect();
        known.sort_unstable();
        let mut targets: Vec<u32> = after.iter().map(|&row| holdout.item[row as usize]).collect();
        targets.sort_unstable();
        targets.dedup();
        targets.retain(|item| known.binary_search(item).is_err());
        if !targets.is_empty() {
            let before = before.iter().rev().map(|&row| train.segment[row as usize]);
            let after = after.iter().map(|&row| holdout.segment[row as usize]);
            let segment = before.chain(after).find(|&segment| segment != NONE).unwrap_or(NONE);
            eligible.push(HoldoutUser { user, segment, history, targets });
        }
    }
    let count = eligible.len();
    if count > USERS_MAX {
        eligible.sort_by_cached_key(|one| (xxh3_64_with_seed(train.users.name(one.user).as_bytes(), seed), one.user));
        eligible.truncate(USERS_MAX);
        eligible.sort_by_key(|one| one.user);
    }
    (eligible, count)
}

/// The items of some rows (oldest first), each once at its newest time, oldest first.
pub(crate) fn history(data: &Interactions, rows: impl DoubleEndedIterator<Item = u32>) -> Vec<Seen> {
    let mut met = std::collections::HashSet::new();
    let newest_first = rows.rev().filter_map(|row| {
        let row = row as usize;
        met.insert(data.item[row]).then_some(Seen { item: data.item[row], time_ms: data.time_ms[row] })
    });
    let mut history: Vec<Seen> = newest_first.collect();
    history.reverse();
    history
}

/// Row numbers grouped by user, oldest first.
pub(crate) struct ByUser {
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl ByUser {
    /// The rows of a user.
    pub(crate) fn rows(&self, user: u32) -> &[u32] {
        let user = user as usize;
        &self.rows[self.starts[user] as usize..self.starts[user + 1] as usize]
    }
}

/// Groups rows by user, by counting.
pub(crate) fn by_user(data: &Interactions) -> ByUser {
    let mut starts = vec![0_u32; data.users.len() + 1];
    data.user.iter().for_each(|&user| starts[user as usize + 1] += 1);
    for user in 1..starts.len() {
        starts[user] += starts[user - 1];
    }
    let mut next = starts.clone();
    let mut rows = vec![0_u32; data.len()];
    for (row, &user) in data.user.iter().enumerate() {
        rows[next[user as usize] as usize] = row as u32;
        next[user as usize] += 1;
    }
    ByUser { starts, rows }
}

/// The name of a segment, if it is one.
pub(crate) fn segment_name(data: &Interactions, segment: u32) -> Option<&str> {
    (segment != NONE).then(|| data.segments.name(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Interactions {
        let mut rows = Interactions::builder();
        for (user, item, time, segment) in [
            ("ann", "a", 0, Some("uk")),
            ("ann", "b", 1, None),
            ("ann", "a", 5, None),
            ("bob", "a", 2, None),
            ("ann", "c", 10, Some("fr")),
            ("ann", "b", 11, None),
            ("ann", "c", 12, None),
            ("bob", "a", 13, None),
            ("eve", "c", 14, None),
        ] {
            rows.push(user, item, time, 1.0, segment);
        }
        rows.finish()
    }

    #[test]
    fn targets_are_new_items_of_returning_users() {
        let data = data();
        let split = Split::new(&data, Duration::from_millis(4), None, 0).unwrap();
        assert_eq!(split.cutoff_ms, 10);
        assert_eq!((split.train.len(), split.holdout.len()), (4, 5));
        // bob consumed nothing new, eve has no history.
        assert_eq!(split.users.len(), 1);
        let ann = &split.users[0];
        assert_eq!(ann.targets, [2]);
        // `a` stands where it was consumed last.
        assert_eq!(ann.history, [Seen { item: 1, time_ms: 1 }, Seen { item: 0, time_ms: 5 }]);
        assert_eq!(data.segments.name(ann.segment), "uk");
        assert_eq!((split.protocol.eligible, split.protocol.sample_seed), (1, None));
    }

    #[test]
    fn the_digest_tells_protocols_apart() {
        let data = data();
        let one = Split::at(&data, 10, 0).unwrap().protocol;
        assert_eq!(one, Split::at(&data, 10, 0).unwrap().protocol);
        assert_ne!(one.digest, Split::at(&data, 9, 0).unwrap().protocol.digest);
        assert_ne!(one.digest, one.clone().of_data("sha256:1").digest);
    }

    #[test]
    fn too_short_histories_are_named() {
        let data = data();
        let error = Split::new(&data, Duration::from_secs(9), None, 0).unwrap_err().to_string();
        assert!(error.contains("all 9 rows") && error.contains("holdout"), "{error}");
        let error = Split::at(&data, 13, 0).unwrap_err().to_string();
        assert!(error.contains("none of the 3 users"), "{error}");
    }

    #[test]
    fn what_the_champion_knows_is_not_judged_on() {
        let mut rows = Interactions::builder();
        for day in 0..=30 {
            rows.push("ann", &format!("i{day:02}"), day * DAY_MS, 1.0, None);
        }
        let data = rows.finish();
        let cut = |holdout: u64, known: Option<i64>| {
            let known = known.map(|ms| Timestamp::from_millisecond(ms).unwrap());
            Split::new(&data, Duration::from_secs(holdout * 86_400), known, 0).unwrap().cutoff_ms
        };
        let table = [
            // Without a champion, and with one that knows less than the holdout leaves.
            (14, None, 16 * DAY_MS),
            (14, Some(10 * DAY_MS), 16 * DAY_MS),
            // All that is newer than what it knows, whatever the day on which the run was planned.
            (14, Some(25 * DAY_MS), 25 * DAY_MS + 1),
            (14, Some(29 * DAY_MS - 1), 29 * DAY_MS),
            // Not less than a day, though it knows some of it, or all, or more than there is.
            (14, Some(29 * DAY_MS + 7), 29 * DAY_MS),
            (14, Some(30 * DAY_MS), 29 * DAY_MS),
            (14, Some(99 * DAY_MS), 29 * DAY_MS),
        ];
        for (holdout, known, expected) in table {
            assert_eq!(cut(holdout, known), expected, "{holdout} {known:?}");
        }
    }

    #[test]
    fn too_little_that_is_new_is_cured_by_waiting() {
        let mut rows = Interactions::builder();
        for day in 0..=30 {
            rows.push(&format!("u{day}"), "a", day * DAY_MS, 1.0, None);
        }
        let known = Timestamp::from_millisecond(28 * DAY_MS).unwrap();
        let error = Split::new(&rows.finish(), Duration::from_secs(14 * 86_400), Some(known), 0).unwrap_err();
        assert!(error.to_string().contains("wait for newer rows"), "{error}");
    }

    #[test]
    fn a_large_crowd_is_sampled_by_name() {
        let mut rows = Interactions::builder();
        for user in 0..USERS_MAX + 500 {
            rows.push(&user.to_string(), "a", 0, 1.0, None);
            rows.push(&user.to_string(), "b", 10, 1.0, None);
        }
        let data = rows.finish();
        let split = Split::at(&data, 5, 3).unwrap();
        assert_eq!((split.users.len(), split.protocol.eligible), (USERS_MAX, USERS_MAX as u64 + 500));
        assert_eq!(split.protocol.sample_seed, Some(3));
        assert!(split.users.is_sorted_by_key(|one| one.user));
        let other = Split::at(&data, 5, 4).unwrap();
        assert_ne!(split.users, other.users);
    }
}
