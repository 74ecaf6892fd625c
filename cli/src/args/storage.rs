//! The command line of `fairway storage-initializer`, and the URIs by which KServe names versions.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use fairway_registry::Reference;

use super::{ModelName, StoreArgument, VersionName};

/// What these URIs begin with; a ClusterStorageContainer has it among its `supportedUriFormats`.
const SCHEME: &str = "fairway://";
/// How versions are written everywhere else.
const PLAIN: &str = "models:/";

/// See [`super::Command::StorageInitializer`].
#[derive(Debug, Args)]
pub struct StorageInitializer {
    /// What to fetch and where to: fairway://NAMESPACE/MODEL@champion, …/MODEL/3 or …/MODEL@sha256:…, then a folder; may be
    /// repeated
    #[arg(value_names = ["URI", "DIR"], num_args = 2.., required = true)]
    pub pairs: Vec<String>,
    /// The registry: s3://bucket/prefix, gs://…, az://…, or a folder
    #[arg(long, value_name = "URL", env = "FAIRWAY_REGISTRY")]
    pub registry: Option<String>,
    /// A public key (PEM) of which one must have signed the version; may be given several times
    #[arg(long = "signer", value_name = "FILE")]
    pub signers: Vec<PathBuf>,
    /// The same as text: public keys (PEM), one after the other
    #[arg(long = "signers", value_name = "PEM", env = "FAIRWAY_SIGNERS")]
    pub signers_text: Option<String>,
    /// How to reach the registry's store
    #[command(flatten)]
    pub store: StoreArgument,
}

/// A version as KServe's `storageUri` names it. Other than a [`VersionName`] it always has the namespace: nobody is there to be
/// asked which one was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageUri {
    /// The model's namespace.
    pub namespace: String,
    /// The model.
    pub model: String,
    /// Which of its versions.
    pub reference: Reference,
}

impl FromStr for StorageUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            let text: String = text.chars().take(200).flat_map(char::escape_default).collect();
            format!(
                "`{text}` {why}: write fairway://NAMESPACE/MODEL@champion, fairway://NAMESPACE/MODEL/3 or \
                 fairway://NAMESPACE/MODEL@sha256:…"
            )
        };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| wrong("does not begin with fairway://"))?;
        let named: VersionName = format!("{PLAIN}{rest}").parse().map_err(|_| wrong("names no version"))?;
        match named.model {
            Some(ModelName { namespace: Some(namespace), name }) if !namespace.is_empty() => {
                Ok(Self { namespace, model: name, reference: named.reference })
            }
            _ => Err(wrong("names no namespace")),
        }
    }
}

impl fmt::Display for StorageUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.reference.to_string();
        write!(f, "{SCHEME}{}/{}", self.namespace, plain.strip_prefix(PLAIN).unwrap_or(&plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_version_names_with_a_namespace() {
        let digest = fairway_registry::Digest::of(b"x");
        for rest in ["shop/recs@champion", "shop/recs/3", "a/home-feed.v2@previous", &format!("shop/recs@{digest}")] {
            let uri: StorageUri = format!("fairway://{rest}").parse().unwrap();
            assert_eq!(uri.to_string(), format!("fairway://{rest}"));
            let plain: VersionName = format!("models:/{rest}").parse().unwrap();
            let model = ModelName { namespace: Some(uri.namespace), name: uri.model };
            assert_eq!((Some(model), uri.reference), (plain.model, plain.reference), "{rest}");
        }
    }

    #[test]
    fn others_are_refused_with_what_to_write() {
        for (bad, why) in [
            ("s3://shop/recs", "does not begin with fairway://"),
            ("models:/shop/recs@champion", "does not begin with fairway://"),
            ("fairway://", "names no version"),
            ("fairway://shop/recs", "names no version"),
            ("fairway://shop/recs@", "names no version"),
            ("fairway://shop/recs/3/", "names no version"),
            ("fairway://a/b/recs/3", "names no version"),
            ("fairway://shop/recs@sha256:ab", "names no version"),
            ("fairway://recs@champion", "names no namespace"),
            ("fairway://recs/3", "names no namespace"),
            ("fairway:///recs/3", "names no namespace"),
        ] {
            let error = bad.parse::<StorageUri>().unwrap_err();
            assert!(error.contains(why) && error.contains("fairway://NAMESPACE/MODEL@champion"), "{bad}: {error}");
        }
    }
}
