//! From a data source to a bundle: read and check interactions, fit a family, judge it on a holdout, write what is served.
//!
//! | question | module |
//! |---|---|
//! | what is a run asked to do | [`plan`] |
//! | which rows are there, and may anything be trained on them | [`data`] |
//! | which rows are for training, which for judging | [`split`] |
//! | how are the families fitted | [`families`] |
//! | how good is a model | [`evaluate`] |
//! | what is published | [`train()`], [`reference`] |
//! | what does a trainer of somebody else get and give | [`hand_over`], [`evaluate_bundle`] |
//!
//! What it does not do: it neither registers versions nor decides whether one may serve; gates are a closure. Only reading
//! is async; fitting is blocking work for a thread of its own. There is no clock here: `as_of` is an argument.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod data;
pub mod error;
pub mod evaluate;
pub mod families;
pub mod plan;
pub mod progress;
pub mod reference;
pub mod split;

mod fingerprint;
mod handover;
mod machine;
mod publish;
mod train;

pub use data::{Data, DataError, DataReport, Origin, SniffedColumn, SniffedKind, read, sniff};
pub use error::TrainError;
pub use evaluate::{Evaluation, Metrics, SegmentMetrics};
pub use handover::{
    INTERACTIONS_FILE, ITEMS_FILE, evaluate as evaluate_bundle, hand_over, provenance as provenance_of,
};
pub use machine::Spent;
pub use plan::{Check, DataSpec, Source, TrainingPlan};
pub use progress::{CancelFlag, Progress, Silent};
pub use split::{Protocol, Split};
pub use train::{Outcome, Trained, train};

#[cfg(test)]
mod sample;
