//! Exit codes. Scripts rely on them, so they are documented in `--help` and never change their meaning.

use std::process::ExitCode;

use fairway_core::model::RunEnd;

/// What a command's exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Done; of a run: a version was registered.
    Done = 0,
    /// The command failed.
    Error = 1,
    /// A manifest, an argument or a bundle is invalid; clap uses the same code.
    Invalid = 2,
    /// A gate rejected the candidate.
    Rejected = 3,
    /// The run was suppressed by a guard.
    Suppressed = 4,
    /// The run failed, its data were refused, or it was cancelled.
    Failed = 5,
    /// It took longer than the caller would wait.
    Timeout = 6,
    /// It was asked to stop (SIGTERM) before it had a result, and may be started again; shells give this code to whoever
    /// ends by that signal.
    Stopped = 143,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl Code {
    /// The code of a finished run.
    pub fn of_run(end: &RunEnd) -> Self {
        match end {
            RunEnd::Registered { .. } => Self::Done,
            RunEnd::Rejected { .. } => Self::Rejected,
            RunEnd::DataRefused { .. } | RunEnd::Failed { .. } | RunEnd::Cancelled { .. } => Self::Failed,
        }
    }
}

/// An error that is the user's input, not our failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Whether trying again would end the same way, unless somebody changes something first.
pub fn is_final(error: &anyhow::Error) -> bool {
    let by_registry = error.downcast_ref().is_some_and(fairway_registry::Error::is_final);
    // Bytes that were checked and are refused stay what they are, and so does a bug.
    by_registry || error.is::<Invalid>() || error.is::<fairway_model::Error>() || error.is::<tokio::task::JoinError>()
}

/// The code of an error that ends the process.
pub fn of(error: &anyhow::Error) -> Code {
    use fairway_registry::Error;

    // What a registry says of a name, a URL or a file that it was given is about the user's input too.
    let is_input = matches!(
        error.downcast_ref(),
        Some(
            Error::Scheme { .. }
                | Error::Url { .. }
                | Error::StoreOption { .. }
                | Error::NoRegistry { .. }
                | Error::Name { .. }
                | Error::Digest(_)
                | Error::Reference(_)
                | Error::Invalid { .. }
                | Error::Refused { .. }
        )
    );
    if is_input || error.is::<Invalid>() { Code::Invalid } else { Code::Error }
}
