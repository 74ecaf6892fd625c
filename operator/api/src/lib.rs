//! The manifests of `fairway.dev/v1alpha1`: their types, their schemas, reading them from files, and their conversion into
//! the policies that core decides by. Both runtimes share it. Nothing here talks to a cluster.
#![forbid(unsafe_code)]
#![allow(clippy::duplicated_attributes, reason = "the printer columns of the derive each name their type")]

pub mod approval;
pub mod endpoint;
mod error;
pub mod experiment;
pub mod init;
pub mod manifest;
pub mod model;
mod request;
pub mod run;
mod schema;
mod status;
pub mod values;
pub mod workload;

pub use approval::{ModelApproval, ModelApprovalSpec, ModelApprovalStatus};
pub use endpoint::{ModelEndpoint, ModelEndpointSpec, ModelEndpointStatus};
pub use error::{FieldError, FieldErrors, ManifestError, Position, Severity};
pub use experiment::{ModelExperiment, ModelExperimentSpec, ModelExperimentStatus};
pub use manifest::{
    Located, Manifest, Manifests, ObjectKey, Other, load_dir, load_dir_with, parse_documents, substitute,
};
pub use model::{Model, ModelSpec, ModelStatus};
pub use request::{REQUEST_ANNOTATION, RolloutCommand, RolloutVerb};
pub use run::{REQUESTED_BY_ANNOTATION, TrainingRun, TrainingRunSpec, TrainingRunStatus};
pub use schema::{crds, reference_markdown};
pub use status::Condition;
