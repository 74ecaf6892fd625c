//! Versions that are relied on, whatever a retention says: those that the newest plans of endpoints name (in the bucket, as they
//! may be another cluster's), and those that this cluster serves or is asked to serve. Runs that have not ended are the
//! registry's own business.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use fairway_api::ModelEndpoint;
use fairway_api::values::VersionRef;
use fairway_registry::{Digest, Registry, State};
use kube::ResourceExt;
use tokio::sync::Mutex;

use crate::board::Key;
use crate::context::Context;
use crate::model::endpoints_of;
use crate::names;

/// What plans name is read again after this: a namespace with thousands of endpoints is not read for each of its models. What
/// goes was used by nobody for days, and what this cluster has begun to use meanwhile is in [`Reliance`].
const READ_AGAIN: Duration = Duration::from_secs(600);

/// What the plans of a namespace's endpoints name, by registry and namespace, and when that was read.
#[derive(Default)]
pub(super) struct Used(Mutex<HashMap<Key, (Instant, BTreeSet<Digest>)>>);

impl Used {
    pub(super) async fn by_plans(
        &self,
        registry: &Registry,
        namespace: &str,
    ) -> fairway_registry::Result<BTreeSet<Digest>> {
        let key = (registry.url().to_owned(), namespace.to_owned());
        {
            let mut read = self.0.lock().await;
            read.retain(|_, (at, _)| at.elapsed() < READ_AGAIN);
            if let Some((_, digests)) = read.get(&key) {
                return Ok(digests.clone());
            }
        }
        let digests = registry.in_use(namespace).await?;
        self.0.lock().await.insert(key, (Instant::now(), digests.clone()));
        Ok(digests)
    }
}

/// What this cluster relies on at this moment.
#[derive(Debug, Default)]
pub(super) struct Reliance {
    /// Digests of versions that have servers, or that an endpoint's status names.
    pub(super) digests: BTreeSet<String>,
    /// Versions that endpoints of the model are pinned to.
    pinned: Vec<VersionRef>,
}

impl Reliance {
    /// Of one model; servers of other models in its namespace do no harm.
    pub(super) fn of(context: &Context, model: &Key) -> Self {
        let mut reliance = Self::default();
        let servers = context.deployments.store().state_filter(|it| it.namespace().as_ref() == Some(&model.0));
        reliance.digests.extend(servers.iter().filter_map(|it| it.annotations().get(names::DIGEST).cloned()));
        for endpoint in endpoints_of(context, model) {
            if let Ok(endpoint) = &endpoint.0 {
                reliance.add(endpoint);
            }
        }
        reliance
    }

    pub(super) fn add(&mut self, endpoint: &ModelEndpoint) {
        let status = endpoint.status.iter();
        self.digests.extend(status.flat_map(|it| [&it.stable_digest, &it.canary_digest]).flatten().cloned());
        self.pinned.push(endpoint.spec.version.clone());
    }

    /// The digests, as the model's log knows them. What an alias names is kept by its alias.
    pub(super) fn digests<'a>(&'a self, state: &'a State) -> impl Iterator<Item = Digest> + 'a {
        let pinned = self.pinned.iter().filter_map(|version| match version {
            VersionRef::Alias(_) => None,
            VersionRef::Number(number) => state.versions.get(number).map(|version| version.digest.clone()),
            VersionRef::Digest(digest) => digest.parse().ok(),
        });
        self.digests.iter().filter_map(|digest| digest.parse().ok()).chain(pinned)
    }
}
