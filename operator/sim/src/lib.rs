//! The decisions, tried before they run: every observation of a small world ([`explore`]), and long histories of a large
//! one with faults of every kind.
#![forbid(unsafe_code)]

pub mod explore;
