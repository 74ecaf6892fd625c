//! Two-tower trained again each month: from the last month's weights, beside the same from nothing.
//!
//! Each month's models are judged on the two weeks after it, which neither has seen. The warm ones are a chain: each begins
//! from the one before, so that what is lost on the way shows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use fairway_bench::data::{Options, SEED, Shop};
use fairway_bench::report;
use fairway_model::{FeatureDefinitions, Interactions, Recommender, TwoTower};
use fairway_trainer::evaluate::full_ranking;
use fairway_trainer::families::{self, Inputs};
use fairway_trainer::{CancelFlag, Silent, Split};

const DAY_MS: i64 = 86_400_000;
const MONTH_MS: i64 = 30 * DAY_MS;
const HOLDOUT_MS: i64 = 14 * DAY_MS;
/// As far back as a run looks unless a manifest says otherwise.
const HISTORY_MS: i64 = 180 * DAY_MS;
const FEATURES: &str = r#"{"user": [{"name": "segment", "category": {}}]}"#;

/// Trains two-tower again and again, from weights and from nothing.
#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
    /// How many months
    #[arg(long, default_value_t = 6)]
    months: i64,
    /// `warmEpochs`; the family's default unless told
    #[arg(long)]
    warm_epochs: Option<u32>,
}

/// A model, how long its fit took, and how good it is.
struct Made {
    model: Box<dyn Recommender>,
    took: Duration,
    recall: f64,
}

fn main() -> anyhow::Result<()> {
    let Command { options, months, warm_epochs } = Command::parse();
    if !options.measures() {
        return Ok(());
    }
    let Shop { interactions: rows, texts, what } = options.shop()?;
    let features: FeatureDefinitions = serde_json::from_str(FEATURES).context("the features of this bench")?;
    let parameters: BTreeMap<String, String> =
        warm_epochs.map(|epochs| ("warmEpochs".to_owned(), epochs.to_string())).into_iter().collect();
    println!("\ntwo-tower again each month, {what}; {} CPUs\n", report::cpus());

    let make = |end_ms: i64, from: Option<&dyn Recommender>| -> anyhow::Result<Made> {
        let known: Interactions = rows.between(end_ms - HISTORY_MS, end_ms + HOLDOUT_MS);
        let split = Split::at(&known, end_ms, SEED)?;
        let inputs = Inputs { data: &split.train, items: &texts, features: &features, seed: SEED, from };
        let start = Instant::now();
        let model = families::fit(TwoTower::FAMILY, &parameters, inputs, &Silent, &CancelFlag::new())?;
        let took = start.elapsed();
        let recall = full_ranking(model.as_ref(), &split, &[20]).metrics.overall["recall@20"];
        Ok(Made { model, took, recall })
    };
    let newest = rows.time_ms.last().copied().context("no rows")?;
    let ends = (0..=months).rev().map(|ago| newest - HOLDOUT_MS - ago * MONTH_MS);
    let mut kept: Option<Made> = None;
    let (mut table, mut sums) = (Vec::new(), [0.0_f64; 4]);
    for (month, end) in ends.enumerate() {
        let Some(last) = kept.take() else {
            kept = Some(make(end, None)?);
            continue;
        };
        let cold = make(end, None)?;
        let warm = make(end, Some(last.model.as_ref()))?;
        let stale = {
            let known = rows.between(end - HISTORY_MS, end + HOLDOUT_MS);
            let split = Split::at(&known, end, SEED)?;
            full_ranking(last.model.as_ref(), &split, &[20]).metrics.overall["recall@20"]
        };
        let found = [stale, cold.recall, warm.recall, warm.took.as_secs_f64() / cold.took.as_secs_f64()];
        sums.iter_mut().zip(found).for_each(|(sum, x)| *sum += x);
        table.push(std::iter::once(month.to_string()).chain(found.map(|x| format!("{x:.4}"))).collect::<Vec<_>>());
        kept = Some(warm);
    }
    table.push(std::iter::once("mean".to_owned()).chain(sums.map(|x| format!("{:.4}", x / months as f64))).collect());
    report::print_table(
        &["month", "last month's model", "from nothing", "from weights", "time of a fit, ratio"],
        table,
    );
    Ok(())
}
