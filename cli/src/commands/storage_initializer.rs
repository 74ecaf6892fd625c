//! `fairway storage-initializer`: versions for a model server of KServe's, before it starts.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fairway_registry::sign::PublicKey;
use fairway_registry::{Access, Registry};

use super::registry::find::resolve;
use super::registry::verify::read_keys;
use super::up::Signals;
use crate::args::{StorageInitializer, StorageUri};
use crate::exit::{Code, Invalid};
use crate::plane::{Placed, placed};

const UNSIGNED: &str = "none of the keys of FAIRWAY_SIGNERS or --signer has signed this version: `fairway registry sign` it, or \
                        name another key";
/// What a public key in a text ends with.
const KEY_ENDS: &str = "-----END PUBLIC KEY-----";

/// Fetches, one version after the other.
///
/// # Errors
/// A version that is not there, not signed as asked, or not what its digest says; the server must not start.
pub async fn run(initializer: &StorageInitializer) -> Result<Code> {
    let mut signals = Signals::new()?;
    tokio::select! {
        done = all(initializer) => done.map(|()| Code::Done),
        () = signals.stop() => Ok(Code::Stopped),
    }
}

async fn all(initializer: &StorageInitializer) -> Result<()> {
    let keys = keys(initializer)?;
    let url = initializer.registry.as_deref().filter(|url| !url.is_empty()).ok_or_else(|| {
        Invalid(
            "FAIRWAY_REGISTRY is not set: name the bucket, such as s3://models, in spec.container.env of the \
             ClusterStorageContainer (or with --registry)"
                .to_owned(),
        )
    })?;
    let (pairs, rest) = initializer.pairs.as_chunks::<2>();
    if let Some(uri) = rest.first() {
        bail!(Invalid(format!("{uri}: name a folder after each URI")));
    }
    let wanted = pairs.iter().map(|[uri, dir]| Ok((uri.parse::<StorageUri>().map_err(Invalid)?, Path::new(dir))));
    let wanted = wanted.collect::<Result<Vec<_>>>()?;
    let registry = Registry::open_with(url, &initializer.store.options()?, Access::Read).await?;
    for (uri, dir) in wanted {
        one(&registry, &uri, dir, &keys).await.with_context(|| uri.to_string())?;
    }
    Ok(())
}

async fn one(registry: &Registry, uri: &StorageUri, dir: &Path, keys: &[PublicKey]) -> Result<()> {
    let log = registry.model(&uri.namespace, &uri.model)?;
    let place = || format!("in the registry (`fairway registry list --registry {}` says what it has)", registry.url());
    let version = resolve(&log, &uri.reference).await.with_context(place)?;
    let done = match placed(&log, &version.digest, dir, keys, UNSIGNED).await? {
        Placed::Before => "is there already, and whole:",
        Placed::Now => "was fetched, and every byte checked:",
    };
    eprintln!("{uri} {done} version {}, {}, in {}", version.number, version.digest, dir.display());
    Ok(())
}

/// The keys of which one must have signed.
fn keys(initializer: &StorageInitializer) -> Result<Vec<PublicKey>> {
    let mut keys = read_keys(&initializer.signers)?;
    let text = initializer.signers_text.as_deref().unwrap_or_default();
    for pem in text.split_inclusive(KEY_ENDS).filter(|pem| !pem.trim().is_empty()) {
        keys.push(PublicKey::from_pem(pem.trim()).context("FAIRWAY_SIGNERS")?);
    }
    Ok(keys)
}
