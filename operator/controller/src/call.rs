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

/// What the API server, or an admission webhook, says of an object that it does not take as it is, and will not take later.
pub(crate) fn refusal_of(error: &anyhow::Error) -> Option<String> {
    error.chain().filter_map(|cause| cause.downcast_ref::<kube::Error>()).find_map(|error| match error {
        kube::Error::Api(status) => {
            // A 403 without a webhook speaks of a right, which may be given.
            let refused = match status.code {
                422 => true,
                400 | 403 => status.message.contains("admission webhook"),
                _ => false,
            };
            refused.then(|| status.message.clone())
        }
        _ => None,
    })
}

/// None where the API server says that there is no such object, or no such kind: of the latter without a reason.
pub(crate) fn found<T>(answer: kube::Result<T>) -> kube::Result<Option<T>> {
    match answer {
        Err(error) if has_code(&error, 404) => Ok(None),
        other => other.map(Some),
    }
}

/// Whether the answer has this HTTP status.
pub(crate) fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
