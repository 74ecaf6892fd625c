//! What the benches share: a shop of the size of Online Retail, a clock for CPUs, a load generator, and tables.
//!
//! | question | module |
//! |---|---|
//! | on what data | [`shop`], [`data`] |
//! | how long, and beside what | [`report`] |
//! | how much CPU, and whose | [`cpu`] |
//! | who asks the server | [`load`] |
//!
//! What it does not do: it judges nothing. Machines differ and are noisy, so each bench measures a peer in the same run
//! and prints the ratio; no test depends on any of it.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod cpu;
pub mod data;
pub mod load;
pub mod report;
pub mod shop;
