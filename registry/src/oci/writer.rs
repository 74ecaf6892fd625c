//! Writes a layout, blob by blob. A blob is hashed while it is written and gets its name when it
//! is whole, so that files are read once and nothing is held in memory. What blobs mean is decided
//! in `modelcar.rs` and `modelpack.rs`.

use super::archive::{BLOCK, END, header, padding};
use super::aside::{Aside, sync};
use super::document::{Descriptor, INDEX, Image, Index, REFERENCE};
use super::{About, Exported, JSON_BYTES_MAX};
use crate::{Digest, Error, Result};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub(super) const BLOBS: &str = "blobs/sha256";
pub(super) const LAYOUT: &str = "oci-layout";
pub(super) const LAYOUT_VERSION: &str = "1.0.0";
pub(super) const INDEX_NAME: &str = "index.json";

/// A layout that is being written.
pub(super) struct Writer {
    aside: Aside,
    /// The tar, unless it is a directory.
    tar: Option<fs::File>,
    /// The blobs that are there, and their sizes.
    blobs: BTreeMap<Digest, u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: &'static str,
}

impl Writer {
    /// Begins the layout that is to be at `out`.
    pub fn create(out: &Path) -> Result<Writer> {
        if out.extension().is_some_and(|extension| extension == "tar") {
            let (aside, mut tar) = Aside::file(out)?;
            for folder in ["blobs/", "blobs/sha256/"] {
                tar.write_all(&header(folder, 0)).map_err(Error::io(aside.path()))?;
            }
            return Ok(Writer { aside, tar: Some(tar), blobs: BTreeMap::new() });
        }
        let aside = Aside::folder(out)?;
        let blobs = aside.path().join(BLOBS);
        fs::create_dir_all(&blobs).map_err(Error::io(&blobs))?;
        Ok(Writer { aside, tar: None, blobs: BTreeMap::new() })
    }

    /// Adds a blob with the content that `fill` writes. One that is there already is kept once.
    pub fn blob(&mut self, media_type: &str, fill: impl FnOnce(&mut Blob) -> Result<()>) -> Result<Descriptor> {
        let (digest, size) = match self.tar.take() {
            Some(mut tar) => {
                let done = self.in_tar(&mut tar, fill);
                self.tar = Some(tar);
                done?
            }
            None => self.in_folder(fill)?,
        };
        self.blobs.insert(digest.clone(), size);
        let media_type = media_type.to_owned();
        Ok(Descriptor { media_type, digest, size, artifact_type: None, platform: None, annotations: BTreeMap::new() })
    }

    /// Adds a JSON document.
    pub fn document(&mut self, media_type: &str, document: &impl Serialize) -> Result<Descriptor> {
        let bytes = json(media_type, document)?;
        self.blob(media_type, |blob| blob.write(&bytes))
    }

    /// Adds the manifest and the index, and gives the layout its name.
    pub fn finish(mut self, image: Finished, about: &About) -> Result<Exported> {
        let Finished { image, platform } = image;
        let mut descriptor = self.document(super::document::IMAGE, &image)?;
        let digest = descriptor.digest.clone();
        descriptor.artifact_type.clone_from(&image.artifact_type);
        descriptor.platform = platform;
        descriptor.annotations.insert(REFERENCE.to_owned(), about.reference.clone());
        let index = Index { schema_version: 2, media_type: Some(INDEX.to_owned()), manifests: vec![descriptor] };
        self.part(INDEX_NAME, &json(INDEX_NAME, &index)?)?;
        self.part(LAYOUT, &json(LAYOUT, &Version { image_layout_version: LAYOUT_VERSION })?)?;
        match &mut self.tar {
            Some(tar) => tar.write_all(&END).and_then(|()| tar.sync_all()).map_err(Error::io(self.aside.path()))?,
            None => [BLOBS, "blobs", ""].iter().try_for_each(|folder| sync(&self.aside.path().join(folder)))?,
        }
        let kind = image.artifact_type.as_deref().unwrap_or(super::document::IMAGE);
        let all =
            [kind, &image.config.media_type].into_iter().chain(image.layers.iter().map(|l| l.media_type.as_str()));
        let mut media_types: Vec<String> = Vec::new();
        for media_type in all {
            if !media_types.iter().any(|known| known == media_type) {
                media_types.push(media_type.to_owned());
            }
        }
        self.aside.keep()?;
        Ok(Exported { digest, bytes: self.blobs.values().sum(), media_types })
    }

