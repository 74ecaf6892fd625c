//! `fairway up DIR`: the whole loop in this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairway_api::Manifests;
use fairway_registry::Registry;
use fairway_registry::sign::PrivateKey;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::state::{Identity, Reach, StateFolder};
use super::validate;
use crate::args::Up;
use crate::exit::{Code, Invalid};
use crate::live;
use crate::runtime::{AdminState, Clock, Runtime, Spec, routes};
use crate::story::{self, Story};

/// The loop looks at least this often, in real time.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs until Ctrl-C, or until the story is over with `--once`.
///
/// # Errors
/// Manifests, bucket, state folder or ports cannot be used.
pub async fn run(up: Up) -> Result<Code> {
    let state = absolute(&up.state.clone().unwrap_or_else(|| default_state(&up.path)))?;
    let manifests = load(&up, &state)?;
    let base = folder_of(&up.path)?;
    std::fs::create_dir_all(&state).with_context(|| format!("creating {}", state.display()))?;
    let lock = StateLock::take(&state)?;
    let default_registry = format!("file://{}", state.join("registry").display());
    let mut spec = Spec::from_manifests(&manifests, &base, &default_registry)?;
    spec.signing_key = up.signing_key.as_deref().map(signing_key).transpose()?;
    let story = if up.no_story { None } else { Story::find(&manifests)? };
    if up.once && story.is_none() {
        bail!(Invalid(format!("--once needs a story, and {} has none", up.path.display())));
    }
    let registry = Registry::open_or_init(&spec.registry, &up.store.options()?).await?;
    let clock = clock(&up, story.as_ref(), Runtime::last_time(&spec, &registry).await?);
    let story = story.map(|story| story.prepare(&state, &clock)).transpose()?;

    let (mut runtime, commands) = Runtime::open(spec.clone(), &registry, &state, clock.clone()).await?;
    runtime.seed_users().await?;
    let listeners = (bind(up.listen, "--listen").await?, bind(up.admin, "--admin").await?);
    let reach = reach(&listeners)?;
    let folder = StateFolder::at(&state);
    let identity = Identity {
        registry: registry.url().to_owned(),
        namespace: spec.namespace.clone(),
        model: spec.model.clone(),
        endpoint: spec.endpoint.clone(),
    };
    folder.write(&identity, &reach)?;

    let stop = CancellationToken::new();
    let (report_in, report) = watch::channel(Arc::new(serde_json::json!(runtime.report())));
    let journal = runtime.journal().clone();
    let admin = AdminState { commands, report, journal: journal.clone(), token: reach.token.clone().into() };
    let servers = [
        tokio::spawn(fairway_server::serve_public(listeners.0, runtime.router().clone(), stop.clone())),
        tokio::spawn(fairway_server::serve_admin(listeners.1, runtime.router().clone(), routes(admin), stop.clone())),
    ];
    greet(&up, &spec, &reach, &state);
    let closed = CancellationToken::new();
    let showing = tokio::spawn(live::show(journal, runtime.meter().clone(), closed.clone()));
    let playing = story.map(|story| {
        let stage = story::Stage {
            public: reach.public.clone(),
            registry: registry.clone(),
            spec: spec.clone(),
            clock: clock.clone(),
        };
        tokio::spawn(story.play(stage, report_in.subscribe(), stop.clone()))
    });
    let outcome = drive(&mut runtime, &report_in, playing, up.once).await;

    eprintln!("stopping: answering what is in flight, then storing what is open");
    stop.cancel();
    for server in servers {
        server.await?.context("serving")?;
    }
    runtime.close().await?;
    closed.cancel();
    showing.await?;
    folder.forget_reach();
    drop(lock);
    outcome
}

fn signing_key(path: &Path) -> Result<Arc<PrivateKey>> {
    let pem = std::fs::read_to_string(path).with_context(|| format!("reading the key {}", path.display()))?;
    let key =
        PrivateKey::from_pem(&pem).map_err(|error| Invalid(format!("--signing-key {}: {error}", path.display())))?;
    Ok(Arc::new(key))
}

