//! Brings a tree from the store to a local folder, and checks every byte against the digest.
//! A folder under its final name is whole: it is built aside and renamed. It evicts nothing.

use crate::manifest::{File, MANIFEST, Manifest, SIGNATURE};
use crate::progress::Progress;
use crate::run::under;
use crate::scan::{Check, scan};
use crate::store::{JSON_BYTES_MAX, Store};
use crate::{Digest, Error, Result};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStoreExt};
use sha2::{Digest as _, Sha256};
use std::io::{Read, Write};
use std::path::{Path as FilePath, PathBuf};
use tokio::fs;

/// Files that are on their way at once.
const FILES_AT_ONCE: usize = 4;
/// Bytes that are read, hashed and written together.
const CHUNK_BYTES: usize = 1 << 20;
/// The most a signature may have.
pub(crate) const SIGNATURE_BYTES_MAX: u64 = 4 << 20;

/// Reads and checks the manifest of a tree; also its bytes.
pub(crate) async fn manifest(store: &Store, versions: &Path, digest: &Digest) -> Result<(Manifest, bytes::Bytes)> {
    let path = versions.clone().join(digest.directory()).join(MANIFEST);
    let found = store.read(&path, JSON_BYTES_MAX).await?;
    let bytes = found.ok_or_else(|| Error::NotFound(format!("a finished tree of {digest} ({path})")))?;
    Ok((Manifest::open(&bytes, digest, path.as_ref())?, bytes))
}

/// Reads a small file of a tree and checks it.
pub(crate) async fn file(store: &Store, versions: &Path, digest: &Digest, name: &str) -> Result<bytes::Bytes> {
    let (manifest, _) = manifest(store, versions, digest).await?;
    let path = under(&versions.clone().join(digest.directory()), name);
    let missing = || Error::NotFound(path.to_string());
    let expected = manifest.files.iter().find(|file| file.path == name).ok_or_else(missing)?;
    let bytes = store.read(&path, JSON_BYTES_MAX).await?.ok_or_else(missing)?;
    same(path.as_ref(), expected, bytes.len() as u64, crate::digest::sha256(&bytes))?;
    Ok(bytes)
}

/// The signature beside a tree, unverified, if there is one.
pub(crate) async fn signature(store: &Store, versions: &Path, digest: &Digest) -> Result<Option<bytes::Bytes>> {
    store.read(&versions.clone().join(digest.directory()).join(SIGNATURE), SIGNATURE_BYTES_MAX).await
}

/// Makes `cache/sha256-<hex>` hold the tree, and returns it.
pub(crate) async fn fetch(
    store: &Store,
    versions: &Path,
    digest: &Digest,
    cache: &FilePath,
    progress: &Progress,
) -> Result<PathBuf> {
    let target = cache.join(digest.directory());
    if holds(&target, digest).await {
        return Ok(target);
    }
    fs::create_dir_all(cache).await.map_err(Error::io(cache))?;
    let aside = Aside(cache.join(format!(".fetch-{}-{}", digest.short(), store.chance.transaction())));
    let (manifest, sealed) = manifest(store, versions, digest).await?;
    let place = aside.0.join("tree");
    fs::create_dir_all(&place).await.map_err(Error::io(&place))?;
    progress.stage("download", manifest.bytes());
    let folder = versions.clone().join(digest.directory());
    let mut downloads = Vec::new();
    for file in &manifest.files {
        let (path, place) = (under(&folder, &file.path), place.join(&file.path));
        // Before the first download: one that is given up because another has failed must not make folders afterwards.
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).await.map_err(Error::io(folder))?;
        }
        downloads.push(async move { download(store, &path, &place, file, progress).await }.boxed());
    }
    futures::stream::iter(downloads).buffer_unordered(FILES_AT_ONCE).try_collect::<()>().await?;
    let name = place.join(MANIFEST);
    fs::write(&name, &sealed).await.map_err(Error::io(&name))?;
    if let Some(signature) = signature(store, versions, digest).await? {
        let name = place.join(SIGNATURE);
        fs::write(&name, &signature).await.map_err(Error::io(&name))?;
    }
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

async fn download(store: &Store, path: &Path, place: &FilePath, file: &File, progress: &Progress) -> Result<()> {
    let got = store.bounded(path, store.objects.get(path)).await?;
    let target = std::fs::File::create_new(place).map_err(Error::io(place))?;
    let mut sink = Sink { target, hasher: Sha256::new(), bytes: 0, most: file.bytes, progress: progress.clone() };
    let place = place.to_path_buf();
    let sink = match got.payload {
        // A local file is read in large pieces; as a stream it would come in thousands of small ones.
        GetResultPayload::File(mut source, _) => {
            let work = move || {
                let mut chunk = vec![0; CHUNK_BYTES];
                loop {
                    match source.read(&mut chunk)? {
                        0 => return Ok(sink),
                        count => sink.take(&chunk[..count])?,
                    }
                }
            };
            blocking(&place, work).await?
        }
        GetResultPayload::Stream(mut parts) => {
            while let Some(part) = store.bounded(path, parts.try_next()).await? {
                let work = move || sink.take(&part).map(|()| sink);
                sink = blocking(&place, work).await?;
            }
            sink
        }
    };
    same(path.as_ref(), file, sink.bytes, hex::encode(sink.hasher.finalize()))
}

/// Where the bytes of a download go: to the disk and into the hash.
struct Sink {
    target: std::fs::File,
    hasher: Sha256,
    bytes: u64,
    most: u64,
    progress: Progress,
}

impl Sink {
    fn take(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.most {
            // Too long already: it is refused for its size, and need not fill the disk.
            return Ok(());
        }
        self.hasher.update(chunk);
        self.progress.bytes(chunk.len() as u64);
        self.target.write_all(chunk)
    }
}

async fn blocking<T: Send + 'static>(
    place: &FilePath,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped))).map_err(Error::io(place))
}

fn same(path: &str, expected: &File, bytes: u64, sha256: String) -> Result<()> {
    if bytes == expected.bytes && sha256 == expected.sha256 {
        return Ok(());
    }
    let found = if bytes == expected.bytes { sha256 } else { format!("of another size ({bytes} bytes or more)") };
    Err(Error::Tampered { path: path.to_owned(), expected: expected.sha256.clone(), found })
}

/// Whether a local folder holds exactly this tree, every byte of it, but for a signature beside it.
pub async fn holds(folder: &FilePath, digest: &Digest) -> bool {
    let (folder, digest) = (folder.to_path_buf(), digest.clone());
    let check = move || {
        let bytes = std::fs::read(folder.join(MANIFEST)).ok()?;
        let manifest = Manifest::open(&bytes, &digest, MANIFEST).ok()?;
        let mut found = scan(&folder, &Check::Compared, &Progress::default()).ok()?.files;
        found.retain(|file| file.path != MANIFEST && file.path != SIGNATURE);
        Some(found == manifest.files)
    };
    tokio::task::spawn_blocking(check).await.ok().flatten().unwrap_or(false)
}
