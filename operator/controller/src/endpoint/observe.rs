//! What an endpoint's pods and routers say. From the copy of the cluster and from the routers themselves; the API server is
//! not asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use fairway_core::endpoint::Servers;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::beside::THEIRS;
use super::{EndpointLoop, Subject, samples};
use crate::context::Context;
use crate::names;
use crate::routers::Heard;

/// Exit codes by which a server says that another try would fail as well: the version cannot be served.
const FOR_GOOD: [i32; 2] = [2, 3];

/// See above.
pub(super) struct Seen {
    pub(super) heard: Heard,
    /// Versions that can be served: a server is ready, so its golden answers were reproduced, and every router knows it.
    pub(super) ready: BTreeSet<String>,
    /// Versions whose servers say that they cannot be served.
    pub(super) broken: BTreeMap<String, String>,
    pub(super) servers: BTreeMap<String, Servers>,
    /// The Deployment of each version, by digest.
    pub(super) deployments: BTreeMap<String, Arc<Deployment>>,
}

impl EndpointLoop {
    pub(super) async fn observe(&mut self, context: &Context, subject: &Subject) -> Result<Seen> {
        let (namespace, name) = &subject.key;
        let of_us = |labels: &BTreeMap<String, String>, role: &str| {
            labels.get(names::ENDPOINT) == Some(name) && labels.get(names::ROLE).is_some_and(|it| it == role)
        };
        let deployments: BTreeMap<String, Arc<Deployment>> = context
            .deployments
            .state_filter(|it| it.namespace().as_ref() == Some(namespace) && of_us(it.labels(), "server"))
            .into_iter()
            .filter_map(|it| Some((it.annotations().get(names::DIGEST)?.clone(), it)))
            .collect();
        let pods = context.pods.state_filter(|it| {
            it.namespace().as_ref() == Some(namespace) && it.labels().get(names::ENDPOINT) == Some(name)
        });
        let is_router = |pod: &Arc<Pod>| of_us(pod.labels(), "router");
        let (routers, servers): (Vec<Arc<Pod>>, Vec<Arc<Pod>>) = pods.into_iter().partition(is_router);
        let opened = self.opened.as_ref().context("the endpoint is not open")?;
        let ordered: Vec<String> = deployments.iter().filter(|(_, it)| ready(it) > 0).map(|(d, _)| d.clone()).collect();
        let heard = self.routers.poll(&context.asker, &context.metrics, &routers, &opened.kept.status, &ordered).await;
        let counts: BTreeMap<String, u32> =
            deployments.iter().map(|(digest, it)| (digest.clone(), ready(it))).collect();
        let measured = samples::samples(&heard.windows, &counts);
        let servers_of = |(digest, it): (&String, &Arc<Deployment>)| {
            let servers =
                Servers { ordered: ordered_replicas(it), ready: ready(it), sample: measured.get(digest).copied() };
            (digest.clone(), servers)
        };
        Ok(Seen {
            ready: ordered.iter().filter(|digest| heard.installed.contains(digest)).cloned().collect(),
            broken: broken(&servers),
            servers: deployments.iter().map(servers_of).collect(),
            heard,
            deployments,
        })
    }
}

pub(super) fn ordered_replicas(deployment: &Deployment) -> u32 {
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    u32::try_from(replicas).unwrap_or(0)
}

fn ready(deployment: &Deployment) -> u32 {
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    u32::try_from(ready).unwrap_or(0)
}

/// What servers said when they ended for good.
fn broken(servers: &[Arc<Pod>]) -> BTreeMap<String, String> {
    let mut broken = BTreeMap::new();
    for pod in servers {
        let Some(digest) = pod.annotations().get(names::DIGEST) else { continue };
        let status = pod.status.as_ref();
        let before = status.and_then(|status| status.init_container_statuses.as_ref());
        let statuses = before.into_iter().chain(status.and_then(|status| status.container_statuses.as_ref()));
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
