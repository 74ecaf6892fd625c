//! The registry: everything Fairway keeps, in one bucket and without a database.
//!
//! A model has a numbered, create-only, hash-chained log of small full states, and immutable
//! trees named by their digest. An endpoint has windows, decisions, plans and snapshots. One
//! protocol (`commit.rs`) appends to every log; `log.rs` finds the newest entry; `upload.rs` and
//! `fetch.rs` move trees; `gc.rs` and `erase.rs` delete, honestly, and `tidy.rs` when nobody asks; `probe.rs` tells whether a store may hold it.
//!
//! It works on buckets (`s3://`, `gs://`, `az://`), directories (`file://` or a plain path) and in
//! memory (`memory://`). It knows nothing of what a bundle, a window or a plan means, and decides
//! nothing but what a retention keeps.

mod change;
mod commit;
mod digest;
mod digests;
mod directory;
mod endpoint;
mod erase;
mod error;
pub mod events;
mod fetch;
mod gc;
mod kinds;
mod log;
mod manifest;
mod model;
mod names;
pub mod oci;
mod pin;
mod place;
mod plans;
mod probe;
mod progress;
pub mod provenance;
mod reference;
mod register;
mod registry;
mod retention;
mod run;
mod scan;
pub mod sign;
mod signing;
mod state;
mod store;
mod tidy;
mod upload;

#[cfg(test)]
mod tests;

pub use digest::Digest;
pub use endpoint::EndpointLog;
pub use error::{Error, Result};
pub use fetch::holds;
pub use gc::{Candidate, Collected, Collection, QUARANTINE, Tree};
pub use jiff::Timestamp;
pub use manifest::{File, Manifest};
pub use model::{Author, ModelLog};
pub use place::StoreOptions;
pub use plans::PlanLog;
pub use probe::{Check, Report};
pub use progress::{Moved, Progress};
pub use reference::{Reference, Target};
pub use register::Uploading;
pub use registry::{Access, Registry};
pub use retention::{Kept, Retention, kept};
pub use run::RunLog;
pub use signing::verify_folder;
pub use state::{Condemned, Entry, Operation, Registration, State, Verdict, Version};

/// What a create-once write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// This call wrote it.
    Now,
    /// It was there before; what was there is kept.
    Already,
}
