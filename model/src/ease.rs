//! EASE: one matrix from items to items (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019).
//!
//! `scores = X B` for a binary row X, so an item that a user has twice counts once. What it does not do: it fits nothing.

use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::recommender::{Query, Recommender};
use crate::tensors::{self, Tensor, TensorFile};
use crate::vocabulary::Vocabulary;

/// The tensor's name in `weights.safetensors`; f32 `[n, n]`.
const WEIGHT: &str = "item_item.weight";

/// A fitted EASE model. Scores do not depend on the order of the history, the segment or the time.
#[derive(Clone, Debug)]
pub struct Ease {
    items: Vocabulary,
    /// Row-major; row i holds what item i in a history gives to each item.
    weights: Arc<[f32]>,
}

impl Ease {
    /// The family's name.
    pub const FAMILY: &str = "ease";

    /// A model from B, row-major: `weights[i * n + j]` is what item i in a history gives to item j.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are n² weights.
    pub fn new(items: Vocabulary, weights: Vec<f32>) -> Result<Self, Error> {
        Self::from_shared(items, weights.into())
    }

    /// As [`new`](Self::new), without a copy.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are n² weights.
    pub fn from_shared(items: Vocabulary, weights: Arc<[f32]>) -> Result<Self, Error> {
        let size = items.len().saturating_mul(items.len());
        Error::expect_len(WEIGHT, weights.len(), size)?;
        Ok(Self { items, weights })
    }

    /// B, row-major.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Reads what [`Recommender::save`] wrote.
    ///
    /// # Errors
    /// The file is missing, or its shape does not fit the items.
    pub fn read(dir: &Path, items: Vocabulary) -> Result<Self, Error> {
        let n = items.len();
        let mut file = TensorFile::open(dir)?;
        let weights = file.shared_f32(WEIGHT, &[Some(n), Some(n)])?.values;
        Self::from_shared(items, weights)
    }

    fn row(&self, item: u32) -> &[f32] {
        let n = self.items.len();
        &self.weights[item as usize * n..][..n]
    }

    /// Adds the rows of whole blocks of R items; what is left over comes back.
    fn add_blocks<'a, const R: usize>(&self, scores: &mut [f32], history: &'a [u32]) -> &'a [u32] {
        let (blocks, rest) = history.as_chunks::<R>();
        for block in blocks {
            add_rows(scores, block.map(|item| self.row(item)));
        }
        rest
    }
}

/// `scores += rows`, in the order of rows. All are of one length, so that the loop has no bounds checks.
fn add_rows<const R: usize>(scores: &mut [f32], rows: [&[f32]; R]) {
    let n = rows.iter().fold(scores.len(), |n, row| n.min(row.len()));
    let scores = &mut scores[..n];
    let rows = rows.map(|row| &row[..n]);
    for (j, score) in scores.iter_mut().enumerate() {
        let mut sum = *score;
        for row in rows {
            sum += row[j];
        }
        *score = sum;
    }
}

impl Recommender for Ease {
    fn family(&self) -> &'static str {
        Self::FAMILY
    }

    fn items(&self) -> &Vocabulary {
        &self.items
    }

    /// Scores are sums over the history: without any, they are all zero.
    fn knows(&self, query: &Query<'_>) -> bool {
        query.history.iter().any(|seen| (seen.item as usize) < self.items.len())
    }

    fn score(&self, query: &Query<'_>, scores: &mut [f32]) {
        scores.fill(0.0);
        let known = query.history.iter().map(|seen| seen.item);
        let mut history: Vec<u32> = known.filter(|&i| (i as usize) < self.items.len()).collect();
        history.sort_unstable();
        history.dedup();
        // Many rows a pass: the matrix is larger than caches, and reading many rows at once hides the wait for memory.
        let rest = self.add_blocks::<16>(scores, &history);
        let rest = self.add_blocks::<4>(scores, rest);
        self.add_blocks::<1>(scores, rest);
    }

    fn save(&self, dir: &Path) -> Result<(), Error> {
        let n = self.items.len();
        tensors::write(dir, &[Tensor::f32(WEIGHT, vec![n, n], &self.weights)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommender::Seen;

    fn example(n: usize) -> Ease {
        let items = Vocabulary::from_names((0..n).map(|i| format!("{i:05}")));
        let weights = (0..n * n).map(|i| (i as f32 * 0.731).sin()).collect();
        Ease::new(items, weights).unwrap()
    }

    fn score(model: &Ease, history: &[u32]) -> Vec<f32> {
        let history: Vec<Seen> = history.iter().map(|&item| Seen { item, time_ms: 0 }).collect();
        let query = Query { history: &history, segment: None, now_ms: 0 };
        let mut scores = vec![f32::NAN; model.items().len()];
        model.score(&query, &mut scores);
        scores
    }

    #[test]
    fn scores_are_the_sums_of_rows() {
        let model = example(37);
        for length in 0..37_u32 {
            let history: Vec<u32> = (0..length).map(|i| (i * 11) % 37).collect();
            let naive = (0..37).map(|j| history.iter().map(|&i| model.weights[i as usize * 37 + j]).sum::<f32>());
            for (fast, naive) in score(&model, &history).into_iter().zip(naive) {
                assert!((fast - naive).abs() <= 1e-5, "{fast} {naive}");
            }
        }
    }

    #[test]
    fn a_history_is_a_set_of_known_items() {
        let model = example(10);
        assert_eq!(score(&model, &[3, 1, 3, 99, 1]), score(&model, &[1, 3]));
        assert_eq!(score(&model, &[]), [0.0; 10]);
        let mut short = [9.0; 4];
        let history = [Seen { item: 2, time_ms: 0 }];
        model.score(&Query { history: &history, segment: None, now_ms: 0 }, &mut short);
        assert_eq!(short, model.weights[20..24]);
    }

    #[test]
    fn a_matrix_of_the_wrong_size_is_refused() {
        let error = Ease::new(Vocabulary::from_names(["a", "b"]), vec![0.0; 3]).unwrap_err();
        assert!(error.to_string().contains("item_item.weight has 3 values where 4"));
    }
}
