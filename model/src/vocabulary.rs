//! Names and their dense indices: sorted, so that the lower index is the lexicographically smaller name.
//!
//! What it does not do: it never grows. An unknown name has no index.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// The index that stands for "no segment" in [`crate::Interactions`].
pub const NONE: u32 = u32::MAX;

/// Most names a vocabulary holds: indices are `u32`, and [`NONE`] is none of them.
pub const MAX_NAMES: usize = 100_000_000;

/// Sorted unique names, found in O(1) both ways. Cloning shares them.
#[derive(Clone)]
pub struct Vocabulary {
    inner: Arc<Inner>,
}

struct Inner {
    names: Vec<Box<str>>,
    /// Open addressing over `names`, at most half full, so that names are stored once. [`NONE`] is a free slot.
    slots: Vec<u32>,
}

impl Vocabulary {
    /// The vocabulary of these names, sorted by bytes, each once. Names beyond [`MAX_NAMES`] are left out.
    pub fn from_names(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(|name| name.into().into_boxed_str());
        let mut names: Vec<Box<str>> = names.collect();
        names.sort_unstable();
        names.dedup();
        names.truncate(MAX_NAMES);
        Self::from_sorted(names)
    }

    /// `names` are sorted and unique.
    pub(crate) fn from_sorted(names: Vec<Box<str>>) -> Self {
        debug_assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
        let mut slots = vec![NONE; (names.len() * 2).next_power_of_two()];
        for (index, name) in names.iter().enumerate() {
            let mut slot = first_slot(name, slots.len());
            while slots[slot] != NONE {
                slot = (slot + 1) & (slots.len() - 1);
            }
            slots[slot] = index as u32;
        }
        Self { inner: Arc::new(Inner { names, slots }) }
    }

    /// The index of a name, `None` when it is not known.
    pub fn get(&self, name: &str) -> Option<u32> {
        let Inner { names, slots } = &*self.inner;
        let mut slot = first_slot(name, slots.len());
        // Ends: at most half of the slots are taken.
        while let Some(known) = names.get(slots[slot] as usize) {
            if **known == *name {
                return Some(slots[slot]);
            }
            slot = (slot + 1) & (slots.len() - 1);
        }
        None
    }

    /// The name at an index. An index beyond the end (such as [`NONE`]) has the empty name.
    pub fn name(&self, index: u32) -> &str {
        self.inner.names.get(index as usize).map_or("", |name| name)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.inner.names.len()
    }

    /// True without a name.
    pub fn is_empty(&self) -> bool {
        self.inner.names.is_empty()
    }

    /// The names in the order of their indices.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.inner.names.iter().map(|name| &**name)
    }
}

/// Where the search for a name begins. `slots` is a power of two.
fn first_slot(name: &str, slots: usize) -> usize {
    xxh3_64(name.as_bytes()) as usize & (slots - 1)
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self::from_sorted(Vec::new())
    }
}

impl PartialEq for Vocabulary {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || self.inner.names == other.inner.names
    }
}

impl Eq for Vocabulary {}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let few = self.iter().take(3);
        write!(f, "Vocabulary of {}: ", self.len())?;
        f.debug_list().entries(few).finish()
    }
}

impl Serialize for Vocabulary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    /// Refuses names out of order: their position is their index, and sorting them would move every weight.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<Box<str>>::deserialize(deserializer)?;
        if names.len() > MAX_NAMES {
            let why = format!("{} names; at most {MAX_NAMES} are allowed", names.len());
            return Err(serde::de::Error::custom(why));
        }
        match names.windows(2).find(|pair| pair[0] >= pair[1]) {
            None => Ok(Self::from_sorted(names)),
            Some(pair) => Err(serde::de::Error::custom(format!(
                "`{}` stands before `{}`; names must be sorted by bytes, each once, with the weights in the same order",
                pair[0], pair[1]
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_unique_and_found_both_ways() {
        let names = Vocabulary::from_names(["pear", "apple", "pear", "Éclair", ""]);
        assert_eq!(names.iter().collect::<Vec<_>>(), ["", "apple", "pear", "Éclair"]);
        for (index, name) in names.iter().enumerate() {
            assert_eq!(names.get(name), Some(index as u32));
            assert_eq!(names.name(index as u32), name);
        }
        assert_eq!(names.get("fig"), None);
        assert_eq!(names.name(NONE), "");
        assert_eq!(Vocabulary::default().get(""), None);
    }

    #[test]
    fn every_one_of_many_names_is_found() {
        let names = Vocabulary::from_names((0..20_000).map(|i| i.to_string()));
        assert_eq!(names.len(), 20_000);
        assert!(
            (0..20_000).all(|i| names.get(&i.to_string()).map(|at| names.name(at).to_owned()) == Some(i.to_string()))
        );
        assert!((20_000..30_000).all(|i| names.get(&i.to_string()).is_none()));
    }

    #[test]
    fn json_is_the_list_and_order_is_checked() {
        let names = Vocabulary::from_names(["b", "a"]);
        let text = serde_json::to_string(&names).unwrap();
        assert_eq!(text, r#"["a","b"]"#);
        assert_eq!(serde_json::from_str::<Vocabulary>(&text).unwrap(), names);
        for wrong in [r#"["b","a"]"#, r#"["a","a"]"#] {
            let error = serde_json::from_str::<Vocabulary>(wrong).unwrap_err();
            assert!(error.to_string().contains("sorted"), "{error}");
        }
    }
}
