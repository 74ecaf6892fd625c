//! Popularity: what was consumed lately, decayed, per segment (Ji et al., "A Re-visit of the Popularity Baseline",
//! SIGIR 2020).
//!
//! A user who consumes an item several times within the window counts once, by the newest time: a wholesaler's orders do
//! not outvote a hundred customers.

use std::collections::BTreeMap;

use fairway_model::features::recency_weight;
use fairway_model::{Interactions, NONE, Popularity, Vocabulary};

use super::parameters::Parameters;
use crate::error::TrainError;

/// Most segments that have counts of their own. The documentation names both numbers.
const SEGMENTS_MAX: usize = 1_000;
/// Most counts that segments have together, one an item: a large catalogue leaves room for fewer segments.
const COUNTS_MAX: usize = 50_000_000;

/// The parameters of the family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PopularitySettings {
    /// Rows older than this, counted from the newest row, do not count.
    window_ms: i64,
    /// After how long a row counts half.
    half_life_ms: i64,
    /// Weight of everybody's taste in a segment's, in interactions.
    smoothing: f64,
}

impl PopularitySettings {
    /// `window`, `halfLife`, `smoothing`.
    pub(super) fn parse(parameters: &BTreeMap<String, String>) -> Result<Self, TrainError> {
        let values = Parameters::of(Popularity::FAMILY, parameters, &["window", "halfLife", "smoothing"])?;
        Ok(Self {
            window_ms: values.duration_ms("window", "30d")?,
            half_life_ms: values.duration_ms("halfLife", "7d")?,
            smoothing: values.number("smoothing", 1_000.0, 1e-6..=1e12)?,
        })
    }
}

/// The baseline that gates compare with: popularity with its default parameters.
///
/// # Errors
/// Never with data; the model refuses nothing of what is counted here.
pub fn fit_popularity(data: &Interactions) -> Result<Popularity, TrainError> {
    fit(data, &PopularitySettings::parse(&BTreeMap::new())?)
}

/// Counts. All items of the data are known to the model, so that what sold before the window can still be ranked last. Only
/// the most frequent segments are, where there are very many: in the others everybody's taste counts.
pub(super) fn fit(data: &Interactions, settings: &PopularitySettings) -> Result<Popularity, TrainError> {
    let present = present_items(data);
    let items = Vocabulary::from_names(present.iter().map(|&item| data.items.name(item)));
    let mut to_model = vec![0_usize; data.items.len()];
    present.iter().enumerate().for_each(|(index, &item)| to_model[item as usize] = index);

    let now = data.time_ms.last().copied().unwrap_or(0);
    let first = data.time_ms.partition_point(|&time| time <= now.saturating_sub(settings.window_ms));
    let mut counts = vec![0.0_f64; items.len()];
    let kept = most_frequent(data, first, SEGMENTS_MAX.min(COUNTS_MAX / items.len().max(1)));
    let mut row_of = vec![None; data.segments.len()];
    kept.iter().enumerate().for_each(|(row, &segment)| row_of[segment as usize] = Some(row));
    let mut by_segment = vec![vec![0.0_f64; items.len()]; kept.len()];
    let mut counted = std::collections::HashSet::new();
    for row in (first..data.len()).rev() {
        if !counted.insert((data.user[row], data.item[row])) {
            continue;
        }
        let weight = recency_weight(now - data.time_ms[row], settings.half_life_ms);
        let item = to_model[data.item[row] as usize];
        counts[item] += weight;
        if let Some(&Some(of_segment)) = row_of.get(data.segment[row] as usize) {
            by_segment[of_segment][item] += weight;
        }
    }
    let narrow = |row: Vec<f64>| row.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
    let by_segment = by_segment.into_iter().map(narrow).collect();
    let segments = Vocabulary::from_names(kept.iter().map(|&segment| data.segments.name(segment)));
    let smoothing = settings.smoothing as f32;
    Ok(Popularity::new(items, segments, narrow(counts), by_segment, smoothing)?)
}

