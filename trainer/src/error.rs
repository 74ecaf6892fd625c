//! Why a run failed. What is wrong with the data is [`crate::DataError`].
//!
//! What it does not do: a rejected gate and a cancellation are outcomes, not errors.

/// A run that could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The plan names a family that does not exist here.
    #[error("family `{0}` is not built in; use popularity, ease or two-tower, or train in a container")]
    Family(String),
    /// A parameter that the family does not have.
    #[error("parameter `{key}` is not known to {family}; it knows {known}")]
    UnknownParameter {
        /// The name.
        key: String,
        /// The family.
        family: &'static str,
        /// The names that it knows.
        known: String,
    },
    /// A parameter's value that cannot be used.
    #[error("parameter `{key}` is `{value}`; it must be {allowed}")]
    Parameter {
        /// The name.
        key: &'static str,
        /// The value.
        value: String,
        /// What may stand there.
        allowed: String,
    },
    /// Nothing is left to learn from.
    #[error("{what}; {cure}")]
    TooLittle {
        /// What is missing, with its number and the limit.
        what: String,
        /// What to change.
        cure: &'static str,
    },
    /// The catalogue is too large for the family.
    #[error(
        "ease needs {items} x {items} weights, more than the {limit} x {limit} that fit; raise minUsers or use two-tower"
    )]
    CatalogueTooLarge {
        /// Items with enough users.
        items: usize,
        /// The most that are accepted.
        limit: usize,
    },
    /// A number that is not finite, where training went wrong.
    #[error("{what}; {cure}")]
    Diverged {
        /// What happened where.
        what: String,
        /// What to change.
        cure: &'static str,
    },
    /// The work directory cannot be used.
    #[error("{}: {source}; check that it can be written and has space", path.display())]
    Io {
        /// The file or directory.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The model or its bundle was refused.
    #[error(transparent)]
    Model(#[from] fairway_model::Error),
    /// The flag was set. [`crate::train()`] makes an outcome of it.
    #[error("cancelled while {0}")]
    Cancelled(String),
}

impl TrainError {
    /// `Err` when the flag is set.
    pub(crate) fn unless_cancelled(cancel: &crate::CancelFlag, doing: &str) -> Result<(), Self> {
        if cancel.is_cancelled() { Err(Self::Cancelled(doing.to_owned())) } else { Ok(()) }
    }
}
