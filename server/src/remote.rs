//! A version behind another process's model server (see `inference`), asked over HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fairway_model::Vocabulary;
use fairway_wire::{Profile, Target};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::connection::Connection;
use crate::model_server::{ModelFailure, ModelServer, ScoreQuery};
use crate::questions::{self, Answered};
use crate::tensors::Response;

/// Longest description: millions of items.
const DESCRIPTION_BYTES: usize = 512 * 1024 * 1024;
/// Longest answer.
const ANSWER_BYTES: usize = 1024 * 1024;
/// The router gives up earlier; this bounds a call that nobody else bounds.
const SCORE_TIME: Duration = Duration::from_secs(5);

/// What a model server says of its version, at `GET /v2/models/{model}/fairway`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Which version it is.
    pub target: Target,
    /// Its items, in the bundle's order.
    pub items: Vocabulary,
    /// Its profile: the bins that the router counts on.
    pub profile: Profile,
}

/// A version that another process serves.
pub struct Remote {
    connection: Connection,
    path: String,
    version: String,
    target: Target,
    items: Vocabulary,
    profile: Arc<Profile>,
}

impl Remote {
    /// Fetches the description of the version that `url` (`http://host:port`) serves as `model`.
    ///
    /// # Errors
    /// If the URL is none for HTTP, or the description did not come whole and valid within `deadline`.
    pub async fn connect(url: &str, model: &str, deadline: Duration) -> Result<Self, Error> {
        let connection = Connection::new(url)?;
        let failed = |why: String| Error::Describe { url: url.to_owned(), why };
        let path = format!("/v2/models/{model}");
        let body = connection.get(&format!("{path}/fairway"), DESCRIPTION_BYTES, deadline).await;
        let body = body.map_err(|failure| failed(failure.to_string()))?;
        // It may be long: other tasks go on meanwhile.
        let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice::<Description>(&body)).await;
        let parsed = parsed.map_err(|error| failed(error.to_string()))?;
        let Description { target, items, profile } = parsed.map_err(|error| failed(error.to_string()))?;
        let bins = profile.consumed_bin.len();
        if bins != 0 && bins != items.len() {
            return Err(failed(format!("its profile bins {bins} items, and it has {}", items.len())));
        }
        let version = target.version.to_string();
        Ok(Self { connection, path: format!("{path}/infer"), version, target, items, profile: Arc::new(profile) })
    }

    /// The version that it serves.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The version's profile.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }
}

#[async_trait]
impl ModelServer for Remote {
    fn items(&self) -> &Vocabulary {
        &self.items
    }

    async fn score(&self, query: ScoreQuery) -> Result<Vec<(String, f32)>, ModelFailure> {
        let body = questions::write(&query, &self.items).map_err(|error| ModelFailure::Error(error.to_string()))?;
        let body = self.connection.post(&self.path, body, ANSWER_BYTES, SCORE_TIME).await?;
        let invalid = |why: String| ModelFailure::Invalid(why);
        let response: Response<'_> = serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
        if response.model_version.as_deref() != Some(&*self.version) {
            return Err(invalid(format!("another version than {} answered", self.version)));
        }
        match questions::answered(response)? {
            Answered::Named(answer) => Ok(answer),
            Answered::Scores(_) => Err(invalid("the output `items` is missing".to_owned())),
        }
    }
}
