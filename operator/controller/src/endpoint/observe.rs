//! What an endpoint's pods and routers say. From the copy of the cluster and from the routers themselves; the API server is
//! not asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use fairway_core::endpoint::Servers;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};

use super::beside::THEIRS;
use super::{EndpointLoop, Subject};
use crate::context::Context;
use crate::held::{Held, Replicas};
use crate::names;
use crate::routers::Heard;

/// Exit codes by which a server says that another try would fail as well: the version cannot be served.
const FOR_GOOD: [i32; 2] = [2, 3];

/// See above.
pub(super) struct Seen {
    pub(super) heard: Heard,
    /// The routers' admin ports, by URL.
    pub(super) peers: Vec<String>,
    /// Versions that can be served: a server is ready, so its golden answers were reproduced, and every router knows it.
    pub(super) ready: BTreeSet<String>,
    /// Versions whose servers say that they cannot be served.
    pub(super) broken: BTreeMap<String, String>,
    pub(super) servers: BTreeMap<String, Servers>,
    /// The Deployment of each version, by digest.
    pub(super) deployments: BTreeMap<String, Arc<Held<Deployment>>>,
}

impl EndpointLoop {
    pub(super) async fn observe(&mut self, context: &Context, subject: &Subject) -> Result<Seen> {
        let deployments = context.deployments.of(names::ENDPOINT, &subject.key);
        let deployments: BTreeMap<String, Arc<Held<Deployment>>> = deployments
            .into_iter()
            .filter(|it| has_role(it.as_ref(), "server"))
            .filter_map(|it| Some((it.annotations().get(names::DIGEST)?.clone(), it)))
            .collect();
        let pods = context.pods.of(names::ENDPOINT, &subject.key);
        let (routers, servers): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| has_role(pod.as_ref(), "router"));
        let opened = self.opened.as_ref().context("the endpoint is not open")?;
        let ordered: Vec<String> =
            deployments.iter().filter(|(_, it)| it.facts.ready > 0).map(|(d, _)| d.clone()).collect();
        let heard = self.routers.poll(&context.asker, &context.metrics, &routers, &opened.kept.status, &ordered).await;
        let counts: BTreeMap<String, u32> =
            deployments.iter().map(|(digest, it)| (digest.clone(), it.facts.ready)).collect();
        let measured = self.recent.take(&heard.windows, &counts);
        let servers_of = |(digest, it): (&String, &Arc<Held<Deployment>>)| {
            let Replicas { ordered, ready } = it.facts;
            (digest.clone(), Servers { ordered, ready, sample: measured.get(digest).copied() })
        };
        Ok(Seen {
            ready: ordered.iter().filter(|digest| heard.installed.contains(digest)).cloned().collect(),
            broken: broken(&servers),
            servers: deployments.iter().map(servers_of).collect(),
            peers: crate::routers::peers(&routers),
            heard,
            deployments,
        })
    }
}

pub(super) fn has_role(it: &impl ResourceExt, role: &str) -> bool {
    it.labels().get(names::ROLE).is_some_and(|it| it == role)
}

/// What servers said when they ended for good. Those that are about to go speak of a try that is over.
fn broken(servers: &[Arc<Held<Pod>>]) -> BTreeMap<String, String> {
    let mut broken = BTreeMap::new();
    for pod in servers.iter().filter(|pod| pod.meta().deletion_timestamp.is_none()) {
        let Some(digest) = pod.annotations().get(names::DIGEST) else { continue };
        let statuses = pod.facts.init_container_statuses.iter().chain(&pod.facts.container_statuses);
        for status in statuses.flatten().filter(|status| status.name != THEIRS) {
            let ended = [&status.state, &status.last_state].into_iter().flatten();
            for end in ended.filter_map(|state| state.terminated.as_ref()) {
                if FOR_GOOD.contains(&end.exit_code) {
                    let said = end.message.clone().unwrap_or_else(|| format!("exit code {}", end.exit_code));
                    broken.insert(digest.clone(), said.trim().chars().take(500).collect());
                }
            }
        }
    }
    broken
}
