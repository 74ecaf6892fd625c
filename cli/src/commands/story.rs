//! `fairway story DIR`: plays a story against an endpoint that is served elsewhere, such as on a cluster. It reads how
//! things stand from the bucket, as anybody can, and needs no cluster's rights.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairway_registry::{Registry, StoreOptions};
use object_store::ObjectStoreExt as _;
use object_store::path::Path as Key;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::up::Signals;
use super::validate;
use crate::args;
use crate::exit::{Code, Invalid};
use crate::runtime::{Clock, Spec, stored_report};
use crate::story::{Stage, Story};

/// The bucket is read, and the shop's files are copied to it, this often.
const EVERY: Duration = Duration::from_secs(2);
const DAY: Duration = Duration::from_secs(86_400);

/// Plays until the story is over, or Ctrl-C.
///
/// # Errors
/// Manifests, bucket or work folder cannot be used.
pub async fn run(story: args::Story) -> Result<Code> {
    let variables: BTreeMap<String, String> = validate::variables(&story.variables)?;
    let manifests = validate::load(&story.path, &variables)?;
    let mut spec = Spec::from_manifests(&manifests, Path::new("/"), "")?;
    if spec.namespace == "default" {
        spec.namespace.clone_from(&story.namespace);
    }
    let options = story.store.options()?;
    let registry = Registry::open_or_init(&spec.registry, &options).await?;
    let Some(found) = Story::find(&manifests)? else {
        bail!(Invalid(format!("{} has no story", story.path.display())));
    };
    let clock = Clock::real();
    // The shop is opened so long ago that its first shift is as far away as was asked for.
    let age = DAY * u32::try_from(found.first_shift().max(0)).unwrap_or(0);
    let opened = clock.now() + Duration::from_secs(story.shift_after) - age;
    let found = found.acts_within(Duration::from_secs(story.act_within));
    let prepared = found.prepare(&story.work, opened)?;
    let sales = story.work.join("shop/transactions");
    let mirror = Mirror::to(&spec.recipe.data().interactions.url, &options)?;
    mirror.copy(&sales).await?;
    eprintln!("the shop is open: {} holds its past sales", spec.recipe.data().interactions.url);
    if story.seed_only {
        return Ok(Code::Done);
    }
    let stop = CancellationToken::new();
    let (report_in, report) = watch::channel(Arc::new(serde_json::Value::Null));
    let model = registry.model(&spec.namespace, &spec.model)?;
    let endpoint = registry.endpoint(&spec.namespace, &spec.endpoint)?;
    let watching = async {
        loop {
            match stored_report(&model, &endpoint).await {
                Ok(now) => drop(report_in.send(Arc::new(now))),
                Err(error) => eprintln!("warning: the bucket cannot be read: {error:#}"),
            }
            if let Err(error) = mirror.copy(&sales).await {
                eprintln!("warning: sales cannot be copied to the bucket: {error:#}");
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    let stage = Stage { public: story.url.clone(), registry: registry.clone(), spec: spec.clone(), clock };
    let mut signals = Signals::new()?;
    tokio::select! {
        () = answers(&story.url) => eprintln!("{} answers: the customers come", story.url),
        () = signals.stop() => bail!("stopped before the endpoint answered"),
    }
    let told = tokio::select! {
        told = prepared.play(stage, report, stop.clone()) => told?,
        () = watching => bail!("the watch has ended"),
        () = signals.stop() => bail!("stopped before the story was over"),
    };
    stop.cancel();
    Ok(if told { Code::Done } else { Code::Failed })
}

/// Waits, for ever, until somebody serves there: customers who come before the shop is no fault of the shop's.
async fn answers(url: &str) {
    let client = reqwest::Client::builder().timeout(EVERY).build().unwrap_or_default();
    while !matches!(client.get(format!("{url}/readyz")).send().await, Ok(answer) if answer.status().is_success()) {
        tokio::time::sleep(EVERY).await;
    }
}

/// A folder of files that are written once, copied to a bucket as they come.
struct Mirror {
    store: Box<dyn object_store::ObjectStore>,
    prefix: Key,
    copied: std::sync::Mutex<std::collections::BTreeSet<String>>,
}

impl Mirror {
    fn to(url: &str, options: &StoreOptions) -> Result<Self> {
        let parsed = url.parse().with_context(|| format!("spec.data.interactions.url: {url}"))?;
        let environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let options = environment.filter(|(name, _)| name.starts_with("aws_")).chain(options.clone());
        let (store, prefix) = object_store::parse_url_opts(&parsed, options)
            .with_context(|| format!("spec.data.interactions.url: {url} must be a bucket that pods can read"))?;
        Ok(Self { store, prefix, copied: std::sync::Mutex::default() })
    }

    async fn copy(&self, folder: &Path) -> Result<()> {
        for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let is_there = self.copied.lock().expect("no panic while it is held").contains(&name);
            if is_there || name.starts_with('.') {
                continue;
            }
            let bytes = tokio::fs::read(entry.path()).await?;
            self.store.put(&self.prefix.clone().join(name.as_str()), bytes.into()).await.context("copying sales")?;
            self.copied.lock().expect("no panic while it is held").insert(name);
        }
        Ok(())
    }
}
