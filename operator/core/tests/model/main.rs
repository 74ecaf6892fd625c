//! The model's loop from the outside: what starts a run, what holds it back, and what must hold whatever happens.
#![allow(missing_docs)]

mod decisions;
mod guards;
mod properties;
mod storms;
mod triggers;
mod world;
