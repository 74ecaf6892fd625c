//! The version beside which a candidate is judged.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use fairway_model::Bundle;
use fairway_registry::{Digest, Error as RegistryError, ModelLog};

use crate::exit::Invalid;

/// Fetches the version of this digest into the cache, and loads it; or says why it never can be had.
///
/// # Errors
/// What may be gone the next time.
pub async fn champion(log: &ModelLog, digest: &str, cache: &Path) -> Result<Result<Arc<Bundle>, String>> {
    let digest: Digest = digest.parse().map_err(|error: RegistryError| Invalid(error.to_string()))?;
    let refused = |why: String| format!("the champion {digest} cannot be had, to be judged beside: {why}");
    let dir = match log.fetch(&digest, cache).await {
        Ok(dir) => dir,
        Err(error) if error.is_final() => return Ok(Err(refused(error.to_string()))),
        Err(error) => return Err(error).context("fetching the champion"),
    };
    let bundle = tokio::task::spawn_blocking(move || Bundle::load(&dir)).await?;
    Ok(bundle.map(Arc::new).map_err(|error| refused(error.to_string())))
}
