//! What people see of a transfer, and how Ctrl-C ends one. A terminal gets a bar with bytes, rate and time left; a log
//! file and JSON get nothing.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use fairway_registry::{Moved, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use crate::commands::up::Signals;
use crate::output::Output;

/// The bar of a transfer; clones are the same bar. It is cleared when its command is done.
#[derive(Clone)]
pub struct Bar(Option<Arc<Mutex<ProgressBar>>>);

impl Bar {
    /// A bar, if somebody is there to see it.
    pub fn new(output: Output) -> Self {
        let seen = output == Output::Table && std::io::stderr().is_terminal();
        Self(seen.then(|| Arc::new(Mutex::new(ProgressBar::hidden()))))
    }

    /// What the registry is given to tell its progress to.
    pub fn progress(&self) -> Progress {
        if self.0.is_none() {
            return Progress::default();
        }
        let bar = self.clone();
        Progress::to(move |moved| match moved {
            Moved::Stage(name, bytes) => bar.stage(name, bytes),
            Moved::Bytes(bytes) => bar.add(bytes),
        })
    }

    /// A stage begins, of so many bytes; 0: nobody knows how many.
    pub fn stage(&self, name: &'static str, bytes: u64) {
        self.with(|bar| {
            bar.finish_and_clear();
            *bar = if bytes == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(bytes) };
            let template = if bytes == 0 {
                "{msg:8} {spinner} {bytes}  {bytes_per_sec}"
            } else {
                "{msg:8} [{bar:30}] {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(name);
        });
    }

    /// So many more bytes are done.
    pub fn add(&self, bytes: u64) {
        self.with(|bar| bar.inc(bytes));
    }

    /// Takes the bar off the screen.
    pub fn clear(&self) {
        self.with(|bar| bar.finish_and_clear());
    }

    fn with(&self, change: impl FnOnce(&mut ProgressBar)) {
        if let Some(bar) = &self.0 {
            change(&mut bar.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Does the work under a bar until it is done or somebody stops it. What it had begun is taken back as it is dropped.
///
/// # Errors
/// Those of the work, or it was stopped.
pub async fn interruptible<T>(bar: &Bar, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut signals = Signals::new()?;
    let done = tokio::select! {
        done = work => done,
        () = signals.stop() => bail_stopped(),
    };
    bar.clear();
    done
}

fn bail_stopped<T>() -> Result<T> {
    bail!(
        "stopped before it was done: nobody sees anything half done, and `fairway registry log` shows what was done before"
    )
}

/// Does work that blocks where it holds up nobody.
///
/// # Errors
/// Those of the work.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> fairway_registry::Result<T> + Send + 'static,
) -> Result<T> {
    Ok(tokio::task::spawn_blocking(work).await??)
}
