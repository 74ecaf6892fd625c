//! Recorded plans, decided again: from the status of the plan before, the policy and what was observed, and the windows
//! that the plan names. It changes nothing and blames nobody: it names the first field that differs.

use anyhow::{Context, Result, bail};
use fairway_core::endpoint::EndpointStatus;
use fairway_registry::EndpointLog;
use fairway_sim::backtest::{Difference, decide_again, first_difference};
use jiff::Timestamp;
use serde::Serialize;

use super::policies::Loaded;
use super::{StoredPlan, bar, read};
use crate::args::Backtest;
use crate::exit::{Code, Invalid};
use crate::output::{self, table};

/// Longest value of a field in a table.
const SHOWN: usize = 60;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    endpoint: String,
    /// Plans that were decided again, and how many of these came out the same.
    decided: usize,
    identical: usize,
    /// Plans of versions of Fairway that did not keep what they were decided by.
    without_inputs: usize,
    /// Number of the oldest plan that was looked at; older ones were not.
    oldest: u64,
    differing: Vec<Differing>,
}

#[derive(Serialize)]
struct Differing {
    plan: u64,
    time: Timestamp,
    #[serde(flatten)]
    why: Why,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Why {
    Field(Difference),
    /// It cannot be decided again.
    Missing {
        problem: String,
    },
}

/// Decides again.
///
/// # Errors
/// The plans cannot be read, or there are none that can be decided again.
pub(super) async fn run(backtest: &Backtest, loaded: &Loaded, log: &EndpointLog) -> Result<Code> {
    let name = loaded.full_name();
    // One more than is decided again: its status is what the next one began with.
    let plans: Vec<(u64, StoredPlan)> =
        log.plans(backtest.plans + 1).await.with_context(|| format!("reading the plans of {name}"))?;
    let verified = verify(backtest, &name, log, plans).await?;
    if verified.decided + verified.differing.len() == 0 {
        let cure =
            "check --registry, --namespace and --endpoint; plans keep what they were decided by since this version";
        bail!(Invalid(format!("{name} has no plan that can be decided again; {cure}")));
    }
    backtest.registry.output.print(&verified, draw)?;
    Ok(if verified.differing.is_empty() { Code::Done } else { Code::Error })
}

async fn verify(
    backtest: &Backtest,
    name: &str,
    log: &EndpointLog,
    mut plans: Vec<(u64, StoredPlan)>,
) -> Result<Verified> {
    plans.reverse();
    let mut before = match plans.first() {
        Some((seq, _)) if *seq > 1 => Some(plans.remove(0).1.plan.status),
        _ => Some(EndpointStatus::default()),
    };
    let oldest = plans.first().map_or(0, |(seq, _)| *seq);
    let bar = bar(backtest.registry.output, "deciding", plans.len());
    let mut verified = Verified {
        endpoint: name.to_owned(),
        decided: 0,
        identical: 0,
        without_inputs: 0,
        oldest,
        differing: Vec::new(),
    };
    for (plan, stored) in plans {
        let from = before.replace(stored.plan.status.clone()).unwrap_or_default();
        match again(log, &stored, &from).await? {
            Again::WithoutInputs => verified.without_inputs += 1,
            Again::Identical => (verified.decided, verified.identical) = (verified.decided + 1, verified.identical + 1),
            Again::Differs(why) => {
                verified.decided += usize::from(matches!(why, Why::Field(_)));
                verified.differing.push(Differing { plan, time: stored.time, why });
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(verified)
}

enum Again {
    Identical,
    Differs(Why),
    WithoutInputs,
}

async fn again(log: &EndpointLog, stored: &StoredPlan, before: &EndpointStatus) -> Result<Again> {
    let Some(by) = &stored.decided_by else { return Ok(Again::WithoutInputs) };
    let windows = match read::fetch(log, &stored.read).await {
        Ok(windows) => windows.into_iter().map(|(window, _)| window).collect::<Vec<_>>(),
        Err(error) => return Ok(Again::Differs(Why::Missing { problem: format!("{error:#}") })),
    };
    let decided = decide_again(&by.policy, &by.inputs, before, &windows, stored.time);
    Ok(first_difference(&stored.plan, &decided).map_or(Again::Identical, |found| Again::Differs(Why::Field(found))))
}

fn draw(verified: &Verified) -> String {
    let mut text = format!(
        "{}: {} of {} plans follow from what they were decided by\n",
        verified.endpoint, verified.identical, verified.decided
    );
    if verified.without_inputs > 0 {
        let what = "plans did not keep what they were decided by";
        text.push_str(&format!("{} {what}\n", verified.without_inputs));
    }
    if verified.oldest > 1 {
        text.push_str(&format!("plans before {} were not looked at: --plans N looks at more\n", verified.oldest));
    }
    if verified.differing.is_empty() {
        return text;
    }
    let rows = verified.differing.iter().map(|differing| {
        let (field, recorded, decided) = match &differing.why {
            Why::Field(found) => (found.field.clone(), shown(&found.recorded), shown(&found.decided)),
            Why::Missing { problem } => (problem.clone(), String::new(), "not decided again".to_owned()),
        };
        vec![differing.plan.to_string(), output::time(differing.time), field, recorded, decided]
    });
    text.push('\n');
    text.push_str(&table(&["plan", "time", "first difference", "recorded", "decided again"], rows));
    text
}

fn shown(value: &serde_json::Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN - 1).chain("…".chars()).collect() }
}
