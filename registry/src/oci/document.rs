//! The JSON documents of a layout: descriptors, the index and the manifest of an image. Fields are
//! written in the order in which they stand here, so that the same image has the same digest.
//! Image specification v1.1: descriptor.md, image-index.md, manifest.md.

use super::{Format, LAYERS_BYTES_MAX, LAYERS_MAX};
use crate::{Digest, Error, Result};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const IMAGE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const MODEL: &str = "application/vnd.cncf.model.manifest.v1+json";
pub(super) const MODEL_CONFIG: &str = "application/vnd.cncf.model.config.v1+json";
/// The tag of an image, on its descriptor in the index.
pub(super) const REFERENCE: &str = "org.opencontainers.image.ref.name";
/// The path of a file, on its layer, as ORAS writes and reads it.
pub(super) const TITLE: &str = "org.opencontainers.image.title";

const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// Where a blob is, and what it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, deserialize_with = "or_none", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub fn is_index(&self) -> bool {
        self.media_type == INDEX || self.media_type == DOCKER_INDEX
    }

    /// BuildKit puts statements about an image beside it, for a platform of this name.
    pub fn is_statement(&self) -> bool {
        self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }
}

/// What an image runs on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Platform {
    pub architecture: String,
    pub os: String,
}

/// The images of a layout, or those for several platforms.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: Option<String>,
    pub manifests: Vec<Descriptor>,
}

/// The manifest of an image or artifact.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Image {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "or_none", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Image {
    /// How files lie in it; `name` is for messages.
    pub fn format(&self, name: &str) -> Result<Format> {
        let artifact = self.artifact_type.as_deref().unwrap_or_default();
        match self.config.media_type.as_str() {
            IMAGE_CONFIG | DOCKER_CONFIG if artifact.is_empty() => Ok(Format::Modelcar),
            MODEL_CONFIG => Ok(Format::Modelpack),
            _ if artifact == MODEL => Ok(Format::Modelpack),
            other => {
                let kind = plain(if artifact.is_empty() { other } else { artifact });
                Err(Error::refused(name, format!("is a `{kind}`, neither an ordinary image nor a ModelPack artifact")))
            }
        }
    }

    /// Refuses an image that is larger than any version; `name` is for messages.
    pub fn check(&self, name: &str) -> Result<()> {
        if self.layers.len() > LAYERS_MAX {
            return Err(Error::refused(name, format!("{} layers, the most is {LAYERS_MAX}", self.layers.len())));
        }
        let total = self.layers.iter().try_fold(0_u64, |sum, layer| sum.checked_add(layer.size));
        if total.is_none_or(|total| total > LAYERS_BYTES_MAX) {
            return Err(Error::refused(name, format!("its layers have more than {LAYERS_BYTES_MAX} bytes")));
        }
        Ok(())
    }
}

/// Refuses a layer that is no plain tar, and says what to do; `name` is for messages.
pub(super) fn plain_tar(layer: &Descriptor, name: &str) -> Result<()> {
    let kind = &layer.media_type;
    if ["gzip", "zstd", "bzip2", "xz"].iter().any(|how| kind.ends_with(how)) {
        let what = format!("layer {} is compressed (`{}`)", layer.digest.short(), plain(kind));
        let cure = "decompress it (`skopeo copy --dest-decompress oci:IMAGE dir:PLAIN`, then \
                    `skopeo copy --preserve-digests dir:PLAIN oci:NEW`), or build it with uncompressed layers";
        return Err(Error::refused(name, format!("{what}; {cure}")));
    }
    if !kind.ends_with("tar") {
        return Err(Error::refused(name, format!("layer {} is a `{}`, no tar", layer.digest.short(), plain(kind))));
    }
    Ok(())
}

/// Text of a stranger, fit for a message: short, and no control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars().take(128).flat_map(char::escape_default).collect()
}

/// Some tools write `null` where there are none.
fn or_none<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
