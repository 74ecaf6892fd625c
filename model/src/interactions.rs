//! Who consumed what and when, in columns: what families are fitted on.
//!
//! What it does not do: it keeps every row it is given. Filters, windows of history and duplicates are the trainer's.

use std::collections::{BTreeMap, HashMap};

use crate::vocabulary::{NONE, Vocabulary};

/// Rows in columns of equal length, ordered by time; rows of equal time keep the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interactions {
    /// All users.
    pub users: Vocabulary,
    /// All items.
    pub items: Vocabulary,
    /// All segments.
    pub segments: Vocabulary,
    /// Index in `users` of each row.
    pub user: Vec<u32>,
    /// Index in `items` of each row.
    pub item: Vec<u32>,
    /// When, in milliseconds since 1970 UTC; never decreasing.
    pub time_ms: Vec<i64>,
    /// How much (a quantity, a rating, 1).
    pub weight: Vec<f32>,
    /// Index in `segments` of each row, or [`NONE`].
    pub segment: Vec<u32>,
}

impl Interactions {
    /// Collects rows in any order.
    pub fn builder() -> InteractionsBuilder {
        InteractionsBuilder::default()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.time_ms.len()
    }

    /// True without a row.
    pub fn is_empty(&self) -> bool {
        self.time_ms.is_empty()
    }

    /// The rows with `from_ms <= time < to_ms`, over the same vocabularies (indices do not move). Copies the rows.
    pub fn between(&self, from_ms: i64, to_ms: i64) -> Self {
        let from = self.time_ms.partition_point(|&time| time < from_ms);
        let to = self.time_ms.partition_point(|&time| time < to_ms).max(from);
        Self {
            users: self.users.clone(),
            items: self.items.clone(),
            segments: self.segments.clone(),
            user: self.user[from..to].to_vec(),
            item: self.item[from..to].to_vec(),
            time_ms: self.time_ms[from..to].to_vec(),
            weight: self.weight[from..to].to_vec(),
            segment: self.segment[from..to].to_vec(),
        }
    }
}

/// Collects rows; [`finish`](Self::finish) sorts them. Names are stored once each.
#[derive(Debug, Default)]
pub struct InteractionsBuilder {
    users: Interner,
    items: Interner,
    segments: Interner,
    user: Vec<u32>,
    item: Vec<u32>,
    time_ms: Vec<i64>,
    weight: Vec<f32>,
    segment: Vec<u32>,
}

impl InteractionsBuilder {
    /// Adds a row.
    pub fn push(&mut self, user: &str, item: &str, time_ms: i64, weight: f32, segment: Option<&str>) {
        self.user.push(self.users.index_of(user));
        self.item.push(self.items.index_of(item));
        self.time_ms.push(time_ms);
        self.weight.push(weight);
        let segment = segment.map_or(NONE, |name| self.segments.index_of(name));
        self.segment.push(segment);
    }

    /// How many rows were added.
    pub fn len(&self) -> usize {
        self.time_ms.len()
    }

    /// True before the first row.
    pub fn is_empty(&self) -> bool {
        self.time_ms.is_empty()
    }

    /// The rows ordered by time (stably), with sorted vocabularies.
    pub fn finish(self) -> Interactions {
        let (users, user_at) = self.users.sorted();
        let (items, item_at) = self.items.sorted();
        let (segments, segment_at) = self.segments.sorted();
        let mut order: Vec<u32> = (0..self.time_ms.len() as u32).collect();
        if !self.time_ms.is_sorted() {
            order.sort_by_key(|&row| self.time_ms[row as usize]);
        }
        Interactions {
            users,
            items,
            segments,
            user: gather(&order, &self.user, |old| moved(&user_at, old)),
            item: gather(&order, &self.item, |old| moved(&item_at, old)),
            segment: gather(&order, &self.segment, |old| moved(&segment_at, old)),
            time_ms: gather(&order, &self.time_ms, |time| time),
            weight: gather(&order, &self.weight, |weight| weight),
        }
    }
}

/// The column in a new order, each value changed by `map`.
fn gather<T: Copy>(order: &[u32], column: &[T], map: impl Fn(T) -> T) -> Vec<T> {
    order.iter().map(|&row| map(column[row as usize])).collect()
}

/// The new index of an old one; [`NONE`] stays.
fn moved(at: &[u32], old: u32) -> u32 {
    at.get(old as usize).copied().unwrap_or(NONE)
}

/// Gives names numbers in the order in which they are met.
#[derive(Debug, Default)]
struct Interner {
    numbers: HashMap<Box<str>, u32>,
}

impl Interner {
    fn index_of(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(name.into(), number);
        number
    }

    /// The sorted vocabulary, and where each number went.
    fn sorted(self) -> (Vocabulary, Vec<u32>) {
        let mut names: Vec<(Box<str>, u32)> = self.numbers.into_iter().collect();
        names.sort_unstable();
        let mut at = vec![NONE; names.len()];
        for (index, (_, number)) in names.iter().enumerate() {
            at[*number as usize] = index as u32;
        }
        let names = names.into_iter().map(|(name, _)| name).collect();
        (Vocabulary::from_sorted(names), at)
    }
}

/// Optional features of items, from the items SQL: item, then feature, then its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemTexts(pub BTreeMap<String, BTreeMap<String, String>>);

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Interactions {
        let mut rows = Interactions::builder();
        rows.push("zoe", "b", 30, 1.0, Some("uk"));
        rows.push("ann", "c", 10, 2.0, None);
        rows.push("zoe", "a", 20, 3.0, Some("fr"));
        rows.push("bob", "b", 20, 4.0, Some("uk"));
        assert_eq!(rows.len(), 4);
        rows.finish()
    }

    #[test]
    fn rows_are_sorted_stably_over_sorted_vocabularies() {
        let rows = example();
        assert_eq!(rows.users.iter().collect::<Vec<_>>(), ["ann", "bob", "zoe"]);
        assert_eq!(rows.time_ms, [10, 20, 20, 30]);
        assert_eq!(rows.user, [0, 2, 1, 2]);
        assert_eq!(rows.item, [2, 0, 1, 1]);
        assert_eq!(rows.weight, [2.0, 3.0, 4.0, 1.0]);
        assert_eq!(rows.segment, [NONE, 0, 1, 1]);
    }

    #[test]
    fn a_span_is_half_open_and_keeps_the_vocabularies() {
        let rows = example();
        let middle = rows.between(20, 30);
        assert_eq!((middle.len(), middle.item.as_slice()), (2, &[0, 1][..]));
        assert_eq!(middle.users, rows.users);
        assert_eq!(rows.between(0, 100), rows);
        assert!(rows.between(30, 20).is_empty());
    }

    #[test]
    fn no_rows_are_no_trouble() {
        let none = Interactions::builder().finish();
        assert!(none.is_empty() && none.items.is_empty());
    }
}
