//! Telling webhooks what a ModelEndpoint's manifest asks for. What is told, and once, is `fairway_core::escalation`'s; which
//! finding is which of the manifest's words, `fairway_api`'s; here it is kept (`outbox`), put into words for machines
//! (`message`) and delivered (`deliver`).
//!
//! A notice is stored with the endpoint's plan before it is sent, and again without it when it was taken: an operator that
//! dies in between sends it again, with the same id. What keeps an endpoint from having a plan at all (`trouble`) cannot be
//! stored; a new leader tells it again, with another id.

mod deliver;
mod message;
mod outbox;
#[cfg(test)]
mod tests;
mod trouble;

pub(crate) use deliver::{Counted, Deliveries, Hooks, Route};
pub use outbox::{Outbox, Waiting};
pub(crate) use trouble::Trouble;

use fairway_api::ModelEndpoint;
use kube::ResourceExt;

/// How notices name an endpoint.
pub(crate) fn object(endpoint: &ModelEndpoint) -> String {
    format!("modelendpoint/{}/{}", endpoint.namespace().unwrap_or_default(), endpoint.name_any())
}
