//! Brings a tree from the store to a local folder, and checks every byte against the digest.
//! A folder under its final name is whole: it is built aside and renamed. It evicts nothing.

use crate::commit::transaction;
use crate::manifest::{File, MANIFEST, Manifest};
use crate::run::below;
use crate::scan::scan;
use crate::store::{JSON_BYTES_MAX, Store};
use crate::{Digest, Error, Result};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use sha2::{Digest as _, Sha256};
use std::path::{Path as FilePath, PathBuf};
use tokio::fs;
use tokio::io::AsyncWriteExt;

/// Reads and checks the manifest of a tree; also its bytes.
pub(crate) async fn manifest(store: &Store, versions: &Path, digest: &Digest) -> Result<(Manifest, bytes::Bytes)> {
    let path = below(versions, &digest.directory(), MANIFEST);
    let found = store.read(&path, JSON_BYTES_MAX).await?;
    let bytes = found.ok_or_else(|| Error::NotFound(format!("a finished tree of {digest} ({path})")))?;
    Ok((Manifest::open(&bytes, digest, path.as_ref())?, bytes))
}

/// Reads a small file of a tree and checks it.
pub(crate) async fn file(store: &Store, versions: &Path, digest: &Digest, name: &str) -> Result<bytes::Bytes> {
    let (manifest, _) = manifest(store, versions, digest).await?;
    let path = below(versions, &digest.directory(), name);
    let missing = || Error::NotFound(path.to_string());
    let expected = manifest.files.iter().find(|file| file.path == name).ok_or_else(missing)?;
    let bytes = store.read(&path, JSON_BYTES_MAX).await?.ok_or_else(missing)?;
    same(path.as_ref(), expected, bytes.len() as u64, crate::digest::sha256(&bytes))?;
    Ok(bytes)
}

/// Makes `cache/sha256-<hex>` hold the tree, and returns it.
pub(crate) async fn fetch(store: &Store, versions: &Path, digest: &Digest, cache: &FilePath) -> Result<PathBuf> {
    let target = cache.join(digest.directory());
    if holds(&target, digest).await {
        return Ok(target);
    }
    fs::create_dir_all(cache).await.map_err(Error::io(cache))?;
    let aside = Aside(cache.join(format!(".fetch-{}-{}", digest.short(), transaction())));
    let (manifest, sealed) = manifest(store, versions, digest).await?;
    let place = aside.0.join("tree");
    fs::create_dir_all(&place).await.map_err(Error::io(&place))?;
    for file in &manifest.files {
        let path = below(versions, &digest.directory(), &file.path);
        download(store, &path, &place.join(&file.path), file).await?;
    }
    let name = place.join(MANIFEST);
    fs::write(&name, &sealed).await.map_err(Error::io(&name))?;
    // A damaged copy makes room; another process may have put a good one there meanwhile.
    if fs::symlink_metadata(&target).await.is_ok() && !holds(&target, digest).await {
        tracing::warn!(path = %target.display(), "cached copy is damaged, replaced");
        let _ = fs::rename(&target, aside.0.join("damaged")).await;
    }
    match fs::rename(&place, &target).await {
        Ok(()) => Ok(target),
        Err(_) if holds(&target, digest).await => Ok(target),
        Err(error) => Err(Error::io(&target)(error)),
    }
}

/// A folder that goes when it is no longer needed, whatever happened.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        // A leftover has a name of its own and disturbs nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn download(store: &Store, path: &Path, place: &FilePath, file: &File) -> Result<()> {
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).await.map_err(Error::io(folder))?;
    }
    let mut parts = store.bounded(path, store.objects.get(path)).await?.into_stream();
    let mut target = fs::File::create_new(place).await.map_err(Error::io(place))?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    while let Some(part) = store.bounded(path, parts.try_next()).await? {
        size += part.len() as u64;
        if size > file.bytes {
            break;
        }
        hasher.update(&part);
        target.write_all(&part).await.map_err(Error::io(place))?;
    }
    target.flush().await.map_err(Error::io(place))?;
    same(path.as_ref(), file, size, hex::encode(hasher.finalize()))
}

fn same(path: &str, expected: &File, bytes: u64, sha256: String) -> Result<()> {
    if bytes == expected.bytes && sha256 == expected.sha256 {
        return Ok(());
    }
    let found = if bytes == expected.bytes { sha256 } else { format!("of another size ({bytes} bytes or more)") };
    Err(Error::Tampered { path: path.to_owned(), expected: expected.sha256.clone(), found })
}

/// Whether a local folder holds exactly this tree.
async fn holds(folder: &FilePath, digest: &Digest) -> bool {
    let (folder, digest) = (folder.to_path_buf(), digest.clone());
    let check = move || {
        let bytes = std::fs::read(folder.join(MANIFEST)).ok()?;
        let manifest = Manifest::open(&bytes, &digest, MANIFEST).ok()?;
        let mut found = scan(&folder).ok()?;
        found.retain(|file| file.path != MANIFEST);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Some(found == manifest.files)
    };
    tokio::task::spawn_blocking(check).await.ok().flatten().unwrap_or(false)
}
