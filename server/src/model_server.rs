//! The seam between router and models: a question in numbers, an answer in names. A model server may crash, hang or
//! answer nonsense; the router checks everything and nobody sees it.

use std::sync::Arc;

use async_trait::async_trait;
use fairway_model::{Seen, Vocabulary};
use thiserror::Error;

/// What a model is asked. Items are indexes into the server's own [`ModelServer::items`].
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreQuery {
    /// The user's history as far as the model knows it: each item once, oldest first.
    pub history: Vec<Seen>,
    /// Items that may not be in the answer; the history is among them. Sorted.
    pub exclude: Vec<u32>,
    /// The user's segment, if known.
    pub segment: Option<Arc<str>>,
    /// The time of the request, milliseconds since 1970.
    pub now_ms: i64,
    /// How many items are wanted.
    pub k: usize,
}

/// Why a model server has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelFailure {
    /// It failed.
    #[error("the model server failed: {0}")]
    Error(String),
    /// It did not answer in time.
    #[error("the model server did not answer in time")]
    Timeout,
    /// It has nothing to say of this user. No fault: the baseline answers.
    #[error("the version knows nothing of this user yet")]
    ColdStart,
    /// It answered something that is not an answer.
    #[error("the model server's answer is not valid: {0}")]
    Invalid(String),
}

/// One version, ready to answer: in this process, or behind a connection.
#[async_trait]
pub trait ModelServer: Send + Sync {
    /// The items that the version knows.
    fn items(&self) -> &Vocabulary;

    /// The best `query.k` items with their scores, best first.
    ///
    /// # Errors
    /// Whatever went wrong; the next rung answers then.
    async fn score(&self, query: ScoreQuery) -> Result<Vec<(String, f32)>, ModelFailure>;
}
