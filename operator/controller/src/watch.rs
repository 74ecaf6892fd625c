//! What the cluster says: a local copy of each kind that the operator reads, kept by a watch. A watch that falls silent is
//! noticed within half a minute, and an object that cannot be read spoils no other.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// A watch is asked for again after this, in seconds: a connection that died unseen is noticed then.
const RENEWED: u32 = 25;
/// Without any sign of life for so long, what a copy says is too old to act on.
const SILENCE: Duration = Duration::from_secs(90);
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

/// When the watches were last heard of.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    kinds: std::sync::Mutex<Vec<(String, Arc<AtomicI64>)>>,
}

impl Pulse {
    fn of(&self, kind: String) -> Arc<AtomicI64> {
        let beat = Arc::new(AtomicI64::new(crate::clock::now().as_second()));
        self.kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((kind, beat.clone()));
        beat
    }

    /// How many seconds ago each kind was last heard of.
    pub(crate) fn silences(&self) -> Vec<(String, i64)> {
        let now = crate::clock::now().as_second();
        let kinds = self.kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kinds.iter().map(|(kind, beat)| (kind.clone(), now - beat.load(Ordering::Relaxed))).collect()
    }

    /// Kinds that were not heard of for too long.
    pub(crate) fn silent(&self) -> Vec<String> {
        let too_long = SILENCE.as_secs() as i64;
        self.silences().into_iter().filter(|(_, silence)| *silence > too_long).map(|(kind, _)| kind).collect()
    }
}

/// Keeps a copy of a kind. `shrink` drops what nobody reads, `wakes` says who must look because this object changed.
pub(crate) fn watch<K, W>(
    api: Api<K>,
    selector: Option<&str>,
    pulse: &Pulse,
    shrink: fn(&mut K),
    wake: Vec<Wake<W>>,
    wakes: impl Fn(&K) -> Vec<ObjectRef<W>> + Send + Sync + 'static,
) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    W: Resource<DynamicType = ()> + 'static,
{
    let (store, writer) = reflector::store();
    let beat = pulse.of(K::kind(&()).into_owned());
    let mut config = watcher::Config::default().timeout(RENEWED);
    if let Some(selector) = selector {
        config = config.labels(selector);
    }
    let events = watcher(api, config)
        .default_backoff()
        .modify(move |object| {
            object.meta_mut().managed_fields = None;
            shrink(object);
        })
        .reflect(writer);
    tokio::spawn(async move {
        let mut wake = wake;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let touched = match event {
                Ok(event) => {
                    beat.store(crate::clock::now().as_second(), Ordering::Relaxed);
                    match event {
                        watcher::Event::Apply(it) | watcher::Event::InitApply(it) | watcher::Event::Delete(it) => {
                            wakes(&it)
                        }
                        watcher::Event::Init | watcher::Event::InitDone => Vec::new(),
                    }
                }
                Err(error) => {
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
    store
}
