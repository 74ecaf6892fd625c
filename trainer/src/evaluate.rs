//! How good a model is: every item ranked for every holdout user (Krichene and Rendle, KDD 2020, on why not a sample).
//!
//! What it does not do: it judges nothing. Gates compare the numbers.

use std::collections::BTreeMap;

use fairway_model::{NONE, Query, Recommender, Seen, top_k};
use fairway_stats::PairedSpread;
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde::{Deserialize, Serialize};

use crate::split::{HoldoutUser, Protocol, Split};

/// Users that one task ranks. Fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 64;

/// Metrics by name, such as `recall@20`, and the same within segments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Means over all users: `recall@k`, `ndcg@k`, and `coverage@k` of the catalogue.
    pub overall: BTreeMap<String, f64>,
    /// `recall@k` and `ndcg@k` of the users of each segment.
    pub by_segment: BTreeMap<String, SegmentMetrics>,
}

/// Metrics of the users of one segment. With few users they say little.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SegmentMetrics {
    /// How many users.
    pub users: u64,
    /// Metrics by name.
    pub values: BTreeMap<String, f64>,
}

/// Candidate, champion and baseline on the same users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// The recipe that was trained, before any refit.
    pub candidate: Metrics,
    /// What serves now, if anything does.
    pub champion: Option<Metrics>,
    /// What sold lately, fitted on the same training rows.
    pub popularity: Metrics,
    /// How candidate and champion vary together over the users, by metric (`recall@k` and `ndcg@k`).
    pub beside_champion: BTreeMap<String, PairedSpread>,
    /// The same of candidate and popularity.
    pub beside_popularity: BTreeMap<String, PairedSpread>,
    /// How candidate and champion vary together over the users of each segment. For the gates, not for the record.
    #[serde(skip)]
    pub beside_champion_by_segment: BTreeMap<String, BTreeMap<String, PairedSpread>>,
    /// The same of candidate and popularity.
    #[serde(skip)]
    pub beside_popularity_by_segment: BTreeMap<String, BTreeMap<String, PairedSpread>>,
    /// How many users were judged on.
    pub users: u64,
    /// How it was done.
    pub protocol: Protocol,
}

/// Metrics, and what they are means of.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// The means.
    pub metrics: Metrics,
    /// Recall and NDCG of each user of the split, at each cut-off.
    users: Vec<Vec<(f64, f64)>>,
    /// Places in `users` of each segment's users.
    segments: BTreeMap<String, Vec<usize>>,
    ks: Vec<usize>,
}

impl Ranking {
    /// How this model and another one vary together over the same users, by metric. Empty if the users are others.
    pub fn beside(&self, other: &Self) -> BTreeMap<String, PairedSpread> {
        let everybody: Vec<usize> = (0..self.users.len()).collect();
        self.beside_among(other, &everybody)
    }

    /// The same over the users of each segment.
    pub fn beside_by_segment(&self, other: &Self) -> BTreeMap<String, BTreeMap<String, PairedSpread>> {
        self.segments.iter().map(|(name, users)| (name.clone(), self.beside_among(other, users))).collect()
    }

    fn beside_among(&self, other: &Self, users: &[usize]) -> BTreeMap<String, PairedSpread> {
        if self.users.len() != other.users.len() || self.ks != other.ks {
            return BTreeMap::new();
        }
        let spread = |at: usize, of: fn(&(f64, f64)) -> f64| {
            let both = users.iter().map(|&user| (of(&self.users[user][at]), of(&other.users[user][at])));
            PairedSpread::of(&both.collect::<Vec<_>>())
        };
        let by_k = self.ks.iter().enumerate().flat_map(|(at, k)| {
            [(format!("recall@{k}"), spread(at, |it| it.0)), (format!("ndcg@{k}"), spread(at, |it| it.1))]
        });
        by_k.collect()
    }
}

/// What one user got.
struct Ranked {
    /// Recall and NDCG at each k.
    values: Vec<(f64, f64)>,
    /// The longest list, as indices of the model.
    top: Vec<u32>,
}

