//! Carrying a plan out: what adds capacity, then the route, then the registry, and what is not needed goes last. It may stop
//! between any two writes, and is done again at every look: what is there already is not written.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fairway_core::endpoint::EndpointEffect;
use fairway_registry::Error as RegistryError;
use fairway_wire::{Orders, Route, Target};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::PostParams;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Resource, ResourceExt};

use super::build::{Builder, orders_of};
use super::trials::Archived;
use super::{Decided, EndpointLoop, Opened, Subject, scaled, services};
use crate::apply::{apply, apply_of, delete, delete_ours, ensure, ensure_held};
use crate::call::{call, has_code};
use crate::context::Context;
use crate::names::{self, ACTOR};

/// What nobody watches is applied again this often: somebody may have taken it away.
const FURNISHED_AGAIN: Duration = Duration::from_secs(3_600);
/// The registry bounds the length of a reason.
const REASON_MAX: usize = 300;

/// What does not depend on any decision, as it was applied last.
pub(super) struct Furnished {
    looks: u64,
    at: Instant,
}

impl EndpointLoop {
    pub(super) async fn apply(&mut self, context: &Arc<Context>, subject: &Subject, decided: &Decided) -> Result<()> {
        let builder = Builder { subject, settings: &context.settings };
        let versions = versions(decided);
        let of_versions = versions.values().map(|target| builder.servers_service(target));
        // What serves goes on without: that one could not be made is said at the end.
        let services = self.services.see_to(context, iter::once(builder.service()).chain(of_versions).collect());
        self.furnish(context, &builder).await?;
        let counts = versions.values().map(|target| {
            let existing = decided.seen.deployments.get(&target.digest).map(|it| it.facts.ordered);
            (target, existing, replicas(subject, decided, &target.digest, existing))
        });
        let counts: Vec<(&Target, Option<u32>, Option<u32>)> = counts.collect();
        for (target, existing, wanted) in &counts {
            // More at once, fewer after the route.
            let now = wanted.map(|wanted| wanted.max(existing.unwrap_or(0)));
            ensure_held::<Deployment>(context, &context.deployments, &builder.servers(target, now)?).await?;
            scaled::scale(context, &builder, target, decided).await?;
        }
        self.order(context, &builder, decided, &versions).await?;
        ensure_held::<Deployment>(context, &context.deployments, &builder.routers()?).await?;
        let opened = self.opened.as_mut().context("the endpoint is not open")?;
        opened.carry_out(&mut self.archived).await?;
        for (target, _, wanted) in counts.iter().filter(|(_, existing, wanted)| wanted < existing) {
            ensure_held::<Deployment>(context, &context.deployments, &builder.servers(target, *wanted)?).await?;
        }
        self.remove(context, subject, decided, &versions).await?;
        services
    }

    /// What does not depend on any decision: made at the first look, and when the manifest changes it.
    async fn furnish(&mut self, context: &Context, builder: &Builder<'_>) -> Result<()> {
        if let Some(signers) = builder.signers()? {
            ensure::<ConfigMap>(context, &context.config_maps, &signers).await?;
        }
        let ([account, role, binding], budget) = (builder.account(), builder.budget());
        let (policies, route) = (builder.network_policies(), builder.http_route());
        let mut looks = DefaultHasher::new();
        format!("{account}{role}{binding}{budget:?}{policies:?}{route:?}").hash(&mut looks);
        let looks = looks.finish();
        let stands = |it: &Furnished| it.looks == looks && it.at.elapsed() < FURNISHED_AGAIN;
        if self.furnished.as_ref().is_some_and(stands) {
            return Ok(());
        }
        self.make_keys(context, builder).await?;
        apply::<ServiceAccount>(context, &account).await?;
        apply::<Role>(context, &role).await?;
        apply::<RoleBinding>(context, &binding).await?;
        if let Some(budget) = &budget {
            apply::<PodDisruptionBudget>(context, budget).await?;
        }
        for policy in &policies {
            apply::<NetworkPolicy>(context, policy).await?;
        }
        let routes = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
        if let Some(route) = &route {
            apply_of(context, &routes, route).await.context("is the Gateway API installed? (spec.httpRoute)")?;
        }
        // Another manifest than the one before may ask for less.
        let endpoint = &builder.subject.endpoint;
        let seen = endpoint.status.as_ref().and_then(|status| status.observed_generation);
        if seen.is_some() && seen != endpoint.metadata.generation {
            let namespace = &builder.subject.key.0;
            if policies.is_empty() {
                let kind = ApiResource::erase::<NetworkPolicy>(&());
                for role in ["server", "router"] {
                    delete_ours(context, &kind, namespace, &names::child(builder.name(), role)).await?;
                }
            }
            if route.is_none() {
                delete_ours(context, &routes, namespace, builder.name()).await?;
            }
        }
        self.furnished = Some(Furnished { looks, at: Instant::now() });
        Ok(())
    }

