//! How a run tells what it does, and how it is told to stop.
//!
//! What it does not do: it draws no bars; the command line and the controller implement [`Progress`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a run reports. Stages come in the order `fit`, `evaluate`, `refit`, `write` (`read` is the caller's).
pub trait Progress: Send + Sync {
    /// A stage begins, of `total` units; 0 when their number is not known.
    fn stage(&self, name: &str, total: u64);
    /// `n` further units are done.
    fn advance(&self, n: u64);
    /// Something that people may want to read, such as the loss of an epoch.
    fn note(&self, line: &str);
}

/// Reports to nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _name: &str, _total: u64) {}
    fn advance(&self, _n: u64) {}
    fn note(&self, _line: &str) {}
}

/// Asks a run to stop at its next step. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop; cannot be taken back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl From<Arc<AtomicBool>> for CancelFlag {
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }
}
