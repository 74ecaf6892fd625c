//! Delivering what waits: in order for each webhook, for no longer than a look can spare, and again at a later look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fairway_api::ModelEndpoint;
use fairway_api::endpoint::Notification;
use fairway_api::workload::SecretKeyRef;
use fairway_core::{Reason, plan};
use fairway_registry::events::{SECRETS_MAX, Secret as Signing};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use tokio::sync::{OnceCell, Semaphore};

use super::message::message;
use super::outbox::Waiting;
use crate::call::call;
use crate::webhook::{self, Answer, Webhook};

/// Longest that one look delivers: an answer that comes later counts as none, and the notice is sent again.
const LOOK_SPARES: Duration = Duration::from_secs(3);
/// Requests that are out at once, of all endpoints together.
const REQUESTS_MAX: usize = 32;
/// What nobody has taken for so long is no news any more.
const TRIED_FOR: Duration = Duration::from_secs(86_400);
/// Code of what is said about deliveries.
const FAILED: &str = "NotificationFailed";

/// The client of all deliveries.
pub(crate) struct Hooks {
    client: OnceCell<reqwest::Client>,
    requests: Semaphore,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { client: OnceCell::new(), requests: Semaphore::new(REQUESTS_MAX) }
    }
}

/// What one endpoint's loop remembers of its deliveries. None of it must survive: what was not stored as taken is sent again.
#[derive(Default)]
pub(crate) struct Deliveries {
    /// Notices that need no sending any more, with the webhook.
    done: BTreeSet<(String, String)>,
    /// Webhooks that failed.
    pauses: BTreeMap<String, Pause>,
    /// How many were taken, and how many attempts failed, since it was last asked.
    pub(crate) counted: Counted,
}

/// See [`Deliveries::counted`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) taken: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
}

struct Pause {
    failures: u32,
    again: Timestamp,
}

/// The way to an endpoint's webhooks.
pub(crate) struct Route<'a> {
    pub(crate) client: &'a Client,
    pub(crate) hooks: &'a Hooks,
    pub(crate) endpoint: &'a ModelEndpoint,
    /// URL of the registry, empty where it is not known.
    pub(crate) registry: &'a str,
}

/// What became of one notice.
struct Sent<'a> {
    waiting: &'a Waiting,
    answer: Answer,
}

impl Deliveries {
    pub(crate) fn done(&self) -> &BTreeSet<(String, String)> {
        &self.done
    }

    /// What was done is stored as done, or was never stored.
    pub(crate) fn are_kept(&mut self, waiting: &[&Waiting]) {
        self.done.retain(|(id, to)| waiting.iter().any(|it| it.notice.id == *id && it.to.contains(to)));
    }

    /// Sends what is due. Gives what people must hear of it.
    pub(crate) async fn deliver(&mut self, route: &Route<'_>, waiting: &[&Waiting], now: Timestamp) -> Vec<Reason> {
        let mut said = Vec::new();
        let mut sending = Vec::new();
        for (index, hook) in route.endpoint.spec.notifications.iter().enumerate() {
            let key = hook.key();
            let is_done = |it: &Waiting| self.done.contains(&(it.notice.id.clone(), key.clone()));
            let due: Vec<&Waiting> =
                waiting.iter().copied().filter(|it| it.to.contains(&key) && !is_done(it)).collect();
            let paused = self.pauses.get(&key).is_some_and(|pause| now < pause.again);
            if !due.is_empty() && !paused && !sending.iter().any(|(_, other, _)| *other == key) {
                sending.push((index, key, due));
            }
        }
        let sends = sending.into_iter().map(async |(index, key, due)| (key, route.send(index, due, now).await));
        for (key, (shown, sent)) in futures::future::join_all(sends).await {
            self.settle(&key, &shown, sent, now, &mut said);
        }
        said
    }

