//! The `modelpack` format of the CNCF: an artifact with one raw layer per file, so that the digest
//! of a layer is the sha-256 of the file. Model specification: docs/spec.md, docs/config.md,
//! docs/annotations.md.

use super::About;
use super::document::{Descriptor, IMAGE, Image, MODEL, MODEL_CONFIG, TITLE, plain};
use super::layout::Layout;
use super::modelcar;
use super::source::Source;
use super::tree::Tree;
use super::writer::{Finished, Writer};
use crate::manifest::{MANIFEST, PROVENANCE, SIGNATURE};
use crate::{Digest, Error, File, Result};
use serde::Serialize;
use std::io::Read;
use std::path::Path;

const FILEPATH: &str = "org.cncf.model.filepath";
const METADATA: &str = "org.cncf.model.file.metadata+json";
/// Says that a layer's media type is a guess.
const UNTESTED: &str = "org.cncf.model.file.mediatype.untested";

const WEIGHT: &str = "application/vnd.cncf.model.weight.v1.raw";
const WEIGHT_CONFIG: &str = "application/vnd.cncf.model.weight.config.v1.raw";
const DOC: &str = "application/vnd.cncf.model.doc.v1.raw";
/// What every media type of a layer begins with.
const LAYER: &str = "application/vnd.cncf.model.";

#[derive(Serialize)]
struct Config {
    descriptor: General,
    config: Technical,
    modelfs: ModelFs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct General {
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    name: String,
    version: String,
    title: String,
    revision: String,
}

#[derive(Serialize)]
struct Technical {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<Digest>,
}

/// The attributes of a file, which a raw layer cannot hold. All but name and size are constants.
#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: &'static str,
    typeflag: u8,
}

/// Writes the blobs of an artifact, all but its manifest.
pub(super) fn write(
    source: &Source,
    about: &About,
    writer: &mut Writer,
    progress: &mut dyn FnMut(u64),
) -> Result<Finished> {
    if about.base.is_some() {
        let reason = "only a modelcar can have one; leave it out".to_owned();
        return Err(Error::Invalid { what: "base".to_owned(), reason });
    }
    let mut layers = Vec::new();
    for file in &source.files {
        let (media_type, certain) = kind(&file.path);
        let mut layer = writer.blob(media_type, |blob| source.copy(file, blob, progress))?;
        let annotations = &mut layer.annotations;
        annotations.insert(FILEPATH.to_owned(), file.path.clone());
        annotations.insert(TITLE.to_owned(), file.path.clone());
        annotations.insert(METADATA.to_owned(), metadata(file)?);
        if !certain {
            annotations.insert(UNTESTED.to_owned(), "true".to_owned());
        }
        layers.push(layer);
    }
    let weights = |extension: &str| source.files.iter().any(|file| file.path.ends_with(extension));
    let format = [(".safetensors", "safetensors"), (".onnx", "onnx")].into_iter().find(|(end, _)| weights(end));
    let config = Config {
        descriptor: General {
            created_at: about.created.to_string(),
            family: about.family.clone(),
            name: about.model.clone(),
            version: about.version.to_string(),
            title: about.title(),
            revision: about.digest.to_string(),
        },
        config: Technical { format: format.map(|(_, name)| name) },
        modelfs: ModelFs { kind: "layers", diff_ids: layers.iter().map(|layer| layer.digest.clone()).collect() },
    };
    let config = writer.document(MODEL_CONFIG, &config)?;
    let (media_type, artifact_type) = (Some(IMAGE.to_owned()), Some(MODEL.to_owned()));
    let annotations = about.annotations();
    let image = Image { schema_version: 2, media_type, artifact_type, config, layers, annotations };
    Ok(Finished { image, platform: None })
}

/// Reads the files of all layers: raw ones under the path that is written on them, and tars.
pub(super) fn read(layout: &Layout, image: &Image, tree: &mut Tree) -> Result<()> {
    for layer in &image.layers {
        if !layer.media_type.starts_with(LAYER) {
            let reason = format!("layer {} is a `{}`", layer.digest.short(), plain(&layer.media_type));
            return Err(Error::refused(layout.name(), format!("{reason}, which is no layer of a model")));
        }
        if layer.media_type.ends_with(".raw") {
            raw(layout, layer, tree)?;
        } else {
            modelcar::unpack(layout, layer, "", 0, tree)?;
        }
    }
    Ok(())
}

fn raw(layout: &Layout, layer: &Descriptor, tree: &mut Tree) -> Result<()> {
    let Some(path) = layer.annotation(FILEPATH).or(layer.annotation(TITLE)) else {
        let reason = format!("layer {} names no file (annotation `{FILEPATH}`)", layer.digest.short());
        return Err(Error::refused(layout.name(), reason));
    };
    let mut blob = layout.blob(layer)?;
    let name = layout.name();
    let found = tree.put(path, layer.size, 0, &mut |chunk| blob.read(chunk).map_err(Error::io(Path::new(&name))))?;
    if found == layer.digest.hex() {
        return Ok(());
    }
    Err(Error::Tampered { path: path.to_owned(), expected: layer.digest.hex().to_owned(), found })
}

/// The media type of a file, going by its name, and whether that is certain.
fn kind(path: &str) -> (&'static str, bool) {
    if [MANIFEST, PROVENANCE, SIGNATURE].contains(&path) {
        return (DOC, true);
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "safetensors" | "onnx" => (WEIGHT, true),
        "md" | "txt" => (DOC, true),
        "json" | "yaml" | "yml" | "toml" => (WEIGHT_CONFIG, true),
        _ if ["LICENSE", "NOTICE", "README"].contains(&name) => (DOC, true),
        _ => (WEIGHT, false),
    }
}

fn metadata(file: &File) -> Result<String> {
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    let mtime = "1970-01-01T00:00:00Z";
    let metadata = Metadata { name, mode: 0o644, uid: 0, gid: 0, size: file.bytes, mtime, typeflag: b'0' };
    serde_json::to_string(&metadata).map_err(|source| Error::Json { path: file.path.clone(), source })
}
