//! Model versions as OCI images, in an image layout on the local disk: a directory, or one tar.
//! Two formats: `modelcar`, an ordinary image that holds `/models/...`, and `modelpack`, the CNCF
//! model format, with one raw layer per file. It speaks to no registry of images: `oras copy` and
//! `skopeo copy --preserve-digests` push and pull layouts. (Without that flag skopeo compresses the
//! layers of a modelcar, which gives another image with another digest.) It blocks; callers move it
//! off the runtime.
//!
//! The layout: <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>.
//! The model format: <https://github.com/modelpack/model-spec/blob/main/docs/spec.md>.

mod about;
mod archive;
mod aside;
mod document;
mod layout;
mod modelcar;
mod modelpack;
mod source;
mod tree;
mod writer;

#[cfg(test)]
mod tests;

pub use about::{About, Architecture};

use crate::manifest::{FILES_MAX, TREE_BYTES_MAX};
use crate::{Digest, Error, File, Manifest, Result};
use aside::Aside;
use layout::Layout;
use source::Source;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use tree::Tree;
use writer::Writer;

/// The most bytes of a JSON document of a layout; registries of images refuse larger manifests too.
const JSON_BYTES_MAX: u64 = 4 << 20;
/// The most files of an image: those of a tree, its manifest and its signature.
const IMAGE_FILES_MAX: usize = FILES_MAX + 2;
/// The most layers of an image: one for each file, and some of a base image.
const LAYERS_MAX: usize = IMAGE_FILES_MAX + 128;
/// The most bytes of all layers: those of a tree, and some for tar headers and a base image.
const LAYERS_BYTES_MAX: u64 = TREE_BYTES_MAX + (4 << 30);
const CHUNK_BYTES: usize = 1 << 20;

/// How a version lies in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An ordinary image with all files in one uncompressed tar layer, below `/models/`. Kubernetes
    /// mounts it as an image volume.
    Modelcar,
    /// A CNCF ModelPack artifact: each file is a layer, and its sha-256 the digest of that layer.
    Modelpack,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Modelcar => "modelcar",
            Format::Modelpack => "modelpack",
        })
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Format> {
        match text {
            "modelcar" => Ok(Format::Modelcar),
            "modelpack" => Ok(Format::Modelpack),
            _ => Err(Error::Invalid { what: "format".to_owned(), reason: "must be modelcar or modelpack".to_owned() }),
        }
    }
}

/// What [`export`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The digest of the image: the sha-256 of its manifest, the same for the same input.
    pub digest: Digest,
    /// The bytes of all blobs together, each counted once.
    pub bytes: u64,
    /// The media types of the manifest (for an artifact: its artifact type), the configuration and
    /// the layers, each once, in this order.
    pub media_types: Vec<String>,
}

/// What [`import`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// How the files lay in the image.
    pub format: Format,
    /// The digest of the image.
    pub digest: Digest,
    /// The files in the new folder, sorted by path. A `manifest.json` and a `model.sig` among them
    /// were not looked into.
    pub files: Vec<File>,
    /// The annotations of the image's manifest, as whoever built it wrote them.
    pub annotations: BTreeMap<String, String>,
}

/// Writes the version in `tree` as an image layout to `out`: as one tar if the name ends in
/// `.tar`, else as a directory. The tree's `manifest.json` goes along, and its `model.sig` if it
/// has one. `progress` is told how many more bytes of files were copied.
///
/// The same input gives the same bytes. `out` must not exist; it appears once it is whole and on
/// disk. [`Error::Tampered`]: a file is not the one that the manifest names.
pub fn export(
    tree: &Path,
    manifest: &Manifest,
    about: &About,
    format: Format,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported> {
    about.check()?;
    let source = Source::open(tree, manifest, about)?;
    let mut writer = Writer::create(out)?;
    let image = match format {
        Format::Modelcar => modelcar::write(&source, about, &mut writer, progress)?,
        Format::Modelpack => modelpack::write(&source, about, &mut writer, progress)?,
    };
    writer.finish(image, about)
}

/// Reads an image of a layout (a directory or a tar, also of another tool) into the new folder
/// `into`. `reference` picks it by tag or digest; without one there must be exactly one image.
/// `progress` is told how many more bytes of files were written.
///
/// Every blob that is read is checked against its digest and size. Whatever could leave the
/// folder is refused, as are links, devices, whiteouts and compressed layers. The digests are
/// those that the layout itself names: checking a `manifest.json` among the files against a
/// digest that is known from elsewhere remains with the caller.
pub fn import(layout: &Path, reference: Option<&str>, into: &Path, progress: &mut dyn FnMut(u64)) -> Result<Imported> {
    let layout = Layout::open(layout)?;
    let (digest, image) = layout.image(reference)?;
    let format = image.format(&layout.name())?;
    image.check(&layout.name())?;
    layout.bytes(&image.config)?;
    let aside = Aside::folder(into)?;
    let mut tree = Tree::new(aside.path(), progress);
    match format {
        Format::Modelcar => modelcar::read(&layout, &image, &mut tree)?,
        Format::Modelpack => modelpack::read(&layout, &image, &mut tree)?,
    }
    let files = tree.files();
    if files.is_empty() {
        let reason = if format == Format::Modelcar { "holds no files below /models" } else { "holds no files" };
        return Err(Error::refused(layout.name(), reason));
    }
    aside.keep()?;
    Ok(Imported { format, digest, files, annotations: image.annotations })
}
