//! The error rates of Fairway's verdicts at full size, beside those of the rules that people have today.
//!
//! What it does not do: it judges nothing, and no test depends on it; `stats/tests/error_rates.rs` holds the promises at
//! reduced size, by the same simulation.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod peers;
pub mod python;
pub mod report;
#[expect(missing_docs, reason = "it is a module of the tests")]
#[path = "../../../stats/tests/simulation/mod.rs"]
pub mod simulation;

/// A whole number above 0 from the environment; `default` where the variable is not set or no such number.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).filter(|&number| number > 0).unwrap_or(default)
}

/// Whether to measure anything, which `cargo bench` asks for by `--bench`. Without it the reader is told.
pub fn measures() -> bool {
    let asked = std::env::args().any(|argument| argument == "--bench");
    if !asked {
        println!("nothing is measured without --bench; use `cargo bench -p fairway-bench-stats`");
    }
    asked
}
