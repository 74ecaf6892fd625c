//! `fairway serve`: one version, in a process of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use fairway_model::Bundle;
use fairway_registry::{Access, Digest, Error as RegistryError, Registry};
use fairway_server::{Builtin, Inference, InferenceConfig, ModelServer, serve_model};
use fairway_wire::{Profile, Target};
use tokio_util::sync::CancellationToken;

use super::registry::verify::read_keys;
use super::up::{Signals, bind};
use crate::args::Serve;
use crate::exit::{Code, Invalid};
use crate::plane::{Behind, fetched};

const UNSIGNED: &str =
    "none of the --signer keys has signed this version: `fairway registry sign` it, or name another key";

/// Loads, proves, serves. Asked to stop it answers for a while yet.
///
/// # Errors
/// The version may not be served: it is not registered, not signed, damaged, or does not answer as it did.
pub async fn run(serve: Serve) -> Result<Code> {
    let mut signals = Signals::new()?;
    let temporary = tempfile::Builder::new().prefix("fairway-serve-").tempdir().context("making a temporary folder")?;
    let cache = serve.cache.clone().unwrap_or_else(|| temporary.path().to_owned());
    if serve.fetch_only {
        return tokio::select! {
            fetched = in_cache(&serve, &cache) => {
                let (_, dir) = fetched?;
                eprintln!("fetched {} of {} into {}", serve.version, serve.model, dir.display());
                Ok(Code::Done)
            }
            () = signals.stop() => Ok(Code::Stopped),
        };
    }
    let inference = tokio::select! {
        proved = prove(&serve, &cache) => proved?,
        () = signals.stop() => return Ok(Code::Stopped),
    };
    let listener = bind(serve.listen, "--listen").await?;
    eprintln!("serving {} of {} on http://{}", serve.version, serve.model, listener.local_addr()?);
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve_model(listener, inference, stop.clone()));
    signals.stop().await;
    eprintln!("stopping: not ready any more, answering for another {}", fairway_core::plan::spell(serve.drain.std()));
    stop.cancel();
    served.await?.context("serving")?;
    Ok(Code::Done)
}

/// The version, when it has answered as its trainer said.
async fn prove(serve: &Serve, cache: &Path) -> Result<Arc<Inference>> {
    let (target, dir) = in_cache(serve, cache).await?;
    let (server, profile) = match &serve.behind {
        None => loaded(&dir).await?,
        Some(url) => behind(serve, url, &dir).await?,
    };
    let config = InferenceConfig { drain_pause: serve.drain.std(), ..InferenceConfig::default() };
    Ok(Inference::new(&serve.model, target, server, &profile, config)?)
}

/// The version, and the folder where its files are now.
async fn in_cache(serve: &Serve, cache: &Path) -> Result<(Target, PathBuf)> {
    let keys = read_keys(&serve.signers)?;
    let digest: Digest =
        serve.version.parse().map_err(|error: RegistryError| Invalid(format!("--version: {error}")))?;
    let registry = Registry::open_with(&serve.registry, &serve.store.options()?, Access::Read).await?;
    let log = registry.model(&serve.namespace, &serve.model)?;
    let state = log.state().await.context("reading the registry")?;
    let version = state.by_digest(&digest).ok_or_else(|| {
        Invalid(format!("--version {digest}: no such version of {}/{} is registered", serve.namespace, serve.model))
    })?;
    let dir = fetched(&log, &digest, cache, &keys, UNSIGNED).await?;
    Ok((Target { version: version.number, digest: digest.to_string() }, dir))
}

async fn loaded(dir: &Path) -> Result<(Arc<dyn ModelServer>, Profile)> {
    let dir = dir.to_owned();
    let load = move || Bundle::load(&dir).context("the bundle was refused");
    let bundle = Arc::new(tokio::task::spawn_blocking(load).await??);
    let profile = bundle.profile.clone();
    Ok((Arc::new(Builtin(bundle)), profile))
}

async fn behind(serve: &Serve, url: &str, dir: &Path) -> Result<(Arc<dyn ModelServer>, Profile)> {
    let described = Bundle::describe(dir).context("the bundle was refused")?;
    let behind = Behind {
        url: url.to_owned(),
        model: serve.behind_model.clone().unwrap_or_else(|| serve.model.clone()),
        ready_within: serve.behind_within.std(),
    };
    Ok((behind.connect(&described).await?, described.profile))
}
