//! Incidents of other tools, as tests of the decisions. The name of a test says the thread.
#![allow(missing_docs)]

mod acceptance;
mod argo_rollouts;
mod flagger;
mod kayenta;
mod knative_keda;
mod kserve;
mod mlflow;
mod sagemaker;
mod trainer;
mod training;
mod world;