/// Ranks all items of the model for each user of the split. `ks` are the cut-offs; the result does not depend on the
/// number of threads.
pub fn full_ranking(model: &dyn Recommender, split: &Split, ks: &[usize]) -> Ranking {
    let to_model = items_of_model(model, split);
    let work = |chunk: &[HoldoutUser]| {
        let mut ranker = Ranker::new(model, split, &to_model, ks);
        chunk.iter().map(|user| ranker.rank(user)).collect::<Vec<Ranked>>()
    };
    let ranked: Vec<Vec<Ranked>> = split.users.par_chunks(CHUNK).map(work).collect();
    let ranked: Vec<Ranked> = ranked.into_iter().flatten().collect();
    let everybody: Vec<&Ranked> = ranked.iter().collect();
    let mut overall = means(&everybody, ks);
    let in_training = count_distinct(split.train.item.iter().copied(), split.train.items.len());
    for &k in ks {
        let shown = ranked.iter().flat_map(|one| one.top.iter().take(k).copied());
        let shown = count_distinct(shown, model.items().len());
        overall.insert(format!("coverage@{k}"), shown as f64 / in_training.max(1) as f64);
    }
    let segments = members(split);
    let metrics = Metrics { overall, by_segment: by_segment(&segments, &ranked, ks) };
    Ranking { metrics, users: ranked.into_iter().map(|one| one.values).collect(), segments, ks: ks.to_vec() }
}

/// Index in the model of each item of the data, or [`NONE`].
pub(crate) fn items_of_model(model: &dyn Recommender, split: &Split) -> Vec<u32> {
    split.train.items.iter().map(|name| model.items().get(name).unwrap_or(NONE)).collect()
}

/// A history in the model's items; what it does not know is left out.
pub(crate) fn translate(history: &[Seen], to_model: &[u32], out: &mut Vec<Seen>) {
    out.clear();
    let known = history.iter().map(|seen| Seen { item: to_model[seen.item as usize], time_ms: seen.time_ms });
    out.extend(known.filter(|seen| seen.item != NONE));
}

fn count_distinct(indices: impl Iterator<Item = u32>, len: usize) -> usize {
    let mut met = vec![false; len];
    indices.for_each(|index| met[index as usize] = true);
    met.into_iter().filter(|met| *met).count()
}

/// Places in the split's users of each segment's users.
fn members(split: &Split) -> BTreeMap<String, Vec<usize>> {
    let mut segments: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, user) in split.users.iter().enumerate() {
        if let Some(name) = crate::split::segment_name(&split.train, user.segment) {
            segments.entry(name.to_owned()).or_default().push(place);
        }
    }
    segments
}

fn by_segment(
    segments: &BTreeMap<String, Vec<usize>>,
    ranked: &[Ranked],
    ks: &[usize],
) -> BTreeMap<String, SegmentMetrics> {
    let named = segments.iter().map(|(name, places)| {
        let group: Vec<&Ranked> = places.iter().map(|&place| &ranked[place]).collect();
        let metrics = SegmentMetrics { users: group.len() as u64, values: means(&group, ks) };
        (name.clone(), metrics)
    });
    named.collect()
}

/// Means over users, summed in their order.
fn means(ranked: &[&Ranked], ks: &[usize]) -> BTreeMap<String, f64> {
    let n = ranked.len().max(1) as f64;
    let mut result = BTreeMap::new();
    for (at, k) in ks.iter().enumerate() {
        let recall: f64 = ranked.iter().map(|one| one.values[at].0).sum();
        let ndcg: f64 = ranked.iter().map(|one| one.values[at].1).sum();
        result.insert(format!("recall@{k}"), recall / n);
        result.insert(format!("ndcg@{k}"), ndcg / n);
    }
    result
}

/// One thread's buffers.
struct Ranker<'a> {
    model: &'a dyn Recommender,
    split: &'a Split,
    to_model: &'a [u32],
    ks: &'a [usize],
    longest: usize,
    history: Vec<Seen>,
    scores: Vec<f32>,
    excluded: Vec<bool>,
    top: Vec<(u32, f32)>,
}

impl<'a> Ranker<'a> {
    fn new(model: &'a dyn Recommender, split: &'a Split, to_model: &'a [u32], ks: &'a [usize]) -> Self {
        let n = model.items().len();
        Self {
            model,
            split,
            to_model,
            ks,
            longest: ks.iter().copied().max().unwrap_or(0),
            history: Vec::new(),
            scores: vec![0.0; n],
            excluded: vec![false; n],
            top: Vec::new(),
        }
    }

    fn rank(&mut self, user: &HoldoutUser) -> Ranked {
        translate(&user.history, self.to_model, &mut self.history);
        let segment = crate::split::segment_name(&self.split.train, user.segment);
        let query = Query { history: &self.history, segment, now_ms: self.split.cutoff_ms };
        self.model.score(&query, &mut self.scores);
        let excluded = &mut self.excluded;
        self.history.iter().for_each(|seen| excluded[seen.item as usize] = true);
        top_k(&self.scores, |item| excluded[item as usize], self.longest, &mut self.top);
        self.history.iter().for_each(|seen| excluded[seen.item as usize] = false);
        let mut targets: Vec<u32> = user.targets.iter().map(|&item| self.to_model[item as usize]).collect();
        targets.retain(|&item| item != NONE);
        targets.sort_unstable();
        let hits: Vec<bool> = self.top.iter().map(|(item, _)| targets.binary_search(item).is_ok()).collect();
        Ranked {
            values: self.ks.iter().map(|&k| recall_and_ndcg(&hits, user.targets.len(), k)).collect(),
            top: self.top.iter().map(|(item, _)| *item).collect(),
        }
    }
}

