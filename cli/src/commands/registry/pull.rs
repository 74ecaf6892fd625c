//! `fairway registry pull`: fetches a version into a folder.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use fairway_registry::Access;
use serde_json::json;

use super::find::{open, version};
use super::scratch::Staged;
use super::transfer::{Bar, interruptible};
use super::verify::{not_verified, read_keys};
use super::words;
use crate::args::{RegistryArgument, VersionName};
use crate::exit::Code;

/// Fetch a version into a folder, every byte checked
///
/// Fetches a version into a folder. Every byte is checked against the version's digest; the folder appears once it is
/// whole. With --key a version is refused that none of these keys has signed.
///
/// Example:  fairway registry pull @champion --to ./model
///
/// Example:  fairway registry pull models:/recs/3 --to ./model --key release.pub.pem
#[derive(Debug, Args)]
pub struct Pull {
    /// `models:/name@champion`, `models:/name/3`, `models:/name@sha256:…`
    #[arg(value_name = "VERSION")]
    pub version: VersionName,
    /// The folder, which must not exist or be empty
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// A public key that must have signed it; of several, one
    #[arg(long = "key", value_name = "PUBLIC.pem")]
    pub keys: Vec<PathBuf>,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Pulls.
///
/// # Errors
/// There is no such version, its signature does not hold, or its bytes are not those of its digest.
pub async fn run(pull: Pull) -> Result<Code> {
    let keys = read_keys(&pull.keys)?;
    let registry = open(&pull.registry, Access::Read).await?;
    let (model, version) = version(&registry, &pull.version).await?;
    let bar = Bar::new(pull.registry.output);
    let work = async {
        let verified = match keys.is_empty() {
            true => None,
            false => {
                let what = format!("{} version {}", model.full_name(), version.number);
                let verified = model.log.verify(&version.digest, &keys).await;
                Some(verified.map_err(|error| not_verified(&what, error))?)
            }
        };
        let staged = Staged::beside(&pull.to)?;
        let fetched = model.log.fetch_telling(&version.digest, staged.path(), &bar.progress()).await?;
        staged.keep(&fetched)?;
        Ok(verified)
    };
    let verified = interruptible(&bar, work).await?;
    let key = verified.map(|verified| verified.key_hint);
    let value = json!({
        "model": model.full_name(),
        "version": version.number,
        "digest": version.digest,
        "bytes": version.bytes,
        "path": pull.to,
        "verifiedByKey": key,
    });
    pull.registry.output.print(&value, |_| {
        let size = format!("{}, {}", words::count(version.files as usize, "file"), words::bytes(version.bytes));
        let signed = key.as_ref().map_or_else(String::new, |key| format!("\n  signed by key {}", &key[..12]));
        format!(
            "pulled {} version {} into {}\n  digest {} (checked)\n  size   {size}{signed}",
            model.full_name(),
            version.number,
            pull.to.display(),
            version.digest
        )
    })?;
    Ok(Code::Done)
}
