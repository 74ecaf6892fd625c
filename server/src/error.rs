//! What can go wrong outside of a request. Mistakes of a caller are [`crate::Problem`]s, failures of a model are
//! [`crate::ModelFailure`]s; neither is here.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the router cannot start, write its log, take up its state or reach a model server.
#[derive(Debug, Error)]
pub enum Error {
    /// The file with the key of the pseudonyms cannot be read or written.
    #[error("key file {path}: {source}; it must be readable and writable by this process alone")]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file with the key of the pseudonyms does not hold a key.
    #[error("key file {path}: expected at least 32 hex digits; restore it from a copy (a new key forgets every user)")]
    KeyFormat {
        /// Which file.
        path: PathBuf,
    },
    /// The decisions cannot be written as Parquet.
    #[error("decision log: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The decisions cannot be laid out as columns.
    #[error("decision log: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A snapshot is damaged.
    #[error("snapshot: {0}; start without it and seed the histories from the data")]
    Snapshot(#[from] serde_json::Error),
    /// A snapshot of another format.
    #[error("snapshot: format {0} is not known here; start without it or with the version that wrote it")]
    SnapshotFormat(u32),
    /// A model server's URL that cannot be used.
    #[error("`{0}` is not the URL of a model server; write http://host:port")]
    ServerUrl(String),
    /// A model server did not describe its version.
    #[error("the model server at {url} does not describe its version: {why}")]
    Describe {
        /// Where.
        url: String,
        /// What came instead.
        why: String,
    },
    /// A model server is not ready.
    #[error("{url} does not say that it is ready: {why}")]
    NotReady {
        /// What was asked.
        url: String,
        /// What came instead.
        why: String,
    },
    /// A version cannot be described.
    #[error("the version's description cannot be written: {0}; check its profile")]
    Description(#[source] serde_json::Error),
}