/// Recall and NDCG at `k` of a ranking whose hits are given, for a user with `targets` targets (at least 1).
///
/// Recall is hits / min(k, targets); a hit in place p (from 0) gains 1 / log2(p + 2), over the gain of min(k, targets)
/// hits in the first places.
pub fn recall_and_ndcg(hits: &[bool], targets: usize, k: usize) -> (f64, f64) {
    let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
    let places = hits.iter().take(k).enumerate().filter(|(_, hit)| **hit).map(|(place, _)| place);
    let (count, gained) = places.fold((0, 0.0), |(n, sum), place| (n + 1, sum + gain(place)));
    let possible = k.min(targets).max(1);
    let ideal: f64 = (0..possible).map(gain).sum();
    (f64::from(count) / possible as f64, gained / ideal)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fairway_model::{Interactions, Vocabulary};

    use super::*;

    #[test]
    fn metrics_by_hand() {
        let third = 1.0 / 4.0_f64.log2();
        // hits in places, targets, k, recall, ndcg
        for (hits, targets, k, recall, ndcg) in [
            (&[true][..], 1, 10, 1.0, 1.0),
            (&[false, false, true][..], 1, 10, 1.0, third),
            (&[false, false, true][..], 1, 2, 0.0, 0.0),
            (&[true, false, true][..], 4, 3, 2.0 / 3.0, (1.0 + third) / (1.0 + 1.0 / 3.0_f64.log2() + third)),
            (&[false; 5][..], 3, 5, 0.0, 0.0),
            (&[][..], 2, 5, 0.0, 0.0),
        ] {
            let found = recall_and_ndcg(hits, targets, k);
            assert!((found.0 - recall).abs() < 1e-12 && (found.1 - ndcg).abs() < 1e-12, "{hits:?} {found:?}");
        }
    }

    /// Scores items by their place in a list.
    struct Fixed(Vocabulary, Vec<f32>);

    impl Recommender for Fixed {
        fn family(&self) -> &'static str {
            "fixed"
        }
        fn items(&self) -> &Vocabulary {
            &self.0
        }
        fn score(&self, _: &Query<'_>, scores: &mut [f32]) {
            scores.copy_from_slice(&self.1);
        }
        fn save(&self, _: &Path) -> Result<(), fairway_model::Error> {
            Ok(())
        }
    }

    #[test]
    fn history_is_left_out_and_unknown_targets_are_missed() {
        let mut rows = Interactions::builder();
        for (user, item, time, segment) in [
            ("ann", "a", 0, Some("uk")),
            ("bob", "b", 0, None),
            ("ann", "b", 10, None),
            ("ann", "new", 11, None),
            ("bob", "c", 12, None),
        ] {
            rows.push(user, item, time, 1.0, segment);
        }
        let split = Split::at(&rows.finish(), 5, 0).unwrap();
        // A model with its own order of items; `new` is unknown to it.
        let model = Fixed(Vocabulary::from_names(["a", "b", "c", "z"]), vec![4.0, 3.0, 2.0, 1.0]);
        let ranking = full_ranking(&model, &split, &[1, 2]);
        assert_eq!(ranking.beside(&ranking)["recall@2"].standard_error(1.0), 0.0);
        let by_segment = ranking.beside_by_segment(&ranking);
        assert_eq!((by_segment.len(), by_segment["uk"]["recall@2"].n), (1, 1));
        let metrics = ranking.metrics;
        // ann: b is first without a, 1 of 2 targets (1 of 1 at k = 1). bob: a, c.
        assert_eq!(metrics.overall["recall@1"], 0.5);
        assert_eq!(metrics.overall["recall@2"], 0.75);
        let ndcg = (1.0 / (1.0 + 1.0 / 3.0_f64.log2()) + 1.0 / 3.0_f64.log2()) / 2.0;
        assert!((metrics.overall["ndcg@2"] - ndcg).abs() < 1e-12);
        assert_eq!(metrics.overall["coverage@1"], 1.0);
        assert_eq!(metrics.by_segment.len(), 1);
        assert_eq!(metrics.by_segment["uk"].users, 1);
        assert_eq!(metrics.by_segment["uk"].values["recall@1"], 1.0);
    }
}
