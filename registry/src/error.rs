//! What can go wrong in the registry, said so that the reader knows what to do.
//! It says what may be over the next time, and decides nothing about retries: `commit.rs` and the callers do.

use std::path::PathBuf;

/// The result of a registry call.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL's scheme is not one that a registry can be kept on.
    #[error(
        "registry `{url}`: scheme `{scheme}` cannot hold one; use `s3://`, `gs://`, `az://`, a directory (`file:///path` or a plain path) or `memory://`"
    )]
    Scheme {
        /// The URL as given.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// The URL cannot be read as a place.
    #[error("registry `{url}`: {reason}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An option of the store is not known or not usable.
    #[error("store option `{name}`: {reason}")]
    StoreOption {
        /// The option.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store cannot be used as it was reached.
    #[error("registry `{url}`: {reason}; {cure}")]
    Access {
        /// The registry.
        url: String,
        /// What the store said.
        reason: String,
        /// What to change.
        cure: &'static str,
    },
    /// There is no registry at this place.
    #[error("registry `{url}`: there is none yet; make one with `fairway registry init {url}`")]
    NoRegistry {
        /// The place.
        url: String,
    },
    /// The store does not keep what was created, so that two writers could both win.
    #[error(
        "registry `{url}`: this store cannot hold one: {reason}. Use a store that honours create-if-absent (Amazon S3, Google Cloud Storage, Azure Blob, MinIO, Cloudflare R2, or a directory)"
    )]
    Preconditions {
        /// The place.
        url: String,
        /// What it did.
        reason: String,
    },
    /// A name cannot be used as part of a path.
    #[error("{what} `{value}`: {reason}")]
    Name {
        /// What was to be named: `model`, `run`, ….
        what: &'static str,
        /// The name as given, shortened.
        value: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A text is not a digest.
    #[error("`{0}` is not a digest; write `sha256:` and 64 lower-case hex digits")]
    Digest(String),
    /// A text is not a reference to a version.
    #[error(
        "`{0}` names no version; write `@alias`, a version number, `sha256:…`, or `models:/name@alias`, `models:/name/3`, `models:/name@sha256:…`"
    )]
    Reference(String),
    /// A value given by the caller is outside its bounds.
    #[error("{what}: {reason}")]
    Invalid {
        /// The value's name.
        what: String,
        /// The bound that it breaks.
        reason: String,
    },
    /// A compare-and-set found something else than expected. Nothing was written.
    #[error("conflict: {what} is {}, expected {}; read it again and decide anew", show(.found), show(.expected))]
    Conflict {
        /// What was to be changed.
        what: String,
        /// What the caller expected to find (for a plan: the latest one, `seq - 1`).
        expected: Option<u64>,
        /// What was found (for a plan: the latest one).
        found: Option<u64>,
    },
    /// No round was won in time. Nothing was written.
    #[error(
        "{path}: {tries} rounds without winning one (other writers, or a slow store); nothing was written, try again"
    )]
    Contended {
        /// The log.
        path: String,
        /// Rounds tried.
        tries: u32,
    },
    /// The store gave no clear answer in time: the write may be there, or may still land.
    #[error(
        "{path}: no clear answer after {tries} tries ({reason}); the write may have been kept: read it back before repeating"
    )]
    Unresolved {
        /// The object that was to be written.
        path: String,
        /// Tries made.
        tries: u32,
        /// The last answer.
        reason: String,
    },
    /// What was asked for is not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// A version was deleted; its tombstone says when, by whom and why.
    #[error("{what} was deleted{}", show_entry(.entry))]
    Deleted {
        /// The version.
        what: String,
        /// The number of the log entry that is its tombstone, while the log's state says so.
        entry: Option<u64>,
    },
    /// The tree is being deleted, or was a short while ago.
    #[error(
        "the tree {digest} was condemned by a collection and cannot be registered before {until}; train again, or push a tree that differs"
    )]
    Condemned {
        /// The tree.
        digest: crate::Digest,
        /// Until then.
        until: crate::Timestamp,
    },
    /// A tree that was uploaded to be registered is not there, or not whole.
    #[error("the tree {digest} is not whole ({missing}): upload it again, then register it")]
    NotUploaded {
        /// The tree.
        digest: crate::Digest,
        /// What was looked for and not found.
        missing: String,
    },
    /// An alias may be moved by certain people only.
    #[error(
        "@{alias} is protected: only {actors} may move it, and this is {actor}; change that with `fairway registry alias protect`"
    )]
    Protected {
        /// The alias.
        alias: String,
        /// Who tried.
        actor: String,
        /// Who may.
        actors: String,
    },
    /// A model has as many live versions as a log entry may carry.
    #[error(
        "{model} has {limit} live versions, the most there can be; set a retention (`fairway registry retention`) and collect"
    )]
    Full {
        /// The model.
        model: String,
        /// The bound.
        limit: usize,
    },
    /// A file or folder may not become part of a version.
    #[error("{path}: refused: {reason}")]
    Refused {
        /// The file, relative to the tree.
        path: String,
        /// Why.
        reason: String,
    },
    /// Bytes are not those that the digest promises.
    #[error(
        "{path}: content has sha256 {found}, expected {expected}: do not use it; restore it or register the version again"
    )]
    Tampered {
        /// The object or file.
        path: String,
        /// The promised sha-256, hex.
        expected: String,
        /// The sha-256 found, hex, or what else was found.
        found: String,
    },
    /// An object of the registry cannot be read as what it should be.
    #[error("{path}: damaged: {reason}")]
    Corrupt {
        /// The object.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object was written by a later version of this program.
    #[error("{path}: written in format {found}, this version reads up to {known}; upgrade before using this registry")]
    Newer {
        /// The object.
        path: String,
        /// Its format.
        found: u32,
        /// The newest known format.
        known: u32,
    },
    /// A value could not be written as JSON.
    #[error("{path}: cannot be written as JSON: {source}")]
    Json {
        /// The object that was to be written.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The store failed.
    #[error("{path}: store: {source}")]
    Store {
        /// The object or prefix.
        path: String,
        /// Why.
        source: object_store::Error,
    },
    /// The store gave no answer in time to a call that is harmless to repeat.
    #[error("{path}: the store gave no answer within {seconds} s")]
    Timeout {
        /// The object or prefix.
        path: String,
        /// The bound, in seconds.
        seconds: u64,
    },
    /// A local file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether trying again would end the same way, unless somebody changes something first. What a network, a store, a disk
    /// or another writer has done may be over.
    pub fn is_final(&self) -> bool {
        match self {
            // What is there names this object, and it is gone.
            Error::Store { source, .. } => matches!(source, object_store::Error::NotFound { .. }),
            Error::Access { .. }
            | Error::Conflict { .. }
            | Error::Contended { .. }
            | Error::Unresolved { .. }
            | Error::Timeout { .. }
            | Error::Io { .. } => false,
            Error::Scheme { .. }
            | Error::Url { .. }
            | Error::StoreOption { .. }
            | Error::NoRegistry { .. }
            | Error::Preconditions { .. }
            | Error::Name { .. }
            | Error::Digest(_)
            | Error::Reference(_)
            | Error::Invalid { .. }
            | Error::NotFound(_)
            | Error::Deleted { .. }
            | Error::Condemned { .. }
            | Error::NotUploaded { .. }
            | Error::Protected { .. }
            | Error::Full { .. }
            | Error::Refused { .. }
            | Error::Tampered { .. }
            | Error::Corrupt { .. }
            | Error::Newer { .. }
            | Error::Json { .. } => true,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }

    pub(crate) fn corrupt(path: impl ToString, reason: impl ToString) -> Error {
        Error::Corrupt { path: path.to_string(), reason: reason.to_string() }
    }

    pub(crate) fn refused(path: impl ToString, reason: impl ToString) -> Error {
        Error::Refused { path: path.to_string(), reason: reason.to_string() }
    }
}

fn show_entry(entry: &Option<u64>) -> String {
    entry.map_or_else(String::new, |seq| format!("; entry {seq} of the log says when, by whom and why"))
}

fn show(value: &Option<u64>) -> String {
    value.map_or_else(|| "absent".to_owned(), |v| v.to_string())
}
