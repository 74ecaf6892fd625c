//! Brings a local tree into the store, under its digest. The manifest is written last, so that a
//! tree without one is unfinished and counts for nothing. It registers no version.

use crate::manifest::{File, MANIFEST, Manifest, PROVENANCE, SIGNATURE};
use crate::run::below;
use crate::scan::scan;
use crate::store::Store;
use crate::{Digest, Error, Result};
use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use sha2::{Digest as _, Sha256};
use std::path::Path as FilePath;
use tokio::io::AsyncReadExt;

/// Files up to this size go in one request, larger ones in parts of this size.
const PART_BYTES: usize = 8 << 20;

/// A tree in the store.
pub(crate) struct Uploaded {
    /// Its digest.
    pub digest: Digest,
    /// Its files.
    pub manifest: Manifest,
}

/// Uploads the files below `root` and the provenance into `versions`. Repeating it is harmless:
/// the same name always gets the same bytes.
pub(crate) async fn upload(
    store: &Store,
    versions: &Path,
    root: &FilePath,
    provenance: &serde_json::Value,
) -> Result<Uploaded> {
    let place = root.to_path_buf();
    let scanned = tokio::task::spawn_blocking(move || scan(&place)).await;
    let mut files = scanned.map_err(|e| Error::io(root)(std::io::Error::other(e)))??;
    for reserved in [MANIFEST, PROVENANCE, SIGNATURE] {
        if files.iter().any(|file| file.path == reserved) {
            return Err(Error::refused(reserved, "the registry writes this name itself; rename the file"));
        }
    }
    if files.is_empty() {
        return Err(Error::refused(root.display(), "has no files"));
    }
    let local = files.clone();
    let provenance = crate::commit::json(&Path::from(PROVENANCE), provenance)?;
    files.push(File {
        path: PROVENANCE.to_owned(),
        bytes: provenance.len() as u64,
        sha256: crate::digest::sha256(&provenance),
    });
    let manifest = Manifest::new(files)?;
    let (sealed, digest) = manifest.seal()?;
    let folder = digest.directory();
    for file in &local {
        send(store, &below(versions, &folder, &file.path), &root.join(&file.path), file).await?;
    }
    store.overwrite(&below(versions, &folder, PROVENANCE), provenance).await?;
    for file in &manifest.files {
        let path = below(versions, &folder, &file.path);
        let size = store.bounded(&path, store.objects.head(&path)).await?.size;
        if size != file.bytes {
            return Err(Error::corrupt(path, format!("{size} bytes after the upload of {}", file.bytes)));
        }
    }
    store.overwrite(&below(versions, &folder, MANIFEST), sealed).await?;
    Ok(Uploaded { digest, manifest })
}

/// Sends one file, and checks that it still is what was hashed.
async fn send(store: &Store, path: &Path, place: &FilePath, file: &File) -> Result<()> {
    let mut source = tokio::fs::File::open(place).await.map_err(Error::io(place))?;
    let mut hasher = Sha256::new();
    let first = part(&mut source, place).await?;
    hasher.update(&first);
    if first.len() < PART_BYTES {
        unchanged(file, hasher, place)?;
        return store.overwrite(path, first).await;
    }
    let mut upload = store.bounded(path, store.objects.put_multipart(path)).await?;
    let sent = async {
        let mut next = first;
        while !next.is_empty() {
            store.bounded(path, upload.put_part(PutPayload::from(next))).await?;
            next = part(&mut source, place).await?;
            hasher.update(&next);
        }
        unchanged(file, hasher, place)
    };
    match sent.await {
        Ok(()) => store.bounded(path, upload.complete()).await.map(drop),
        Err(error) => {
            if let Err(left) = store.bounded(path, upload.abort()).await {
                tracing::debug!(%path, error = %left, "parts of a failed upload are left");
            }
            Err(error)
        }
    }
}

async fn part(source: &mut tokio::fs::File, place: &FilePath) -> Result<Bytes> {
    let mut part = BytesMut::with_capacity(PART_BYTES);
    while part.len() < PART_BYTES {
        let room = (PART_BYTES - part.len()) as u64;
        if source.take(room).read_buf(&mut part).await.map_err(Error::io(place))? == 0 {
            break;
        }
    }
    Ok(part.freeze())
}

fn unchanged(file: &File, hasher: Sha256, place: &FilePath) -> Result<()> {
    if hex::encode(hasher.finalize()) == file.sha256 {
        return Ok(());
    }
    Err(Error::refused(place.display(), "changed while it was uploaded; register a tree that nobody writes to"))
}
