//! Distinct counts and heavy hitters of names in bounded memory, kept in the bytes of Apache DataSketches, which its
//! Java, C++ and Python libraries read.
//!
//! For people and for planning only: both are estimates, so neither may enter a verdict or a drift test (sketch ranks
//! make p-values erratic). Counts on frozen bins ([`crate::bins`], [`crate::categories`]) are for those.

use std::fmt;

use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use datasketches::hash::value::raw_bytes;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use serde::{Deserialize, Serialize};

mod bytes;

/// Registers: 2¹² of a byte. The standard error of an estimate is 1.04 / √2¹² = 1.6 %.
const LG_REGISTERS: u8 = 12;
/// Slots of the heavy hitters; three quarters of them are used.
const SLOTS: usize = 1024;
/// Longer names are cut here, in bytes (at the end of a character).
const LONGEST_NAME: usize = 128;
/// More events than this are refused, far below the end of `u64`, where the sketch would stop.
const MOST_EVENTS: u64 = 1 << 62;

/// How many different names there were: HyperLogLog (Flajolet et al. 2007) with 4096 registers, at most about 4 KiB.
///
/// Union is exact, associative and commutative to the bit: the state is a set of register maxima, and what would depend
/// on the order (the HIP accumulator, the order of coupons) is neither used nor written. Exact in practice up to about
/// 100 names, within 5 % (three standard errors) beyond. As JSON it is the HLL_8 bytes of DataSketches in hex, "" if empty.
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(into = "String", try_from = "String")]
pub struct Distinct {
    /// `None` until the first name.
    sketch: Option<HllSketch>,
}

impl Distinct {
    /// No names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a name. Allocates only when the sketch grows (a dozen times in its life).
    pub fn record(&mut self, name: &str) {
        if self.sketch.is_none() {
            self.sketch = HllSketch::new(LG_REGISTERS, HllType::Hll8).ok();
        }
        if let Some(sketch) = &mut self.sketch {
            // As other languages hash a string: its UTF-8 bytes, nothing after them.
            sketch.update(raw_bytes::from_str(name));
        }
    }

    /// About how many different names were recorded.
    pub fn estimate(&self) -> f64 {
        self.sketch.as_ref().map_or(0.0, HllSketch::composite_estimate)
    }

    /// Adds the names of `other`: exact, associative and commutative.
    pub fn merge(&mut self, other: &Self) {
        let Some(theirs) = &other.sketch else {
            return;
        };
        match (&mut self.sketch, HllUnion::new(LG_REGISTERS)) {
            (Some(mine), Ok(mut union)) => {
                union.update(mine);
                union.update(theirs);
                *mine = union.to_sketch(HllType::Hll8);
            }
            (mine, _) => *mine = Some(theirs.clone()),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.sketch.as_ref().map_or_else(Vec::new, |sketch| bytes::canonical_hll(sketch.serialize()))
    }
}

impl PartialEq for Distinct {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl fmt::Debug for Distinct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distinct(about {:.0})", self.estimate())
    }
}

impl From<Distinct> for String {
    fn from(distinct: Distinct) -> Self {
        bytes::to_hex(&distinct.to_bytes())
    }
}

impl TryFrom<String> for Distinct {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |why: &dyn fmt::Display| format!("distinct count: {why}; count anew");
        let bytes = bytes::from_hex(&text).ok_or_else(|| wrong(&"not hexadecimal"))?;
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        bytes::check_hll(&bytes, LG_REGISTERS).map_err(|why| wrong(&why))?;
        let sketch = HllSketch::deserialize(&bytes::canonical_hll(bytes)).map_err(|e| wrong(&e.message()))?;
        Ok(Self { sketch: Some(sketch) })
    }
}

/// A name that came often, and how often at least and at most.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HeavyHitter {
    /// The name, cut at 128 bytes.
    pub name: String,
    /// It came at least so often.
    pub at_least: u64,
    /// It came at most so often.
    pub at_most: u64,
}

