//! Brings a tree into the store, under its digest. The manifest is written last, so that a tree
//! without one is unfinished and counts for nothing. It registers no version.
//!
//! A file that is already there under its name is not sent again: the name holds the digest of
//! the whole tree, and only bytes that were hashed on the way are ever written under it.

use crate::manifest::{File, MANIFEST, Manifest, PROVENANCE, SIGNATURE};
use crate::progress::Progress;
use crate::run::under;
use crate::scan::{Check, Scanned, scan};
use crate::store::{Durable, Planted, Store};
use crate::{Digest, Error, Result};
use bytes::{Bytes, BytesMut};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMultipartOptions, PutPayload};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path as FilePath, PathBuf};
use tokio::io::AsyncReadExt;

/// Files up to this size go in one request, larger ones in parts of this size.
const PART_BYTES: usize = 8 << 20;
/// Parts of one file that are on their way at once.
const PARTS_AT_ONCE: usize = 3;
/// Files of several parts that are on their way at once.
const FILES_AT_ONCE: usize = 3;
/// Files of one request that are on their way at once: a disk syncs them together.
const SMALL_AT_ONCE: usize = 8;

/// Where the bytes of a tree come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A local folder.
    Folder(PathBuf),
    /// A tree in a store; the same store copies it by itself.
    Tree(Store, Path),
    /// Nowhere: they were sent before, and what is missing cannot be had here.
    SentBefore,
}

/// A tree that is known by its digest, and not yet in the store.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// Its digest.
    pub digest: Digest,
    /// Its files.
    pub manifest: Manifest,
    sealed: Bytes,
    /// Files that are in memory already: what the registry writes itself, and small ones since they were hashed.
    at_hand: BTreeMap<String, Bytes>,
    /// Where the others come from.
    source: Source,
    /// What stands beside it before anybody can see the version.
    signature: Option<Bytes>,
}

impl Prepared {
    /// Hashes a local folder and adds the provenance.
    pub async fn folder(
        root: &FilePath,
        declared: &BTreeSet<String>,
        provenance: &serde_json::Value,
        progress: &Progress,
    ) -> Result<Prepared> {
        let (place, declared, meter) = (root.to_path_buf(), declared.clone(), progress.clone());
        let work = move || scan(&place, &Check::Entering(&declared), &meter);
        let scanned = tokio::task::spawn_blocking(work).await;
        let scanned = scanned.map_err(|e| Error::io(root)(std::io::Error::other(e)))??;
        if scanned.files.is_empty() {
            return Err(Error::refused(root.display(), "has no files"));
        }
        Prepared::with_provenance(scanned, Source::Folder(root.to_path_buf()), provenance)
    }

    /// A tree in memory.
    #[cfg(test)]
    pub fn memory(kept: BTreeMap<String, Bytes>, provenance: &serde_json::Value) -> Result<Prepared> {
        let files = kept.iter().map(|(path, bytes)| described(path, bytes)).collect();
        Prepared::with_provenance(Scanned { files, kept }, Source::Folder(PathBuf::new()), provenance)
    }

    fn with_provenance(scanned: Scanned, source: Source, provenance: &serde_json::Value) -> Result<Prepared> {
        let Scanned { mut files, kept: mut at_hand } = scanned;
        for reserved in [MANIFEST, PROVENANCE, SIGNATURE] {
            if files.iter().any(|file| file.path == reserved) {
                return Err(Error::refused(reserved, "the registry writes this name itself; rename the file"));
            }
        }
        let provenance = crate::commit::json(&Path::from(PROVENANCE), provenance)?;
        files.push(described(PROVENANCE, &provenance));
        at_hand.insert(PROVENANCE.to_owned(), provenance);
        let manifest = Manifest::new(files)?;
        let (sealed, digest) = manifest.seal()?;
        Ok(Prepared { digest, manifest, sealed, at_hand, source, signature: None })
    }

    /// A tree of another model or registry, as it is.
    pub fn copied(manifest: Manifest, sealed: Bytes, digest: Digest, from: Store, folder: Path) -> Prepared {
        let (at_hand, source) = (BTreeMap::new(), Source::Tree(from, folder));
        Prepared { digest, manifest, sealed, at_hand, source, signature: None }
    }

    /// A tree that was sent before, to this very place.
    pub fn sent_before(manifest: Manifest, sealed: Bytes, digest: Digest) -> Prepared {
        Prepared { digest, manifest, sealed, at_hand: BTreeMap::new(), source: Source::SentBefore, signature: None }
    }

    /// The same with a signature, which the caller knows to be of this tree.
    pub fn signed(self, signature: Option<Bytes>) -> Prepared {
        Prepared { signature, ..self }
    }