    /// Creates the keys once; those that are there stay.
    async fn make_keys(&self, context: &Context, builder: &Builder<'_>) -> Result<()> {
        let namespace = &builder.subject.key.0;
        let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
        let keys: Secret = serde_json::from_value(builder.keys())?;
        let created = async {
            match api.create(&PostParams::default(), &keys).await {
                Err(error) if has_code(&error, 409) => Ok(()),
                other => other.map(drop),
            }
        };
        call(|| format!("creating the Secret {namespace}/{}", keys.name_any()), created).await
    }

    /// Gives routers the route. A former leader that wakes up late finds a later route there, and stops.
    async fn order(
        &self,
        context: &Context,
        builder: &Builder<'_>,
        decided: &Decided,
        versions: &BTreeMap<String, Target>,
    ) -> Result<()> {
        let (namespace, name) = (&builder.subject.key.0, names::of_orders(&builder.subject.key.1));
        let existing = context.config_maps.get(namespace, &name);
        let given = existing.as_deref().and_then(|map| orders_of(map).ok());
        let route = decided.plan.status.route.clone();
        let before = given.as_ref().and_then(|orders| orders.route.as_ref());
        let generation = |route: Option<&Route>| route.map_or(0, |route| route.generation);
        if generation(before) > generation(route.as_ref()) {
            bail!("the routers have a later route ({}) than this operator's: another one decides", generation(before));
        }
        // A lease that is renewed goes with the polls: it is no reason to write.
        let route = route.map(|route| Route {
            lease_until: before
                .filter(|it| it.generation == route.generation)
                .map_or(route.lease_until, |it| it.lease_until),
            ..route
        });
        // Told once a server is there to be asked, and has a name; one that is away for a while is still told.
        let was_told = |digest: &str| {
            given.iter().flat_map(|orders| &orders.versions).any(|served| served.target.digest == digest)
        };
        let is_named = |digest: &str| {
            let service = names::of_version(&builder.subject.key.1, digest);
            context.services.get(namespace, &service).is_some()
        };
        let is_there = |digest: &str| {
            decided.seen.servers.get(digest).is_some_and(|servers| servers.ready > 0) && is_named(digest)
        };
        let told = versions.values().filter(|target| is_there(&target.digest) || was_told(&target.digest));
        let served = told.map(|target| builder.served_at(target)).collect();
        let peers = if builder.has_several_routers() { decided.seen.peers.clone() } else { Vec::new() };
        let orders = Orders { route, versions: served, settings: builder.router_settings()?, peers };
        if given.as_ref() == Some(&orders) {
            return Ok(());
        }
        let mut desired = builder.orders(&orders)?;
        if let Some(version) = existing.as_deref().and_then(ResourceExt::resource_version) {
            desired["metadata"]["resourceVersion"] = version.into();
        }
        apply::<ConfigMap>(context, &desired).await
    }

