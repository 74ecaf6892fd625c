//! A directory as an object store that survives a loss of power: what was answered with success
//! is on the disk, the file and the folder that names it.
//!
//! `LocalFileSystem` writes `name#n`, then links or renames it, and syncs nothing. Writes are done
//! here instead, in the same way and with the same kind of temporary name (which its listings pass
//! over), with the bytes synced *before* the name appears: a torn entry can never be read.
//! Everything else is left to it.

use crate::digest::is_sha256;
use crate::store::Durable;
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path as FilePath, PathBuf};

/// A directory, synced on every write.
#[derive(Debug)]
pub(crate) struct Directory {
    files: LocalFileSystem,
}

impl Directory {
    /// Opens a directory, and creates it when it is not there.
    pub fn open(root: &FilePath) -> io::Result<Directory> {
        create_folders(root, Durable::Name)?;
        let files = LocalFileSystem::new_with_prefix(root).map_err(io::Error::other)?;
        Ok(Directory { files })
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({})", self.files)
    }
}

/// Whether a folder of this name holds a tree.
fn is_tree(name: &str) -> bool {
    name.strip_prefix("sha256-").is_some_and(is_sha256)
}

/// Creates a folder and its parents, each synced into the one above it, but for those in a tree: its manifest does that.
fn create_folders(folder: &FilePath, durable: Durable) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().ok_or_else(|| io::Error::other("has no parent folder"))?;
    create_folders(parent, durable)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
        other => other?,
    }
    let in_tree = folder.ancestors().any(|it| it.file_name().and_then(|name| name.to_str()).is_some_and(is_tree));
    if durable == Durable::Bytes && in_tree { Ok(()) } else { sync_folder(parent) }
}

/// Syncs the names in a folder. Only Unix can open a folder for that.
pub(crate) fn sync_folder(folder: &FilePath) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { FilePath::new(".") } else { folder };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Syncs the names in a folder and in all below it.
fn sync_folders(folder: &FilePath) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync_folder(folder)
}

fn write_synced(path: &FilePath, payload: &PutPayload, create: bool, durable: Durable) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("has no parent folder"))?;
    create_folders(folder, durable)?;
    if durable == Durable::Advice && !create {
        // In place: whoever reads half of it takes no advice.
        return payload
            .iter()
            .try_fold(File::create(path)?, |mut file, part| file.write_all(part).map(|()| file))
            .map(drop);
    }
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!("#{}", rand::random::<u64>()));
    let staged = PathBuf::from(staged);
    // A new manifest is synced under its name, together with the names beside it, which spares the disk a round: until
    // all is answered for, no version names the tree, and whoever writes it again does not go by a manifest.
    let named_first = durable == Durable::Tree && !path.exists();
    let placed = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&staged)?;
        payload.iter().try_for_each(|part| file.write_all(part))?;
        if durable != Durable::Nothing && !named_first {
            file.sync_all()?;
        }
        if create { fs::hard_link(&staged, path) } else { fs::rename(&staged, path) }?;
        if named_first { file.sync_all() } else { Ok(()) }
    })();
    if create || placed.is_err() {
        // Best effort: a leftover is passed over by every reader.
        let _ = fs::remove_file(&staged);
    }
    placed?;
    match durable {
        Durable::Nothing | Durable::Advice | Durable::Bytes => Ok(()),
        Durable::Name => sync_folder(folder),
        Durable::Tree => sync_folders(folder).and_then(|()| folder.parent().map_or(Ok(()), sync_folder)),
    }
}

fn generic(source: io::Error) -> Error {
    Error::Generic { store: "Directory", source: Box::new(source) }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

#[async_trait]
impl ObjectStore for Directory {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let durable = options.extensions.get().copied().unwrap_or_default();
        if matches!(options.mode, PutMode::Update(_)) || !options.attributes.is_empty() {
            return self.files.put_opts(location, payload, options).await;
        }
        let path = self.files.path_to_filesystem(location)?;
        let create = matches!(options.mode, PutMode::Create);
        let name = location.to_string();
        blocking(move || match write_synced(&path, &payload, create, durable) {
            Ok(()) => Ok(PutResult { e_tag: None, version: None }),
            Err(source) if create && source.kind() == ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists { path: name, source: Box::new(source) })
            }
            Err(source) => Err(generic(source)),
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.files.path_to_filesystem(location)?;
        let folder = path.parent().map(FilePath::to_path_buf).unwrap_or_default();
        let durable = options.extensions.get().copied().unwrap_or_default();
        blocking(move || create_folders(&folder, durable).map_err(generic)).await?;
        let parts = self.files.put_multipart_opts(location, options).await?;
        Ok(Box::new(SyncedUpload { parts, path, durable }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}

/// An upload in parts, synced when it is complete. Its name appears before the sync, which does no
/// harm: only files of a tree are written so, and a tree counts once its manifest is there.
#[derive(Debug)]
struct SyncedUpload {
    parts: Box<dyn MultipartUpload>,
    path: PathBuf,
    durable: Durable,
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.parts.complete().await?;
        let (path, durable) = (self.path.clone(), self.durable);
        blocking(move || {
            File::open(&path).and_then(|file| file.sync_all()).map_err(generic)?;
            match path.parent() {
                Some(folder) if durable != Durable::Bytes => sync_folder(folder).map_err(generic),
                _ => Ok(()),
            }
        })
        .await?;
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.abort().await
    }
}