/// Looks again and again until somebody wants to stop. A bucket that fails is told and tried again: users are served.
async fn drive(
    runtime: &mut Runtime,
    report: &watch::Sender<Arc<serde_json::Value>>,
    mut playing: Option<tokio::task::JoinHandle<Result<bool>>>,
    once: bool,
) -> Result<Code> {
    let mut signals = Signals::new()?;
    let mut failures = 0_u32;
    loop {
        match runtime.look().await {
            Ok(_) => failures = 0,
            Err(error) => {
                failures += 1;
                eprintln!("warning: the loop cannot go on ({error:#}); users are served, trying again");
            }
        }
        // The page may be closed already.
        let _ = report.send(Arc::new(serde_json::json!(runtime.report())));
        let pause = LOOK_EVERY * (1 << failures.min(6));
        let finished = async {
            match &mut playing {
                Some(story) => story.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = signals.stop() => return Ok(Code::Done),
            told = finished => {
                playing = None;
                let went_as_told = told.context("the story broke down")??;
                if once {
                    return Ok(if went_as_told { Code::Done } else { Code::Failed });
                }
                eprintln!("The story is over; the shop goes on. Ctrl-C stops.");
            }
        }
    }
}

/// What asks a process to stop.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits until somebody asks.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn load(up: &Up, state: &Path) -> Result<Manifests> {
    let mut variables = BTreeMap::from([("state".to_owned(), state.display().to_string())]);
    variables.extend(validate::variables(&up.variables)?);
    validate::load(&up.path, &variables)
}

fn default_state(manifests: &Path) -> PathBuf {
    let name = manifests.file_stem().map_or_else(|| "default".into(), std::ffi::OsStr::to_os_string);
    Path::new(".fairway").join(name)
}

/// The folder that relative URLs in the manifests start from.
fn folder_of(manifests: &Path) -> Result<PathBuf> {
    let path = absolute(manifests)?;
    let parent = if path.is_dir() { None } else { path.parent().map(Path::to_owned) };
    Ok(parent.unwrap_or(path))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("the path {}", path.display()))
}

/// A story starts on its own day and a restarted one goes on where the bucket stands; everything else is real time.
fn clock(up: &Up, story: Option<&Story>, last: Option<Timestamp>) -> Clock {
    let speed = up.speed.or(story.map(Story::speed)).unwrap_or(1.0);
    if story.is_none() && speed <= 1.0 {
        return Clock::real();
    }
    let start = story.map_or_else(|| Clock::real().now(), Story::start);
    Clock::sped(last.map_or(start, |last| last.max(start)), speed)
}

/// Takes an address, which `option` has named.
///
/// # Errors
/// It is taken, or not allowed.
pub async fn bind(address: std::net::SocketAddr, option: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{option} {address} is taken or not allowed: name another one"))
}

fn reach((public, admin): &(TcpListener, TcpListener)) -> Result<Reach> {
    let token: [u8; 16] = rand::random();
    Ok(Reach {
        admin: format!("http://{}", admin.local_addr()?),
        public: format!("http://{}", public.local_addr()?),
        token: hex::encode(token),
        pid: std::process::id(),
    })
}

fn greet(up: &Up, spec: &Spec, reach: &Reach, state: &Path) {
    eprintln!("Fairway serves {} from {}", spec.endpoint, up.path.display());
    eprintln!("  recommend  {}/v1/recommend", reach.public);
    eprintln!("  status     {}/", reach.admin);
    eprintln!("  metrics    {}/metrics", reach.admin);
    eprintln!("  state      {}", state.display());
}

/// Two processes on one state folder would fight; the lock is the kernel's and goes with the process.
struct StateLock(#[allow(dead_code, reason = "held, not read")] std::fs::File);

impl StateLock {
    fn take(state: &Path) -> Result<Self> {
        let path = state.join("lock");
        let file = std::fs::File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        if file.try_lock().is_err() {
            bail!(
                "another `fairway up` runs with the state folder {}: stop it, or name another with --state",
                state.display()
            );
        }
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole loop in this process, by real HTTP: trained, drifted, trained again, promoted, and twice taken back.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_quickstart_goes_as_told() {
        let folder = tempfile::tempdir().unwrap();
        let free = || "127.0.0.1:0".parse().unwrap();
        let up = Up {
            path: Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/quickstart"),
            state: Some(folder.path().join("state")),
            listen: free(),
            admin: free(),
            speed: None,
            once: true,
            no_story: false,
            variables: Vec::new(),
            signing_key: None,
            store: Default::default(),
        };
        assert_eq!(run(up).await.unwrap(), Code::Done);
    }
}
