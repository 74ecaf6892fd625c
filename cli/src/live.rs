//! What `up` shows while it runs: events as they happen, and how far the active run is. A terminal gets a bar with rate
//! and time left; anything else gets plain lines.

use std::io::IsTerminal;
use std::time::Duration;

use fairway_core::plan::spell;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::runtime::{Journal, Line, Meter, Step};

const DRAW_EVERY: Duration = Duration::from_millis(200);
/// Without a terminal, a stage is told this often.
const SAY_EVERY_SECONDS: f64 = 15.0;

/// Shows everything until `stop`.
pub async fn show(journal: Journal, meter: Meter, stop: CancellationToken) {
    let mut lines = journal.subscribe();
    let mut screen = Screen::new();
    journal.lines().iter().for_each(|line| screen.event(line));
    let mut tick = tokio::time::interval(DRAW_EVERY);
    loop {
        tokio::select! {
            biased;
            line = lines.recv() => match line {
                Ok(line) => screen.event(&line),
                Err(RecvError::Lagged(n)) => screen.line(&format!("({n} events are not shown)")),
                Err(RecvError::Closed) => return,
            },
            _ = tick.tick() => screen.progress(meter.step().as_ref()),
            () = stop.cancelled() => return screen.progress(None),
        }
    }
}

/// The terminal, or a log file in its place.
struct Screen {
    is_terminal: bool,
    bar: Option<ProgressBar>,
    shown: Option<Step>,
}

impl Screen {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), bar: None, shown: None }
    }

    fn event(&self, line: &Line) {
        self.line(&line.to_string());
    }

    /// One line, above the bar if there is one.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    fn progress(&mut self, step: Option<&Step>) {
        if self.is_terminal { self.draw(step) } else { self.say(step) }
    }

    fn draw(&mut self, step: Option<&Step>) {
        match step {
            None => self.clear(),
            Some(step) => {
                if !self.shown.as_ref().is_some_and(|shown| shown.is_of_stage(step)) {
                    self.clear();
                    self.bar = Some(bar(step));
                }
                if let Some(bar) = &self.bar {
                    bar.set_position(step.done);
                    bar.tick();
                }
                self.shown = Some(step.clone());
            }
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.shown = None;
    }

    fn say(&mut self, step: Option<&Step>) {
        let Some(step) = step else {
            self.shown = None;
            return;
        };
        let since = self.shown.as_ref().filter(|shown| shown.is_of_stage(step));
        let told = since.map_or(0.0, |shown| shown.seconds);
        if step.seconds - told >= SAY_EVERY_SECONDS {
            eprintln!("{}", sentence(step));
            self.shown = Some(step.clone());
        } else if since.is_none() {
            self.shown = Some(Step { seconds: 0.0, ..step.clone() });
        }
    }
}

/// A bar where the number of units is known, a spinner elsewhere.
fn bar(step: &Step) -> ProgressBar {
    let bar = if step.total == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(step.total) };
    let template = if step.total == 0 {
        "{spinner} {msg}  {elapsed}"
    } else {
        "{msg}  [{bar:30}] {pos}/{len}  {per_sec}  {eta} left"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(format!("run {}: {}", step.run, step.stage));
    bar
}

/// The stage in words.
pub fn sentence(step: &Step) -> String {
    let so_far = spell(Duration::from_secs_f64(step.seconds));
    let units = if step.total == 0 { String::new() } else { format!(", {} of {}", step.done, step.total) };
    let left = step
        .seconds_left
        .map(|seconds| format!(", about {} left", spell(Duration::from_secs_f64(seconds))))
        .unwrap_or_default();
    format!("run {}: {}{units} after {so_far}{left}", step.run, step.stage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_in_words() {
        let step = Step {
            run: "r1".to_owned(),
            stage: "fit".to_owned(),
            done: 1,
            total: 4,
            seconds: 20.0,
            seconds_left: Some(60.0),
        };
        assert_eq!(sentence(&step), "run r1: fit, 1 of 4 after 20s, about 1m left");
        let unknown = Step { total: 0, done: 0, seconds_left: None, ..step };
        assert_eq!(sentence(&unknown), "run r1: fit after 20s");
    }
}
