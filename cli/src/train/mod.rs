//! Training runs: what is written about one, and one attempt at it. Two make attempts: the loop in one process
//! (`runtime/training.rs`) and `fairway train` in a process of its own (`job.rs`).

mod attempt;
mod beat;
mod champion;
mod container;
mod job;
mod judge;
mod record;

pub use attempt::{Attempt, Attempted, remove};
pub use champion::champion;
pub use container::{left_whole, prepare, publish};
pub use fairway_controller::TrainResult;
pub use job::{Ended, Job, run};
pub use record::{RunPlan, code};
