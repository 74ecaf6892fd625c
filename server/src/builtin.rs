//! The model server in this process: a bundle of a built-in family. It scores on the calling thread, which takes some
//! ten microseconds, with memory that each thread keeps.

use std::cell::RefCell;
use std::sync::Arc;

use async_trait::async_trait;
use fairway_model::{Bundle, Query, Vocabulary, top_k};

use crate::model_server::{ModelFailure, ModelServer, ScoreQuery};

/// A bundle that answers.
pub struct Builtin(pub Arc<Bundle>);

/// What a thread keeps from one request to the next, so that nothing of the catalogue's size is allocated.
#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,
    /// One bit an item; all zero between requests.
    excluded: Vec<u64>,
    best: Vec<(u32, f32)>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Builtin {
    fn answer(&self, query: &ScoreQuery) -> Result<Vec<(String, f32)>, ModelFailure> {
        let recommender = &self.0.recommender;
        let items = recommender.items();
        let input = Query { history: &query.history, segment: query.segment.as_deref(), now_ms: query.now_ms };
        if !recommender.knows(&input) {
            return Err(ModelFailure::ColdStart);
        }
        // Taken, not borrowed: after a panic in a model the next request starts with fresh memory.
        let mut scratch = SCRATCH.take();
        scratch.scores.resize(items.len(), 0.0);
        scratch.excluded.resize(items.len().div_ceil(64), 0);
        recommender.score(&input, &mut scratch.scores);
        scratch.mark(&query.exclude, |word, bit| *word |= bit);
        let Scratch { scores, excluded, best } = &mut scratch;
        let is_excluded = |item: u32| excluded[item as usize / 64] >> (item % 64) & 1 == 1;
        top_k(scores, is_excluded, query.k, best);
        let answer = best.iter().map(|&(item, score)| (items.name(item).to_owned(), score)).collect();
        scratch.mark(&query.exclude, |word, bit| *word &= !bit);
        SCRATCH.set(scratch);
        Ok(answer)
    }
}

impl Scratch {
    fn mark(&mut self, items: &[u32], change: impl Fn(&mut u64, u64)) {
        for &item in items {
            if let Some(word) = self.excluded.get_mut(item as usize / 64) {
                change(word, 1 << (item % 64));
            }
        }
    }
}

#[async_trait]
impl ModelServer for Builtin {
    fn items(&self) -> &Vocabulary {
        self.0.recommender.items()
    }

    async fn score(&self, query: ScoreQuery) -> Result<Vec<(String, f32)>, ModelFailure> {
        self.answer(&query)
    }
}

#[cfg(test)]
mod tests {
    use fairway_model::{BundleManifest, Ease, Seen};

    use super::*;

    fn bundle() -> Builtin {
        let items = Vocabulary::from_names(["cup", "saucer", "spoon"]);
        let weights = vec![0.0, 0.6, 0.1, 0.5, 0.0, 0.2, 0.1, 0.3, 0.0];
        Builtin(Arc::new(Bundle {
            manifest: BundleManifest::default(),
            recommender: Box::new(Ease::new(items, weights).unwrap()),
            profile: fairway_wire::Profile::default(),
        }))
    }

    fn ask(server: &Builtin, exclude: &[u32]) -> Vec<(String, f32)> {
        let history = vec![Seen { item: 0, time_ms: 0 }, Seen { item: 2, time_ms: 50 }];
        let exclude = exclude.to_vec();
        server.answer(&ScoreQuery { history, exclude, segment: None, now_ms: 100, k: 2 }).unwrap()
    }

    #[test]
    fn a_stranger_gets_no_list_of_ties() {
        let query = ScoreQuery { history: vec![], exclude: vec![], segment: None, now_ms: 100, k: 2 };
        assert_eq!(bundle().answer(&query), Err(ModelFailure::ColdStart));
    }

    #[test]
    fn the_best_without_the_excluded_again_and_again() {
        let server = bundle();
        assert_eq!(ask(&server, &[0, 2]), [("saucer".to_owned(), 0.6 + 0.3)]);
        assert_eq!(ask(&server, &[1]).iter().map(|one| &*one.0).collect::<Vec<_>>(), ["cup", "spoon"]);
        assert_eq!(ask(&server, &[0, 2, 900]), [("saucer".to_owned(), 0.6 + 0.3)]);
    }
}
