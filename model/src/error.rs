//! What can go wrong in this crate. Messages name the thing and the cure.

use std::path::{Path, PathBuf};

use crate::bundle::Finding;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}; check that the path exists and that its permissions allow it", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not the JSON that it should be.
    #[error("{file} is not valid: {source}; write it again with the bundle writer, or fix it by its JSON Schema")]
    Json {
        /// Name of the file in the bundle.
        file: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A file is larger than any bundle needs.
    #[error("{file} has {bytes} bytes, more than the {limit} that are read; keep only what the format knows in it")]
    TooLarge {
        /// Name of the file in the bundle.
        file: String,
        /// Its size.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The weights file cannot be used.
    #[error("weights.safetensors: {what}; save the family's tensors again")]
    Weights {
        /// What is wrong.
        what: String,
    },
    /// An array does not have the shape that the others ask for.
    #[error(
        "{name} has {found} values where {expected} were expected; shapes must follow the vocabularies and each other"
    )]
    Shape {
        /// The array, by its tensor name.
        name: String,
        /// How many values (or which dimensions) there should be.
        expected: String,
        /// How many there are.
        found: String,
    },
    /// A number is outside its domain.
    #[error("{name} is {value}; it must be {domain}")]
    Domain {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// What it may be.
        domain: &'static str,
    },
    /// A model family that this build does not know.
    #[error("family `{0}` is not known here; use popularity, ease or two-tower, or serve it with a container")]
    Family(String),
    /// A duration that cannot be read.
    #[error("`{0}` is not a duration; write a whole number with a unit, such as 30d, 36h, 10m, 5s or 250ms")]
    Duration(String),
    /// Feature definitions that cannot be used.
    #[error("feature `{name}`: {what}")]
    Feature {
        /// The feature's name.
        name: String,
        /// What is wrong with it, and the cure.
        what: String,
    },
    /// A bundle that must not serve. Every reason is listed.
    #[error("bundle {} is refused: {}", dir.display(), list(findings))]
    Refused {
        /// The bundle's directory.
        dir: PathBuf,
        /// All that is wrong with it; never empty.
        findings: Vec<Finding>,
    },
}

impl Error {
    /// For `map_err` beside a path.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// For `map_err` beside a file of a bundle.
    pub(crate) fn json(file: &str) -> impl FnOnce(serde_json::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Json { file, source }
    }

    /// An array whose length does not fit. Answers `Ok` when it does.
    pub(crate) fn expect_len(name: &str, found: usize, expected: usize) -> Result<(), Self> {
        if found == expected {
            return Ok(());
        }
        Err(Self::Shape { name: name.to_owned(), expected: expected.to_string(), found: found.to_string() })
    }
}

/// Findings in one line.
fn list(findings: &[Finding]) -> String {
    let each: Vec<String> = findings.iter().map(Finding::to_string).collect();
    each.join(" | ")
}
