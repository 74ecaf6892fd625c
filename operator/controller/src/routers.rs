//! What routers saw: asked of each over HTTP, because telemetry is no business of the API server's. An answer is asked for
//! again until its windows are safe in the bucket.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use fairway_core::endpoint::EndpointStatus;
use fairway_wire::{Poll, Polled, Route, Window};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};

use crate::held::Held;
use crate::metrics::Metrics;
use crate::pod::ADMIN_PORT;

/// Longest that a router may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// Longest answer.
const ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// Windows in one answer.
const WINDOWS: u32 = 60;
/// A router that was just started is waited for so long to know its versions before it counts.
const JOINS_WITHIN: Duration = Duration::from_secs(60);

/// Asks routers.
pub(crate) struct Asker(Client<HttpConnector, Full<Bytes>>);

impl Default for Asker {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(DEADLINE));
        // A connection that waits for the next question takes 23 KiB; a new one is made in a fraction of a millisecond.
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
    }
}

impl Asker {
    async fn ask(&self, address: &str, poll: &Poll) -> Result<Polled> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{address}:{ADMIN_PORT}/v1/poll"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(poll)?)))?;
        let answer = async {
            let response = self.0.request(request).await.context("asking")?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?.to_bytes();
            if status != StatusCode::OK {
                bail!("status {status}");
            }
            serde_json::from_slice(&body).context("the answer is none")
        };
        tokio::time::timeout(DEADLINE, answer).await.context("no answer in time")?
    }
}

/// What is known of one router.
struct Router {
    since: Instant,
    /// It knows its versions, and counts.
    joined: bool,
    /// Its last answer came.
    is_heard: bool,
    replica: String,
    /// Its newest window that is safe in the bucket.
    safe: Option<u64>,
    /// Its newest window that was heard.
    heard: Option<u64>,
    last: Option<Polled>,
}

/// The routers of one endpoint, by pod.
#[derive(Default)]
pub(crate) struct Routers(BTreeMap<String, Router>);

/// What they say together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// Windows that were not heard before.
    pub(crate) windows: Vec<Window>,
    /// Routers that serve.
    pub(crate) live: u32,
    /// The least generation among them; 0 if there is none.
    pub(crate) acked: u64,
    /// Versions that all of them can ask.
    pub(crate) installed: Vec<String>,
    /// A person set the canary to 0 at a router.
    pub(crate) aborted: bool,
}

impl Routers {
    /// Asks all routers at once.
    pub(crate) async fn poll(
        &mut self,
        asker: &Asker,
        metrics: &Metrics,
        pods: &[std::sync::Arc<Held<Pod>>],
        status: &EndpointStatus,
        ordered: &[String],
    ) -> Heard {
        self.0.retain(|uid, _| pods.iter().any(|pod| pod.uid().as_ref() == Some(uid)));
        let (route, now) = (status.route.as_ref(), crate::clock::now());
        let mut asked = Vec::new();
        for pod in pods {
            let (Some(uid), Some(address)) = (pod.uid(), address(pod)) else { continue };
            let router = self.0.entry(uid.clone()).or_insert_with(Router::new);
            let poll = router.question(route, now);
            asked.push(async move { (uid, is_ready(pod), asker.ask(&address, &poll).await) });
        }
        let mut heard = Heard { acked: u64::MAX, ..Heard::default() };
        let mut installed: Option<Vec<String>> = None;
        for (uid, ready, answer) in futures::future::join_all(asked).await {
            let Some(router) = self.0.get_mut(&uid) else { continue };
            match answer {
                Ok(polled) => heard.windows.extend(router.take(polled, ordered)),
                Err(error) => {
                    router.is_heard = false;
                    metrics.router_silent();
                    tracing::debug!(router = uid, "cannot be asked: {error:#}");
                }
            }
            if !ready || !router.joined {
                continue;
            }
            heard.live += 1;
            // One that is ready and does not answer is taken at its last word: it may still serve by it.
            let said = router.last.as_ref();
            heard.acked = heard.acked.min(said.map_or(0, |said| said.generation));
            heard.aborted |= said.is_some_and(|said| said.aborted);
            let has = said.map(|said| said.installed.clone()).unwrap_or_default();
            installed = Some(match installed {
                None => has,
                Some(all) => all.into_iter().filter(|digest| has.contains(digest)).collect(),
            });
        }
        if heard.live == 0 {
            heard.acked = 0;
        }
        heard.installed = installed.unwrap_or_default();
        heard
    }

