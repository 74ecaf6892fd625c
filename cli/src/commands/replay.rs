//! `fairway replay`: recorded purchases as live traffic, four ways to retrain side by side.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairway_trainer::DataSpec;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::validate;
use crate::args::Replay;
use crate::exit::{Code, Invalid};
use crate::output::{self, Output, table};
use crate::replay::{Comparison, Family, calendar, frozen, monthly, run_fixed, run_managed, visits};
use crate::runtime::Spec;

/// Longer than any recording.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Replays and compares.
///
/// # Errors
/// Manifests or data cannot be used, or the loop cannot go on.
pub async fn run(replay: Replay) -> Result<Code> {
    let start = |date: jiff::civil::Date| Ok::<Timestamp, anyhow::Error>(date.to_zoned(TimeZone::UTC)?.timestamp());
    let (from, to) = (start(replay.from)?, start(replay.to)?);
    if from >= to {
        bail!(Invalid(format!("--from {} must be before --to {}", replay.from, replay.to)));
    }
    let data = std::path::absolute(&replay.data)?;
    if !data.exists() {
        bail!(Invalid(format!("--data {}: there is no such file or folder", replay.data.display())));
    }
    let variables = BTreeMap::from([("data".to_owned(), data.display().to_string())]);
    let manifests = validate::load(&replay.manifests, &variables)?;
    let folder =
        tempfile::Builder::new().prefix("fairway-replay-").tempdir().context("making a folder for the replay")?;
    let spec = Spec::from_manifests(&manifests, &std::path::absolute(&replay.manifests)?, "memory://")?;

    let whole = DataSpec { history: FOREVER, freshness: None, ..spec.recipe.data().clone() };
    let rows = fairway_trainer::read(&whole, &spec.base, to).await?.interactions;
    let visits = visits(&rows, from);
    let live = visits.iter().filter(|visit| visit.time >= from).count();
    eprintln!("replaying {live} visits from {} to {}", replay.from, replay.to);

    let family = Family {
        name: spec.recipe.family().to_owned(),
        parameters: spec.recipe.parameters().clone(),
        history: spec.recipe.data().history,
    };
    let managed = run_managed(spec, folder.path(), &rows, &visits, from, to).await?;
    eprintln!(
        "managed: {} trainings, {} promotions, {} rollbacks",
        managed.trainings, managed.promotions, managed.rollbacks
    );
    eprintln!("now frozen, monthly and calendar, on the same visits");
    let retrainings = managed.trainings.saturating_sub(1);
    let fixed = tokio::task::spawn_blocking(move || {
        Ok::<_, anyhow::Error>([
            run_fixed("frozen", &[frozen(from)], &rows, &visits, &family)?,
            run_fixed("monthly", &[monthly(from, to)], &rows, &visits, &family)?,
            run_fixed("calendar", &calendar(from, to, retrainings), &rows, &visits, &family)?,
        ])
    })
    .await??;
    let comparison = Comparison { policies: fixed.into_iter().chain([managed]).collect() };
    replay.output.print(&comparison, draw)?;
    if replay.output == Output::Table {
        for reason in
            comparison.policies.iter().filter(|policy| policy.name == "managed").flat_map(|policy| &policy.reasons)
        {
            output::line(reason)?;
        }
    }
    Ok(Code::Done)
}

fn draw(comparison: &Comparison) -> String {
    let header: Vec<&str> =
        ["month", "users"].into_iter().chain(comparison.policies.iter().map(|policy| policy.name)).collect();
    let Some(first) = comparison.policies.first() else { return String::new() };
    let rows = first.months.iter().enumerate().map(|(i, month)| {
        let recall = comparison.policies.iter().map(|policy| format!("{:.4}", policy.months[i].recall_at_20));
        [month.month.clone(), month.users.to_string()].into_iter().chain(recall).collect()
    });
    let mean = |policy: &crate::replay::Policy| {
        let sum: f64 = policy.months.iter().map(|month| month.recall_at_20).sum();
        format!("{:.4}", sum / policy.months.len().max(1) as f64)
    };
    let means = ["mean".to_owned(), String::new()].into_iter().chain(comparison.policies.iter().map(mean)).collect();
    let counts = |name: &str, count: fn(&crate::replay::Policy) -> usize| {
        [name.to_owned(), String::new()]
            .into_iter()
            .chain(comparison.policies.iter().map(|policy| count(policy).to_string()))
            .collect()
    };
    let footer =
        [means, counts("trainings", |policy| policy.trainings), counts("rollbacks", |policy| policy.rollbacks)];
    format!("recall@20 by month\n\n{}\n", table(&header, rows.chain(footer)))
}
