//! What happened, in words that people use: one line an event, kept for the status page and shown live.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use fairway_core::Reason;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// One event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its number in this process, from 1.
    pub number: u64,
    /// When, by the runtime's clock.
    pub time: Timestamp,
    /// What it is about: `train`, `data`, `drift`, `hold`, `rollout`, `serve`.
    pub about: String,
    /// The reason's code.
    pub code: String,
    /// The sentence.
    pub message: String,
}

/// A bounded list of events with subscribers. Clones share it.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Mutex<Kept>>,
    live: broadcast::Sender<Line>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Line>,
    /// Number of the last line.
    last: u64,
    /// The last message of each lasting fact, so that it is said once and not at every look.
    said: BTreeMap<&'static str, String>,
}

const KEPT: usize = 500;

/// Codes that tell of a lasting fact; only a change is an event.
const LASTING: [&str; 12] = [
    "Barred",
    "BlockedByFailedLoad",
    "Cooldown",
    "BudgetSpent",
    "BreakerOpen",
    "RolloutActive",
    "Paused",
    "TelemetryMissing",
    "NoVersion",
    "AwaitingProof",
    "Loading",
    "RunActive",
];
/// Codes that are progress, not events.
const QUIET: [&str; 2] = ["Progressing", "Baking"];

impl Default for Journal {
    fn default() -> Self {
        Self { inner: Arc::default(), live: broadcast::channel(KEPT).0 }
    }
}

impl Journal {
    /// Notes a plan's reasons. `loop_name` is `model` or `endpoint`.
    pub fn note(&self, time: Timestamp, loop_name: &'static str, reasons: &[Reason]) {
        for reason in reasons {
            if QUIET.contains(&reason.code.as_str()) {
                continue;
            }
            if let Some(code) = LASTING.iter().find(|code| **code == reason.code) {
                let mut kept = self.inner.lock().expect("no panic while it is held");
                if kept.said.insert(loop_name, (*code).to_owned()).as_deref() == Some(*code) {
                    continue;
                }
            } else {
                self.inner.lock().expect("no panic while it is held").said.remove(loop_name);
            }
            self.add(time, about(&reason.code), &reason.code, reason.message.clone());
        }
    }

    /// Notes one event.
    pub fn add(&self, time: Timestamp, about: &'static str, code: &str, message: String) {
        tracing::info!(about, code, "{message}");
        let mut kept = self.inner.lock().expect("no panic while it is held");
        kept.last += 1;
        let line = Line { number: kept.last, time, about: about.to_owned(), code: code.to_owned(), message };
        kept.lines.push_back(line.clone());
        if kept.lines.len() > KEPT {
            kept.lines.pop_front();
        }
        drop(kept);
        // Nobody listening is fine.
        let _ = self.live.send(line);
    }

    /// All kept lines, oldest first.
    pub fn lines(&self) -> Vec<Line> {
        self.lines_after(0)
    }

    /// The kept lines with a number above `last`, oldest first.
    pub fn lines_after(&self, last: u64) -> Vec<Line> {
        let kept = self.inner.lock().expect("no panic while it is held");
        let known = kept.lines.partition_point(|line| line.number <= last);
        kept.lines.range(known..).cloned().collect()
    }

    /// Lines from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Line> {
        self.live.subscribe()
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}  {:<8} {}", crate::output::time(self.time), self.about, self.message)
    }
}

/// Reasons for which data are refused, as `fairway-trainer` names them, and that of faults in the requests.
const DATA: [&str; 7] =
    ["DataStale", "TooFewRows", "ColumnMissing", "SqlInvalid", "AccessDenied", "CheckFailed", "DataInvalid"];

fn about(code: &str) -> &'static str {
    match code {
        "RunStarted" | "AlreadyRunning" | "Registered" | "Rejected" | "Failed" | "Cancelled" | "First" => "train",
        "Drift" | "Degradation" | "MaxAge" => "drift",
        "Cooldown" | "BudgetSpent" | "BreakerOpen" | "RolloutActive" | "RunActive" => "hold",
        "AfterRollout" | "ApprovalPending" | "BreakerHalfOpen" | "LabelsImmature" => "hold",
        "FirstVersion" | "ServingBaseline" | "ServingChampion" | "NoVersion" | "Loading" => "serve",
        code if DATA.contains(&code) => "data",
        _ => "rollout",
    }
}
