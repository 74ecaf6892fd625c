//! Who leads: one process at a time holds a Lease (`coordination.k8s.io/v1`).
//!
//! Every write names the version of the Lease that was read, so that of two that try only one succeeds; a holder counts as
//! gone when its Lease did not change for its whole length by *our* clock, so that clocks that differ do not matter.
//! Safety does not rest on it: plans are appended to the bucket under the next number, and a former leader's append fails.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};

use crate::call::call;
use crate::names::{ACTOR, MANAGED_BY};
use crate::settings::Settings;

/// A candidate for the lead.
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    length: Duration,
    /// The version of the Lease that was last seen, and since when by our clock.
    seen: Option<(String, Instant)>,
}

impl Candidate {
    pub(crate) fn new(client: Client, settings: &Settings) -> Self {
        Self {
            api: Api::namespaced(client, &settings.namespace),
            name: settings.lease_name.clone(),
            identity: settings.identity.clone(),
            length: settings.lease,
            seen: None,
        }
    }

    /// Waits until this process leads. Calls that fail are repeated: an API server that is away has no leader to offer.
    pub(crate) async fn win(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!("cannot try for the lead: {error:#}"),
            }
            tokio::time::sleep(self.length / 5).await;
        }
    }

    /// Renews the lead until it is lost: taken by another one, or not renewed in time. Says which.
    pub(crate) async fn keep(&mut self) -> anyhow::Error {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.length / 5).await;
            // Counted from before the call: a renewal is good from when it was asked for.
            let asked = Instant::now();
            match tokio::time::timeout(self.length / 3, self.attempt()).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Ok(false)) => return anyhow!("another operator leads now"),
                Ok(Err(error)) => tracing::warn!("cannot renew the lead: {error:#}"),
                Err(_) => tracing::warn!("cannot renew the lead in time"),
            }
            if renewed.elapsed() > self.length * 2 / 3 {
                return anyhow!("the lead was not renewed for {} s", renewed.elapsed().as_secs());
            }
        }
    }

    /// Gives the lead back, so that nobody has to wait for it to run out.
    pub(crate) async fn resign(&mut self) {
        let Ok(Some(mut lease)) = self.read().await else { return };
        if holder(&lease) != Some(self.identity.as_str()) {
            return;
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        if let Err(error) = self.replace(&lease).await {
            tracing::debug!("cannot give the lead back: {error:#}");
        }
    }

    /// True if this process holds the Lease after it.
    async fn attempt(&mut self) -> Result<bool> {
        let Some(lease) = self.read().await? else {
            return self.create().await;
        };
        let version = lease.resource_version().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != version) {
            self.seen = Some((version, Instant::now()));
        }
        let unchanged = self.seen.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
        let ours = holder(&lease) == Some(self.identity.as_str());
        if !ours && holder(&lease).is_some() && unchanged < self.length {
            return Ok(false);
        }
        let taken = self.replace(&self.renewed(lease, ours)).await;
        match taken {
            Ok(lease) => {
                self.seen = lease.resource_version().map(|version| (version, Instant::now()));
                Ok(true)
            }
            Err(error) if crate::call::is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn renewed(&self, mut lease: Lease, ours: bool) -> Lease {
        let now = MicroTime(crate::clock::now());
        let before = lease.spec.take().unwrap_or_default();
        let transitions = before.lease_transitions.unwrap_or(0);
        // People find it by this, whatever its name.
        lease.labels_mut().insert(MANAGED_BY.to_owned(), ACTOR.to_owned());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.length.as_secs()).ok(),
            acquire_time: if ours { before.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if ours { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        });
        lease
    }

    async fn read(&self) -> Result<Option<Lease>> {
        call(|| format!("reading the Lease {}", self.name), self.api.get_opt(&self.name)).await
    }

    async fn create(&mut self) -> Result<bool> {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        let lease = self.renewed(Lease { metadata, ..Lease::default() }, false);
        let params = PostParams::default();
        let created = self.api.create(&params, &lease);
        match call(|| format!("creating the Lease {}", self.name), created).await {
            Ok(_) => Ok(true),
            // Somebody else's, or ours with a lost answer: the next look at it tells.
            Err(error) if crate::call::is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease> {
        let params = PostParams::default();
        let replaced = self.api.replace(&self.name, &params, lease);
        call(|| format!("writing the Lease {}", self.name), replaced).await
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}
