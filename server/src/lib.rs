//! The data plane: the router that assigns users, asks versions, falls back, takes feedback and counts; and the model
//! server in this process.
//!
//! A valid request always gets an answer: a version that fails, hangs, panics or answers nonsense costs its users
//! nothing and is counted against it. What the router saw leaves it as windows (for verdicts) and decisions (for the
//! log); both hold users only as keyed HMACs.
//!
//! | question | file |
//! |---|---|
//! | who gets which version | `assign`, `lease` |
//! | what happens to a request | `recommend`, `conclude` |
//! | what happens to feedback | `feedback`, `exposures`, `peers` |
//! | what is counted | `windows`, `metrics` |
//! | what is remembered | `users`, `popularity`, `snapshot` |
//! | how a version is asked | `model_server`, `served`, `builtin`, `remote`, `foreign`, `connection` |
//! | what a model server says | `inference`, `questions`, `tensors` |
//! | what a router in another process is told | `orders`, `poll`, `admin` |
//! | what stands on the wire | `http`, `body`, `problem`, `serve` |
//!
//! What it does not do: it decides nothing (routes come from the operator), stores nothing (the caller takes windows,
//! decisions and snapshots to the bucket), and knows no Kubernetes.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod admin;
mod assign;
mod body;
mod builtin;
mod check;
mod conclude;
mod config;
mod connection;
mod decision_id;
mod decisions;
mod error;
mod event_ids;
mod exposures;
mod facts;
mod feedback;
mod foreign;
mod http;
mod inference;
mod inference_metrics;
mod interner;
mod labels;
mod lease;
mod metrics;
mod model_server;
mod orders;
mod parquet_log;
mod peers;
mod poll;
mod popularity;
mod problem;
mod pseudonym;
mod questions;
mod recommend;
mod remote;
mod router;
mod serve;
mod served;
mod snapshot;
mod tensors;
mod trials;
mod users;
mod windows;

pub use admin::{AdminToken, router_admin_routes};
pub use assign::{Assignment, HOLDBACK_SALT, assign, bucket, canary_weight, eligible};
pub use builtin::Builtin;
pub use config::{Clock, RouterConfig};
pub use decision_id::DecisionId;
pub use error::Error;
pub use feedback::Accepted;
pub use foreign::Foreign;
pub use http::{admin_routes, public_routes};
pub use inference::{Inference, InferenceConfig, inference_routes};
pub use lease::Watch;
pub use model_server::{ModelFailure, ModelServer, ScoreQuery};
pub use orders::{ConnectConfig, follow};
pub use parquet_log::{decisions_schema, decisions_to_parquet};
pub use peers::tell_peers;
pub use problem::Problem;
pub use pseudonym::{Pseudonyms, UserKey};
pub use remote::{Description, Remote};
pub use router::{Router, Status};
pub use serve::{serve_admin, serve_model, serve_public};

#[cfg(test)]
mod tests;
