//! What users did before a router knew them: taken from the data that the model itself is trained on, once, by the first
//! router of an endpoint. Later ones begin with the snapshot that it leaves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use fairway_registry::ModelLog;
use fairway_server::Router;
use fairway_trainer::{Data, DataError};
use jiff::Timestamp;

use crate::runtime::Clock;
use crate::train::RunPlan;

/// Wait for a first run's plan, which says where the data are.
const AGAIN: Duration = Duration::from_secs(5);
/// Data that cannot be read so often are left out: answers do not need them.
const TRIES: u32 = 120;

/// Fills histories and popularity with the rows of the data.
pub fn take(router: &Router, data: &Data) {
    let rows = &data.interactions;
    let history = (0..rows.len()).filter_map(|i| {
        let time = Timestamp::from_millisecond(rows.time_ms[i]).ok()?;
        let segment = (rows.segment[i] != fairway_model::NONE).then(|| rows.segments.name(rows.segment[i]));
        Some((rows.users.name(rows.user[i]), rows.items.name(rows.item[i]), time, segment))
    });
    router.seed(history);
}

/// Waits for the model's first run, reads what it read, and fills the router with it; or gives up in the end.
pub async fn seed(log: ModelLog, router: Arc<Router>, clock: Clock) {
    for _ in 0..TRIES {
        match rows(&log, &clock).await {
            Ok(Some(data)) => {
                let count = data.interactions.len();
                let filled = tokio::task::spawn_blocking(move || take(&router, &data)).await;
                tracing::info!(
                    rows = count,
                    filled = filled.is_ok(),
                    "users' histories were taken from the model's data"
                );
                return;
            }
            Ok(None) => {}
            // They were read, and there is nobody in them to speak of.
            Err(error) if matches!(error.downcast_ref(), Some(DataError::TooFewRows { .. })) => {
                tracing::warn!("users begin without a history: {error:#}");
                return;
            }
            Err(error) => tracing::debug!("the model's data cannot be read yet: {error:#}"),
        }
        tokio::time::sleep(AGAIN).await;
    }
    tracing::warn!("users begin without a history: the model's data could not be read");
}

async fn rows(log: &ModelLog, clock: &Clock) -> Result<Option<Data>> {
    // Names begin with the run's number: the last is the newest.
    let Some(run) = log.runs().await?.pop() else { return Ok(None) };
    let Some(plan) = log.run(&run)?.plan::<RunPlan>().await.context("reading the run's plan")? else { return Ok(None) };
    let data = fairway_trainer::read(&plan.training.data, Path::new("."), clock.now()).await?;
    Ok(Some(data))
}