/// The segments with most rows from row `first` on, ascending; of equal ones, the first by name.
fn most_frequent(data: &Interactions, first: usize, most: usize) -> Vec<u32> {
    let mut segments: Vec<u32> = (0..data.segments.len() as u32).collect();
    if segments.len() > most {
        let mut rows = vec![0_u64; segments.len()];
        data.segment[first..].iter().filter(|&&it| it != NONE).for_each(|&it| rows[it as usize] += 1);
        segments.sort_by_key(|&segment| (std::cmp::Reverse(rows[segment as usize]), segment));
        segments.truncate(most);
        segments.sort_unstable();
    }
    segments
}

/// The items that have a row, ascending: a part of the data has the vocabulary of the whole.
pub(super) fn present_items(data: &Interactions) -> Vec<u32> {
    let mut present = vec![false; data.items.len()];
    data.item.iter().for_each(|&item| present[item as usize] = true);
    (0..data.items.len() as u32).filter(|&item| present[item as usize]).collect()
}

#[cfg(test)]
mod tests {
    use fairway_model::{Query, Recommender};

    use super::*;

    const DAY: i64 = 86_400_000;

    #[test]
    fn counts_are_windowed_decayed_and_by_user() {
        let mut rows = Interactions::builder();
        for (user, item, day, segment) in [
            ("ann", "old", 0, Some("uk")),
            ("ann", "cup", 33, Some("uk")),
            ("ann", "cup", 40, Some("uk")),
            ("bob", "cup", 33, Some("fr")),
            ("eve", "pan", 40, None),
        ] {
            rows.push(user, item, day * DAY, 1.0, segment);
        }
        let model = fit_popularity(&rows.finish()).unwrap();
        assert_eq!(model.items().iter().collect::<Vec<_>>(), ["cup", "old", "pan"]);
        assert_eq!(model.counts(), [1.5, 0.0, 1.0]);
        let mut scores = [0.0; 3];
        let query = Query { history: &[], segment: Some("uk"), now_ms: 0 };
        model.score(&query, &mut scores);
        assert_eq!(scores, [1.0 + 600.0, 0.0, 400.0]);
    }

    #[test]
    fn of_very_many_segments_the_most_frequent_are_known() {
        let mut rows = Interactions::builder();
        for segment in 0..SEGMENTS_MAX + 5 {
            // Those with an odd number are visited twice.
            for visit in 0..=segment % 2 {
                let item = if segment == 3 { "b" } else { "a" };
                rows.push(&format!("u{segment}-{visit}"), item, 0, 1.0, Some(&format!("s{segment:04}")));
            }
        }
        let data = rows.finish();
        let kept = most_frequent(&data, 0, 4);
        assert_eq!(
            kept.iter().map(|&it| data.segments.name(it)).collect::<Vec<_>>(),
            ["s0001", "s0003", "s0005", "s0007"]
        );
        assert!(most_frequent(&data, 0, 0).is_empty(), "no room for any");

        let model = fit_popularity(&data).unwrap();
        let scores = |segment: Option<&str>| {
            let mut scores = [0.0; 2];
            model.score(&Query { history: &[], segment, now_ms: 0 }, &mut scores);
            scores
        };
        let (known, rare, nowhere) = (scores(Some("s0003")), scores(Some("s1004")), scores(None));
        assert!(known[1] > nowhere[1], "{known:?} {nowhere:?}");
        assert_eq!(rare, nowhere, "in a rare segment everybody's taste counts");
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let names: Vec<String> =
            serde_json::from_slice(&std::fs::read(folder.path().join("segments.json")).unwrap()).unwrap();
        assert_eq!(names.len(), SEGMENTS_MAX);
    }

    #[test]
    fn a_part_of_the_data_knows_only_its_items() {
        let mut rows = Interactions::builder();
        rows.push("ann", "b", 0, 1.0, None);
        rows.push("ann", "a", DAY, 1.0, None);
        let data = rows.finish();
        let model = fit_popularity(&data.between(0, 1)).unwrap();
        assert_eq!(model.items().iter().collect::<Vec<_>>(), ["b"]);
    }
}
