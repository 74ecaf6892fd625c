//! The best items of a list of scores.
//!
//! What it does not do: it knows nothing of users; what to leave out is a closure.

use std::cmp::Ordering;

/// Puts the `k` best items into `out` (emptied first): score descending, ties by the lower index, which is the
/// lexicographically smaller item.
///
/// NaN never enters, and neither does an item for which `excluded` says true. A heap of the `k` best so far, kept in
/// `out`, so that most items cost one comparison: O(n + m log k) with m items that entered. `excluded` is asked only of
/// items that would enter. Allocates nothing but `out`.
pub fn top_k(scores: &[f32], excluded: impl Fn(u32) -> bool, k: usize, out: &mut Vec<(u32, f32)>) {
    out.clear();
    let k = k.min(scores.len());
    if k == 0 {
        return;
    }
    out.reserve(k);
    for (index, &score) in scores.iter().enumerate() {
        let index = index as u32;
        if out.len() < k {
            if !score.is_nan() && !excluded(index) {
                out.push((index, score));
                rise(out);
            }
        } else if score > out[0].1 && !excluded(index) {
            // Items come by ascending index, so an equal score always loses. NaN is greater than nothing.
            out[0] = (index, score);
            sink(out);
        }
    }
    out.sort_unstable_by(|a, b| if worse(*a, *b) { Ordering::Greater } else { Ordering::Less });
}

/// Whether `a` comes after `b`. No two have the same index and none is NaN.
fn worse(a: (u32, f32), b: (u32, f32)) -> bool {
    a.1 < b.1 || (a.1 == b.1 && a.0 > b.0)
}

/// Moves the last of a heap up to its place; the worst is at the root.
fn rise(heap: &mut [(u32, f32)]) {
    let mut at = heap.len() - 1;
    while at > 0 && worse(heap[at], heap[(at - 1) / 2]) {
        heap.swap(at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

/// Moves the root of a heap down to its place.
fn sink(heap: &mut [(u32, f32)]) {
    let mut at = 0;
    loop {
        let (left, right) = (2 * at + 1, 2 * at + 2);
        let mut worst = at;
        for child in [left, right] {
            if child < heap.len() && worse(heap[child], heap[worst]) {
                worst = child;
            }
        }
        if worst == at {
            return;
        }
        heap.swap(at, worst);
        at = worst;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything sorted, then cut.
    fn by_sorting(scores: &[f32], excluded: impl Fn(u32) -> bool, k: usize) -> Vec<(u32, f32)> {
        let all = scores.iter().enumerate().map(|(i, &s)| (i as u32, s));
        let mut all: Vec<_> = all.filter(|&(i, s)| !s.is_nan() && !excluded(i)).collect();
        all.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    }

    #[test]
    fn ties_go_to_the_lower_index_and_nan_never_enters() {
        let scores = [1.0, f32::NAN, 3.0, 1.0, f32::NEG_INFINITY, -0.0, 0.0, f32::INFINITY];
        let mut out = vec![(9, 9.0)];
        top_k(&scores, |_| false, 20, &mut out);
        assert_eq!(out.iter().map(|x| x.0).collect::<Vec<_>>(), [7, 2, 0, 3, 5, 6, 4]);
        top_k(&scores, |item| item == 7 || item == 0, 2, &mut out);
        assert_eq!(out, [(2, 3.0), (3, 1.0)]);
        top_k(&scores, |_| false, 0, &mut out);
        assert!(out.is_empty());
        top_k(&[f32::NAN; 3], |_| false, 2, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn the_buffer_is_kept() {
        let mut out = Vec::with_capacity(4);
        let before = out.as_ptr();
        for _ in 0..3 {
            top_k(&[0.5; 100], |_| false, 4, &mut out);
        }
        assert_eq!(out.as_ptr(), before);
    }

    proptest! {
        #[test]
        fn it_is_a_full_sort_cut_at_k(
            scores in prop::collection::vec(
                prop_oneof![8 => (-5..5_i8).prop_map(f32::from), 1 => Just(f32::NAN), 3 => any::<f32>()],
                0..200,
            ),
            k in 0..40_usize,
            step in 2..9_u32,
        ) {
            let mut out = Vec::new();
            let excluded = |item: u32| item.is_multiple_of(step);
            top_k(&scores, excluded, k, &mut out);
            prop_assert_eq!(out, by_sorting(&scores, excluded, k));
        }
    }
}
