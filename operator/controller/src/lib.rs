//! The operator: the same decisions as `fairway up`, carried out on Kubernetes.
//!
//! Each look at an object is observe → decide → store → apply → report. What is decided is `fairway-core`'s; the plan is
//! in the bucket before anything follows from it; what follows is the state of the cluster that the plan asks for, made
//! again at every look, so that an operator that stops between any two writes loses nothing.
//!
//! | question | file |
//! |---|---|
//! | who leads | `lease` |
//! | what the cluster says | `watch`, `copies`, `held`, `context` |
//! | when an object is looked at, and by whom | `operator`, `wakes`, `look` |
//! | what an endpoint is, and what follows | `endpoint/{observe, build, apply, report}` |
//! | what an endpoint's experiments ask for, and how they stand | `experiments`, `endpoint/trials` |
//! | what a model is, and what follows | `model/{observe, build, apply, report}` |
//! | what becomes of the bucket's data when an object is deleted | `deletion` |
//! | what is forgotten when an object is gone | `gone` |
//! | what becomes of old versions | `tidy` |
//! | what routers saw | `routers` |
//! | what is remembered between looks | `kept`, `board` |
//! | what people ask from the command line | `people` |
//! | what webhooks are told | `notify`, `webhook` |
//! | what not every cluster has | `optional`, `job_kinds` |
//! | what KEDA asks | `scaler` |
//!
//! What it does not do: it decides nothing, serves no user, and never touches the bucket's data unless a manifest says so.
#![forbid(unsafe_code)]

mod apply;
mod board;
mod buckets;
mod call;
mod clock;
mod context;
mod copies;
mod deletion;
mod endpoint;
mod experiments;
mod gone;
mod health;
mod held;
mod job_kinds;
mod kept;
mod lease;
mod look;
mod metrics;
mod model;
mod names;
mod notify;
mod operator;
mod optional;
mod orders;
mod people;
mod pod;
mod report;
mod routers;
mod scaler;
mod settings;
mod tidy;
mod wakes;
mod wanted;
mod watch;
mod webhook;
mod words;

pub use experiments::{Experiments, experiment_conditions, experiment_status, experiments, keep_record};
pub use kept::{DecidedBy, Kept, Stored, window_key};
pub use kube::Client;
pub use model::{RunCause, TrainResult};
pub use notify::{Outbox, Waiting};
pub use operator::{Ended, connect, run};
pub use orders::follow_orders;
pub use people::{Check, People, Reasons};
pub use settings::{PlanRun, Settings};
pub use wanted::{Wanted, wanted};
pub use webhook::{Answer, Webhook, client as webhook_client, pause};
