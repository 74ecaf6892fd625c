//! Reads a layout: finds the image, and opens blobs. Documents are checked before they are read,
//! layers while they are. It trusts nothing: whoever wrote the layout may mean harm.

use super::archive::{Entries, Kind};
use super::document::{Descriptor, Image, Index, REFERENCE, plain};
use super::writer::{BLOBS, INDEX_NAME, LAYOUT, LAYOUT_VERSION};
use super::{CHUNK_BYTES, JSON_BYTES_MAX};
use crate::digest::is_sha256;
use crate::{Digest, Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The most entries of a layout that is a tar.
const PARTS_MAX: usize = 20_000;
/// The most indexes below the first one.
const INDEXES_MAX: usize = 16;
/// The most images that are told apart.
const IMAGES_MAX: usize = 1_000;
const NAMED_MAX: usize = 20;

/// A layout on the local disk.
pub(super) struct Layout {
    place: PathBuf,
    /// Position and size of each part in the tar, unless it is a directory.
    parts: Option<BTreeMap<String, (u64, u64)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

impl Layout {
    /// Opens a directory, or a tar that is not compressed.
    pub fn open(place: &Path) -> Result<Layout> {
        let kind = fs::metadata(place).map_err(Error::io(place))?;
        let parts = if kind.is_dir() { None } else { Some(parts(place)?) };
        let layout = Layout { place: place.to_owned(), parts };
        let version: Version = layout.part(LAYOUT)?;
        if version.image_layout_version != LAYOUT_VERSION {
            let found = plain(&version.image_layout_version);
            return Err(Error::refused(
                layout.at(LAYOUT),
                format!("is of version `{found}`, known is {LAYOUT_VERSION}"),
            ));
        }
        Ok(layout)
    }

    /// The layout, for messages.
    pub fn name(&self) -> String {
        self.place.display().to_string()
    }

    /// The image with this tag or digest, or the only one.
    pub fn image(&self, reference: Option<&str>) -> Result<(Digest, Image)> {
        let index: Index = self.part(INDEX_NAME)?;
        let wanted = |d: &Descriptor| {
            reference.is_none_or(|r| d.annotation(REFERENCE) == Some(r) || d.digest.as_str() == r) && !d.is_statement()
        };
        let mut waiting: Vec<Descriptor> = index.manifests.into_iter().filter(wanted).collect();
        let mut images = BTreeMap::new();
        let mut indexes = 0;
        while let Some(descriptor) = waiting.pop() {
            if !descriptor.is_index() {
                images.insert(descriptor.digest.clone(), descriptor);
            } else if indexes < INDEXES_MAX {
                indexes += 1;
                let inner: Index = self.document(&descriptor)?;
                waiting.extend(inner.manifests.into_iter().filter(|d| !d.is_statement()));
            } else {
                return Err(Error::refused(self.name(), format!("more than {INDEXES_MAX} indexes")));
            }
            if images.len() + waiting.len() > IMAGES_MAX {
                return Err(Error::refused(self.name(), format!("more than {IMAGES_MAX} images")));
            }
        }
        let mut found = images.into_values();
        match (found.next(), found.next()) {
            (Some(only), None) => Ok((only.digest.clone(), self.document(&only)?)),
            (None, _) => {
                let what = reference.map_or_else(|| "an image".to_owned(), |r| format!("an image `{}`", plain(r)));
                Err(Error::NotFound(format!("{what} in {}", self.name())))
            }
            (Some(one), Some(two)) => {
                let names: Vec<_> = [one, two].into_iter().chain(found).take(NAMED_MAX).map(|d| called(&d)).collect();
                let reason = format!("holds several images ({}); name one of them", names.join(", "));
                Err(Error::refused(self.name(), reason))
            }
        }
    }

    /// The bytes of a document, checked.
    pub fn bytes(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let path = format!("{BLOBS}/{}", descriptor.digest.hex());
        if descriptor.size > JSON_BYTES_MAX {
            return Err(self.too_large(&path));
        }
        let mut blob = self.checked(descriptor)?;
        let mut bytes = Vec::new();
        blob.read_to_end(&mut bytes).map_err(Error::io(&self.place))?;
        blob.finish()?;
        Ok(bytes)
    }

    /// A document, checked.
    pub fn document<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        let path = format!("{BLOBS}/{}", descriptor.digest.hex());
        serde_json::from_slice(&self.bytes(descriptor)?).map_err(|e| Error::corrupt(self.at(&path), e))
    }

    /// A blob that checks itself at the end.
    pub fn checked(&self, descriptor: &Descriptor) -> Result<Checked> {
        let path = self.at(&format!("{BLOBS}/{}", descriptor.digest.hex()));
        Ok(Checked { source: self.blob(descriptor)?, hasher: Sha256::new(), digest: descriptor.digest.clone(), path })
    }

    /// A blob whose size is right and whose digest is for the caller to check.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<io::Take<fs::File>> {
        let path = format!("{BLOBS}/{}", descriptor.digest.hex());
        let (file, size) = self.find(&path)?;
        if size != descriptor.size {
            let found = format!("of another size ({size} bytes, not {})", descriptor.size);
            let expected = descriptor.digest.hex().to_owned();
            return Err(Error::Tampered { path: self.at(&path), expected, found });
        }
        Ok(file.take(size))
    }

    /// A JSON file of the layout that is no blob.
    fn part<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let (file, size) = self.find(path)?;
        if size > JSON_BYTES_MAX {
            return Err(self.too_large(path));
        }
        let mut bytes = Vec::new();
        file.take(size).read_to_end(&mut bytes).map_err(Error::io(&self.place))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(self.at(path), e))
    }

    /// A file of the layout, at its start, and its size.
    fn find(&self, path: &str) -> Result<(fs::File, u64)> {
        let missing = || Error::NotFound(self.at(path));
        if let Some(parts) = &self.parts {
            let (position, size) = *parts.get(path).ok_or_else(missing)?;
            let mut file = fs::File::open(&self.place).map_err(Error::io(&self.place))?;
            file.seek(SeekFrom::Start(position)).map_err(Error::io(&self.place))?;
            return Ok((file, size));
        }
        let place = self.place.join(path);
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_file() => Ok((fs::File::open(&place).map_err(Error::io(&place))?, found.len())),
            Ok(_) => Err(Error::refused(place.display(), "is a link or a special file, not a plain one")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(Error::io(place)(error)),
        }
    }

    fn at(&self, path: &str) -> String {
        self.place.join(path).display().to_string()
    }

    fn too_large(&self, path: &str) -> Error {
        Error::refused(self.at(path), format!("more than {JSON_BYTES_MAX} bytes of JSON"))
    }
}

