//! The `modelcar` format: an ordinary image whose last layer is one uncompressed tar with all files
//! below `/models/`. Image specification v1.1: config.md, layer.md.
//!
//! A model needs nothing else in its image where Kubernetes mounts it as a volume. The sidecar that
//! KServe uses for `oci://` runs `sh` in the image; a base image brings one.

use super::archive::{END, Entries, Entry, Kind, header, padding};
use super::document::{Descriptor, IMAGE, IMAGE_CONFIG, IMAGE_LAYER, Image, Platform, plain, plain_tar};
use super::layout::Layout;
use super::source::Source;
use super::tree::Tree;
use super::writer::{Finished, Writer};
use super::{About, CHUNK_BYTES, Format};
use crate::{Digest, Error, Result, names};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

const MODELS: &str = "models/";
const OS: &str = "linux";
/// Marks the layer with the files, so that those of a base image need not be read.
const LAYER: &str = "dev.fairway.layer";
/// A file of this name removes another one from the layers below. Image specification: layer.md.
const WHITEOUT: &str = ".wh.";
/// The most headers of a layer.
const HEADERS_MAX: usize = 200_000;

/// The configuration of an image, as far as it is written or taken over from a base.
#[derive(Serialize, Deserialize)]
struct Config {
    #[serde(default)]
    created: Option<String>,
    architecture: String,
    os: String,
    #[serde(default)]
    config: Option<Execution>,
    rootfs: Rootfs,
    #[serde(default)]
    history: Option<Vec<Step>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Execution {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
struct Rootfs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<Digest>,
}

#[derive(Default, Serialize, Deserialize)]
struct Step {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    empty_layer: Option<bool>,
}

/// Writes the blobs of an image, all but its manifest.
pub(super) fn write(
    source: &Source,
    about: &About,
    writer: &mut Writer,
    progress: &mut dyn FnMut(u64),
) -> Result<Finished> {
    let (mut layers, mut config) = match &about.base {
        Some(base) => take_over(base, about, writer)?,
        None => (Vec::new(), empty(about)),
    };
    let mut layer = writer.blob(IMAGE_LAYER, |blob| {
        let mut folders = BTreeSet::new();
        for file in &source.files {
            let path = format!("{MODELS}{}", file.path);
            if path.split('/').any(|part| part.starts_with(WHITEOUT)) {
                return Err(Error::refused(
                    &file.path,
                    "a name with `.wh.` in front removes files from an image; rename it",
                ));
            }
            for (end, _) in path.match_indices('/') {
                let folder = &path[..=end];
                if folders.insert(folder.to_owned()) {
                    blob.write(&header(folder, 0))?;
                }
            }
            blob.write(&header(&path, file.bytes))?;
            source.copy(file, blob, progress)?;
            blob.write(&END[..padding(file.bytes)])?;
        }
        blob.write(&END)
    })?;
    config.rootfs.diff_ids.push(layer.digest.clone());
    layer.annotations.insert(LAYER.to_owned(), "models".to_owned());
    layers.push(layer);
    let created = about.created.to_string();
    let step = Step { created: Some(created.clone()), created_by: Some("fairway".to_owned()), empty_layer: None };
    config.history.get_or_insert_default().push(step);
    config.created = Some(created);
    config.config.get_or_insert_default().labels = Some(about.annotations());
    let config = writer.document(IMAGE_CONFIG, &config)?;
    let media_type = Some(IMAGE.to_owned());
    let image =
        Image { schema_version: 2, media_type, artifact_type: None, config, layers, annotations: about.annotations() };
    let platform = Some(Platform { architecture: about.architecture.to_string(), os: OS.to_owned() });
    Ok(Finished { image, platform })
}

/// Reads the files below `/models/` of all layers, the later over the earlier ones.
pub(super) fn read(layout: &Layout, image: &Image, tree: &mut Tree) -> Result<()> {
    let marked = image.layers.iter().any(|layer| layer.annotation(LAYER).is_some());
    for (number, layer) in image.layers.iter().enumerate() {
        if !marked || layer.annotation(LAYER).is_some() {
            unpack(layout, layer, MODELS, number, tree)?;
        }
    }
    Ok(())
}

/// Puts the files below `under` (a folder with its `/`, or nothing) of one layer into the tree.
pub(super) fn unpack(layout: &Layout, layer: &Descriptor, under: &str, number: usize, tree: &mut Tree) -> Result<()> {
    plain_tar(layer, &layout.name())?;
    let name = format!("{} layer {}", layout.name(), layer.digest.short());
    let mut blob = layout.checked(layer)?;
    let mut entries = Entries::reading(&mut blob, &name, HEADERS_MAX);
    while let Some(entry) = entries.next()? {
        let Some(path) = below(&entry, under)? else { continue };
        match entry.kind {
            Kind::Folder if path.is_empty() => {}
            Kind::Folder => names::key("folder", path.trim_end_matches('/'))?,
            Kind::File => drop(tree.put(path, entry.bytes, number, &mut |chunk| entries.read(chunk))?),
            Kind::Other(what) => {
                return Err(Error::refused(
                    plain(&entry.path),
                    format!("is {what}; an image may hold only plain files"),
                ));
            }
        }
    }
    blob.finish()
}

/// The path of an entry below `under`, if it is there. Nothing that points outside is let pass,
/// wherever it would lead.
fn below<'a>(entry: &'a Entry, under: &str) -> Result<Option<&'a str>> {
    let path = entry.path.trim_start_matches("./");
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(Error::refused(plain(&entry.path), "leads out of the image"));
    }
    if path.rsplit('/').any(|part| part.starts_with(WHITEOUT)) {
        return Err(Error::refused(plain(&entry.path), "removes files of an earlier layer; build the image in one"));
    }
    if path.trim_end_matches('/') == under.trim_end_matches('/') || path == "." {
        // The folder itself, which must be one.
        let own = entry.kind == Kind::Folder;
        return if own { Ok(Some("")) } else { Err(Error::refused(plain(&entry.path), "is no folder")) };
    }
    Ok(path.strip_prefix(under))
}

