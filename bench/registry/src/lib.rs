//! What the registry's benches share: settings, trees of invented files, medians, and tables.
//!
//! What it does not do: it judges nothing. Machines differ and are noisy, so each bench measures a peer in the same run
//! and prints the ratio; no test depends on any of it.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod measure;
pub mod report;
pub mod tree;

/// Whatever stopped a bench.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A whole number from the environment, above zero; `default` where the variable is not set.
///
/// # Errors
/// The variable is set and is no such number.
pub fn setting(name: &str, default: u64) -> Outcome<u64> {
    match std::env::var(name) {
        Ok(text) => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name}={text} is no whole number above 0").into()),
        },
        Err(_) => Ok(default),
    }
}

/// Whether to measure anything, which `cargo bench` asks for by `--bench`. Without it the reader is told.
pub fn measures() -> bool {
    let asked = std::env::args().any(|argument| argument == "--bench");
    if !asked {
        println!("nothing is measured without --bench; use `cargo bench -p fairway-bench-registry`");
    }
    asked
}

/// A folder that goes when it is dropped: below `FAIRWAY_BENCH_FOLDER`, or below the system's temporary folder.
///
/// # Errors
/// It cannot be made.
pub fn folder() -> Outcome<tempfile::TempDir> {
    let parent = std::env::var_os("FAIRWAY_BENCH_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    tempfile::Builder::new()
        .prefix("fairway-bench-")
        .tempdir_in(&parent)
        .map_err(|error| format!("a folder in {}: {error}", parent.display()).into())
}
