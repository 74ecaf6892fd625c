//! The manifest: every file of a tree with its size and sha-256. Its own sha-256 names the tree.
//! It reads no files; `scan.rs` does.

use crate::digest::is_sha256;
use crate::{Digest, Error, Result, names};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The name of the manifest in a tree.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The name of the provenance in a tree.
pub(crate) const PROVENANCE: &str = "provenance.json";
/// The name of a signature beside a tree, which no tree may bring itself.
pub(crate) const SIGNATURE: &str = "model.sig";
/// The most files of a tree.
pub(crate) const FILES_MAX: usize = 1_000;
/// The most bytes of a tree.
pub(crate) const TREE_BYTES_MAX: u64 = 64 << 30;
const FORMAT: u32 = 1;

/// The files of a tree, sorted by path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of this manifest.
    pub format: u32,
    /// The files.
    pub files: Vec<File>,
}

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path in the tree, parts joined by `/`.
    pub path: String,
    /// Its size, in bytes.
    pub bytes: u64,
    /// Its sha-256, in hex.
    pub sha256: String,
}

impl Manifest {
    /// The manifest of these files.
    pub(crate) fn new(mut files: Vec<File>) -> Result<Manifest> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = Manifest { format: FORMAT, files };
        manifest.check(MANIFEST)?;
        Ok(manifest)
    }

    /// The bytes that are kept, and the digest that they have. Fields and files have a fixed
    /// order, so that the same files always have the same digest.
    pub(crate) fn seal(&self) -> Result<(Bytes, Digest)> {
        let bytes = serde_json::to_vec(self).map_err(|source| Error::Json { path: MANIFEST.to_owned(), source })?;
        let digest = Digest::of(&bytes);
        Ok((bytes.into(), digest))
    }

    /// Reads the manifest that a digest promises; `path` is for messages.
    pub(crate) fn open(bytes: &[u8], digest: &Digest, path: &str) -> Result<Manifest> {
        let found = Digest::of(bytes);
        if found != *digest {
            return Err(Error::Tampered {
                path: path.to_owned(),
                expected: digest.hex().to_owned(),
                found: found.hex().to_owned(),
            });
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|e| Error::corrupt(path, e))?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// The bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// A digest only says that nothing changed since; whoever wrote the tree may mean harm.
    fn check(&self, path: &str) -> Result<()> {
        let wrong = |reason: &str| Err(Error::refused(path, reason));
        if self.format > FORMAT {
            return Err(Error::Newer { path: path.to_owned(), found: self.format, known: FORMAT });
        }
        if self.files.is_empty() || self.files.len() > FILES_MAX {
            return wrong(&format!("{} files, must be 1 to {FILES_MAX}", self.files.len()));
        }
        let total = self.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.bytes));
        if total.is_none_or(|total| total > TREE_BYTES_MAX) {
            return wrong(&format!("more than {TREE_BYTES_MAX} bytes"));
        }
        for file in &self.files {
            names::key("file", &file.path)?;
            if file.path == MANIFEST || file.path == SIGNATURE || !is_sha256(&file.sha256) {
                return wrong("names a reserved file or holds what is no sha-256");
            }
        }
        if !self.files.is_sorted_by(|a, b| a.path < b.path) {
            return wrong("its files are not sorted or not unique");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> File {
        File { path: path.to_owned(), bytes: 1, sha256: "0".repeat(64) }
    }

    #[test]
    fn order_does_not_change_the_digest() {
        let one = Manifest::new(vec![file("b"), file("a/x")]).unwrap().seal().unwrap();
        let two = Manifest::new(vec![file("a/x"), file("b")]).unwrap().seal().unwrap();
        assert_eq!(one, two);
        let json = format!(
            r#"{{"format":1,"files":[{{"path":"a/x","bytes":1,"sha256":"{0}"}},{{"path":"b","bytes":1,"sha256":"{0}"}}]}}"#,
            "0".repeat(64)
        );
        assert_eq!(one.0, json.as_bytes(), "the kept form is part of the format");
    }

    #[test]
    fn a_well_hashed_manifest_may_still_be_refused() {
        for paths in [vec!["../x"], vec!["/x"], vec!["b", "a"], vec!["a", "a"], vec!["manifest.json"], vec![]] {
            let files = paths.iter().map(|path| file(path)).collect();
            let (bytes, digest) = Manifest { format: 1, files }.seal().unwrap();
            assert!(Manifest::open(&bytes, &digest, "m").is_err(), "{paths:?}");
        }
    }
}