/// A blob that is hashed while it is read.
pub(super) struct Checked {
    source: io::Take<fs::File>,
    hasher: Sha256,
    digest: Digest,
    path: String,
}

impl Checked {
    /// Reads what is left and refuses the blob if its bytes are not those of the digest.
    pub fn finish(mut self) -> Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        while self.read(&mut chunk).map_err(Error::io(Path::new(&self.path)))? > 0 {}
        let found = hex::encode(self.hasher.finalize());
        if found == self.digest.hex() {
            return Ok(());
        }
        Err(Error::Tampered { path: self.path, expected: self.digest.hex().to_owned(), found })
    }
}

impl Read for Checked {
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(chunk)?;
        self.hasher.update(&chunk[..count]);
        Ok(count)
    }
}

/// Where the parts of a layout are in its tar.
fn parts(place: &Path) -> Result<BTreeMap<String, (u64, u64)>> {
    let mut file = fs::File::open(place).map_err(Error::io(place))?;
    let size = file.metadata().map_err(Error::io(place))?.len();
    let name = place.display().to_string();
    let mut entries = Entries::seeking(&mut file, &name, PARTS_MAX);
    let mut parts = BTreeMap::new();
    while let Some(entry) = entries.next()? {
        let path = entry.path.trim_start_matches("./");
        let blob = path.strip_prefix(BLOBS).and_then(|rest| rest.strip_prefix('/')).is_some_and(is_sha256);
        if !blob && path != INDEX_NAME && path != LAYOUT {
            continue;
        }
        if entry.kind != Kind::File {
            return Err(Error::refused(&name, format!("`{path}` is not a plain file")));
        }
        if entry.position.checked_add(entry.bytes).is_none_or(|end| end > size) {
            return Err(Error::corrupt(&name, format!("is cut short within `{path}`")));
        }
        if parts.insert(path.to_owned(), (entry.position, entry.bytes)).is_some() {
            return Err(Error::refused(&name, format!("holds `{path}` twice")));
        }
    }
    Ok(parts)
}

/// What people call an image: its tag, else its platform, else its digest.
fn called(descriptor: &Descriptor) -> String {
    if let Some(tag) = descriptor.annotation(REFERENCE) {
        return plain(tag);
    }
    descriptor.digest.to_string()
}
