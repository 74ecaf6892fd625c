//! A version's files in a folder that cannot be replaced as a whole, such as a mounted volume. They are fetched and checked
//! within it, under a name of their own, and then moved to the top, the manifest last: a folder with a manifest is whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fairway_registry::sign::PublicKey;
use fairway_registry::{Digest, Manifest, ModelLog, holds};

use super::fetched::{fetched, signed};
use crate::exit::Invalid;

/// Where files are before they are moved. While it is there, all beside it is from an attempt that did not finish.
const WORK: &str = ".fairway";
/// The list of a version's files.
const MANIFEST: &str = "manifest.json";

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// The very files were there already.
    Before,
    /// They are there now.
    Now,
}

/// Makes a folder hold a version's files and nothing else. Another version in it is replaced, once this one is checked.
///
/// # Errors
/// The version is not signed as asked, not there, or not what its digest says; or the folder holds what is no version's.
pub async fn placed(
    log: &ModelLog,
    digest: &Digest,
    folder: &Path,
    signers: &[PublicKey],
    unsigned: &'static str,
) -> Result<Placed> {
    fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    let work = folder.join(WORK);
    if holds(folder, digest).await {
        signed(log, digest, signers, unsigned).await?;
        let _ = fs::remove_dir_all(&work);
        return Ok(Placed::Before);
    }
    let goes_on = work.exists();
    if !goes_on {
        refuse_foreign(folder)?;
    }
    let tree = match fetched(log, digest, &work, signers, unsigned).await {
        Ok(tree) => tree,
        Err(error) => {
            if !goes_on {
                let _ = fs::remove_dir_all(&work);
            }
            return Err(error);
        }
    };
    let (folder, shown) = (folder.to_owned(), folder.display().to_string());
    let moving = tokio::task::spawn_blocking(move || take_over(&tree, &folder));
    moving.await?.with_context(|| format!("moving the version's files into {shown}"))?;
    Ok(Placed::Now)
}

/// A folder with a manifest was filled from a registry, even where somebody has changed files since.
fn refuse_foreign(folder: &Path) -> Result<()> {
    let is_ours = || serde_json::from_slice::<Manifest>(&fs::read(folder.join(MANIFEST)).ok()?).ok();
    if !entries(folder)?.is_empty() && is_ours().is_none() {
        let shown = folder.display();
        bail!(Invalid(format!("{shown} holds files that are no version's: name an empty folder, or empty this one")));
    }
    Ok(())
}

fn take_over(tree: &Path, folder: &Path) -> Result<()> {
    let work = folder.join(WORK);
    // What says that the folder is whole goes first, and comes last.
    let manifest = folder.join(MANIFEST);
    if manifest.exists() {
        fs::remove_file(&manifest)?;
    }
    for old in entries(folder)?.into_iter().filter(|path| *path != work) {
        if fs::symlink_metadata(&old)?.is_dir() { fs::remove_dir_all(&old)? } else { fs::remove_file(&old)? }
    }
    let manifest = tree.join(MANIFEST);
    for new in entries(tree)?.into_iter().filter(|path| *path != manifest).chain([manifest.clone()]) {
        let name = new.file_name().context("a file without a name")?;
        fs::rename(&new, folder.join(name))?;
    }
    fs::remove_dir_all(&work)?;
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let reading = || format!("reading {}", folder.display());
    let found = fs::read_dir(folder).with_context(reading)?.map(|entry| entry.map(|it| it.path()));
    found.collect::<Result<_, _>>().with_context(reading)
}
