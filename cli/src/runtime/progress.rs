//! How far the active run is: written by the trainer's thread, read by whoever shows it (terminal, status page, report).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Clock, Journal};

/// The stage that a run is in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Name of the run.
    pub run: String,
    /// `read`, `fit`, `evaluate`, `refit` or `write`.
    pub stage: String,
    /// Units done.
    pub done: u64,
    /// All units; 0 if that is not known.
    pub total: u64,
    /// Real seconds that the stage has taken so far.
    pub seconds: f64,
    /// Real seconds that it will take at this rate; none before the first unit is done.
    pub seconds_left: Option<f64>,
}

impl Step {
    /// Whether both tell of the same stage of the same run.
    pub fn is_of_stage(&self, other: &Self) -> bool {
        self.run == other.run && self.stage == other.stage
    }
}

/// Shared by the run and those who show it. Empty while nothing is trained.
#[derive(Clone, Default)]
pub struct Meter(Arc<Mutex<Option<Stage>>>);

struct Stage {
    run: String,
    name: String,
    done: u64,
    total: u64,
    since: Instant,
}

impl Meter {
    /// The stage of the active run.
    pub fn step(&self) -> Option<Step> {
        let stage = self.0.lock().expect("no panic while it is held");
        stage.as_ref().map(|stage| Step {
            run: stage.run.clone(),
            stage: stage.name.clone(),
            done: stage.done,
            total: stage.total,
            seconds: stage.since.elapsed().as_secs_f64(),
            seconds_left: left(stage.done, stage.total, stage.since.elapsed()),
        })
    }

    /// A stage begins.
    pub fn enter(&self, run: &str, name: &str, total: u64) {
        let stage = Stage { run: run.to_owned(), name: name.to_owned(), done: 0, total, since: Instant::now() };
        *self.0.lock().expect("no panic while it is held") = Some(stage);
    }

    /// Nothing is trained any more.
    pub fn leave(&self) {
        *self.0.lock().expect("no panic while it is held") = None;
    }

    /// Further units are done.
    pub fn advance(&self, n: u64) {
        if let Some(stage) = self.0.lock().expect("no panic while it is held").as_mut() {
            stage.done += n;
        }
    }
}

fn left(done: u64, total: u64, so_far: Duration) -> Option<f64> {
    (done > 0 && total >= done).then(|| so_far.as_secs_f64() * (total - done) as f64 / done as f64)
}

/// A run's reports: stages to the meter, notes to the journal.
pub(super) struct Told {
    pub(super) run: String,
    pub(super) meter: Meter,
    pub(super) journal: Journal,
    pub(super) clock: Clock,
}

impl fairway_trainer::Progress for Told {
    fn stage(&self, name: &str, total: u64) {
        self.meter.enter(&self.run, name, total);
    }

    fn advance(&self, n: u64) {
        self.meter.advance(n);
    }

    fn note(&self, line: &str) {
        self.journal.add(self.clock.now(), "train", "Note", line.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_follows_the_rate() {
        assert_eq!(left(1, 4, Duration::from_secs(2)), Some(6.0));
        assert_eq!(left(4, 4, Duration::from_secs(2)), Some(0.0));
        assert_eq!(left(0, 4, Duration::from_secs(2)), None, "no rate yet");
        assert_eq!(left(5, 0, Duration::from_secs(2)), None, "no total");
    }

    #[test]
    fn a_meter_shows_the_stage_that_was_entered_last() {
        let meter = Meter::default();
        assert_eq!(meter.step(), None);
        meter.enter("r1", "fit", 2);
        meter.advance(1);
        let step = meter.step().unwrap();
        assert_eq!((step.stage.as_str(), step.done, step.total), ("fit", 1, 2));
        meter.leave();
        assert_eq!(meter.step(), None);
    }
}
