//! Visits: what one user bought at one time. An invoice carries one time, so that rows of a user with the same time are
//! one invoice.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use fairway_model::{Interactions, NONE};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// One invoice.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Index of the user.
    pub user: u32,
    /// When.
    pub time: Timestamp,
    /// The user's segment.
    pub segment: Option<u32>,
    /// Distinct items, in the order of the rows.
    pub items: Vec<u32>,
    /// Set if the visit counts: the first of the user's month with something not bought before, by somebody who has
    /// bought before. Holds the new items.
    pub targets: Option<BTreeSet<u32>>,
    /// `2011-09`.
    pub month: String,
}

/// All visits in the order of time. `targets` are marked from `from` on.
pub fn visits(rows: &Interactions, from: Timestamp) -> Vec<Visit> {
    let mut visits = group(rows);
    let mut bought: HashMap<u32, HashSet<u32>> = HashMap::new();
    let mut counted: HashSet<(u32, String)> = HashSet::new();
    for visit in &mut visits {
        let is_returning = bought.contains_key(&visit.user);
        let before = bought.entry(visit.user).or_default();
        let new: BTreeSet<u32> = visit.items.iter().copied().filter(|item| !before.contains(item)).collect();
        if visit.time >= from && is_returning && !new.is_empty() && counted.insert((visit.user, visit.month.clone())) {
            visit.targets = Some(new);
        }
        before.extend(&visit.items);
    }
    visits
}

fn group(rows: &Interactions) -> Vec<Visit> {
    let mut open: BTreeMap<(i64, usize), Visit> = BTreeMap::new();
    let mut index: HashMap<(u32, i64), usize> = HashMap::new();
    for i in 0..rows.len() {
        let (user, time_ms) = (rows.user[i], rows.time_ms[i]);
        let first = *index.entry((user, time_ms)).or_insert(i);
        let visit = open.entry((time_ms, first)).or_insert_with(|| {
            let time = Timestamp::from_millisecond(time_ms).unwrap_or(Timestamp::UNIX_EPOCH);
            let segment = (rows.segment[i] != NONE).then_some(rows.segment[i]);
            Visit { user, time, segment, items: Vec::new(), targets: None, month: month(time) }
        });
        if !visit.items.contains(&rows.item[i]) {
            visit.items.push(rows.item[i]);
        }
    }
    open.into_values().collect()
}

/// The calendar month, UTC.
pub fn month(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string()
}
