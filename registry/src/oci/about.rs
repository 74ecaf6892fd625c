//! What an image says about the version in it. It reads nothing: the caller knows the version.

use crate::{Digest, Error, Result, Timestamp, names};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The prefix of the annotations that the image specification defines.
const IMAGE: &str = "org.opencontainers.image.";
const REFERENCE_MAX: usize = 128;
const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;

/// The processor that an ordinary image is said to be for. A model runs nothing; container engines
/// choose images by it all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Architecture {
    /// x86, 64 bits.
    #[default]
    Amd64,
    /// ARM, 64 bits.
    Arm64,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Architecture::Amd64 => "amd64",
            Architecture::Arm64 => "arm64",
        })
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Architecture> {
        match text {
            "amd64" => Ok(Architecture::Amd64),
            "arm64" => Ok(Architecture::Arm64),
            _ => Err(invalid("architecture", "must be amd64 or arm64")),
        }
    }
}

/// The version that goes into an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The namespace of the model.
    pub namespace: String,
    /// The model.
    pub model: String,
    /// The number of the version.
    pub version: u64,
    /// The digest of the version, which is that of its manifest.
    pub digest: Digest,
    /// When the version was registered.
    pub created: Timestamp,
    /// The processor that a modelcar is said to be for.
    pub architecture: Architecture,
    /// The family of the model, such as `two-tower`; a modelpack says it in its configuration.
    pub family: Option<String>,
    /// The tag of the image in the layout: 1 to 128 letters, digits, `.`, `_` and `-`.
    pub reference: String,
    /// More annotations for the image's manifest.
    pub annotations: BTreeMap<String, String>,
    /// An image layout whose only image lies below the files of a modelcar. The sidecar of KServe's
    /// `oci://` runs `sh` in the image, so that it needs a base with a shell; image volumes need
    /// none.
    pub base: Option<PathBuf>,
}

impl About {
    /// Refuses what would give an image that no tool can name or read.
    pub(super) fn check(&self) -> Result<()> {
        names::name("namespace", &self.namespace)?;
        names::name("model", &self.model)?;
        // The grammar of tags: OCI distribution specification v1.1, "Pulling manifests".
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let ends_well = |text: &str| !text.starts_with(['.', '-']);
        let tag = &self.reference;
        if tag.is_empty() || tag.len() > REFERENCE_MAX || !tag.bytes().all(inner) || !ends_well(tag) {
            return Err(invalid("reference", "must be a tag: 1 to 128 of a-z, A-Z, 0-9, `.`, `_`, `-`"));
        }
        let own = self.own();
        if let Some(key) = self.annotations.keys().find(|key| key.is_empty() || own.contains_key(*key)) {
            return Err(invalid("annotations", &format!("`{key}` is empty or set by the export itself; leave it out")));
        }
        let bytes: usize = self.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > ANNOTATIONS_BYTES_MAX {
            return Err(invalid("annotations", &format!("{bytes} bytes, the most is {ANNOTATIONS_BYTES_MAX}")));
        }
        Ok(())
    }

    /// The annotations of the image's manifest.
    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        let mut all = self.own();
        all.extend(self.annotations.clone());
        all
    }

    /// `namespace/model`.
    pub(super) fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.model)
    }

    /// Image specification v1.1, annotations.md.
    fn own(&self) -> BTreeMap<String, String> {
        let annotation = |key: &str, value: String| (format!("{IMAGE}{key}"), value);
        BTreeMap::from([
            annotation("created", self.created.to_string()),
            annotation("revision", self.digest.to_string()),
            annotation("title", self.title()),
            annotation("version", self.version.to_string()),
        ])
    }
}

fn invalid(what: &str, reason: &str) -> Error {
    Error::Invalid { what: what.to_owned(), reason: reason.to_owned() }
}
