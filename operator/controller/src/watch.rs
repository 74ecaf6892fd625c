//! What the cluster says: a local copy of each kind that the operator reads, kept by a watch. A watch that falls silent is
//! noticed within half a minute, and an object that cannot be read spoils no other.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::copies::{Copies, Owner};

/// A watch is asked for again after this, in seconds: a connection that died unseen is noticed then.
const RENEWED: u32 = 25;
/// Without any sign of life for so long, what a copy says is too old to act on.
const SILENCE: Duration = Duration::from_secs(90);
/// A watch that fails is tried again within this, in seconds: without another failure it works.
const CALM: i64 = 60;
/// What `kubectl apply` keeps of a manifest in the manifest itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Objects that wait to be looked at; the watch waits with them.
const WAKES: usize = 4_096;

/// Says which objects are to be looked at.
pub(crate) type Wake<K> = mpsc::Sender<ObjectRef<K>>;

/// A place for [`Wake`]s, and their stream.
pub(crate) fn wakes<K>() -> (Wake<K>, mpsc::Receiver<ObjectRef<K>>)
where
    K: Resource,
    K::DynamicType: Hash + Eq,
{
    mpsc::channel(WAKES)
}

/// How each watch does. One that has nothing to say says nothing: a connection that died shows as errors, because each watch
/// is asked for again before long.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    kinds: std::sync::Mutex<Vec<(String, Arc<Beat>)>>,
}

/// Of one watch, in seconds since 1970; 0: never.
#[derive(Debug, Default)]
struct Beat {
    failing_since: AtomicI64,
    last_failure: AtomicI64,
}

impl Beat {
    fn heard(&self) {
        self.failing_since.store(0, Ordering::Relaxed);
    }

    fn failed(&self, now: i64) {
        let before = self.last_failure.swap(now, Ordering::Relaxed);
        if self.failing_since.load(Ordering::Relaxed) == 0 || now - before > CALM {
            self.failing_since.store(now, Ordering::Relaxed);
        }
    }

    /// For how long it has failed without a success; 0 if its last failure was long ago.
    fn silence(&self, now: i64) -> i64 {
        let since = self.failing_since.load(Ordering::Relaxed);
        let goes_on = now - self.last_failure.load(Ordering::Relaxed) <= CALM;
        if since > 0 && goes_on { now - since } else { 0 }
    }
}

impl Pulse {
    fn of(&self, kind: String) -> Arc<Beat> {
        let beat = Arc::<Beat>::default();
        self.kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((kind, beat.clone()));
        beat
    }

    /// For how many seconds each kind was not heard of.
    pub(crate) fn silences(&self) -> Vec<(String, i64)> {
        let now = crate::clock::now().as_second();
        let kinds = self.kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kinds.iter().map(|(kind, beat)| (kind.clone(), beat.silence(now))).collect()
    }

    /// Kinds that were not heard of for too long.
    pub(crate) fn silent(&self) -> Vec<String> {
        let too_long = SILENCE.as_secs() as i64;
        self.silences().into_iter().filter(|(_, silence)| *silence > too_long).map(|(kind, _)| kind).collect()
    }
}

/// A kind that can be watched, in one namespace or in all.
pub(crate) trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Keeps a copy of a kind. `shrink` drops what nobody reads, `owner` says whose an object is, and `wakes` who must look because
/// it changed.
pub(crate) fn watch<K, W>(
    api: Api<K>,
    selector: Option<&str>,
    pulse: &Pulse,
    shrink: fn(&mut K),
    owner: fn(&K) -> Option<Owner>,
    wake: Vec<Wake<W>>,
    wakes: impl Fn(&K) -> Vec<ObjectRef<W>> + Send + Sync + 'static,
) -> Copies<K>
where
    K: Watched,
    W: Resource<DynamicType = ()> + 'static,
{
    let (store, writer) = reflector::store();
    let beat = pulse.of(K::kind(&()).into_owned());
    let mut config = watcher::Config::default().timeout(RENEWED);
    if let Some(selector) = selector {
        config = config.labels(selector);
    }
    let events = watcher(api, config).default_backoff().modify(move |object| {
        let meta = object.meta_mut();
        meta.managed_fields = None;
        if let Some(annotations) = &mut meta.annotations {
            annotations.remove(LAST_APPLIED);
        }
        shrink(object);
    });
    let (copies, events) = Copies::named(store, owner, events);
    let events = events.reflect(writer);
    tokio::spawn(async move {
        let mut wake = wake;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let touched = match event {
                Ok(event) => {
                    beat.heard();
                    match event {
                        watcher::Event::Apply(it) | watcher::Event::InitApply(it) | watcher::Event::Delete(it) => {
                            wakes(&it)
                        }
                        watcher::Event::Init | watcher::Event::InitDone => Vec::new(),
                    }
                }
                Err(error) => {
                    beat.failed(crate::clock::now().as_second());
                    tracing::warn!(kind = %K::kind(&()), "the watch was cut off: {error}");
                    Vec::new()
                }
            };
            for object in touched {
                for wake in &mut wake {
                    // Nobody listens any more: the process ends.
                    let _ = wake.send(object.clone()).await;
                }
            }
        }
    });
    copies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_watch_is_no_dead_one() {
        let beat = Beat::default();
        assert_eq!(beat.silence(1_000), 0, "nothing ever failed");
        beat.failed(1_000);
        beat.failed(1_050);
        assert_eq!(beat.silence(1_100), 100);
        assert_eq!(beat.silence(1_111), 0, "it would have failed again by now");
        beat.failed(1_200);
        assert_eq!(beat.silence(1_210), 10, "it was well in between");
        beat.heard();
        assert_eq!(beat.silence(1_210), 0);
    }
}
