//! The embedded runtime: the loop of design and cluster in one process. It observes, lets `fairway-core` decide, stores
//! the plan, carries its effects out, and reports. It decides nothing itself.

mod admin;
mod backoff;
mod clock;
mod effects;
mod journal;
mod look;
mod progress;
mod restore;
mod spec;
#[cfg(test)]
mod tests;
mod tidy;
mod training;
mod versions;

pub use admin::{AdminState, routes};
pub use clock::Clock;
pub use fairway_controller::{Stored, window_key};
pub use journal::{Journal, Line};
pub use look::{Command, Runtime};
pub use progress::{Meter, Step};
pub use restore::stored_report;
pub use spec::{Cause, Recipe, Spec};