    /// What is there of it already: sizes by path. Nothing, unless a tree of this digest was begun or finished before.
    pub async fn there(&self, store: &Store, versions: &Path) -> Result<BTreeMap<String, u64>> {
        sizes(store, &versions.clone().join(self.digest.directory())).await
    }

    /// Whether sending it takes a while.
    pub fn is_large(&self) -> bool {
        self.manifest.bytes() >= PART_BYTES as u64
    }

    /// Sends what is not there yet, and looks that everything arrived. Repeating it is harmless.
    pub async fn send(
        &self,
        store: &Store,
        versions: &Path,
        there: &BTreeMap<String, u64>,
        progress: &Progress,
    ) -> Result<()> {
        let folder = versions.clone().join(self.digest.directory());
        let missing: Vec<&File> =
            self.manifest.files.iter().filter(|file| there.get(&file.path) != Some(&file.bytes)).collect();
        progress.stage("upload", self.manifest.bytes());
        if store.planted(Planted::ManifestFirst) {
            store.overwrite(&folder.clone().join(MANIFEST), self.sealed.clone()).await?;
        }
        progress.bytes(self.manifest.bytes() - missing.iter().map(|file| file.bytes).sum::<u64>());
        let (small, large): (Vec<&File>, Vec<&File>) = missing.iter().partition(|file| file.bytes < PART_BYTES as u64);
        for (files, at_once) in [(small, SMALL_AT_ONCE), (large, FILES_AT_ONCE)] {
            let mut sends = Vec::new();
            for file in files {
                let path = under(&folder, &file.path);
                sends.push(async move { self.send_file(store, &path, file, progress).await }.boxed());
            }
            futures::stream::iter(sends).buffer_unordered(at_once).try_collect::<()>().await?;
        }
        if !missing.is_empty() {
            self.complete(store, versions).await?;
        }
        // Written again though it may be there: a manifest says that somebody saw the tree whole.
        store.put(&folder.clone().join(MANIFEST), self.sealed.clone(), Durable::Tree).await?;
        match &self.signature {
            Some(signature) => store.overwrite(&folder.join(SIGNATURE), signature.clone()).await,
            None => Ok(()),
        }
    }

    /// Whether every file is there with the right size.
    pub async fn complete(&self, store: &Store, versions: &Path) -> Result<()> {
        let folder = versions.clone().join(self.digest.directory());
        let there = sizes(store, &folder).await?;
        for file in &self.manifest.files {
            let found = there.get(&file.path);
            if found != Some(&file.bytes) {
                let found = found.map_or_else(|| "nothing".to_owned(), |bytes| format!("{bytes} bytes"));
                let path = format!("{folder}/{}", file.path);
                return Err(Error::corrupt(path, format!("{found} after the upload of {} bytes", file.bytes)));
            }
        }
        Ok(())
    }

    async fn send_file(&self, store: &Store, path: &Path, file: &File, progress: &Progress) -> Result<()> {
        if let Some(bytes) = self.at_hand.get(&file.path) {
            store.put(path, bytes.clone(), Durable::Bytes).await?;
            progress.bytes(file.bytes);
            return Ok(());
        }
        match &self.source {
            Source::SentBefore => Err(Error::NotUploaded { digest: self.digest.clone(), missing: file.path.clone() }),
            Source::Folder(root) => {
                let place = root.join(&file.path);
                if file.bytes < PART_BYTES as u64 {
                    let bytes = whole(place, file.clone()).await?;
                    store.put(path, bytes, Durable::Bytes).await?;
                    progress.bytes(file.bytes);
                    return Ok(());
                }
                let source = tokio::fs::File::open(&place).await.map_err(Error::io(&place))?;
                stream(store, path, Reader::File(source, place), file, progress).await
            }
            Source::Tree(from, folder) => {
                let origin = under(folder, &file.path);
                // One that cannot copy, or will not onto what is there, is sent the bytes.
                if from.same(store) && store.bounded(path, store.objects.copy(&origin, path)).await.is_ok() {
                    progress.bytes(file.bytes);
                    return Ok(());
                }
                let got = from.bounded(&origin, from.objects.get(&origin)).await?;
                let parts = got.into_stream();
                stream(store, path, Reader::Store(from.clone(), origin, parts, Bytes::new()), file, progress).await
            }
        }
    }
}

/// The manifest's line for bytes at hand.
fn described(path: &str, bytes: &Bytes) -> File {
    File { path: path.to_owned(), bytes: bytes.len() as u64, sha256: crate::digest::sha256(bytes) }
}

