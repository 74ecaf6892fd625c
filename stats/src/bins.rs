//! Frozen bins of a feature and the mergeable counts on them.
//!
//! Bins are made once, when a model is trained, and travel in its bundle; servers only count. Nothing here compares
//! counts: that is [`crate::drift`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod histogram;

pub use histogram::{Histogram, ShapeMismatch};

/// The frozen bins of one feature. The last bin is always MISSING.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Bins {
    /// A number: bin `i` holds `edges[i-1] <= x < edges[i]`, with open ends.
    Quantiles {
        /// Inner edges in the feature's own unit, strictly increasing.
        edges: Vec<f64>,
    },
    /// A category: one bin a name, then OTHER.
    Categories {
        /// The names that have a bin of their own, most frequent first.
        names: Vec<String>,
    },
}

impl Bins {
    /// Bins of (nearly) equal counts in `values`: quantiles by linear interpolation, as numpy's `quantile` has them.
    ///
    /// Values that are not finite are left out; `values` is reordered. `bins` of 0 counts as 1. A value that fills
    /// several quantiles gets a bin of its own (an edge at the value and one at the next greater value), so that a
    /// change of a constant or a yes/no feature is seen too. There are never more than `bins` bins besides MISSING.
    pub fn from_quantiles(values: &mut [f64], bins: usize) -> Self {
        let finite = finite_first(values);
        let last = finite.len().saturating_sub(1);
        let positions = (1..bins).map(|i| (i as f64 / bins as f64 * last as f64).floor() as usize);
        let mut positions: Vec<usize> = positions.flat_map(|at| [at, at + 1]).filter(|at| *at <= last).collect();
        positions.sort_unstable();
        positions.dedup();
        select(finite, 0, &positions);
        let mut edges: Vec<f64> = Vec::with_capacity(bins);
        let mut repeated = false;
        for i in 1..bins {
            let edge = quantile_of_sorted(finite, i as f64 / bins as f64);
            let Some(edge) = edge.filter(|e| e.is_finite()) else {
                continue;
            };
            match edges.last() {
                Some(&last) if edge <= last => repeated = true,
                _ => {
                    if std::mem::take(&mut repeated) {
                        close_repeated_value(&mut edges, finite);
                    }
                    if edges.last().is_none_or(|&last| edge > last) {
                        edges.push(edge);
                    }
                }
            }
        }
        if repeated {
            close_repeated_value(&mut edges, finite);
        }
        Self::Quantiles { edges }
    }

    /// A bin for each of the `top` most frequent names (ties in the order of names), the rest in OTHER.
    pub fn from_top_categories(counts: &BTreeMap<String, u64>, top: usize) -> Self {
        let mut by_count: Vec<(&String, u64)> = counts.iter().map(|(k, &n)| (k, n)).collect();
        by_count.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let names = by_count.into_iter().take(top);
        Self::Categories { names: names.map(|(name, _)| name.clone()).collect() }
    }

    /// How many bins there are, with OTHER (categories) and MISSING. At least 2.
    #[allow(clippy::len_without_is_empty, reason = "there is always a MISSING bin")]
    pub fn len(&self) -> usize {
        match self {
            Self::Quantiles { edges } => edges.len() + 2,
            Self::Categories { names } => names.len() + 2,
        }
    }

    /// The bin of a number. `None`, NaN and infinities are MISSING; a number where names are expected is OTHER.
    #[inline]
    pub fn index_of(&self, value: Option<f64>) -> usize {
        let missing = self.len() - 1;
        match (self, value.filter(|x| x.is_finite())) {
            (_, None) => missing,
            (Self::Quantiles { edges }, Some(x)) => edges.partition_point(|&edge| edge <= x),
            (Self::Categories { .. }, Some(_)) => missing - 1,
        }
    }

    /// The bin of a category, found in O(names). `None` is MISSING, and so is a name where numbers are expected.
    pub fn index_of_category(&self, name: Option<&str>) -> usize {
        let missing = self.len() - 1;
        match (self, name) {
            (Self::Categories { names }, Some(name)) => {
                names.iter().position(|known| known == name).unwrap_or(missing - 1)
            }
            _ => missing,
        }
    }

