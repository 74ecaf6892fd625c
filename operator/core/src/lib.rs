//! The decisions of Fairway: observed state + policy + now → plan. Pure: no IO, no clock, no randomness.
//!
//! Two loops share the shape. [`model::decide`] answers "should a successor be trained?", [`endpoint::decide`] answers
//! "which version may serve how many users?". Between them [`admission::admit`] answers "may this version serve at all?".
//! Two runtimes carry plans out (the Kubernetes controller and the embedded runtime); neither decides anything. The same
//! input gives the same plan (invariant I6).
#![forbid(unsafe_code)]

pub mod admission;
pub mod afterwards;
pub mod approvals;
pub mod endpoint;
pub mod escalation;
pub mod evaluation;
pub mod evidence;
pub mod experiment;
pub mod feasible;
pub mod guards;
pub mod invariants;
pub mod model;
pub mod plan;
pub mod planted;
pub mod policy;
pub mod rollout;
pub mod scaling;
pub mod schedule;
pub mod triggers;

pub use plan::{Condition, Plan, Reason};
