//! Manifests from the outside: what files are refused and how it is said, what the shipped ones mean, what the cluster gets.
#![allow(missing_docs)]

mod crd;
mod defaults;
mod errors;
mod files;
mod generated;
mod mutations;
mod policies;
mod table;