    /// What bin `index` holds, for people: `[0.2, 0.5)`, a name, `other`, `missing`; `no such bin` beyond the end.
    pub fn label(&self, index: usize) -> String {
        let missing = self.len() - 1;
        if index >= missing {
            let text = if index == missing { "missing" } else { "no such bin" };
            return text.to_owned();
        }
        match self {
            Self::Categories { names } => names.get(index).map_or("other", String::as_str).to_owned(),
            Self::Quantiles { edges } => match (index.checked_sub(1).map(|i| edges[i]), edges.get(index)) {
                (None, None) => "any number".to_owned(),
                (None, Some(high)) => format!("below {high}"),
                (Some(low), None) => format!("{low} and above"),
                (Some(low), Some(high)) => format!("[{low}, {high})"),
            },
        }
    }
}

/// Moves what is not finite to the end, and gives the rest.
fn finite_first(values: &mut [f64]) -> &mut [f64] {
    let mut finite = 0;
    for at in 0..values.len() {
        if values[at].is_finite() {
            values.swap(at, finite);
            finite += 1;
        }
    }
    &mut values[..finite]
}

/// Puts the values of these positions (rising, each below `offset` + the length) where sorting would put them: quantiles
/// need no more, and it takes a third of the time of sorting a million values.
fn select(values: &mut [f64], offset: usize, positions: &[usize]) {
    let middle = positions.len() / 2;
    let Some(&position) = positions.get(middle).filter(|_| !values.is_empty()) else {
        return;
    };
    let (left, _, right) = values.select_nth_unstable_by(position - offset, f64::total_cmp);
    select(left, offset, &positions[..middle]);
    select(right, position + 1, &positions[middle + 1..]);
}

/// numpy's `quantile(method="linear")` of values that are where sorting would put them, at the positions that it asks for;
/// `None` without values.
fn quantile_of_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    let position = q * sorted.len().checked_sub(1)? as f64;
    let below = *sorted.get(position.floor() as usize)?;
    let above = sorted.get(position.floor() as usize + 1).copied().unwrap_or(below);
    let t = position.fract();
    let step = above - below;
    // As numpy does it: from the nearer end, so that both ends are met exactly.
    Some(if t < 0.5 { below + step * t } else { above - step * (1.0 - t) })
}

