//! Small facts about a router that its owner asks for.

use crate::router::Router;

impl Router {
    /// Name of this incarnation.
    pub fn replica(&self) -> &str {
        &self.config.replica
    }

    /// Users whose history is known.
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Decisions that wait to be taken.
    pub fn decisions_waiting(&self) -> usize {
        self.decisions.len()
    }
}
