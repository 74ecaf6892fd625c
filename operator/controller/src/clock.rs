//! The one clock of the operator: the system's. Decisions get its time as an argument.

use jiff::Timestamp;

/// What time it is.
#[allow(clippy::disallowed_methods, reason = "this is the operator's one clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
