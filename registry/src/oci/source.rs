//! The local tree that is exported: which files go into the image. A file is checked while it is
//! copied, not before.

use super::writer::Blob;
use super::{About, CHUNK_BYTES, JSON_BYTES_MAX};
use crate::digest::sha256;
use crate::manifest::{MANIFEST, SIGNATURE};
use crate::{Error, File, Manifest, Result};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A tree, and the files of it that an image holds.
pub(super) struct Source {
    root: PathBuf,
    /// The files of the manifest, the manifest itself and the signature, sorted by path.
    pub files: Vec<File>,
}

impl Source {
    /// The manifest must be the one of the digest, and one that may be used.
    pub fn open(root: &Path, manifest: &Manifest, about: &About) -> Result<Source> {
        let (sealed, _) = manifest.seal()?;
        let mut files = Manifest::open(&sealed, &about.digest, MANIFEST)?.files;
        let sha256 = about.digest.hex().to_owned();
        files.push(File { path: MANIFEST.to_owned(), bytes: sealed.len() as u64, sha256 });
        files.extend(signature(root)?);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Source { root: root.to_owned(), files })
    }

    /// Copies a file into a blob and refuses it if it has changed.
    pub fn copy(&self, file: &File, blob: &mut Blob, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let place = self.root.join(&file.path);
        let mut from = plain_file(&place, &file.path)?;
        let mut hasher = Sha256::new();
        let mut bytes = 0;
        let mut chunk = vec![0; CHUNK_BYTES];
        while bytes <= file.bytes {
            let count = from.read(&mut chunk).map_err(Error::io(&place))?;
            if count == 0 {
                break;
            }
            hasher.update(&chunk[..count]);
            blob.write(&chunk[..count])?;
            bytes += count as u64;
            progress(count as u64);
        }
        let found = hex::encode(hasher.finalize());
        if bytes == file.bytes && found == file.sha256 {
            return Ok(());
        }
        let found = if bytes == file.bytes { found } else { format!("of another size ({bytes} bytes or more)") };
        Err(Error::Tampered { path: place.display().to_string(), expected: file.sha256.clone(), found })
    }
}

fn signature(root: &Path) -> Result<Option<File>> {
    let place = root.join(SIGNATURE);
    match fs::symlink_metadata(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(place)(error)),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let from = plain_file(&place, SIGNATURE)?;
    from.take(JSON_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Error::io(&place))?;
    if bytes.len() as u64 > JSON_BYTES_MAX {
        return Err(Error::refused(place.display(), format!("larger than {JSON_BYTES_MAX} bytes")));
    }
    Ok(Some(File { path: SIGNATURE.to_owned(), bytes: bytes.len() as u64, sha256: sha256(&bytes) }))
}

/// Opens a file. A link is not followed: it could lead anywhere on this machine.
fn plain_file(place: &Path, path: &str) -> Result<fs::File> {
    if !fs::symlink_metadata(place).map_err(Error::io(place))?.is_file() {
        return Err(Error::refused(path, "is a link or a special file, not a plain one"));
    }
    fs::File::open(place).map_err(Error::io(place))
}
