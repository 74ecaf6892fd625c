//! `fairway registry push`: brings a folder in as the next version.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use fairway_registry::Access;

use super::enter::{Entering, Tree, enter};
use super::find::{now, open};
use super::transfer::{Bar, interruptible};
use crate::args::RegistryArgument;
use crate::exit::{Code, Invalid};

/// Bring a folder in as the next version of a model
///
/// Brings a folder in as the next version of a model: hashes its files, sends those that are not there yet, and registers
/// it in one commit. Until then nobody sees it. A folder that `fairway bundle check` has something against is refused, as no
/// server would load it. Pickles are refused, as they run code when loaded. What is in the folder's provenance.json, or in
/// --provenance, becomes part of the version.
///
/// Example:  fairway registry push ./bundle --model shop/recs --metric recall@20=0.31
#[derive(Debug, Args)]
pub struct Push {
    /// The folder
    pub dir: PathBuf,
    /// Take it though it is no bundle that a server here would load: for models that a server of your own answers for
    #[arg(long)]
    pub unchecked: bool,
    /// What is said of it
    #[command(flatten)]
    pub said: Entering,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Pushes.
///
/// # Errors
/// The folder may not enter, or the registry cannot be written.
pub async fn run(push: Push) -> Result<Code> {
    let registry = open(&push.registry, Access::Write).await?;
    let bar = Bar::new(push.registry.output);
    let work = async {
        let tree = Tree::open(&push.dir, Vec::new()).await?;
        if !push.unchecked {
            let dir = push.dir.clone();
            tokio::task::spawn_blocking(move || check(&dir)).await??;
        }
        enter(&registry, &tree, &push.said, new_run(), &bar).await
    };
    let entered = interruptible(&bar, work).await?;
    push.registry.output.print(&entered.value(), |_| entered.told(push.said.alias.as_deref(), None))?;
    Ok(Code::Done)
}

/// What no server would load is told before anything is sent.
fn check(dir: &Path) -> Result<()> {
    let findings = fairway_model::check(dir);
    if findings.is_empty() {
        return Ok(());
    }
    let findings: Vec<String> = findings.iter().map(|finding| format!("  {finding}")).collect();
    let shown = dir.display();
    bail!(Invalid(format!(
        "`fairway bundle check` refuses {shown}; mend it, or take it as it is with --unchecked:\n{}",
        findings.join("\n")
    )))
}

/// A name for a run that has none.
pub fn new_run() -> String {
    let chance: [u8; 3] = rand::random();
    format!("push-{}-{}", now().strftime("%Y%m%dt%H%M%S"), hex::encode(chance))
}