fn empty(about: &About) -> Config {
    Config {
        created: None,
        architecture: about.architecture.to_string(),
        os: OS.to_owned(),
        config: None,
        rootfs: Rootfs { kind: "layers".to_owned(), diff_ids: Vec::new() },
        history: None,
    }
}

/// Copies the layers of a base image as they are, and returns them with its configuration.
fn take_over(place: &Path, about: &About, writer: &mut Writer) -> Result<(Vec<Descriptor>, Config)> {
    let base = Layout::open(place)?;
    let (_, image) = base.image(None)?;
    image.check(&base.name())?;
    if image.format(&base.name())? != Format::Modelcar || image.config.media_type != IMAGE_CONFIG {
        return Err(Error::refused(base.name(), "is no OCI image; convert it (`skopeo copy --format oci`)"));
    }
    let mut config: Config = base.document(&image.config)?;
    if config.os != OS || config.architecture != about.architecture.to_string() {
        let found = plain(&format!("{}/{}", config.os, config.architecture));
        let reason = format!("is for {found}, the image for {OS}/{}", about.architecture);
        return Err(Error::refused(base.name(), reason));
    }
    if config.rootfs.diff_ids.len() != image.layers.len() {
        return Err(Error::corrupt(base.name(), "its configuration does not name its layers"));
    }
    // Engines count: each layer has a step, or there are none.
    let steps = config.history.iter().flatten().filter(|step| step.empty_layer != Some(true)).count();
    if steps != image.layers.len() {
        config.history = Some(image.layers.iter().map(|_| Step::default()).collect());
    }
    let mut layers = Vec::new();
    for layer in &image.layers {
        let mut from = base.checked(layer)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        layers.push(writer.blob(&layer.media_type, |blob| {
            loop {
                match from.read(&mut chunk).map_err(Error::io(place))? {
                    0 => return from.finish(),
                    count => blob.write(&chunk[..count])?,
                }
            }
        })?);
    }
    Ok((layers, config))
}
