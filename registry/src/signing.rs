//! Signatures of registered versions: what is signed is every file of the tree and its manifest.
//! The format is in `sign/`; whether an unsigned version may be served is the caller's policy.

use crate::manifest::{MANIFEST, SIGNATURE};
use crate::model::Author;
use crate::progress::Progress;
use crate::scan::{Check, scan};
use crate::sign::{self, PrivateKey, PublicKey, Resource, Verified};
use crate::{Digest, Entry, Error, Manifest, ModelLog, Reference, Result};
use std::path::Path;

/// What a signature of a tree covers.
fn resources(manifest: &Manifest, digest: &Digest) -> Vec<Resource> {
    let files = manifest.files.iter().map(|file| (file.path.clone(), file.sha256.clone()));
    let own = std::iter::once((MANIFEST.to_owned(), digest.hex().to_owned()));
    files.chain(own).map(|(name, sha256)| Resource { name, sha256 }).collect()
}

impl ModelLog {
    /// Signs a version and puts the signature beside its tree, in place of an older one.
    pub async fn sign(&self, number: u64, key: &PrivateKey, author: Author<'_>) -> Result<Entry> {
        let version = self.resolve(&Reference::number(number)).await?;
        let manifest = self.manifest(&version.digest).await?;
        let resources = resources(&manifest, &version.digest);
        let bundle = sign::sign(self.name(), &resources, key)?;
        sign::verify(&bundle, &resources, std::slice::from_ref(key.public()))?;
        self.put_signature(number, &key.public().hint(), bundle, author).await
    }

    /// Verifies the signature beside a tree against its manifest. The bytes of the files are checked
    /// against the same manifest when they are fetched. [`Error::NotFound`]: it has none.
    pub async fn verify(&self, digest: &Digest, trusted: &[PublicKey]) -> Result<Verified> {
        let manifest = self.manifest(digest).await?;
        let missing = || Error::NotFound(format!("a signature of {digest}"));
        let bundle = self.signature(digest).await?.ok_or_else(missing)?;
        sign::verify(&bundle, &resources(&manifest, digest), trusted)
    }
}

/// Verifies a local folder against a signature: every file in it, and nothing besides. It blocks.
pub fn verify_folder(folder: &Path, signature: &Path, trusted: &[PublicKey]) -> Result<Verified> {
    let bundle = std::fs::read(signature).map_err(Error::io(signature))?;
    let own = signature.strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or(SIGNATURE);
    let files = scan(folder, &Check::Compared, &Progress::default())?.files;
    let files = files.into_iter().filter(|file| file.path != own);
    let resources: Vec<Resource> = files.map(|file| Resource { name: file.path, sha256: file.sha256 }).collect();
    sign::verify(&bundle, &resources, trusted)
}
