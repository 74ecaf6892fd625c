//! The managed policy: Fairway's own loop under a clock that the visits move. Real router, real registry in a folder of
//! its own, real trainings; only the time is simulated.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use fairway_core::endpoint::RolloutResult;
use fairway_model::Interactions;
use fairway_registry::Registry;
use fairway_wire::{Context as Moment, Event, RecommendRequest};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::{K, Months, Policy, Visit};
use crate::runtime::{Clock, Line, Runtime, Spec};

/// Without visits the loop looks this often.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// Histories are scored whole.
const HISTORY_MAX: usize = 100_000;

/// Events that tell why it trained, promoted and took back.
const TOLD: [&str; 8] = [
    "RunStarted",
    "Rejected",
    "Failed",
    "Promoted",
    "FirstVersion",
    "RolledBack",
    "ServingBaseline",
    "ServingChampion",
];

/// Replays the visits from `from` on through the loop.
///
/// # Errors
/// The loop cannot go on.
pub async fn run_managed(
    spec: Spec,
    folder: &Path,
    rows: &Interactions,
    visits: &[Visit],
    from: Timestamp,
    to: Timestamp,
) -> Result<Policy> {
    let registry = Registry::open(&format!("file://{}", folder.join("registry").display())).await?;
    let clock = Clock::manual(from);
    let mut spec = spec;
    spec.history_max = HISTORY_MAX;
    let (mut runtime, _commands) = Runtime::open(spec, &registry, folder, clock.clone()).await?;
    let before = visits.iter().take_while(|visit| visit.time < from);
    runtime.router().seed(before.flat_map(|visit| {
        let segment = visit.segment.map(|segment| rows.segments.name(segment));
        visit.items.iter().map(move |item| (rows.users.name(visit.user), rows.items.name(*item), visit.time, segment))
    }));
    runtime.settle().await?;
    let (mut months, mut told) = (Months::default(), Vec::new());
    let live: Vec<&Visit> = visits.iter().skip_while(|visit| visit.time < from).collect();
    let mut shown = Shown::new(live.len());
    for visit in live {
        shown.visit(visit);
        advance(&mut runtime, &clock, visit.time).await?;
        serve(&runtime, rows, visit, &mut months).await?;
        listen(&runtime, &mut told);
    }
    shown.end();
    advance(&mut runtime, &clock, to).await?;
    listen(&runtime, &mut told);
    Ok(policy(&runtime, told, months))
}

/// How far it is: a bar with rate and time left on a terminal, a line a month elsewhere.
struct Shown {
    bar: ProgressBar,
    month: String,
}

impl Shown {
    fn new(visits: usize) -> Self {
        let bar = ProgressBar::new(visits as u64);
        if let Ok(style) = ProgressStyle::with_template("{msg}  [{bar:30}] {pos}/{len} visits  {per_sec}  {eta} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, month: String::new() }
    }

    fn visit(&mut self, visit: &Visit) {
        if self.month != visit.month {
            self.month.clone_from(&visit.month);
            self.bar.set_message(visit.month.clone());
            if self.bar.is_hidden() {
                let all = self.bar.length().unwrap_or_default();
                eprintln!("managed: {} ({} of {all} visits)", visit.month, self.bar.position());
            }
        }
        self.bar.inc(1);
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Takes in what the journal says since the last time; it keeps only the newest lines itself.
fn listen(runtime: &Runtime, told: &mut Vec<Line>) {
    told.extend(runtime.journal().lines_after(told.last().map_or(0, |line| line.number)));
}

async fn advance(runtime: &mut Runtime, clock: &Clock, to: Timestamp) -> Result<()> {
    while clock.now() + LOOK_EVERY < to {
        clock.move_to(clock.now() + LOOK_EVERY);
        runtime.settle().await?;
    }
    clock.move_to(to);
    runtime.settle().await
}

async fn serve(runtime: &Runtime, rows: &Interactions, visit: &Visit, months: &mut Months) -> Result<()> {
    let user = rows.users.name(visit.user).to_owned();
    let segment = visit.segment.map(|segment| rows.segments.name(segment).to_owned());
    let context = Moment { segment: segment.clone(), personalize: true };
    let request = RecommendRequest { user: user.clone(), k: K, context, exclude: Vec::new() };
    let answer = runtime.router().recommend(request).await.map_err(|problem| anyhow::anyhow!("{problem:?}"))?;
    if let Some(targets) = &visit.targets {
        let list: Vec<u32> = answer.items.iter().filter_map(|item| rows.items.get(&item.item)).collect();
        months.add(&visit.month, &list, targets);
    }
    for item in &visit.items {
        let event = Event {
            user: user.clone(),
            item: rows.items.name(*item).to_owned(),
            kind: fairway_wire::EventKind::Purchase,
            time: Some(visit.time),
            decision: None,
            segment: segment.clone(),
            id: None,
        };
        runtime
            .router()
            .event(event)
            .await
            .map_err(|problem| anyhow::anyhow!("{problem:?}"))
            .context("feeding back a purchase")?;
    }
    Ok(())
}

fn policy(runtime: &Runtime, lines: Vec<Line>, months: Months) -> Policy {
    let history = &runtime.endpoint_status().history;
    let count = |result: RolloutResult| history.iter().filter(|ended| ended.result == result).count();
    let reasons = lines
        .iter()
        .filter(|line| TOLD.contains(&line.code.as_str()))
        .map(|line| format!("{} {}", &line.time.to_string()[..10], line.message))
        .collect();
    Policy {
        name: "managed",
        trainings: lines.iter().filter(|line| line.code == "RunStarted").count(),
        promotions: count(RolloutResult::Promoted),
        rollbacks: count(RolloutResult::RolledBack),
        reasons,
        months: months.finish(),
    }
}
