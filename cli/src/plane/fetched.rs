//! A version's files from the registry: signed where that is asked for, and every byte checked against the digest.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fairway_registry::sign::PublicKey;
use fairway_registry::{Digest, Error, ModelLog};

use crate::exit::Invalid;

/// The folder of the version's files. `unsigned` is what is said where none of the keys has signed it.
///
/// # Errors
/// It is not signed as asked, not there, or not what its digest says.
pub async fn fetched(
    log: &ModelLog,
    digest: &Digest,
    cache: &Path,
    signers: &[PublicKey],
    unsigned: &'static str,
) -> Result<PathBuf> {
    signed(log, digest, signers, unsigned).await?;
    Ok(log.fetch(digest, cache).await?)
}

/// Whether one of the keys has signed the version, where there are any.
///
/// # Errors
/// None has.
pub(super) async fn signed(
    log: &ModelLog,
    digest: &Digest,
    signers: &[PublicKey],
    unsigned: &'static str,
) -> Result<()> {
    if signers.is_empty() {
        return Ok(());
    }
    match log.verify(digest, signers).await {
        // Another try finds the same: whoever signs it asks for one.
        Err(Error::NotFound(_)) => Err(Invalid(format!("{unsigned}: it has no signature at all")).into()),
        verified => verified.map(drop).context(unsigned),
    }
}
