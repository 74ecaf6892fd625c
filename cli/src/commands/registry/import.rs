//! `fairway registry import`: brings an OCI image or a folder in as the next version.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use fairway_registry::oci::{self, Imported};
use fairway_registry::sign::PublicKey;
use fairway_registry::{Access, Registry};
use serde_json::json;

use super::enter::{Entered, Entering, Tree, enter};
use super::find::open;
use super::push::new_run;
use super::scratch::Scratch;
use super::transfer::{Bar, blocking, interruptible};
use super::verify::read_keys;
use crate::args::RegistryArgument;
use crate::exit::{Code, Invalid};

/// Bring an OCI image or a folder in as the next version of a model
///
/// Brings the files of an OCI image layout (a folder, or a .tar), or of a plain folder, in as the next version of a model.
/// A version that was exported from a registry, or pulled, comes in with its own provenance, and has its digest again
/// unless somebody has changed it. With --key it is refused unless one of these keys has signed it, and its signature is
/// taken along. The same image gives the same version, however often it is imported.
///
/// Example:  skopeo copy --preserve-digests docker://registry.example.com/recs:3 oci:./recs:3
///
/// Example:  fairway registry import ./recs --model shop/recs --alias challenger --key release.pub.pem
#[derive(Debug, Args)]
pub struct Import {
    /// An image layout or a folder
    pub path: PathBuf,
    /// The tag or digest of the image, where the layout holds several
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// A public key that must have signed it; of several, one
    #[arg(long = "key", value_name = "PUBLIC.pem")]
    pub keys: Vec<PathBuf>,
    /// What is said of it
    #[command(flatten)]
    pub said: Entering,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Imports.
///
/// # Errors
/// The image cannot be read, its signature does not hold, or the registry refuses the files.
pub async fn run(import: Import) -> Result<Code> {
    let keys = read_keys(&import.keys)?;
    let registry = open(&import.registry, Access::Write).await?;
    let bar = Bar::new(import.registry.output);
    let (imported, entered) = interruptible(&bar, bring_in(&import, &registry, keys, &bar)).await?;
    let mut value = entered.value();
    value["image"] = json!(imported.as_ref().map(|image| &image.digest));
    value["format"] = json!(imported.as_ref().map(|image| image.format.to_string()));
    import.registry.output.print(&value, |_| entered.told(import.said.alias.as_deref(), imported.as_ref()))?;
    Ok(Code::Done)
}

async fn bring_in(
    import: &Import,
    registry: &Registry,
    keys: Vec<PublicKey>,
    bar: &Bar,
) -> Result<(Option<Imported>, Entered)> {
    if !import.path.exists() {
        bail!(Invalid(format!("{} does not exist", import.path.display())));
    }
    if !is_layout(&import.path) {
        if import.tag.is_some() {
            bail!(Invalid(format!("{} is no image layout, so that --tag means nothing", import.path.display())));
        }
        let tree = Tree::open(&import.path, keys).await?;
        return Ok((None, enter(registry, &tree, &import.said, new_run(), bar).await?));
    }
    let scratch = Scratch::near(&import.path)?;
    let files = scratch.path().join("files");
    bar.stage("read", 0);
    let (path, tag, into, meter) = (import.path.clone(), import.tag.clone(), files.clone(), bar.clone());
    let work = move || oci::import(&path, tag.as_deref(), &into, &mut |bytes| meter.add(bytes));
    let imported = blocking(work).await?;
    let tree = Tree::open(&files, keys).await?;
    let run = format!("import-{}", imported.digest.short());
    let entered = enter(registry, &tree, &import.said, run, bar).await?;
    Ok((Some(imported), entered))
}

/// A file can only be a layout in a tar.
fn is_layout(path: &Path) -> bool {
    path.is_file() || path.join("oci-layout").is_file()
}
