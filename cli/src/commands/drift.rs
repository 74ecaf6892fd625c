//! `fairway drift`: how far what goes in and comes out has moved since the champion was trained.

use anyhow::Result;
use fairway_api::model::DriftStatus;
use fairway_core::model::{ModelEffect, ModelStatus};

use super::cluster::Cluster;
use super::state::StateFolder;
use crate::args::Place;
use crate::exit::Code;
use crate::output::table;
use crate::runtime::Stored;

/// Prints the last judgement.
///
/// # Errors
/// There is no state, or it cannot be read.
pub async fn run(place: Place) -> Result<Code> {
    let drift = match Cluster::named(&place).await? {
        Some(cluster) => cluster.drift().await?,
        None => recorded(&StateFolder::find(&place.state)?).await?,
    };
    place.output.print(&drift, |drift| drift.as_ref().map_or_else(nothing_yet, draw))?;
    Ok(Code::Done)
}

/// The last one in the bucket: it is there before anything follows from it.
async fn recorded(folder: &StateFolder) -> Result<Option<DriftStatus>> {
    let (model, _) = folder.logs().await?;
    let stored = model.latest_plan::<Stored<ModelEffect, ModelStatus>>().await?;
    let monitor = stored.and_then(|(_, stored)| stored.plan.status.drift);
    Ok(monitor.and_then(|monitor| monitor.last).as_ref().map(DriftStatus::from))
}

fn nothing_yet() -> String {
    "no window was judged yet: it takes a champion, a whole drift window (retrain.drift.window) and enough events"
        .to_owned()
}

fn draw(drift: &DriftStatus) -> String {
    let rows = drift.features.iter().map(|one| {
        let moved = if one.moved { "yes" } else { "no" };
        vec![one.name.clone(), one.psi.clone(), one.noise_floor.clone(), one.events.to_string(), moved.to_owned()]
    });
    let features = table(&["feature", "PSI", "noise floor", "events", "moved"], rows);
    format!("{}\n\n{features}", drift.message)
}