    fn settle(&mut self, key: &str, shown: &str, sent: Vec<Sent<'_>>, now: Timestamp, said: &mut Vec<Reason>) {
        for Sent { waiting, answer } in sent {
            let id = &waiting.notice.id;
            let done = (id.clone(), key.to_owned());
            match answer {
                Answer::Taken => {
                    tracing::info!(webhook = shown, notice = id, "told");
                    self.done.insert(done);
                    self.pauses.remove(key);
                    self.counted.taken += 1;
                }
                Answer::Never { reason, .. } => {
                    said.push(Reason::new(FAILED, format!("{shown} refused {id} for good: {reason}")));
                    self.done.insert(done);
                    self.counted.dropped += 1;
                }
                Answer::Later { reason, after } => {
                    let failures = self.pauses.get(key).map_or(0, |pause| pause.failures);
                    let again = now + webhook::pause(failures, after);
                    self.counted.failed += 1;
                    if plan::elapsed(waiting.time, now) > TRIED_FOR {
                        let message = format!("{shown} did not take {id} within {}: {reason}", plan::spell(TRIED_FOR));
                        said.push(Reason::new(FAILED, message));
                        self.done.insert(done);
                        self.counted.dropped += 1;
                    } else if failures == 0 {
                        let message = format!("{shown} did not take {id}, it is tried again: {reason}");
                        said.push(Reason::new(FAILED, message));
                    } else {
                        tracing::debug!(webhook = shown, notice = id, failures, "not taken: {reason}");
                    }
                    self.pauses.insert(key.to_owned(), Pause { failures: failures.saturating_add(1), again });
                }
            }
        }
    }
}

impl Route<'_> {
    /// Sends to one webhook until it does not take one. Gives how it is shown, too.
    async fn send<'w>(&self, index: usize, due: Vec<&'w Waiting>, now: Timestamp) -> (String, Vec<Sent<'w>>) {
        let later = |reason: String| Answer::Later { reason, after: None };
        let field = format!("spec.notifications[{index}]");
        let (mut shown, mut sent) = (field.clone(), Vec::new());
        let Some(hook) = self.endpoint.spec.notifications.get(index) else { return (shown, sent) };
        let sending = async {
            let webhook = match self.open(&field, hook).await {
                Ok(webhook) => webhook,
                Err(error) => {
                    sent.extend(due.first().map(|waiting| Sent { waiting, answer: later(format!("{error:#}")) }));
                    return;
                }
            };
            shown = format!("{field} ({})", webhook.shown());
            for waiting in &due {
                let message = message(self.endpoint, self.registry, hook.format, waiting);
                let Ok(_permit) = self.hooks.requests.acquire().await else { return };
                let answer = webhook.attempt(&message.id, message.content_type, message.body, now).await;
                let failed = matches!(answer, Answer::Later { .. });
                sent.push(Sent { waiting, answer });
                if failed {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(LOOK_SPARES, sending).await;
        if in_time.is_err()
            && let Some(waiting) = due.get(sent.len())
        {
            sent.push(Sent { waiting, answer: later(format!("no answer within {} s", LOOK_SPARES.as_secs())) });
        }
        (shown, sent)
    }

    /// The receiver, as its Secrets say at this moment.
    async fn open(&self, field: &str, hook: &Notification) -> Result<Webhook> {
        let client = self.hooks.client.get_or_try_init(async || webhook::client());
        let client = client.await.context("reading this machine's certificates")?.clone();
        let url = self.entry(&format!("{field}.urlSecretRef"), &hook.url_secret_ref).await?;
        let secrets = match &hook.signing_secret_ref {
            None => Vec::new(),
            Some(entry) => {
                let field = format!("{field}.signingSecretRef");
                signing(&self.entry(&field, entry).await?).context(field)?
            }
        };
        let webhook = Webhook::new(client, url.trim(), secrets);
        webhook.with_context(|| format!("{field}.urlSecretRef: what the Secret holds is no http or https URL"))
    }

    async fn entry(&self, field: &str, entry: &SecretKeyRef) -> Result<String> {
        let namespace = self.endpoint.namespace().unwrap_or_default();
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let secret = call(|| format!("{field}: reading the Secret {namespace}/{}", entry.name), api.get(&entry.name));
        let value = secret.await?.data.unwrap_or_default().remove(&entry.key);
        let missing = || format!("{field}: the Secret {namespace}/{} has no entry {}: add it", entry.name, entry.key);
        String::from_utf8(value.with_context(missing)?.0).ok().with_context(|| format!("{field}: the entry is no text"))
    }
}

/// Secrets to sign with, one a line.
fn signing(text: &str) -> Result<Vec<Signing>> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() || lines.len() > SECRETS_MAX {
        bail!("{} secrets: 1 to {SECRETS_MAX}, one a line", lines.len());
    }
    Ok(lines.into_iter().map(str::parse).collect::<Result<_, _>>()?)
}
