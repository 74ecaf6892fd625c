//! Forgetting objects that are gone. One without a finalizer goes without any look at it, and a watch that was cut off does not say
//! what went meanwhile; so what is remembered is held against the copies of the cluster, now and then.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fairway_api::{Model, ModelApproval, ModelEndpoint, ModelExperiment, TrainingRun};
use kube::{Resource, ResourceExt};

use crate::board::Key;
use crate::context::{Context, Guarded, Loops};
use crate::copies::Copies;

/// What is gone is forgotten within this: until then an endpoint's rollout holds its model's runs back, and alerts of its
/// conditions go on.
const EVERY: Duration = Duration::from_secs(15);

/// Forgets, now and then, what is gone.
pub(crate) async fn forget_gone(context: Arc<Context>) {
    loop {
        tokio::time::sleep(EVERY).await;
        of_loops(&context.model_loops, &context.models).await;
        of_loops(&context.endpoint_loops, &context.endpoints).await;
        context.board.keep(|key| has(&context.models, key), |key| has(&context.endpoints, key));
        // These two are shared with those who lead in other namespaces.
        let is_here = |key: &Key| context.namespace.as_ref().is_none_or(|namespace| *namespace == key.0);
        context.loads.keep(|key| !is_here(key) || has(&context.deployments, key));
        context.metrics.keep(|kind, key| {
            !is_here(key)
                || match kind {
                    kind if kind == Model::kind(&()) => has(&context.models, key),
                    kind if kind == ModelEndpoint::kind(&()) => has(&context.endpoints, key),
                    kind if kind == TrainingRun::kind(&()) => has(&context.runs, key),
                    kind if kind == ModelApproval::kind(&()) => has(&context.approvals, key),
                    kind if kind == ModelExperiment::kind(&()) => has(&context.experiments, key),
                    _ => true,
                }
        });
    }
}

fn has<K: Resource<DynamicType = ()> + Clone + 'static>(copies: &Copies<K>, (namespace, name): &Key) -> bool {
    copies.get(namespace, name).is_some()
}

/// One that was made again under its name is another object. Loops are listed first: each object is in the copy before anybody looks
/// at it.
async fn of_loops<L: Default, K>(loops: &Loops<L>, copies: &Copies<Guarded<K>>)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let known = loops.uids().await;
    let there: HashSet<String> = copies.store().state().iter().filter_map(|it| it.uid()).collect();
    for uid in known.iter().filter(|uid| !there.contains(*uid)) {
        loops.forget(uid).await;
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;

    use super::*;

    #[tokio::test]
    async fn the_loop_of_what_is_gone_ends_and_that_of_what_was_made_anew_is_another() {
        let model = |name: &str, uid: &str| {
            let mut model = Model::new(name, serde_json::from_str(SPEC).unwrap());
            let (uid, namespace) = (Some(uid.to_owned()), Some("shop".to_owned()));
            model.metadata = ObjectMeta { uid, namespace, ..model.metadata };
            kube::core::DeserializeGuard(Ok(model))
        };
        let (store, mut writer) = reflector::store();
        let (copies, _) = Copies::named(store, |_| None, futures::stream::empty());
        writer.apply_watcher_event(&Event::Apply(model("stays", "1")));
        writer.apply_watcher_event(&Event::Apply(model("anew", "3")));
        let loops = Loops::<u8>::default();
        for uid in ["1", "2", "gone"] {
            *loops.of(uid).await.lock().await = 7;
        }
        of_loops(&loops, &copies).await;
        assert_eq!(loops.uids().await, ["1"]);
        assert_eq!(*loops.of("1").await.lock().await, 7);
    }

    const SPEC: &str = r#"{"data": {"interactions": {"url": "s3://shop/sales/", "sql": "SELECT 1"}},
        "reward": {"event": "purchase", "within": "1d"}, "trainer": {"builtin": {"family": "popularity"}}}"#;
}
