//! The profile of a version: how requests, scores and consumption were distributed in the holdout, as a server would have
//! met them. Drift is measured against it.
//!
//! What it does not do: the bins are `fairway_model::profile`'s, on which the server counts too.

use std::collections::BTreeMap;

use fairway_model::profile::{
    CONSUMED_BINS, HISTORY_LENGTH, SCORE, SEGMENT, category_feature, consumed_bins, consumed_feature, consumed_index,
    number_feature,
};
use fairway_model::{Interactions, NONE, Query, Recommender, Seen, top_k};
use fairway_wire::Profile;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::evaluate::{items_of_model, translate};
use crate::split::{ByUser, Split, by_user, history, segment_name};

/// Most visits that are looked at; of more, a sample by seeded hash.
pub const VISITS_MAX: usize = 20_000;
/// Rows of a user less than this apart are one visit: one request.
pub const VISIT_GAP_MS: i64 = 30 * 60_000;
/// Newest items of a history that a server keeps.
pub const HISTORY_MAX: usize = 500;
/// Bins of numbers, besides MISSING.
const BINS: usize = 10;
/// Segments with a bin of their own.
const SEGMENTS: usize = 20;

/// What a visit's request would have looked like to the server.
struct Request {
    score: f64,
    history_length: f64,
    segment: Option<String>,
}

/// The profile for `served`, with references measured by `judged` on the holdout.
///
/// `judged` was fitted on `split.train` and has not seen the holdout, so its scores there are what a server sees after
/// training. `fitted` are the rows that `served` was fitted on: the popularity ranks of its items. `data` is the whole.
pub fn profile(
    judged: &dyn Recommender,
    served: &dyn Recommender,
    data: &Interactions,
    split: &Split,
    fitted: &Interactions,
    seed: u64,
) -> Profile {
    let requests = requests(judged, data, split, seed);
    let numbers = |of: fn(&Request) -> f64| requests.iter().map(of).collect::<Vec<f64>>();
    let mut segments: BTreeMap<String, u64> = BTreeMap::new();
    let mut without = 0;
    for request in &requests {
        match &request.segment {
            Some(name) => *segments.entry(name.clone()).or_default() += 1,
            None => without += 1,
        }
    }
    let features = [
        (SCORE, number_feature(&mut numbers(|request| request.score), BINS, true)),
        (HISTORY_LENGTH, number_feature(&mut numbers(|request| request.history_length), BINS, false)),
        (SEGMENT, category_feature(&segments, without, SEGMENTS)),
    ];
    Profile {
        features: features.map(|(name, feature)| (name.to_owned(), feature)).into(),
        consumed: Some(consumed(judged, split)),
        consumed_bin: consumed_bins(&training_counts(served, fitted), CONSUMED_BINS),
    }
}

/// Rows of each of the model's items.
fn training_counts(model: &dyn Recommender, rows: &Interactions) -> Vec<u64> {
    let to_model: Vec<u32> = rows.items.iter().map(|name| model.items().get(name).unwrap_or(NONE)).collect();
    let mut counts = vec![0; model.items().len()];
    for &item in &rows.item {
        if let Some(count) = counts.get_mut(to_model[item as usize] as usize) {
            *count += 1;
        }
    }
    counts
}

/// The holdout's consumption on the popularity ranks of the training before it: a server's view, shifted in time.
fn consumed(judged: &dyn Recommender, split: &Split) -> fairway_wire::FeatureProfile {
    let to_model = items_of_model(judged, split);
    let ranks = Profile {
        consumed: Some(consumed_feature(CONSUMED_BINS)),
        consumed_bin: consumed_bins(&training_counts(judged, &split.train), CONSUMED_BINS),
        ..Profile::default()
    };
    let mut feature = consumed_feature(CONSUMED_BINS);
    for &item in &split.holdout.item {
        let item = Some(to_model[item as usize]).filter(|&item| item != NONE);
        if let Some(bin) = consumed_index(&ranks, item) {
            feature.reference.add(bin);
        }
    }
    feature
}

/// What one thread reuses from request to request.
#[derive(Default)]
struct Buffers {
    scores: Vec<f32>,
    excluded: Vec<bool>,
    seen: Vec<Seen>,
    best: Vec<(u32, f32)>,
}