    /// What was heard is in the bucket now: routers may forget it.
    pub(crate) fn are_safe(&mut self) {
        for router in self.0.values_mut() {
            router.safe = router.heard;
        }
    }
}

impl Router {
    fn new() -> Self {
        let (replica, last) = (String::new(), None);
        Self { since: Instant::now(), joined: false, is_heard: false, replica, safe: None, heard: None, last }
    }

    /// What it is asked next. Its canary may go on for what is left of the route's lease, if it was heard: nobody watches over a
    /// router whose answers do not come, although it may well hear what it is asked.
    fn question(&self, route: Option<&Route>, now: Timestamp) -> Poll {
        let until = route.and_then(|route| route.lease_until).filter(|_| self.is_heard);
        Poll {
            replica: self.replica.clone(),
            after: self.safe,
            generation: route.map_or(0, |route| route.generation),
            lease_ms: until.and_then(|until| u64::try_from(until.duration_since(now).as_millis()).ok()),
            limit: WINDOWS,
        }
    }

    /// Takes an answer in and gives what is new in it.
    fn take(&mut self, mut polled: Polled, ordered: &[String]) -> Vec<Window> {
        self.is_heard = true;
        if self.replica != polled.replica {
            // Its container was started again: it counts its windows anew.
            (self.replica, self.safe, self.heard) = (polled.replica.clone(), None, None);
        }
        let mut windows = std::mem::take(&mut polled.windows);
        windows.retain(|window| self.heard.is_none_or(|heard| window.seq > heard));
        self.heard = windows.iter().map(|window| window.seq).max().max(self.heard);
        let knows_all = ordered.iter().all(|digest| polled.installed.contains(digest));
        self.joined |= knows_all || self.since.elapsed() > JOINS_WITHIN;
        self.last = Some(polled);
        windows
    }
}

/// Where routers hear what other routers took: those that are there and do not go. In order, so that the same routers are the same
/// list.
pub(crate) fn peers(pods: &[std::sync::Arc<Held<Pod>>]) -> Vec<String> {
    let stay = pods.iter().filter(|pod| pod.meta().deletion_timestamp.is_none());
    let mut peers: Vec<String> =
        stay.filter_map(|pod| Some(format!("http://{}:{ADMIN_PORT}", address(pod)?))).collect();
    peers.sort();
    peers
}

/// One that was evicted stays as it ended, with an address that is somebody else's before long.
fn address(pod: &Held<Pod>) -> Option<String> {
    let has_ended = pod.facts.phase.is_some();
    let address = pod.facts.pod_ip.clone().filter(|_| !has_ended)?;
    Some(if address.contains(':') { format!("[{address}]") } else { address })
}

/// Ready, and not about to go.
fn is_ready(pod: &Held<Pod>) -> bool {
    let conditions = pod.facts.conditions.as_ref();
    pod.meta().deletion_timestamp.is_none()
        && conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_goes_to_a_router_that_was_heard_as_what_is_left_of_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let route = |lease_until: Option<i64>| -> Route {
            let route = serde_json::json!({
                "generation": 7, "stable": null, "canary": null, "salt": "", "holdback": 0, "serve_baseline": false,
                "slow_over_ms": 1, "deadline_ms": 1, "lease_until": lease_until.map(at),
            });
            serde_json::from_value(route).unwrap()
        };
        let mut router = Router::new();
        let asked = |router: &Router, route: &Route, now| {
            let poll = router.question(Some(route), at(now));
            (poll.generation, poll.lease_ms)
        };
        assert_eq!(asked(&router, &route(Some(30)), 10), (7, None));
        let polled = r#"{"replica": "r-1", "generation": 7, "installed": [], "windows": []}"#;
        router.take(serde_json::from_str(polled).unwrap(), &[]);
        for (lease, now, left) in [(Some(30), 10, Some(20_000)), (Some(30), 31, None), (None, 10, None)] {
            assert_eq!(asked(&router, &route(lease), now), (7, left), "{lease:?} at {now}");
        }
        router.is_heard = false;
        assert_eq!(asked(&router, &route(Some(30)), 10), (7, None));
    }
}
