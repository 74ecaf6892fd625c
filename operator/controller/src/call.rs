//! Calls to the API server: each has a deadline and says what it was for.

use std::time::Duration;

use anyhow::{Context, Result};
use tracing::Instrument;

/// Longest that one call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Makes one call.
///
/// # Errors
/// The call's own, or that it took too long; with what it was for.
pub(crate) async fn call<T>(what: impl Fn() -> String, call: impl Future<Output = kube::Result<T>>) -> Result<T> {
    let span = tracing::info_span!("call", what = tracing::field::Empty);
    if !span.is_disabled() {
        span.record("what", what());
    }
    match tokio::time::timeout(DEADLINE, call).instrument(span).await {
        Ok(done) => done.with_context(what),
        Err(_) => Err(anyhow::anyhow!("no answer within {} s", DEADLINE.as_secs())).with_context(what),
    }
}

/// Whether somebody else changed the object meanwhile: the next look sees what is there now.
pub(crate) fn is_conflict(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<kube::Error>()).any(|error| has_code(error, 409))
}

/// Whether the answer has this HTTP status.
pub(crate) fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
