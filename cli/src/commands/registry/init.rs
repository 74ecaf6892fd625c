//! `fairway registry init`: makes a place a registry, if its store may hold one.

use anyhow::Result;
use clap::Args;
use fairway_registry::{Access, Registry};
use serde_json::json;

use super::probe;
use crate::args::StoreArgument;
use crate::exit::Code;
use crate::output::Output;

/// Make a bucket or a folder a registry
///
/// Makes a place a registry. First it tries out whether the store keeps what was created when many write at once: without
/// that, two writers could both believe that they won. Then it creates `registry.json`. A registry that is there already
/// is left as it is.
///
/// Example:  fairway registry init /srv/models
///
/// Example:  fairway registry init s3://acme-models/prod --store-option aws_region=eu-west-1
#[derive(Debug, Args)]
pub struct Init {
    /// The place: s3://bucket/prefix, gs://…, az://…, or a folder
    pub url: String,
    /// How to reach it
    #[command(flatten)]
    pub store: StoreArgument,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Makes the registry and prints what was found out about the store.
///
/// # Errors
/// The store may not hold one, or lets nobody in.
pub async fn run(init: Init) -> Result<Code> {
    let options = init.store.options()?;
    let was_there = Registry::open_with(&init.url, &options, Access::Read).await.is_ok();
    let (registry, report) = Registry::init(&init.url, &options).await?;
    let value = json!({"url": registry.url(), "created": !was_there, "report": report});
    init.output.print(&value, |_| {
        let done = if was_there { "was a registry already, and is left as it is" } else { "is a registry now" };
        format!("{}\n\n{} {done}", probe::draw(&report), registry.url())
    })?;
    Ok(Code::Done)
}