/// The names that come most often: Misra-Gries with median purges (Anderson et al., IMC 2017), at most 768 names.
///
/// Exact up to 768 different names; beyond, a count is off by at most 0.35 % of all events, and a name that came more
/// often than that is never lost. Merging keeps those bounds, but counts may depend on the order of merging, so
/// this never enters a verdict. As JSON it is the bytes of DataSketches in hex (names in order), "" if empty.
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(into = "String", try_from = "String")]
pub struct HeavyHitters {
    /// `None` until the first name.
    sketch: Option<FrequentItemsSketch<String>>,
}

impl HeavyHitters {
    /// No names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a name; allocates only for a name that it does not hold yet. After 2⁶² events it counts no more.
    pub fn record(&mut self, name: &str) {
        if self.sketch.is_none() {
            self.sketch = FrequentItemsSketch::new(SLOTS).ok();
        }
        if let Some(sketch) = self.sketch.as_mut().filter(|sketch| sketch.total_weight() < MOST_EVENTS) {
            sketch.update_ref(&name[..name.floor_char_boundary(LONGEST_NAME)]);
        }
    }

    /// How many events were counted.
    pub fn total(&self) -> u64 {
        self.sketch.as_ref().map_or(0, FrequentItemsSketch::total_weight)
    }

    /// The `most` most frequent names, most frequent first (ties in the order of names).
    pub fn top(&self, most: usize) -> Vec<HeavyHitter> {
        let Some(sketch) = &self.sketch else {
            return Vec::new();
        };
        // A threshold of the maximum error is the least there is: all names whose lower bound is not 0.
        let rows = sketch.frequent_items(ErrorType::NoFalseNegatives);
        let mut hitters: Vec<HeavyHitter> = rows
            .iter()
            .map(|row| HeavyHitter {
                name: row.item().clone(),
                at_least: row.lower_bound(),
                at_most: row.upper_bound(),
            })
            .collect();
        hitters.sort_by(|a, b| b.at_most.cmp(&a.at_most).then_with(|| a.name.cmp(&b.name)));
        hitters.truncate(most);
        hitters
    }

    /// Adds the events of `other`, within the bounds above (not to the bit once names were purged).
    ///
    /// Returns whether it did: nothing is changed if both together have more than 2⁶² events.
    #[must_use]
    pub fn merge(&mut self, other: &Self) -> bool {
        let fits = self.total() + other.total() <= MOST_EVENTS;
        match (&mut self.sketch, &other.sketch) {
            (Some(mine), Some(theirs)) if fits => mine.merge(theirs),
            (None, theirs) => self.sketch.clone_from(theirs),
            _ => {}
        }
        fits
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.sketch.as_ref().map_or_else(Vec::new, |sketch| bytes::canonical_items(sketch.serialize()))
    }
}

impl PartialEq for HeavyHitters {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl fmt::Debug for HeavyHitters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeavyHitters").field("total", &self.total()).field("top", &self.top(3)).finish()
    }
}

impl From<HeavyHitters> for String {
    fn from(hitters: HeavyHitters) -> Self {
        bytes::to_hex(&hitters.to_bytes())
    }
}

impl TryFrom<String> for HeavyHitters {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |why: &dyn fmt::Display| format!("heavy hitters: {why}; count anew");
        let bytes = bytes::from_hex(&text).ok_or_else(|| wrong(&"not hexadecimal"))?;
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        bytes::check_items(&bytes, SLOTS).map_err(|why| wrong(&why))?;
        let sketch = FrequentItemsSketch::<String>::deserialize(&bytes).map_err(|e| wrong(&e.message()))?;
        if sketch.total_weight() > MOST_EVENTS || sketch.maximum_error() > sketch.total_weight() {
            return Err(wrong(&"more events or errors than there can be"));
        }
        Ok(Self { sketch: Some(sketch) })
    }
}

#[cfg(test)]
mod tests;
