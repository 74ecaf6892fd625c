//! The files that come out of an image, in a folder that nobody else writes to. It makes plain
//! files and folders and nothing else, and bounds how many and how large.

use super::{CHUNK_BYTES, IMAGE_FILES_MAX};
use crate::manifest::TREE_BYTES_MAX;
use crate::{Error, File, Result, names};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A folder that is being filled.
pub(super) struct Tree<'a> {
    root: PathBuf,
    progress: &'a mut dyn FnMut(u64),
    /// The files, each with the layer that it came from.
    files: BTreeMap<String, (usize, File)>,
    bytes: u64,
}

impl<'a> Tree<'a> {
    /// An empty folder.
    pub fn new(root: &Path, progress: &'a mut dyn FnMut(u64)) -> Tree<'a> {
        Tree { root: root.to_owned(), progress, files: BTreeMap::new(), bytes: 0 }
    }

    /// Writes a file of so many bytes, which `read` gives; returns its sha-256, in hex. A later
    /// layer replaces a file of an earlier one.
    pub fn put(
        &mut self,
        path: &str,
        bytes: u64,
        layer: usize,
        read: &mut dyn FnMut(&mut [u8]) -> Result<usize>,
    ) -> Result<String> {
        names::key("file", path)?;
        let place = self.root.join(path);
        match self.files.get(path) {
            Some((earlier, _)) if *earlier == layer => return Err(Error::refused(path, "is in the image twice")),
            Some((_, file)) => {
                self.bytes -= file.bytes;
                fs::remove_file(&place).map_err(Error::io(&place))?;
                self.files.remove(path);
            }
            None => {}
        }
        let total = self.bytes.checked_add(bytes).filter(|total| *total <= TREE_BYTES_MAX);
        let (Some(total), true) = (total, self.files.len() < IMAGE_FILES_MAX) else {
            let most = format!("an image has at most {IMAGE_FILES_MAX} files and {TREE_BYTES_MAX} bytes");
            return Err(Error::refused(path, most));
        };
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(|error| clash(path, folder, error))?;
        }
        let mut target = fs::File::create_new(&place).map_err(|error| clash(path, &place, error))?;
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; usize::try_from(bytes).map_or(CHUNK_BYTES, |bytes| bytes.clamp(1, CHUNK_BYTES))];
        let mut written = 0;
        while written < bytes {
            let count = read(&mut chunk)?;
            if count == 0 || count as u64 > bytes - written {
                return Err(Error::corrupt(path, format!("has not the {bytes} bytes that the image names")));
            }
            target.write_all(&chunk[..count]).map_err(Error::io(&place))?;
            hasher.update(&chunk[..count]);
            written += count as u64;
            (self.progress)(count as u64);
        }
        self.bytes = total;
        let sha256 = hex::encode(hasher.finalize());
        let file = File { path: path.to_owned(), bytes, sha256: sha256.clone() };
        self.files.insert(path.to_owned(), (layer, file));
        Ok(sha256)
    }

    /// The files that are there now, sorted by path.
    pub fn files(self) -> Vec<File> {
        self.files.into_values().map(|(_, file)| file).collect()
    }
}

/// A file cannot be where a folder is, nor a folder where a file is.
fn clash(path: &str, place: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            Error::refused(path, "is both a file and a folder in the image")
        }
        _ => Error::io(place)(error),
    }
}
