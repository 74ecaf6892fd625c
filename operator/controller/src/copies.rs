//! A local copy of a kind, and which of its objects are whose: each of thousands of loops asks for its own at every look, and
//! does not go through everybody's.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures::{Stream, TryStreamExt};
use kube::Resource;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use tokio::task::JoinSet;

use crate::board::Key;

/// Whom an object belongs to: the label of owners of that kind, and the owner's namespace and name.
pub(crate) type Owner = (&'static str, String, String);

/// Says whom an object belongs to.
pub(crate) type OwnerOf<K> = fn(&K) -> Option<Owner>;

type Names = HashMap<Owner, Vec<Box<str>>>;

/// See above. Clones share it.
pub(crate) struct Copies<K: Resource<DynamicType = ()> + 'static> {
    store: Store<K>,
    owner: OwnerOf<K>,
    names: Arc<RwLock<Names>>,
    /// What keeps it up to date.
    task: Arc<JoinSet<()>>,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Copies<K> {
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// The objects that belong to an owner of this kind.
    pub(crate) fn of(&self, label: &'static str, (namespace, name): &Key) -> Vec<Arc<K>> {
        let owner = (label, namespace.clone(), name.clone());
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner).get(&owner).cloned().unwrap_or_default();
        let objects = names.iter().filter_map(|name| self.get(namespace, name));
        // One that was given to somebody else meanwhile is not theirs any more.
        objects.filter(|it| (self.owner)(it).as_ref() == Some(&owner)).collect()
    }

    /// All objects.
    pub(crate) fn store(&self) -> &Store<K> {
        &self.store
    }

    /// Until everything is there that was there when the watch began.
    pub(crate) async fn wait_until_ready(&self) -> Result<(), WriterDropped> {
        self.store.wait_until_ready().await
    }

    /// The same; the watch ends with the last clone.
    pub(crate) fn kept_by(self, task: impl Future<Output = ()> + Send + 'static) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(task);
        Self { task: Arc::new(tasks), ..self }
    }

    /// Keeps the names, from a watch's events. To be put before what keeps the objects: whoever finds those finds their names.
    pub(crate) fn named(
        store: Store<K>,
        owner: OwnerOf<K>,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
    ) -> (Self, impl Stream<Item = watcher::Result<Event<K>>>) {
        let copies = Self { store, owner, names: Arc::default(), task: Arc::default() };
        let (names, mut anew) = (copies.names.clone(), Names::new());
        let noted = events.inspect_ok(move |event| {
            let mut names = names.write().unwrap_or_else(PoisonError::into_inner);
            match event {
                Event::Init => anew = Names::new(),
                Event::InitApply(it) => add(&mut anew, owner(it), it),
                Event::InitDone => *names = std::mem::take(&mut anew),
                Event::Apply(it) => add(&mut names, owner(it), it),
                Event::Delete(it) => remove(&mut names, owner(it), it),
            }
        });
        (copies, noted)
    }
}

impl<K: Resource<DynamicType = ()> + 'static> Clone for Copies<K> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), owner: self.owner, names: self.names.clone(), task: self.task.clone() }
    }
}

fn add<K: Resource>(names: &mut Names, owner: Option<Owner>, it: &K) {
    let (Some(owner), Some(name)) = (owner, &it.meta().name) else { return };
    let of_it = names.entry(owner).or_default();
    if !of_it.iter().any(|known| **known == **name) {
        of_it.push(name.as_str().into());
    }
}

fn remove<K: Resource>(names: &mut Names, owner: Option<Owner>, it: &K) {
    let (Some(owner), Some(name)) = (owner, &it.meta().name) else { return };
    if let Some(of_it) = names.get_mut(&owner) {
        of_it.retain(|known| **known != **name);
        if of_it.is_empty() {
            names.remove(&owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::{WatchStreamExt, reflector};
    use serde_json::json;

    use super::*;

    fn map(name: &str, owner: &str) -> ConfigMap {
        let metadata = json!({"name": name, "namespace": "shop", "labels": {"owner": owner}});
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})).unwrap()
    }

    fn owner(it: &ConfigMap) -> Option<Owner> {
        let name = it.metadata.labels.as_ref()?.get("owner")?.clone();
        Some(("owner", it.metadata.namespace.clone()?, name))
    }

    #[tokio::test]
    async fn each_finds_its_own() {
        let (store, writer) = reflector::store();
        let events = [
            Event::Init,
            Event::InitApply(map("one", "a")),
            Event::InitApply(map("two", "a")),
            Event::InitApply(map("three", "b")),
            Event::InitDone,
            Event::Apply(map("four", "b")),
            Event::Apply(map("two", "b")),
            Event::Delete(map("three", "b")),
            // The watch is begun anew, and one was deleted meanwhile.
            Event::Init,
            Event::InitApply(map("two", "b")),
            Event::InitApply(map("one", "a")),
            Event::InitDone,
        ];
        let expected: [(&[&str], &[&str]); 12] = [
            (&[], &[]),
            (&[], &[]),
            (&[], &[]),
            (&[], &[]),
            (&["one", "two"], &["three"]),
            (&["one", "two"], &["four", "three"]),
            (&["one"], &["four", "three", "two"]),
            (&["one"], &["four", "two"]),
            (&["one"], &["four", "two"]),
            (&["one"], &["four", "two"]),
            (&["one"], &["four", "two"]),
            (&["one"], &["two"]),
        ];
        let events = futures::stream::iter(events.map(watcher::Result::Ok));
        let (copies, events) = Copies::named(store, owner, events);
        let mut events = std::pin::pin!(events.reflect(writer));
        let of = |name: &str| {
            let mut found: Vec<String> = copies
                .of("owner", &("shop".to_owned(), name.to_owned()))
                .iter()
                .map(|it| it.metadata.name.clone().unwrap())
                .collect();
            found.sort();
            found
        };
        for (a, b) in expected {
            events.next().await.unwrap().unwrap();
            assert_eq!(
                (of("a"), of("b")),
                (a.iter().map(|it| (*it).to_owned()).collect(), b.iter().map(|it| (*it).to_owned()).collect())
            );
        }
        assert!(copies.of("owner", &("news".to_owned(), "a".to_owned())).is_empty());
    }
}