    /// Servers that no plan needs any more.
    async fn remove(
        &self,
        context: &Context,
        subject: &Subject,
        decided: &Decided,
        versions: &BTreeMap<String, Target>,
    ) -> Result<()> {
        for (digest, deployment) in &decided.seen.deployments {
            if versions.contains_key(digest) {
                continue;
            }
            delete::<Deployment>(context, deployment.meta()).await?;
            let name = names::of_version(&subject.key.1, digest);
            scaled::forget(context, &(subject.key.0.clone(), name)).await?;
        }
        let kept: Vec<String> = versions.keys().map(|digest| names::of_version(&subject.key.1, digest)).collect();
        services::remove(context, &subject.key, &kept).await
    }
}

/// The versions that must have servers after this plan: those that it asks for, and those that are there and that it does not
/// let go.
fn versions(decided: &Decided) -> BTreeMap<String, Target> {
    let (plan, seen) = (&decided.plan, &decided.seen);
    let status = &plan.status;
    let mut versions: BTreeMap<String, Target> = BTreeMap::new();
    let mut add = |target: &Target| drop(versions.insert(target.digest.clone(), target.clone()));
    let named = [
        status.stable.as_ref(),
        status.rollout.as_ref().map(|rollout| &rollout.candidate),
        status.bake.as_ref().map(|bake| &bake.previous),
        status.returning.as_ref().map(|returning| &returning.to),
    ];
    named.into_iter().flatten().for_each(&mut add);
    status.route.iter().flat_map(Route::targets).for_each(&mut add);
    let mut gone = BTreeSet::new();
    for effect in &plan.effects {
        match effect {
            EndpointEffect::Load { target } => add(target),
            EndpointEffect::Unload { digest } => drop(gone.insert(digest.clone())),
            _ => {}
        }
    }
    // What is loaded stays until the plan says that it goes: routers may still send users there.
    for (digest, deployment) in seen.deployments.iter().filter(|(digest, _)| seen.ready.contains(*digest)) {
        let version = deployment.annotations().get(names::VERSION).and_then(|text| text.parse().ok());
        if let (Some(version), false) = (version, gone.contains(digest)) {
            add(&Target { version, digest: digest.clone() });
        }
    }
    versions
}

/// How many servers a version gets; none where a HorizontalPodAutoscaler says.
fn replicas(subject: &Subject, decided: &Decided, digest: &str, existing: Option<u32>) -> Option<u32> {
    let scaling = &subject.endpoint.spec.scaling;
    let least = scaling.min;
    if scaling.mode == fairway_api::endpoint::ScalingMode::HPA {
        return existing.is_none().then_some(least);
    }
    let decided = decided.plan.status.scalers.get(digest).map(|scaler| scaler.replicas().max(least));
    Some(decided.unwrap_or(least))
}

impl Opened {
    /// What the last plan, or one before an operator that was killed, asks of the bucket.
    async fn carry_out(&mut self, archived: &mut Archived) -> Result<()> {
        while let Some(effect) = self.kept.undone.front() {
            match effect {
                EndpointEffect::MoveChampion { to, why } => self.move_champion(&to.clone(), &why.clone()).await?,
                EndpointEffect::Archive { record } => archived.keep(&self.endpoint_log, record).await?,
                _ => {}
            }
            self.kept.undone.pop_front();
        }
        Ok(())
    }

    /// Moves the alias, unless it is there already. Somebody else's move in between is read again and overruled: the
    /// endpoint's own log says what is stable.
    async fn move_champion(&self, to: &Target, why: &str) -> Result<()> {
        let why: String = why.chars().take(REASON_MAX).collect();
        for _ in 0..5 {
            let newest = self.model_log.newest().await?;
            let current = newest.and_then(|entry| entry.state.aliases.get("champion").copied());
            if current == Some(to.version) {
                return Ok(());
            }
            let moved = self
                .model_log
                .move_alias("champion", current, Some(to.version), ACTOR, &why, crate::clock::now())
                .await;
            match moved {
                Ok(_) => return Ok(()),
                Err(RegistryError::Conflict { .. }) => {}
                Err(error) => return Err(error).context("moving the alias champion"),
            }
        }
        bail!("the alias champion is being moved by somebody else all the time")
    }
}
