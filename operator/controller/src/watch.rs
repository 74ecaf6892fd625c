//! What the cluster says: a local copy of each kind that the operator reads, kept by a watch. A watch that falls silent is
//! noticed within half a minute, and an object that cannot be read spoils no other.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::copies::{Copies, Owner};
use crate::wakes::Wake;

/// A watch is asked for again after this, in seconds: a connection that died unseen is noticed then.
const RENEWED: u32 = 25;
/// Without any sign of life for so long, what a copy says is too old to act on.
const SILENCE: Duration = Duration::from_secs(90);
/// A watch that fails is tried again within this, in seconds: without another failure it works.
const CALM: i64 = 60;
/// What `kubectl apply` keeps of a manifest in the manifest itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How each watch does, while it lasts. One that has nothing to say says nothing: a connection that died shows as errors,
/// because each watch is asked for again before long.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    kinds: Mutex<Vec<(String, Weak<Beat>)>>,
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
        self.kinds().push((kind, Arc::downgrade(&beat)));
        beat
    }

    fn kinds(&self) -> MutexGuard<'_, Vec<(String, Weak<Beat>)>> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.retain(|(_, beat)| beat.strong_count() > 0);
        kinds
    }

    fn of_kinds(&self, among: impl Fn(i64, i64) -> i64) -> BTreeMap<String, i64> {
        let now = crate::clock::now().as_second();
        let mut silences = BTreeMap::new();
        for (kind, beat) in self.kinds().iter().filter_map(|(kind, beat)| Some((kind, beat.upgrade()?))) {
            let silence = beat.silence(now);
            silences.entry(kind.clone()).and_modify(|known| *known = among(*known, silence)).or_insert(silence);
        }
        silences
    }

    /// For how many seconds each kind was not heard of; of several namespaces, of the one that is worst off.
    pub(crate) fn silences(&self) -> BTreeMap<String, i64> {
        self.of_kinds(i64::max)
    }

    /// Kinds that were not heard of for too long, from nowhere: that one namespace is gone, or gives no rights any more, is no
    /// reason to begin anew for all.
    pub(crate) fn silent(&self) -> Vec<String> {
        let too_long = SILENCE.as_secs() as i64;
        let silences = self.of_kinds(i64::min).into_iter();
        silences.filter(|(_, silence)| *silence > too_long).map(|(kind, _)| kind).collect()
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

/// What a change of an object is to be known by; none: any change counts.
pub(crate) type Mark<K> = fn(&K) -> Option<u64>;

/// Keeps a copy of a kind. `shrink` drops what nobody reads, `owner` says whose an object is, and `wakes` who must look because
/// its `mark` is another one than before. The watch ends with the last copy.
pub(crate) fn watch<K, W>(
    api: Api<K>,
    selector: Option<&str>,
    pulse: &Pulse,
    shrink: fn(&mut K),
    owner: fn(&K) -> Option<Owner>,
    mark: Mark<K>,
    wake: Option<Wake<W>>,
    wakes: impl Fn(&K) -> Option<ObjectRef<W>> + Send + Sync + 'static,
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
    copies.kept_by(async move {
        let mut news = News { mark, known: HashMap::new(), anew: HashMap::new() };
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    beat.heard();
                    if let (Some(object), Some(wake)) = (news.in_it(&event).and_then(&wakes), &wake) {
                        wake.wake(object);
                    }
                }
                Err(error) => {
                    beat.failed(crate::clock::now().as_second());
                    tracing::warn!(kind = %K::kind(&()), "the watch was cut off: {error}");
                }
            }
        }
    })
}

/// Which events are news to those who look.
struct News<K: Resource<DynamicType = ()>> {
    mark: Mark<K>,
    known: HashMap<ObjectRef<K>, u64>,
    /// Of a list that is not whole yet.
    anew: HashMap<ObjectRef<K>, u64>,
}

impl<K: Resource<DynamicType = ()>> News<K> {
    /// The object of an event, if somebody must look because of it.
    fn in_it<'a>(&mut self, event: &'a watcher::Event<K>) -> Option<&'a K> {
        match event {
            watcher::Event::Init => self.anew.clear(),
            watcher::Event::InitDone => self.known = std::mem::take(&mut self.anew),
            watcher::Event::InitApply(it) => {
                let Some(mark) = (self.mark)(it) else { return Some(it) };
                let key = ObjectRef::from_obj(it);
                let known = self.known.get(&key) == Some(&mark);
                self.anew.insert(key, mark);
                return (!known).then_some(it);
            }
            watcher::Event::Apply(it) => {
                let Some(mark) = (self.mark)(it) else { return Some(it) };
                return (self.known.insert(ObjectRef::from_obj(it), mark) != Some(mark)).then_some(it);
            }
            watcher::Event::Delete(it) => {
                self.known.remove(&ObjectRef::from_obj(it));
                return Some(it);
            }
        }
        None
    }
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

    #[test]
    fn one_namespace_that_is_silent_is_not_all_of_them() {
        let pulse = Pulse::default();
        let now = crate::clock::now().as_second();
        let silent = |beat: &Beat| [now - 100, now - 50, now].into_iter().for_each(|at| beat.failed(at));
        let (gone, lives) = (pulse.of("Pod".to_owned()), pulse.of("Pod".to_owned()));
        silent(&gone);
        assert!(pulse.silent().is_empty() && pulse.silences()["Pod"] >= 100);
        silent(&lives);
        assert_eq!(pulse.silent(), ["Pod"]);
        // A watch that has ended counts no more.
        lives.heard();
        drop(gone);
        assert_eq!(pulse.silences()["Pod"], 0);
    }

    #[test]
    fn what_does_not_change_the_mark_is_no_news() {
        use k8s_openapi::api::core::v1::ConfigMap;
        use watcher::Event;

        let map = |name: &str, generation: i64, note: &str| ConfigMap {
            metadata: kube::core::ObjectMeta {
                name: Some(name.to_owned()),
                generation: Some(generation),
                resource_version: Some(note.to_owned()),
                ..Default::default()
            },
            ..ConfigMap::default()
        };
        let mark: Mark<ConfigMap> = |it| it.metadata.generation.map(i64::cast_unsigned);
        let mut news = News { mark, known: HashMap::new(), anew: HashMap::new() };
        let table = [
            (Event::Init, false),
            (Event::InitApply(map("a", 1, "1")), true),
            (Event::InitApply(map("b", 1, "2")), true),
            (Event::InitDone, false),
            (Event::Apply(map("a", 1, "3")), false),
            (Event::Apply(map("a", 2, "4")), true),
            (Event::Apply(map("c", 1, "5")), true),
            // The watch is begun anew: b is gone, and c has changed meanwhile.
            (Event::Init, false),
            (Event::InitApply(map("a", 2, "6")), false),
            (Event::InitApply(map("c", 2, "7")), true),
            (Event::InitDone, false),
            (Event::Apply(map("b", 1, "8")), true),
            (Event::Delete(map("b", 1, "9")), true),
            (Event::Apply(map("b", 1, "10")), true),
        ];
        for (number, (event, expected)) in table.iter().enumerate() {
            assert_eq!(news.in_it(event).is_some(), *expected, "event {number}");
        }
        let mut all = News { mark: |_| None, known: HashMap::new(), anew: HashMap::new() };
        assert!((0..2).all(|_| all.in_it(&Event::Apply(map("a", 1, "1"))).is_some()));
    }
}