/// The requests of the holdout's visits, in the order of time.
fn requests(judged: &dyn Recommender, data: &Interactions, split: &Split, seed: u64) -> Vec<Request> {
    let by_user = by_user(data);
    let visits = visits(data, &by_user, split.cutoff_ms, seed);
    let to_model = items_of_model(judged, split);
    let n = judged.items().len();
    let buffers = || Buffers { scores: vec![0.0; n], excluded: vec![false; n], ..Buffers::default() };
    let ask = |Buffers { scores, excluded, seen, best }: &mut Buffers, &row: &u32| {
        let (user, now_ms) = (data.user[row as usize], data.time_ms[row as usize]);
        let rows = by_user.rows(user);
        let before = rows.partition_point(|&row| data.time_ms[row as usize] < now_ms);
        let all = history(data, rows[..before].iter().copied());
        translate(&all[all.len().saturating_sub(HISTORY_MAX)..], &to_model, seen);
        let segment = segment_name(data, data.segment[row as usize]);
        let query = Query { history: seen, segment, now_ms };
        judged.score(&query, scores);
        let knows = judged.knows(&query);
        seen.iter().for_each(|seen| excluded[seen.item as usize] = true);
        top_k(scores, |item| excluded[item as usize], 1, best);
        seen.iter().for_each(|seen| excluded[seen.item as usize] = false);
        Request {
            score: best.first().filter(|_| knows).map_or(f64::NAN, |(_, score)| f64::from(*score)),
            history_length: seen.len() as f64,
            segment: segment.map(str::to_owned),
        }
    };
    visits.par_iter().with_min_len(64).map_init(buffers, ask).collect()
}

/// The first row of each visit from `cutoff_ms` on.
fn visits(data: &Interactions, by_user: &ByUser, cutoff_ms: i64, seed: u64) -> Vec<u32> {
    let mut visits: Vec<u32> = Vec::new();
    for user in 0..data.users.len() as u32 {
        let mut last = i64::MIN;
        for &row in by_user.rows(user) {
            let time = data.time_ms[row as usize];
            if time >= cutoff_ms && time.saturating_sub(last) >= VISIT_GAP_MS {
                visits.push(row);
            }
            last = time;
        }
    }
    if visits.len() > VISITS_MAX {
        visits.sort_by_cached_key(|&row| {
            let name = data.users.name(data.user[row as usize]);
            (xxh3_64_with_seed(name.as_bytes(), seed ^ data.time_ms[row as usize] as u64), row)
        });
        visits.truncate(VISITS_MAX);
    }
    visits.sort_unstable();
    visits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::fit_popularity;
    use crate::sample::{self, DAY_MS};

    #[test]
    fn references_are_the_holdout_as_a_server_meets_it() {
        let data = sample::interactions();
        let split = Split::at(&data, 45 * DAY_MS, 0).unwrap();
        let judged = fit_popularity(&split.train).unwrap();
        let served = fit_popularity(&data).unwrap();
        let profile = profile(&judged, &served, &data, &split, &data, 0);
        // 150 users visit once from day 45 on.
        for feature in [SCORE, HISTORY_LENGTH, SEGMENT] {
            assert_eq!(profile.features[feature].reference.total(), 150, "{feature}");
        }
        assert!(profile.features[SCORE].is_score);
        assert_eq!(profile.features[SEGMENT].reference.counts(), [75, 75, 0, 0]);
        let consumed = profile.consumed.unwrap();
        assert_eq!(consumed.reference.total(), split.holdout.len() as u64);
        assert_eq!(consumed.bins.len(), CONSUMED_BINS + 2);
        assert_eq!(profile.consumed_bin.len(), served.items().len());
    }

    #[test]
    fn rows_close_to_each_other_are_one_visit() {
        let mut rows = Interactions::builder();
        for minute in [0, 10, 35, 100, 129, 200] {
            rows.push("ann", "a", minute * 60_000, 1.0, None);
        }
        let data = rows.finish();
        let visits = visits(&data, &by_user(&data), 30 * 60_000, 0);
        assert_eq!(visits, [3, 5]);
    }
}
