//! `fairway backtest`: what a rollout policy would have done on recorded windows, and whether recorded plans follow from
//! what they were decided by. It reads the bucket and writes nothing to it; the playing is `fairway-sim`'s.

mod draw;
mod policies;
mod read;
mod verify;

use std::io::IsTerminal;

use anyhow::{Context, Result, bail};
use fairway_core::endpoint::{EndpointEffect, EndpointStatus};
use fairway_registry::{Access, EndpointLog};
use fairway_sim::backtest::{Harm, Named, Report, Traffic, compare_telling, html};
use indicatif::{ProgressBar, ProgressStyle};

use super::registry::find;
use crate::args::Backtest;
use crate::exit::{Code, Invalid};
use crate::output::Output;
use crate::runtime::Stored;

type StoredPlan = Stored<EndpointEffect, EndpointStatus>;

/// Plays the policies on the record, or decides its plans again.
///
/// # Errors
/// Manifests or arguments cannot be used, or the bucket cannot be read.
pub async fn run(backtest: Backtest) -> Result<Code> {
    let loaded = policies::load(&backtest)?;
    let registry = find::open(&backtest.registry, Access::Read).await?;
    let log = registry.endpoint(&loaded.namespace, &loaded.endpoint)?;
    if backtest.verify {
        return verify::run(&backtest, &loaded, &log).await;
    }
    let policies = match loaded.policies.is_empty() {
        true => vec![recorded_policy(&log, &loaded.full_name()).await?],
        false => loaded.policies.clone(),
    };
    let record = read::record(&backtest, &log, &policies).await?;
    let traffic =
        record.traffic().map_err(|error| Invalid(format!("{}: {error}; {}", loaded.full_name(), read::CURE)))?;
    let report = play(&backtest, policies, traffic).await?;
    if let Some(file) = &backtest.html {
        std::fs::write(file, html(&report))
            .with_context(|| format!("--html {}: writing the report", file.display()))?;
        eprintln!("wrote {}", file.display());
    }
    backtest.registry.output.print(&report, draw::report)?;
    Ok(Code::Done)
}

async fn play(backtest: &Backtest, policies: Vec<Named>, traffic: Traffic) -> Result<Report> {
    let mut harms = vec![Harm::none()];
    harms.extend(backtest.inject.iter().filter(|harm| !harm.is_none()).cloned());
    if backtest.inject.is_empty() {
        for usual in ["errors=x3", "degrade=reward:-20%"] {
            harms.push(usual.parse()?);
        }
    }
    let (rollouts, seed) = (backtest.rollouts, backtest.seed);
    let bar = bar(backtest.registry.output, "playing", policies.len() * harms.len() * rollouts);
    let told = bar.clone();
    let played = tokio::task::spawn_blocking(move || {
        compare_telling(&policies, &traffic, &harms, rollouts, seed, &|done| told.set_position(done as u64))
    });
    let report = played.await?;
    bar.finish_and_clear();
    Ok(report)
}

/// The policy that the newest plan was decided by.
async fn recorded_policy(log: &EndpointLog, name: &str) -> Result<Named> {
    let newest = log.latest_plan::<StoredPlan>().await.with_context(|| format!("reading the newest plan of {name}"))?;
    match newest.and_then(|(_, stored)| stored.decided_by) {
        Some(by) => Ok(Named { name: "recorded".to_owned(), policy: by.policy }),
        None => bail!(Invalid(format!(
            "which policy? {name} has no recorded plan that says: name a folder with --manifests DIR"
        ))),
    }
}

/// A bar over so many things, if somebody is there to see it.
fn bar(output: Output, what: &'static str, of: usize) -> ProgressBar {
    if output != Output::Table || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(of as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg:8} [{bar:30}] {pos} of {len}  {eta} left") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what);
    bar
}
