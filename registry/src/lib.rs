//! The registry: everything Fairway keeps, in one bucket and without a database.
//!
//! A model has a numbered, create-only, hash-chained log of small full states, and immutable
//! trees named by their digest. An endpoint has windows, decisions, plans and snapshots. One
//! protocol (`commit.rs`) appends to every log.
//!
//! This version works on directories (`file://` or a plain path) and in memory (`memory://`).
//! It knows nothing of what a bundle, a window or a plan means, and decides nothing.

mod commit;
mod digest;
mod directory;
mod endpoint;
mod error;
mod fetch;
mod manifest;
mod model;
mod names;
mod plans;
mod reference;
mod registry;
mod run;
mod scan;
mod state;
mod store;
mod upload;

#[cfg(test)]
mod tests;

pub use digest::Digest;
pub use endpoint::EndpointLog;
pub use error::{Error, Result};
pub use jiff::Timestamp;
pub use manifest::{File, Manifest};
pub use model::ModelLog;
pub use plans::PlanLog;
pub use reference::{Reference, Target};
pub use registry::Registry;
pub use run::RunLog;
pub use state::{Entry, Operation, Registration, State, Version};

/// What a create-once write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// This call wrote it.
    Now,
    /// It was there before; what was there is kept.
    Already,
}
