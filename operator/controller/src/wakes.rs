//! Which objects are to be looked at. An object waits once, however often it is woken: whoever wakes never waits for a place, and
//! no more wait than there are.

use std::collections::HashSet;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::Stream;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;

/// Says which objects are to be looked at. Clones share it.
pub(crate) struct Wake<K: Resource>(Arc<Mutex<Waiting<K>>>)
where
    K::DynamicType: Hash + Eq;

struct Waiting<K: Resource>
where
    K::DynamicType: Hash + Eq,
{
    objects: HashSet<ObjectRef<K>>,
    listener: Option<Waker>,
}

/// The objects that were woken, in no order.
pub(crate) struct Woken<K: Resource>
where
    K::DynamicType: Hash + Eq,
{
    wake: Wake<K>,
    taken: Vec<ObjectRef<K>>,
}

/// A place for wakes, and their stream.
pub(crate) fn wakes<K: Resource<DynamicType = ()>>() -> (Wake<K>, Woken<K>) {
    let wake = Wake(Arc::new(Mutex::new(Waiting { objects: HashSet::new(), listener: None })));
    (wake.clone(), Woken { wake, taken: Vec::new() })
}

impl<K: Resource<DynamicType = ()>> Wake<K> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object is to be looked at.
    pub(crate) fn wake(&self, object: ObjectRef<K>) {
        let mut waiting = self.waiting();
        waiting.objects.insert(object);
        if let Some(listener) = waiting.listener.take() {
            listener.wake();
        }
    }
}

impl<K: Resource<DynamicType = ()>> Clone for Wake<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Resource<DynamicType = ()>> Stream for Woken<K> {
    type Item = ObjectRef<K>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ObjectRef<K>>> {
        if self.taken.is_empty() {
            let objects = {
                let mut waiting = self.wake.waiting();
                waiting.listener = Some(context.waker().clone());
                std::mem::take(&mut waiting.objects)
            };
            self.taken.extend(objects);
        }
        self.taken.pop().map_or(Poll::Pending, |object| Poll::Ready(Some(object)))
    }
}

// A queue of names has nothing that is pinned.
impl<K: Resource<DynamicType = ()>> Unpin for Woken<K> {}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_a_place_and_each_waits_once() {
        let (wake, mut woken) = wakes::<ConfigMap>();
        // Nobody listens yet: as many as there are find a place.
        for round in 0..3 {
            for number in 0..10_000 {
                wake.wake(ObjectRef::new(&format!("{}", number + round)).within("shop"));
            }
        }
        let mut names = HashSet::new();
        while let Some(Some(object)) = woken.next().now_or_never() {
            assert!(names.insert(object.name));
        }
        assert_eq!(names.len(), 10_002);

        let listens = tokio::spawn(async move { woken.next().await });
        tokio::task::yield_now().await;
        wake.wake(ObjectRef::new("late").within("shop"));
        assert_eq!(listens.await.unwrap().unwrap().name, "late");
    }
}
