//! `fairway registry copy`: brings a version into another registry, or under another model's name.

use anyhow::{Result, bail};
use clap::Args;
use fairway_registry::{Access, Registration, Registry};
use serde_json::json;
use std::collections::BTreeSet;

use super::find::{Acting, model_to_fill, open, version};
use super::transfer::{Bar, interruptible};
use crate::args::{AuthorArgument, ModelName, RegistryArgument, StoreOption, VersionName, options_of};
use crate::exit::{Code, Invalid};

/// Bring a version into another registry or under another model's name, with the same digest
///
/// Brings a version into another registry, or under another model's name, with the same digest, run, metrics, labels and
/// signature. Approvals and holds are not taken along: they are the word of people about the place where they gave it.
/// Within one store the store copies by itself.
///
/// Example:  fairway registry copy models:/recs@champion --registry /srv/staging --to-registry s3://acme-models/prod --alias candidate
#[derive(Debug, Args)]
pub struct Copy {
    /// `models:/name@champion`, `models:/name/3`, `models:/name@sha256:…`
    #[arg(value_name = "VERSION")]
    pub version: VersionName,
    /// The other registry [default: the same one]
    #[arg(long, value_name = "URL", required_unless_present = "to_model")]
    pub to_registry: Option<String>,
    /// Option of the other registry's store
    #[arg(long = "to-store-option", value_name = "NAME=VALUE", requires = "to_registry")]
    pub to_store_options: Vec<StoreOption>,
    /// The model there [default: the same name]
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub to_model: Option<ModelName>,
    /// The run there, where another version has the same one
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
    /// An alias there to point to it in the same commit
    #[arg(long, value_name = "ALIAS")]
    pub alias: Option<String>,
    /// Who and why
    #[command(flatten)]
    pub author: AuthorArgument,
    /// Where from, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Copies.
///
/// # Errors
/// There is no such version, or the other registry refuses it.
pub async fn run(copy: Copy) -> Result<Code> {
    let registry = open(&copy.registry, Access::Read).await?;
    let (from, version) = version(&registry, &copy.version).await?;
    let target = match &copy.to_registry {
        Some(url) => Registry::open_with(url, &options_of(&copy.to_store_options)?, Access::Write).await?,
        None => open(&copy.registry, Access::Write).await?,
    };
    let same = ModelName { namespace: Some(from.namespace.clone()), name: from.name.clone() };
    let to = model_to_fill(&target, copy.to_model.as_ref().unwrap_or(&same)).await?;
    if target.url() == registry.url() && to.full_name() == from.full_name() {
        bail!(Invalid("it is there already: name another registry or another model".to_owned()));
    }
    let acting = Acting::from(&copy.author);
    let author = acting.author();
    let alias = copy.alias.as_ref().map(|alias| alias.trim_start_matches('@').to_owned());
    let registration = Registration {
        run: copy.run.clone().unwrap_or_else(|| version.run.clone()),
        actor: author.actor.to_owned(),
        time: author.time,
        metrics: version.metrics.clone(),
        labels: version.labels.clone(),
        provenance: serde_json::Value::Null,
        kinds: BTreeSet::new(),
        alias: alias.clone(),
        reason: author.reason.to_owned(),
    };
    let bar = Bar::new(copy.registry.output);
    let before = to.log.state().await?.last_number;
    let work = async { Ok(to.log.register_copy(&from.log, &version.digest, registration, &bar.progress()).await?) };
    let copied = interruptible(&bar, work).await?;
    if copied.digest != version.digest {
        let what = format!("run {} has registered version {} of {} there", copied.run, copied.number, to.full_name());
        bail!(Invalid(format!("{what}, which is another tree: name another run with --run")));
    }
    let is_new = copied.number > before;
    let value = json!({
        "from": {"model": from.full_name(), "version": version.number, "registry": registry.url()},
        "model": to.full_name(),
        "registry": target.url(),
        "version": copied,
        "new": is_new,
    });
    copy.registry.output.print(&value, |_| {
        let (name, number, url) = (to.full_name(), copied.number, target.url());
        if !is_new {
            return format!("{name} version {number} of {url} is this version already; nothing was written");
        }
        let alias = alias.map_or_else(String::new, |alias| format!(", @{alias} points to it"));
        let digest = &copied.digest;
        format!(
            "{} version {} is {name} version {number} of {url} now{alias}\n  digest {digest} (the same)",
            from.full_name(),
            version.number
        )
    })?;
    Ok(Code::Done)
}