    /// The header of a blob in a tar stands before it and holds its name, which is known at its
    /// end: room is left, and filled then.
    fn in_tar(&self, tar: &mut fs::File, fill: impl FnOnce(&mut Blob) -> Result<()>) -> Result<(Digest, u64)> {
        let place = self.aside.path();
        let start = tar.stream_position().map_err(Error::io(place))?;
        let mut blob = Blob::new(tar, place);
        blob.file.write_all(&[0; BLOCK]).map_err(Error::io(place))?;
        fill(&mut blob)?;
        let (digest, size) = blob.done()?;
        let known = self.blobs.contains_key(&digest);
        let mut close = || {
            if known {
                tar.set_len(start)?;
                return tar.seek(SeekFrom::Start(start)).map(drop);
            }
            tar.write_all(&END[..padding(size)])?;
            tar.seek(SeekFrom::Start(start))?;
            tar.write_all(&header(&format!("{BLOBS}/{}", digest.hex()), size))?;
            tar.seek(SeekFrom::End(0)).map(drop)
        };
        close().map_err(Error::io(place))?;
        Ok((digest, size))
    }

    fn in_folder(&self, fill: impl FnOnce(&mut Blob) -> Result<()>) -> Result<(Digest, u64)> {
        let folder = self.aside.path().join(BLOBS);
        let place = folder.join("unfinished");
        let mut file = fs::File::create(&place).map_err(Error::io(&place))?;
        let mut blob = Blob::new(&mut file, &place);
        fill(&mut blob)?;
        let (digest, size) = blob.done()?;
        file.sync_all().map_err(Error::io(&place))?;
        let target = folder.join(digest.hex());
        fs::rename(&place, &target).map_err(Error::io(target))?;
        Ok((digest, size))
    }

    /// A file of the layout that is no blob.
    fn part(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if let Some(tar) = &mut self.tar {
            let all = [&header(name, bytes.len() as u64), bytes, &END[..padding(bytes.len() as u64)]].concat();
            return tar.write_all(&all).map_err(Error::io(self.aside.path()));
        }
        let place = self.aside.path().join(name);
        let write = || {
            let mut file = fs::File::create_new(&place)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(Error::io(&place))
    }
}

/// An image whose blobs are all written, and what it runs on.
pub(super) struct Finished {
    pub image: Image,
    pub platform: Option<super::document::Platform>,
}

/// A blob that is being written.
pub(super) struct Blob<'a> {
    file: &'a mut fs::File,
    place: PathBuf,
    hasher: Sha256,
    bytes: u64,
}

impl Blob<'_> {
    fn new<'a>(file: &'a mut fs::File, place: &Path) -> Blob<'a> {
        Blob { file, place: place.to_owned(), hasher: Sha256::new(), bytes: 0 }
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.place))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn done(self) -> Result<(Digest, u64)> {
        let digest = format!("sha256:{}", hex::encode(self.hasher.finalize())).parse()?;
        Ok((digest, self.bytes))
    }
}

fn json(path: &str, document: &impl Serialize) -> Result<Vec<u8>> {
    let bytes = serde_json::to_vec(document).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    if bytes.len() as u64 > JSON_BYTES_MAX {
        return Err(Error::refused(path, format!("{} bytes of JSON, the most is {JSON_BYTES_MAX}", bytes.len())));
    }
    Ok(bytes)
}
