//! A model behind any other server of the Open Inference Protocol v2 (MLServer, Triton, …), which knows nothing of
//! Fairway: the bundle's vocabulary gives its numbers their meaning.

use std::time::Duration;

use async_trait::async_trait;
use fairway_model::{Vocabulary, top_k};

use crate::Error;
use crate::connection::Connection;
use crate::model_server::{ModelFailure, ModelServer, ScoreQuery};
use crate::questions::{self, Answered};
use crate::tensors::Response;

/// Longest answer, beside [`SCORE_BYTES`] for each item of the version.
const ANSWER_BYTES: usize = 1024 * 1024;
/// Longest score as JSON, with brackets and blanks.
const SCORE_BYTES: usize = 40;
/// Longest answer whether it is ready.
const READY_BYTES: usize = 64 * 1024;

/// A model of another's server. It is asked with the same tensors as ours and answers with `items` and `scores`, or
/// with `scores` alone: one for each item, in the bundle's order.
pub struct Foreign {
    connection: Connection,
    path: String,
    items: Vocabulary,
    deadline: Duration,
}

impl Foreign {
    /// The model that `url` (`http://host:port`) serves as `model`; nothing is asked yet. Each call takes at most
    /// `deadline`.
    ///
    /// # Errors
    /// If the URL is none for HTTP.
    pub fn new(url: &str, model: &str, items: Vocabulary, deadline: Duration) -> Result<Self, Error> {
        let connection = Connection::new(url)?;
        Ok(Self { connection, path: format!("/v2/models/{model}"), items, deadline })
    }

    /// Asks whether the model is ready.
    ///
    /// # Errors
    /// If it is not, or nobody answers.
    pub async fn ready(&self) -> Result<(), Error> {
        let path = format!("{}/ready", self.path);
        let answer = self.connection.get(&path, READY_BYTES, self.deadline).await;
        let url = || format!("{}{path}", self.connection.base());
        answer.map(drop).map_err(|failure| Error::NotReady { url: url(), why: failure.to_string() })
    }

    fn ranked(&self, scores: &[f32], query: &ScoreQuery) -> Result<Vec<(String, f32)>, ModelFailure> {
        if scores.len() != self.items.len() {
            let (n, items) = (scores.len(), self.items.len());
            return Err(ModelFailure::Invalid(format!("`scores` has {n} values and the version {items} items")));
        }
        let mut best = Vec::new();
        top_k(scores, |item| query.exclude.binary_search(&item).is_ok(), questions::wanted(query.k), &mut best);
        Ok(best.into_iter().map(|(item, score)| (self.items.name(item).to_owned(), score)).collect())
    }

    fn known(&self, answer: Vec<(String, f32)>) -> Result<Vec<(String, f32)>, ModelFailure> {
        if answer.iter().all(|(name, _)| self.items.get(name).is_some()) {
            return Ok(answer);
        }
        Err(ModelFailure::Invalid("it holds an item that the version does not know".to_owned()))
    }
}

#[async_trait]
impl ModelServer for Foreign {
    fn items(&self) -> &Vocabulary {
        &self.items
    }

    async fn score(&self, query: ScoreQuery) -> Result<Vec<(String, f32)>, ModelFailure> {
        let body = questions::write(&query, &self.items).map_err(|error| ModelFailure::Error(error.to_string()))?;
        let limit = ANSWER_BYTES + SCORE_BYTES * self.items.len();
        let body = self.connection.post(&format!("{}/infer", self.path), body, limit, self.deadline).await?;
        let response: Response<'_> =
            serde_json::from_slice(&body).map_err(|error| ModelFailure::Invalid(error.to_string()))?;
        match questions::answered(response)? {
            Answered::Named(answer) => self.known(answer),
            Answered::Scores(scores) => self.ranked(&scores, &query),
        }
    }
}
