//! Bins for drift: which there are and how a trainer fills them. The server counts on the same bins.
//!
//! What it does not do: it compares nothing; that is `fairway_stats::drift`.

use std::collections::BTreeMap;

use fairway_stats::{Bins, Histogram};
use fairway_wire::{FeatureProfile, Profile};

/// The feature that holds the best score of an answer.
pub const SCORE: &str = "score";
/// The feature that holds how many known items a user's history has.
pub const HISTORY_LENGTH: &str = "historyLength";
/// The feature that holds the user's segment.
pub const SEGMENT: &str = "segment";
/// Bins of consumption by popularity rank.
pub const CONSUMED_BINS: usize = 10;

/// The rank bin of each item: items by falling training count (ties by lower index) are cut into `bins` parts of equal
/// consumption. An item is in the part in which its share begins; items without a count are in the last.
///
/// An item that the version does not know has bin `bins` (see [`consumed_index`]). `bins` is held to 1..=254.
pub fn consumed_bins(counts: &[u64], bins: usize) -> Vec<u8> {
    let bins = bins.clamp(1, 254) as u128;
    let total: u128 = counts.iter().map(|&n| u128::from(n)).sum();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then(a.cmp(&b)));
    let mut result = vec![(bins - 1) as u8; counts.len()];
    let mut before = 0_u128;
    for index in order {
        if counts[index] == 0 {
            break;
        }
        // Below `bins`, because `before < total`.
        result[index] = (before * bins / total) as u8;
        before += u128::from(counts[index]);
    }
    result
}

/// The empty profile of consumption over `bins` rank bins: then one for unknown items, and MISSING, which stays empty.
pub fn consumed_feature(bins: usize) -> FeatureProfile {
    let names = (1..=bins).map(|part| format!("part {part} of {bins}"));
    let bins = Bins::Categories { names: names.collect() };
    FeatureProfile { reference: Histogram::new(&bins), bins, is_score: false }
}

/// In which bin of `profile.consumed` an item falls; `None` for an item that the version does not know. No answer when
/// the version has no such profile.
pub fn consumed_index(profile: &Profile, item: Option<u32>) -> Option<usize> {
    let bins = profile.consumed.as_ref()?.bins.len();
    let known = item.and_then(|item| profile.consumed_bin.get(item as usize));
    Some(known.map_or(bins - 2, |&bin| usize::from(bin)))
}

/// Quantile bins of the values of a number, with the values counted on them. `values` is reordered.
pub fn number_feature(values: &mut [f64], bins: usize, is_score: bool) -> FeatureProfile {
    let bins = Bins::from_quantiles(values, bins);
    let mut reference = Histogram::new(&bins);
    values.iter().for_each(|&value| reference.add(bins.index_of(Some(value))));
    FeatureProfile { bins, reference, is_score }
}

/// Bins of the `top` most frequent names, with `counts` and `missing` values counted on them.
pub fn category_feature(counts: &BTreeMap<String, u64>, missing: u64, top: usize) -> FeatureProfile {
    let bins = Bins::from_top_categories(counts, top);
    let mut reference = Histogram::new(&bins);
    for (name, &n) in counts {
        reference.add_n(bins.index_of_category(Some(name)), n);
    }
    reference.add_n(bins.index_of_category(None), missing);
    FeatureProfile { bins, reference, is_score: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_equal_consumption() {
        // A head of 50 and a tail of 50 ones: half of the consumption each.
        let mut counts = vec![1; 50];
        counts.push(50);
        counts.push(0);
        let bins = consumed_bins(&counts, 10);
        assert_eq!((bins[50], bins[51]), (0, 9));
        for part in 5..10 {
            let n = (0..50).filter(|&i| bins[i] == part).count();
            assert_eq!(n, 10, "{part}");
        }
        assert!(bins[..50].is_sorted());
        assert_eq!(consumed_bins(&[0, 0], 10), [9, 9]);
        assert_eq!(consumed_bins(&[u64::MAX, u64::MAX], 2), [0, 1]);
        assert!(consumed_bins(&[], 0).is_empty());
    }

    #[test]
    fn unknown_items_have_the_last_bin_but_one() {
        let profile = Profile {
            consumed: Some(consumed_feature(10)),
            consumed_bin: consumed_bins(&[3, 1], 10),
            ..Profile::default()
        };
        assert_eq!(consumed_index(&profile, Some(0)), Some(0));
        assert_eq!(consumed_index(&profile, Some(7)), Some(10));
        assert_eq!(consumed_index(&profile, None), Some(10));
        assert_eq!(profile.consumed.as_ref().unwrap().bins.len(), 12);
        assert_eq!(consumed_index(&Profile::default(), None), None);
    }

    #[test]
    fn references_count_every_value() {
        let mut values: Vec<f64> = (0..100).map(f64::from).collect();
        values.push(f64::NAN);
        let score = number_feature(&mut values, 10, true);
        assert_eq!(score.reference.counts(), [&[10; 10][..], &[1]].concat());
        let counts = [("uk", 5), ("fr", 2), ("de", 1)].map(|(k, n)| (k.to_owned(), n)).into();
        let segment = category_feature(&counts, 4, 2);
        assert_eq!(segment.reference.counts(), [5, 2, 1, 4]);
    }
}