/// Ends the bin of a value that filled several quantiles at the next greater value, so that it holds that value alone.
fn close_repeated_value(edges: &mut Vec<f64>, values: &[f64]) {
    if let Some(&value) = edges.last() {
        let greater = values.iter().copied().filter(|x| *x > value);
        let next = greater.reduce(f64::min);
        edges.push(next.unwrap_or_else(|| value.next_up()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::portable_stream::drift_samples;

    fn edges_of(values: &[f64], bins: usize) -> Vec<f64> {
        match Bins::from_quantiles(&mut values.to_vec(), bins) {
            Bins::Quantiles { edges } => edges,
            Bins::Categories { .. } => unreachable!(),
        }
    }

    #[test]
    fn deciles_count_as_numpy_does() {
        let (a, b) = drift_samples();
        let bins = Bins::from_quantiles(&mut a.clone(), 10);
        let (mut in_a, mut in_b) = (Histogram::new(&bins), Histogram::new(&bins));
        a.iter().for_each(|&x| in_a.add(bins.index_of(Some(x))));
        b.iter().for_each(|&x| in_b.add(bins.index_of(Some(x))));
        assert_eq!(in_a.counts(), [&[100; 10][..], &[0]].concat());
        assert_eq!(in_b.counts(), [107, 110, 74, 80, 67, 74, 72, 60, 76, 80, 0]);
        assert_eq!(in_b.total(), 800);
    }

    #[test]
    fn quantiles_interpolate_and_ignore_what_is_not_finite() {
        assert_eq!(edges_of(&[4.0, 1.0, 3.0, 2.0], 4), [1.75, 2.5, 3.25]);
        // More bins than values, all of them the same.
        assert_eq!(edges_of(&[0.0; 9], 11).first(), Some(&0.0));
        let odd = [f64::NAN, -f64::NAN, 4.0, f64::INFINITY, 1.0, 3.0];
        let odd = [&odd[..], &[2.0, f64::NEG_INFINITY]].concat();
        assert_eq!(edges_of(&odd, 4), [1.75, 2.5, 3.25]);
        assert_eq!(edges_of(&[f64::NAN], 10), [0.0; 0]);
        assert_eq!(edges_of(&[], 10), [0.0; 0]);
        assert_eq!(edges_of(&[1.0, 2.0], 0), [0.0; 0]);
    }

    #[test]
    fn a_repeated_value_has_a_bin_of_its_own() {
        let mut rare_yes = vec![0.0; 95];
        rare_yes.extend([1.0; 5]);
        assert_eq!(edges_of(&rare_yes, 10), [0.0, 1.0]);
        assert_eq!(edges_of(&[7.0; 50], 10), [7.0, 7.0_f64.next_up()]);
    }

    #[test]
    fn every_value_has_a_bin_and_a_label() {
        let bins = Bins::Quantiles { edges: vec![0.0, 1.5] };
        let of = |x| bins.label(bins.index_of(x));
        assert_eq!(of(Some(-1.0)), "below 0");
        assert_eq!(of(Some(0.0)), "[0, 1.5)");
        assert_eq!(of(Some(1.5)), "1.5 and above");
        assert_eq!(of(None), "missing");
        assert_eq!(of(Some(f64::NAN)), "missing");
        assert_eq!(of(Some(f64::INFINITY)), "missing");
        assert_eq!(bins.index_of_category(Some("x")), 3);
        assert_eq!(bins.label(4), "no such bin");
        let none = Bins::Quantiles { edges: vec![] };
        assert_eq!(none.label(none.index_of(Some(3.0))), "any number");
    }

    #[test]
    fn top_categories_then_other_then_missing() {
        let counts = [("pear", 5), ("apple", 9), ("fig", 5), ("kiwi", 1)];
        let counts = counts.map(|(k, n)| (k.to_owned(), n)).into();
        let bins = Bins::from_top_categories(&counts, 2);
        assert_eq!(bins.len(), 4);
        let of = |x| bins.label(bins.index_of_category(x));
        assert_eq!(of(Some("apple")), "apple");
        assert_eq!(of(Some("fig")), "fig");
        assert_eq!(of(Some("pear")), "other");
        assert_eq!(of(None), "missing");
        assert_eq!(bins.index_of(Some(1.0)), 2);
    }

    #[test]
    fn bins_and_counts_survive_json() {
        let bins = Bins::from_quantiles(&mut drift_samples().0, 10);
        let text = serde_json::to_string(&bins).unwrap();
        assert!(text.starts_with(r#"{"quantiles":{"edges":["#));
        assert_eq!(serde_json::from_str::<Bins>(&text).unwrap(), bins);
        let mut histogram = Histogram::with_len(3);
        histogram.add_n(1, 4);
        let text = serde_json::to_string(&histogram).unwrap();
        assert_eq!(text, "[0,4,0]");
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), histogram);
    }

    proptest! {
        #[test]
        fn edges_increase_and_every_index_is_a_bin(
            mut values in prop::collection::vec(prop_oneof![any::<f64>(), (0..4_i32).prop_map(f64::from)], 0..80),
            bins in 0..20_usize,
            probe in any::<f64>(),
        ) {
            let made = Bins::from_quantiles(&mut values, bins);
            prop_assert!(made.index_of(Some(probe)) < made.len());
            prop_assert!(made.len() <= bins.max(1) + 1);
            let Bins::Quantiles { edges } = made else { unreachable!() };
            prop_assert!(edges.windows(2).all(|w| w[0] < w[1]));
        }
    }
}
