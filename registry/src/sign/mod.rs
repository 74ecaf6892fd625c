//! Signatures of models: OpenSSF Model Signing v1.0 with a bare ECDSA P-256 key. A bundle made here
//! is accepted by `model_signing verify key` (model-signing 1.1.1), and the other way round.
//!
//! Stricter than the specification where it lets a file go unsigned: nothing may be left out but
//! the signature itself, and a tree may not hold what other verifiers skip (`.git` and the like).
//! Not read: certificates, keyless signatures, shards, other hashes, symbolic links.
//!
//! It opens no files and knows no time: a signature says who vouched for which bytes, not whether
//! they are still wanted.

mod envelope;
mod json;
mod key;
mod statement;

#[cfg(test)]
mod interop;
#[cfg(test)]
mod tests;

pub use key::{PrivateKey, PublicKey};

use crate::manifest::{FILES_MAX, SIGNATURE};
use crate::{Error, Result};
use statement::Statement;

/// The most files that a signature covers: those of a tree, and its manifest.
pub const RESOURCES_MAX: usize = FILES_MAX + 1;

/// A file that a signature covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// Its path in the tree, parts joined by `/`.
    pub name: String,
    /// Its sha-256: 64 lower-case hex digits.
    pub sha256: String,
}

/// What a signature that holds says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What the signer called the model. It is for people only, decides nothing, and is shortened
    /// and escaped so that it can be shown.
    pub name: String,
    /// The [`PublicKey::hint`] of the trusted key that signed.
    pub key_hint: String,
    /// The root digest: the sha-256, in hex, over the digests of all files in the signed order.
    pub root: String,
}

/// Signs a model: the bytes of its `model.sig`, a Sigstore bundle in JSON. The same arguments always
/// give the same bytes, in whatever order the files come.
///
/// `name` is what people call the model, 1 to 253 bytes. `resources` are all files of the tree, the
/// manifest too, without the signature itself; 1 to [`RESOURCES_MAX`].
///
/// # Errors
/// `Refused` names the file that cannot be signed and why; `Invalid` for the name.
pub fn sign(name: &str, resources: &[Resource], key: &PrivateKey) -> Result<Vec<u8>> {
    let files = statement::sorted(resources)?;
    envelope::seal(&Statement::new(name, &files)?.to_bytes()?, key)
}

/// Checks that one of the trusted keys signed exactly these files.
///
/// `bundle` is the content of `model.sig`, at most 4 MiB. `resources` are all files that are really
/// there, the manifest too, without the signature itself. `trusted` are 1 to 64 keys.
///
/// # Errors
/// `Refused` with the path `model.sig` where the bundle does not hold, or with the path of the first
/// file that was added, removed, renamed or changed; `Invalid` for the number of trusted keys.
pub fn verify(bundle: &[u8], resources: &[Resource], trusted: &[PublicKey]) -> Result<Verified> {
    let there = statement::sorted(resources)?;
    // Nothing in the payload is looked at before its signature holds.
    let (payload, key) = envelope::open(bundle, trusted)?;
    let (signed, name, root) = Statement::read(&payload)?.into_parts()?;
    statement::compare(&signed, &there)?;
    Ok(Verified { name, key_hint: key.hint(), root })
}

/// Why a bundle is refused.
fn refused(reason: impl ToString) -> Error {
    Error::refused(SIGNATURE, reason)
}
