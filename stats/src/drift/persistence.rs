//! Whether an alarm lasts: one bad window is not yet drift.

use serde::{Deserialize, Serialize};

/// Whether something happened in enough of the latest windows: 2 of 3 by default.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Windows in which it must have happened; at least 1.
    pub needed: u8,
    /// Windows that count.
    pub of: u8,
    /// The latest windows, oldest first; never more than `of`.
    pub recent: Vec<bool>,
}

impl Persistence {
    /// `needed` of the latest `of` windows. A `needed` above `of` can never hold, so it counts as `of`.
    pub fn new(needed: u8, of: u8) -> Self {
        let of = of.max(1);
        Self { needed: needed.clamp(1, of), of, recent: Vec::with_capacity(usize::from(of) + 1) }
    }

    /// Adds the latest window and forgets the oldest beyond `of`. Windows without enough data should not be added.
    pub fn push(&mut self, happened: bool) {
        self.recent.push(happened);
        let beyond = self.recent.len().saturating_sub(usize::from(self.of));
        self.recent.drain(..beyond);
    }

    /// Whether it happened often enough.
    pub fn holds(&self) -> bool {
        let happened = self.recent.iter().filter(|&&h| h).count();
        happened >= usize::from(self.needed.max(1))
    }
}

impl Default for Persistence {
    fn default() -> Self {
        Self::new(2, 3)
    }
}
