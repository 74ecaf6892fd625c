//! Fairway's decisions beside those of today's tools on the same traffic, and what a decision costs.
//!
//! What it does not do: it judges nothing, and no test depends on it; a bar that is missed is printed.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod argo;
pub mod exposure;
pub mod fairway;
pub mod flagger;
pub mod kayenta;
pub mod objects;
pub mod plan;
pub mod report;
pub mod table;
pub mod threads;
pub mod traffic;
pub mod tuning;

pub use fairway_bench_stats::setting;

/// Whether to measure anything, which `cargo bench` asks for by `--bench`. Without it, or with `--help`, the reader is told
/// what there is to set.
pub fn measures(help: &str) -> bool {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    if has("--help") {
        println!("{help}");
        return false;
    }
    if !has("--bench") {
        println!("nothing is measured without --bench; use `cargo bench -p fairway-bench-decisions`");
    }
    has("--bench")
}
