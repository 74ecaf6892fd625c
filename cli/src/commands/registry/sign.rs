//! `fairway registry sign`: puts a signature beside a version's tree.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use fairway_registry::Access;
use fairway_registry::sign::PrivateKey;
use serde_json::json;

use super::find::{Acting, open, version};
use super::verify::read_pem;
use crate::args::{AuthorArgument, RegistryArgument, VersionName};
use crate::exit::Code;

/// Sign a version with a private key
///
/// Signs every file of a version and its manifest, and puts the signature (OpenSSF Model Signing v1.0) beside its tree, in
/// place of an older one. Whoever pulls it gets the signature along, and can verify it without any registry. The key
/// stays on this machine.
///
/// Example:  fairway registry sign @challenger --key release.pem
#[derive(Debug, Args)]
pub struct Sign {
    /// `models:/name@challenger`, `models:/name/3`, `models:/name@sha256:…`
    #[arg(value_name = "VERSION")]
    pub version: VersionName,
    /// The private key: ECDSA P-256 in PEM; `fairway registry keygen` makes one
    #[arg(long, value_name = "PRIVATE.pem")]
    pub key: PathBuf,
    /// Who and why
    #[command(flatten)]
    pub author: AuthorArgument,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Signs.
///
/// # Errors
/// The key cannot be read, or there is no such version.
pub async fn run(sign: Sign) -> Result<Code> {
    warn_if_others_read(&sign.key)?;
    let key = PrivateKey::from_pem(&read_pem(&sign.key)?).with_context(|| sign.key.display().to_string())?;
    let registry = open(&sign.registry, Access::Write).await?;
    let (model, version) = version(&registry, &sign.version).await?;
    let acting = Acting::from(&sign.author);
    let entry = model.log.sign(version.number, &key, acting.author()).await?;
    let hint = key.public().hint();
    let value = json!({
        "model": model.full_name(), "version": version.number, "digest": version.digest, "key": hint, "seq": entry.seq,
    });
    sign.registry.output.print(&value, |_| {
        let name = model.full_name();
        format!("signed {name} version {} ({}) with key {}", version.number, version.digest, &hint[..12])
    })?;
    Ok(Code::Done)
}

fn warn_if_others_read(path: &Path) -> Result<()> {
    let about = std::fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
    if about.permissions().mode() & 0o077 != 0 {
        eprintln!("warning: others can read the private key {0}: chmod 600 {0}", path.display());
    }
    Ok(())
}
