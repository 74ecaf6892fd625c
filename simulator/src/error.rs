//! What can go wrong in the simulator, each with the name of the thing and the cure.

use std::path::PathBuf;

/// An error of the simulator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the configuration is out of its range.
    #[error("{field}: {found} is not allowed; use {allowed}")]
    Config {
        /// Path of the field, as it is written in the document.
        field: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The address of the endpoint cannot be used.
    #[error("endpoint {url:?}: {why}; give it as http://host:port")]
    Endpoint {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of transactions could not be written.
    #[error("cannot write transactions to {path}: {source}; check the directory's permissions and free space")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}
