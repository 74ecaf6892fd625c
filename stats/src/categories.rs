//! Frozen categories of a feature that tell "rare at training" from "never seen at training".
//!
//! [`crate::Bins::Categories`] puts both into OTHER; here a name that training never saw has a bin of its own, so that a
//! flood of new names shows even when rare names were common. Counts are an ordinary [`Histogram`]: they merge exactly
//! and go to [`crate::drift`] and [`crate::quality`] as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bins::Histogram;

/// Rare names that are remembered as seen; the rarest beyond it count as unseen.
pub const MOST_KNOWN: usize = 65_536;

/// The frozen categories of one feature: a bin for each frequent name, then RARE, UNSEEN and MISSING.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(into = "Parts", from = "Parts")]
pub struct Categories {
    /// Most frequent first.
    names: Vec<String>,
    /// Bin of each name.
    index: BTreeMap<String, usize>,
    /// Fingerprints of the rare names, ascending.
    rare: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct Parts {
    names: Vec<String>,
    rare: Vec<u64>,
}

impl Categories {
    /// A bin for each of the `top` most frequent names of training (ties in the order of names); of the others, the
    /// [`MOST_KNOWN`] most frequent are known as rare.
    pub fn from_counts(counts: &BTreeMap<String, u64>, top: usize) -> Self {
        let mut by_count: Vec<(&String, u64)> = counts.iter().map(|(name, &n)| (name, n)).collect();
        by_count.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let (frequent, rare) = by_count.split_at(top.min(by_count.len()));
        Self::from(Parts {
            names: frequent.iter().map(|&(name, _)| name.clone()).collect(),
            rare: rare.iter().take(MOST_KNOWN).map(|&(name, _)| fingerprint(name)).collect(),
        })
    }

    /// How many bins there are, with RARE, UNSEEN and MISSING. At least 3.
    #[allow(clippy::len_without_is_empty, reason = "there is always a MISSING bin")]
    pub fn len(&self) -> usize {
        self.names.len() + 3
    }

    /// The bin of RARE: names of training without a bin of their own.
    pub fn rare(&self) -> usize {
        self.names.len()
    }

    /// The bin of UNSEEN: names that training did not have.
    pub fn unseen(&self) -> usize {
        self.names.len() + 1
    }

    /// The bin of MISSING, the last one.
    pub fn missing(&self) -> usize {
        self.names.len() + 2
    }

    /// The bin of a name, in O(log names); `None` is MISSING.
    ///
    /// Rare names are known by a 64-bit fingerprint: an unseen name is taken for a rare one once in 2⁶⁴ / rare names.
    pub fn index_of(&self, name: Option<&str>) -> usize {
        let Some(name) = name else {
            return self.missing();
        };
        match self.index.get(name) {
            Some(&index) => index,
            None if self.rare.binary_search(&fingerprint(name)).is_ok() => self.rare(),
            None => self.unseen(),
        }
    }

    /// What bin `index` holds, for people: a name, `rare`, `unseen`, `missing`; `no such bin` beyond the end.
    pub fn label(&self, index: usize) -> &str {
        let special = ["rare", "unseen", "missing"];
        match self.names.get(index) {
            Some(name) => name,
            None => special.get(index - self.names.len()).unwrap_or(&"no such bin"),
        }
    }

    /// Empty counts on these bins.
    pub fn histogram(&self) -> Histogram {
        Histogram::with_len(self.len())
    }
}

impl From<Parts> for Categories {
    fn from(Parts { names, mut rare }: Parts) -> Self {
        rare.sort_unstable();
        rare.dedup();
        // The first of two equal names keeps its bin.
        let index = names.iter().enumerate().rev().map(|(i, name)| (name.clone(), i)).collect();
        Self { names, index, rare }
    }
}

impl From<Categories> for Parts {
    fn from(categories: Categories) -> Self {
        Self { names: categories.names, rare: categories.rare }
    }
}

/// FNV-1a, 64 bits (Fowler, Noll & Vo). Kept in profiles: it must never change.
fn fingerprint(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
