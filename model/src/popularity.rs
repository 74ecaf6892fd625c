//! Popularity within a segment: the baseline that every model must beat, and what serves when nothing else can.
//!
//! What it does not do: it counts nothing. The trainer counts, over a window and with decay, because a count of all
//! times recommends what has gone.

use std::path::Path;

use crate::bundle::read_segments;
use crate::error::Error;
use crate::linear::add_scaled;
use crate::recommender::{Query, Recommender};
use crate::tensors::{self, Tensor, TensorFile};
use crate::vocabulary::Vocabulary;

const COUNTS: &str = "popularity.counts";
const BY_SEGMENT: &str = "popularity.by_segment";
const SMOOTHING: &str = "popularity.smoothing";

/// Counts per item, overall and per segment.
///
/// `score_j = count_segment_j + smoothing * global_share_j`: the posterior mean of a Dirichlet prior that weighs as much
/// as `smoothing` interactions spread as all users spread them (times a constant of the segment). A small segment looks
/// like everybody, a large one like itself; without a known segment the order is that of everybody.
#[derive(Clone, Debug)]
pub struct Popularity {
    items: Vocabulary,
    segments: Vocabulary,
    counts: Vec<f32>,
    by_segment: Vec<Vec<f32>>,
    smoothing: f32,
    /// `counts` over their sum.
    shares: Vec<f32>,
}

impl Popularity {
    /// The family's name.
    pub const FAMILY: &str = "popularity";

    /// A model from `counts` per item, `by_segment` (per segment, then per item; counts of the same events, so that they
    /// add up to no more than `counts`) and `smoothing`, the prior's weight in interactions.
    ///
    /// # Errors
    /// [`Error::Shape`] when lengths do not follow the vocabularies, [`Error::Domain`] when `smoothing` is not positive
    /// (then a user without a segment would get no order at all).
    pub fn new(
        items: Vocabulary,
        segments: Vocabulary,
        counts: Vec<f32>,
        by_segment: Vec<Vec<f32>>,
        smoothing: f32,
    ) -> Result<Self, Error> {
        Error::expect_len(COUNTS, counts.len(), items.len())?;
        Error::expect_len(BY_SEGMENT, by_segment.len(), segments.len())?;
        for row in &by_segment {
            Error::expect_len(BY_SEGMENT, row.len(), items.len())?;
        }
        if smoothing <= 0.0 || smoothing.is_infinite() {
            return Err(Error::Domain {
                name: SMOOTHING.to_owned(),
                value: smoothing.to_string(),
                domain: "a positive number of interactions",
            });
        }
        let total: f64 = counts.iter().map(|&n| f64::from(n)).sum();
        let share = |&n: &f32| if total == 0.0 { 0.0 } else { (f64::from(n) / total) as f32 };
        let shares = counts.iter().map(share).collect();
        Ok(Self { items, segments, counts, by_segment, smoothing, shares })
    }

    /// The (decayed) count of each item.
    pub fn counts(&self) -> &[f32] {
        &self.counts
    }

    /// Reads what [`Recommender::save`] wrote.
    pub(crate) fn read(dir: &Path, items: Vocabulary) -> Result<Self, Error> {
        let segments = read_segments(dir)?;
        let n = items.len();
        let mut file = TensorFile::open(dir)?;
        let counts = file.f32(COUNTS, &[Some(n)])?.values;
        let by_segment = file.f32(BY_SEGMENT, &[Some(segments.len()), Some(n)])?.values;
        let smoothing = file.f32(SMOOTHING, &[Some(1)])?.values[0];
        let rows = (0..segments.len()).map(|row| by_segment[row * n..][..n].to_vec());
        Self::new(items, segments, counts, rows.collect(), smoothing)
    }
}

impl Recommender for Popularity {
    fn family(&self) -> &'static str {
        Self::FAMILY
    }

    fn items(&self) -> &Vocabulary {
        &self.items
    }

    fn score(&self, query: &Query<'_>, scores: &mut [f32]) {
        let segment = query.segment.and_then(|name| self.segments.get(name));
        scores.fill(0.0);
        if let Some(counts) = segment.and_then(|index| self.by_segment.get(index as usize)) {
            add_scaled(scores, counts, 1.0);
        }
        add_scaled(scores, &self.shares, self.smoothing);
    }

    fn save(&self, dir: &Path) -> Result<(), Error> {
        let shape = vec![self.segments.len(), self.items.len()];
        let by_segment = self.by_segment.concat();
        tensors::write_segments(dir, &self.segments)?;
        tensors::write(
            dir,
            &[
                Tensor::f32(COUNTS, vec![self.items.len()], &self.counts),
                Tensor::f32(BY_SEGMENT, shape, &by_segment),
                Tensor::f32(SMOOTHING, vec![1], &[self.smoothing]),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Popularity {
        let items = Vocabulary::from_names(["a", "b", "c"]);
        let segments = Vocabulary::from_names(["fr", "uk"]);
        let by_segment = vec![vec![0.0, 1.0, 0.0], vec![5.0, 0.0, 1.0]];
        Popularity::new(items, segments, vec![6.0, 1.0, 3.0], by_segment, 10.0).unwrap()
    }

    fn score(model: &Popularity, segment: Option<&str>) -> Vec<f32> {
        let query = Query { history: &[], segment, now_ms: 0 };
        let mut scores = vec![f32::NAN; 3];
        model.score(&query, &mut scores);
        scores
    }

    #[test]
    fn a_segment_is_shrunk_to_everybody() {
        let model = example();
        assert_eq!(score(&model, None), [6.0, 1.0, 3.0]);
        assert_eq!(score(&model, Some("elsewhere")), [6.0, 1.0, 3.0]);
        assert_eq!(score(&model, Some("fr")), [6.0, 2.0, 3.0]);
        assert_eq!(score(&model, Some("uk")), [11.0, 1.0, 4.0]);
    }

    #[test]
    fn lengths_and_smoothing_are_checked() {
        let (items, none) = (Vocabulary::from_names(["a"]), Vocabulary::default());
        let with = |counts, rows, smoothing| Popularity::new(items.clone(), none.clone(), counts, rows, smoothing);
        assert!(with(vec![1.0], vec![], 1.0).is_ok());
        assert!(with(vec![1.0, 2.0], vec![], 1.0).is_err());
        assert!(with(vec![1.0], vec![vec![1.0]], 1.0).is_err());
        assert!(with(vec![1.0], vec![], 0.0).is_err());
    }

    #[test]
    fn without_counts_all_score_zero() {
        let items = Vocabulary::from_names(["a", "b", "c"]);
        let model = Popularity::new(items, Vocabulary::default(), vec![0.0; 3], vec![], 1.0).unwrap();
        assert_eq!(score(&model, None), [0.0; 3]);
    }
}
