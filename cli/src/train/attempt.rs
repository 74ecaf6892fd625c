//! One attempt at a run: read, check, train, judge. It registers nothing, uploads nothing and writes no outcome.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use fairway_model::Bundle;
use fairway_trainer::{CancelFlag, Evaluation, Outcome, Progress, Trained};

use super::RunPlan;
use super::judge::judge;

/// What an attempt needs.
pub struct Attempt<'a> {
    /// What to do.
    pub plan: &'a RunPlan,
    /// Where relative data URLs start.
    pub base: &'a Path,
    /// A folder of its own; what is in it is removed first.
    pub work: &'a Path,
    /// Beside which the candidate is judged.
    pub champion: Option<Arc<Bundle>>,
    /// Asks it to stop.
    pub cancel: CancelFlag,
}

/// How an attempt ended.
pub enum Attempted {
    /// A bundle that passed the gates is in the work folder.
    Trained(Box<Trained>),
    /// A gate said no.
    Rejected {
        /// Why.
        why: String,
    },
    /// There is nothing that may be trained on.
    DataRefused {
        /// Condition reason.
        code: String,
        /// Why.
        why: String,
    },
    /// The trainer failed.
    Failed {
        /// Why.
        why: String,
    },
    /// It was asked to stop.
    Cancelled {
        /// What it was doing.
        said: String,
    },
}

impl Attempt<'_> {
    /// Makes the attempt. The stages are `read` and those of [`fairway_trainer::train`].
    ///
    /// # Errors
    /// The work folder cannot be made, or the trainer's thread broke down.
    pub async fn make(self, progress: impl Progress + 'static) -> Result<Attempted> {
        let Self { plan, base, work, champion, cancel } = self;
        progress.stage("read", 0);
        let data = match fairway_trainer::read(&plan.training.data, base, plan.training.as_of).await {
            Ok(data) => data,
            Err(error) => {
                return Ok(Attempted::DataRefused { code: error.reason().to_owned(), why: error.to_string() });
            }
        };
        remove(work);
        std::fs::create_dir_all(work).with_context(|| format!("creating {}", work.display()))?;
        let RunPlan { training, admission, .. } = plan.clone();
        let work = work.to_owned();
        let fit = move || {
            let judge = |evaluation: &Evaluation| judge(&admission, evaluation);
            fairway_trainer::train(&training, &data, champion.as_deref(), &work, &progress, &cancel, &judge)
        };
        let outcome = tokio::task::spawn_blocking(fit).await.context("the trainer broke down")?;
        Ok(match outcome {
            Ok(Outcome::Trained(trained)) => Attempted::Trained(Box::new(trained)),
            Ok(Outcome::Rejected { why, .. }) => Attempted::Rejected { why },
            Ok(Outcome::Cancelled { said }) => Attempted::Cancelled { said },
            Err(error) => Attempted::Failed { why: error.to_string() },
        })
    }
}

/// Removes a work folder. One that cannot be removed costs disk space, not correctness.
pub fn remove(work: &Path) {
    if let Err(error) = std::fs::remove_dir_all(work) {
        tracing::debug!(work = %work.display(), "cannot remove the work folder: {error}");
    }
}