/// The sizes of the files below a folder, by their paths in it.
async fn sizes(store: &Store, folder: &Path) -> Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    let see = |object: object_store::ObjectMeta| {
        if let Some(parts) = object.location.prefix_match(folder) {
            let path: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            sizes.insert(path.join("/"), object.size);
        }
    };
    store.each(folder, see).await?;
    Ok(sizes)
}

/// What a file is read from, a part at a time.
enum Reader {
    File(tokio::fs::File, PathBuf),
    Store(Store, Path, futures::stream::BoxStream<'static, object_store::Result<Bytes>>, Bytes),
}

impl Reader {
    fn name(&self) -> String {
        match self {
            Reader::File(_, place) => place.display().to_string(),
            Reader::Store(_, path, ..) => path.to_string(),
        }
    }

    /// The next part: full, but for the last one.
    async fn part(&mut self) -> Result<Bytes> {
        let mut part = BytesMut::with_capacity(PART_BYTES);
        while part.len() < PART_BYTES {
            let room = PART_BYTES - part.len();
            match self {
                Reader::File(source, place) => {
                    let read = source.take(room as u64).read_buf(&mut part).await;
                    if read.map_err(Error::io(&*place))? == 0 {
                        break;
                    }
                }
                Reader::Store(store, path, parts, rest) => {
                    if rest.is_empty() {
                        match store.bounded(path, parts.try_next()).await? {
                            Some(next) => *rest = next,
                            None => break,
                        }
                    }
                    part.extend_from_slice(&rest.split_to(room.min(rest.len())));
                }
            }
        }
        Ok(part.freeze())
    }
}

/// Sends one file, and checks on the way that it still is what was hashed.
async fn stream(store: &Store, path: &Path, mut source: Reader, file: &File, progress: &Progress) -> Result<()> {
    let mut hasher = Sha256::new();
    let first = source.part().await?;
    if first.len() < PART_BYTES {
        let (hasher, first) = hashed(hasher, first).await?;
        unchanged(file, hasher, &source)?;
        progress.bytes(first.len() as u64);
        return store.put(path, first, Durable::Bytes).await;
    }
    let mut options = PutMultipartOptions::default();
    options.extensions.insert(Durable::Bytes);
    let mut upload = store.bounded(path, store.objects.put_multipart_opts(path, options)).await?;
    let sent = async {
        let mut next = first;
        let mut under_way = FuturesUnordered::new();
        while !next.is_empty() {
            let size = next.len() as u64;
            let part = upload.put_part(PutPayload::from(next.clone()));
            under_way.push(async move { store.bounded(path, part).await.map(|()| size) });
            // The part is sent while it is hashed and the next one is read.
            let hashing = async {
                let (hasher, _) = hashed(hasher, next).await?;
                Ok((hasher, source.part().await?))
            };
            let full = under_way.len() >= PARTS_AT_ONCE;
            let arriving = async { if full { under_way.try_next().await } else { Ok(None) } };
            let ((hashed, part), arrived) = futures::future::try_join(hashing, arriving).await?;
            (hasher, next) = (hashed, part);
            progress.bytes(arrived.unwrap_or(0));
        }
        while let Some(arrived) = under_way.try_next().await? {
            progress.bytes(arrived);
        }
        unchanged(file, hasher, &source)
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

/// The bytes of a small local file, which still must be what was hashed.
async fn whole(place: PathBuf, file: File) -> Result<Bytes> {
    let read = move || {
        let mut bytes = Vec::with_capacity(file.bytes as usize + 1);
        let opened = std::fs::File::open(&place).map_err(Error::io(&place))?;
        // One byte more tells that it grew.
        opened.take(file.bytes + 1).read_to_end(&mut bytes).map_err(Error::io(&place))?;
        if crate::digest::sha256(&bytes) == file.sha256 {
            Ok(Bytes::from(bytes))
        } else {
            Err(changed(&place.display()))
        }
    };
    tokio::task::spawn_blocking(read).await.map_err(|e| Error::io("reading")(std::io::Error::other(e)))?
}

/// Hashes a part where it does not hold up other work.
async fn hashed(mut hasher: Sha256, part: Bytes) -> Result<(Sha256, Bytes)> {
    let work = move || {
        hasher.update(&part);
        (hasher, part)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::io("hashing")(std::io::Error::other(e)))
}

fn unchanged(file: &File, hasher: Sha256, source: &Reader) -> Result<()> {
    if hex::encode(hasher.finalize()) == file.sha256 {
        return Ok(());
    }
    Err(changed(&source.name()))
}

fn changed(name: &dyn std::fmt::Display) -> Error {
    Error::refused(name, "changed while it was uploaded; register a tree that nobody writes to")
}
