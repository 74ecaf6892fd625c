//! `fairway registry verify`: checks a signature, in a registry or without one.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use fairway_registry::sign::{PublicKey, Verified};
use fairway_registry::{Access, Error, verify_folder};
use serde_json::{Value, json};

use super::find::{open, version};
use crate::args::{RegistryArgument, VersionName};
use crate::exit::{Code, Invalid};

const PEM_BYTES_MAX: u64 = 64 << 10;

/// Check the signature of a version, or of a folder without any registry
///
/// Checks that one of the keys has signed a version, or a folder: every file in it as it is now, and nothing besides. A
/// folder needs no registry. The exit code is 1 when the signature does not hold.
///
/// Example:  fairway registry verify models:/recs@champion --key release.pub.pem
///
/// Example:  fairway registry verify ./model --key release.pub.pem
#[derive(Debug, Args)]
pub struct Verify {
    /// A version, or a folder; write ./3 for a folder that is called like a version
    #[arg(value_name = "VERSION|DIR")]
    pub what: String,
    /// A public key that is trusted; may be given again
    #[arg(long = "key", value_name = "PUBLIC.pem", required = true)]
    pub keys: Vec<PathBuf>,
    /// The signature of a folder [default: model.sig in it]
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Verifies.
///
/// # Errors
/// The signature does not hold, or there is none.
pub async fn run(verify: Verify) -> Result<Code> {
    let keys = read_keys(&verify.keys)?;
    let (what, verified, more, extra) = match verify.what.parse::<VersionName>() {
        Ok(name) => {
            if verify.signature.is_some() {
                bail!(Invalid("--signature is for folders: a version's signature lies beside it".to_owned()));
            }
            in_registry(&name, &keys, &verify.registry).await?
        }
        Err(_) if Path::new(&verify.what).is_dir() => in_folder(&verify, keys).await?,
        Err(error) => bail!(Invalid(format!("{error}; and there is no folder of that name"))),
    };
    let mut value = json!({"verified": true, "key": verified.key_hint, "name": verified.name, "root": verified.root});
    if let (Some(value), Value::Object(extra)) = (value.as_object_mut(), extra) {
        value.extend(extra);
    }
    verify.registry.output.print(&value, |_| {
        format!(
            "{what}: the signature holds\n  key     {}\n  signed  as `{}`\n{more}",
            &verified.key_hint[..12],
            verified.name
        )
    })?;
    Ok(Code::Done)
}

type Found = (String, Verified, &'static str, Value);

async fn in_registry(name: &VersionName, keys: &[PublicKey], argument: &RegistryArgument) -> Result<Found> {
    let registry = open(argument, Access::Read).await?;
    let (model, version) = version(&registry, name).await?;
    let what = format!("{} version {}", model.full_name(), version.number);
    let verified = model.log.verify(&version.digest, keys).await.map_err(|error| not_verified(&what, error))?;
    let extra = json!({"model": model.full_name(), "version": version.number, "digest": version.digest});
    let more = "It covers the digests of all files; their bytes are checked against these when they are pulled.";
    Ok((what, verified, more, extra))
}

async fn in_folder(verify: &Verify, keys: Vec<PublicKey>) -> Result<Found> {
    let folder = PathBuf::from(&verify.what);
    let what = folder.display().to_string();
    let signature = verify.signature.clone().unwrap_or_else(|| folder.join("model.sig"));
    if !signature.is_file() {
        bail!(Invalid(format!("there is no signature {}: name it with --signature", signature.display())));
    }
    let verified = tokio::task::spawn_blocking(move || verify_folder(&folder, &signature, &keys))
        .await?
        .map_err(|error| not_verified(&what, error))?;
    let extra = json!({"folder": what});
    Ok((what, verified, "Every file in the folder is the one that was signed, and there is no other.", extra))
}

/// A signature that does not hold is no wrong argument, whatever the registry calls it.
pub fn not_verified(what: &str, error: Error) -> anyhow::Error {
    anyhow::anyhow!("{what}: NOT verified: {error}")
}

/// The public keys in files.
///
/// # Errors
/// One cannot be read, or is no key that signs models.
pub fn read_keys(paths: &[PathBuf]) -> Result<Vec<PublicKey>> {
    let key = |path: &PathBuf| PublicKey::from_pem(&read_pem(path)?).with_context(|| path.display().to_string());
    paths.iter().map(key).collect()
}

/// The text of a key file.
///
/// # Errors
/// It cannot be read, or is too long to be one.
pub fn read_pem(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let mut text = String::new();
    file.take(PEM_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|_| Invalid(format!("{} is no PEM text", path.display())))?;
    if text.len() as u64 > PEM_BYTES_MAX {
        bail!(Invalid(format!("{} is too long to be a key", path.display())));
    }
    Ok(text)
}
