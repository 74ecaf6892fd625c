//! Another's model server, beside ours in the pod: it is not believed before it has reproduced the golden answers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use fairway_model::Described;
use fairway_server::{Foreign, ModelFailure, ModelServer, ScoreQuery};

/// How long one call may take before the version serves; afterwards the router's limit is shorter.
const CALL_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where another's server is.
#[derive(Clone, Debug)]
pub struct Behind {
    /// Its URL.
    pub url: String,
    /// What it calls the model.
    pub model: String,
    /// How long it may take to be ready.
    pub ready_within: Duration,
}

impl Behind {
    /// Waits until it is ready, and asks it the golden requests.
    ///
    /// # Errors
    /// It is not ready in time, or answers otherwise than the trainer said.
    pub async fn connect(&self, described: &Described) -> Result<Arc<dyn ModelServer>> {
        let server = Foreign::new(&self.url, &self.model, described.items.clone(), CALL_WITHIN)?;
        let ready = async {
            loop {
                match server.ready().await {
                    Ok(()) => return,
                    Err(error) => tracing::debug!("{error}"),
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(self.ready_within, ready).await.is_err() {
            let within = fairway_core::plan::spell(self.ready_within);
            bail!("{} is not ready with the model {} after {within} (--behind)", self.url, self.model);
        }
        reproduced(&server, described).await?;
        Ok(Arc::new(server))
    }
}

/// Asks the golden requests. To say nothing of a user is no fault (the router shows popularity then), unless nothing is
/// said of anybody.
///
/// # Errors
/// The first answer that is not the trainer's.
async fn reproduced(server: &dyn ModelServer, described: &Described) -> Result<()> {
    let now_ms = described.manifest.trained_through_ms;
    let mut answered = 0;
    for (line, request) in described.golden.iter().enumerate() {
        let history = request.seen(&described.items, now_ms);
        let mut exclude: Vec<u32> = history.iter().map(|seen| seen.item).collect();
        exclude.sort_unstable();
        exclude.dedup();
        let segment = request.segment.as_deref().map(Into::into);
        let answer = match server.score(ScoreQuery { history, exclude, segment, now_ms, k: request.k }).await {
            Err(ModelFailure::ColdStart) => continue,
            answer => answer.map_err(|error| anyhow!("golden request {}: {error}", line + 1))?,
        };
        answered += 1;
        if let Some(difference) = request.differs_from(&answer) {
            bail!("the server does not answer as its trainer said: golden request {}: {difference}", line + 1);
        }
    }
    if answered == 0 {
        bail!("the server answers none of the {} golden requests", described.golden.len());
    }
    Ok(())
}
