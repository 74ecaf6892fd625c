//! What a trainer in a process of its own says on its way: one line of JSON a second at most, and no line while nothing
//! has changed.

use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use fairway_registry::RunLog;
use fairway_trainer::Progress;
use serde::Serialize;

use crate::output;
use crate::runtime::{Meter, Step};

const EVERY: Duration = Duration::from_secs(1);
const KEPT_EVERY: Duration = Duration::from_secs(3);
/// Name of the checkpoint that holds the newest line.
const PROGRESS: &str = "progress.json";

/// A line of progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Beat {
    /// Name of the run.
    pub run: String,
    /// `champion`, `read`, `fit`, `evaluate`, `refit`, `write` or `upload`.
    pub step: String,
    /// How much of the step is done; none where that is not known.
    pub percent: Option<u64>,
    /// How long the rest of the step takes at this rate; none before the first unit is done.
    pub seconds_left: Option<u64>,
}

impl From<Step> for Beat {
    fn from(step: Step) -> Self {
        Self {
            percent: (step.done * 100).min(step.total * 100).checked_div(step.total),
            seconds_left: step.seconds_left.map(|seconds| seconds.ceil() as u64),
            run: step.run,
            step: step.stage,
        }
    }
}

/// The trainer's reports: stages to the meter, notes to people.
pub struct Told {
    /// Name of the run.
    pub run: String,
    /// Where the stages go.
    pub meter: Meter,
}

impl Progress for Told {
    fn stage(&self, name: &str, total: u64) {
        self.meter.enter(&self.run, name, total);
    }

    fn advance(&self, n: u64) {
        self.meter.advance(n);
    }

    fn note(&self, line: &str) {
        eprintln!("{line}");
    }
}

/// Does `work` and tells of it: lines on stdout, the newest one in a file, if one was named, and now and then beside the
/// run's checkpoints, where the operator finds it. The step that the work ended in is told too, however short it was.
pub async fn telling<T>(meter: &Meter, file: Option<&Path>, record: &RunLog, work: impl Future<Output = T>) -> T {
    let mut last = None;
    let done = tokio::select! {
        done = work => done,
        never = tell(meter, file, record, &mut last) => match never {},
    };
    tell_new(meter, file, &mut last);
    done
}

async fn tell(meter: &Meter, file: Option<&Path>, record: &RunLog, last: &mut Option<Beat>) -> Infallible {
    let mut kept: Option<Instant> = None;
    loop {
        if let Some(new) = tell_new(meter, file, last)
            && kept.is_none_or(|kept| kept.elapsed() >= KEPT_EVERY)
        {
            kept = Some(Instant::now());
            let line = serde_json::to_vec(new).unwrap_or_default();
            // For people: a bucket that fails will stop the run by itself.
            let _ = record.put_checkpoint(PROGRESS, line.into()).await;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Tells what has changed since the last time.
fn tell_new<'a>(meter: &Meter, file: Option<&Path>, last: &'a mut Option<Beat>) -> Option<&'a Beat> {
    let new = meter.step().map(Beat::from).filter(|new| last.as_ref() != Some(new))?;
    if let Err(error) = write(&new, file) {
        tracing::warn!("progress cannot be written: {error:#}");
    }
    Some(last.insert(new))
}

fn write(beat: &Beat, file: Option<&Path>) -> Result<()> {
    let line = serde_json::to_string(beat)?;
    output::line(&line)?;
    file.map_or(Ok(()), |file| replace(file, &line))
}

/// Whoever reads the file finds a whole line.
fn replace(file: &Path, line: &str) -> Result<()> {
    let aside = file.with_extension("new");
    std::fs::write(&aside, format!("{line}\n"))?;
    Ok(std::fs::rename(&aside, file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_is_one_line_of_known_fields() {
        let step = |done, total, seconds_left| Step {
            run: "r".to_owned(),
            stage: "fit".to_owned(),
            done,
            total,
            seconds: 2.0,
            seconds_left,
        };
        let line = |step: Step| serde_json::to_string(&Beat::from(step)).unwrap();
        assert_eq!(line(step(1, 3, Some(3.2))), r#"{"run":"r","step":"fit","percent":33,"secondsLeft":4}"#);
        assert_eq!(line(step(5, 0, None)), r#"{"run":"r","step":"fit","percent":null,"secondsLeft":null}"#);
        assert_eq!(Beat::from(step(7, 5, None)).percent, Some(100), "more units than were announced");
    }

    #[test]
    fn the_file_holds_the_newest_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("progress.json");
        for line in ["1", "2"] {
            replace(&file, line).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "2\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
