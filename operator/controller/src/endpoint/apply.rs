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

use super::build::{Builder, orders_of, with_replicas};
use super::trials::Archived;
use super::{Decided, EndpointLoop, Opened, Subject, scaled, services};
use crate::apply::{apply, apply_if_free, apply_of, delete, delete_ours, ensure, ensure_held, ensure_held_with};
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
        // What could not be made keeps nothing else from being made, and no route from going out: it is said at the end.
        let mut failed = Vec::new();
        let services = self.services.see_to(context, iter::once(builder.service()).chain(of_versions).collect());
        failed.extend(self.furnish(context, &builder).await.err());
        let counts = versions.values().map(|target| {
            let existing = decided.seen.deployments.get(&target.digest).map(|it| it.facts.ordered);
            (target, existing, replicas(subject, decided, &target.digest, existing))
        });
        let counts: Vec<(&Target, Option<u32>, Option<u32>)> = counts.collect();
        for (target, existing, wanted) in &counts {
            // More at once, fewer after the route.
            let now = wanted.map(|wanted| wanted.max(existing.unwrap_or(0)));
            // A number that somebody else scales is applied with the rest as it is: one that is let go falls back to 1.
            let (servers, replicas) = (builder.servers(target, now)?, now.or(*existing));
            let with_number = |servers| with_replicas(servers, replicas);
            let made = ensure_held_with::<Deployment>(context, &context.deployments, &servers, with_number).await;
            let scaled = scaled::scale(context, &builder, target, decided).await;
            failed.extend(made.err().into_iter().chain(scaled.err()));
        }
        self.order(context, &builder, decided, &versions).await?;
        let routers = builder.routers()?;
        failed.extend(ensure_held::<Deployment>(context, &context.deployments, &routers).await.err());
        let opened = self.opened.as_mut().context("the endpoint is not open")?;
        failed.extend(opened.carry_out(&mut self.archived).await.err());
        for (target, _, wanted) in counts.iter().filter(|(_, existing, wanted)| wanted.is_some() && wanted < existing) {
            let fewer = builder.servers(target, *wanted)?;
            failed.extend(ensure_held::<Deployment>(context, &context.deployments, &fewer).await.err());
        }
        failed.extend(self.remove(context, subject, decided, &versions).await.err());
        failed.into_iter().chain(services.err()).next().map_or(Ok(()), Err)
    }

    /// What does not depend on any decision: made at the first look, and when the manifest changes it.
    async fn furnish(&mut self, context: &Context, builder: &Builder<'_>) -> Result<()> {
        if let Some(signers) = builder.signers()? {
            let name = names::child(builder.name(), "signers");
            match context.config_maps.get(&builder.subject.key.0, &name) {
                Some(_) => ensure::<ConfigMap>(context, &context.config_maps, &signers).await?,
                None => apply_if_free::<ConfigMap>(context, &signers).await?,
            }
        }
        let ([account, role, binding], budgets) = (builder.account(), builder.budgets());
        let (policies, route) = (builder.network_policies(), builder.http_route());
        let mut looks = DefaultHasher::new();
        format!("{account}{role}{binding}{budgets:?}{policies:?}{route:?}").hash(&mut looks);
        let looks = looks.finish();
        let stands = |it: &Furnished| it.looks == looks && it.at.elapsed() < FURNISHED_AGAIN;
        if self.furnished.as_ref().is_some_and(stands) {
            return Ok(());
        }
        // Routers cannot start without the first four. What is refused of the rest, such as by a policy of the cluster, keeps
        // nothing else from being made.
        make_keys(context, builder).await?;
        apply_if_free::<ServiceAccount>(context, &account).await?;
        apply::<Role>(context, &role).await?;
        apply::<RoleBinding>(context, &binding).await?;
        let mut failed = Vec::new();
        for budget in &budgets {
            failed.extend(apply::<PodDisruptionBudget>(context, budget).await.err());
        }
        for policy in &policies {
            failed.extend(apply::<NetworkPolicy>(context, policy).await.err());
        }
        let routes = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
        if let Some(route) = &route {
            let made =
                apply_of(context, &routes, route).await.context("is the Gateway API installed? (spec.httpRoute)");
            failed.extend(made.err());
        }
        // Another manifest than the one that was carried out may ask for less.
        let endpoint = &builder.subject.endpoint;
        let before = endpoint.status.as_ref().and_then(|status| status.observed_generation);
        if before.is_some() && before != endpoint.metadata.generation {
            let namespace = &builder.subject.key.0;
            if policies.is_empty() {
                let kind = ApiResource::erase::<NetworkPolicy>(&());
                for role in ["server", "router"] {
                    let name = names::child(builder.name(), role);
                    failed.extend(delete_ours(context, &kind, namespace, &name).await.err());
                }
            }
            if route.is_none() {
                failed.extend(delete_ours(context, &routes, namespace, builder.name()).await.err());
            }
        }
        if let Some(error) = failed.into_iter().next() {
            return Err(error);
        }
        self.furnished = Some(Furnished { looks, at: Instant::now() });
        Ok(())
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
        match existing.as_deref().and_then(ResourceExt::resource_version) {
            Some(version) => {
                desired["metadata"]["resourceVersion"] = version.into();
                apply::<ConfigMap>(context, &desired).await
            }
            None => apply_if_free::<ConfigMap>(context, &desired).await,
        }
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

/// Creates the keys once; those that are there stay, if they are this endpoint's.
async fn make_keys(context: &Context, builder: &Builder<'_>) -> Result<()> {
    let namespace = &builder.subject.key.0;
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let keys: Secret = serde_json::from_value(builder.keys())?;
    let name = keys.name_any();
    let created = async {
        match api.create(&PostParams::default(), &keys).await {
            Err(error) if has_code(&error, 409) => api.get(&name).await,
            other => other,
        }
    };
    let there = call(|| format!("creating the Secret {namespace}/{name}"), created).await?;
    are_keys_of(&there, &keys, builder.subject.endpoint.uid().as_deref())
}

/// Whether keys that are there are those of an endpoint, and stay. What goes with an endpoint that was deleted is somebody else's:
/// the one that was made anew under its name gets keys of its own once they are gone.
fn are_keys_of(there: &Secret, wanted: &Secret, endpoint: Option<&str>) -> Result<()> {
    let name = there.name_any();
    let of = |secret: &Secret, label: &str| secret.labels().get(label).cloned();
    let same = |label: &str| of(there, label).is_some() && of(there, label) == of(wanted, label);
    if !same(names::MANAGED_BY) || !same(names::ENDPOINT) {
        bail!("the Secret {name} is there already and holds no keys of this endpoint: rename one of the two");
    }
    if there.owner_references().iter().any(|owner| Some(owner.uid.as_str()) != endpoint) {
        bail!("the Secret {name} goes with an endpoint that was deleted: another one is made once it is gone");
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn keys_of_others_are_not_used() {
        let secret = |metadata: Value| -> Secret {
            let mut metadata = metadata;
            metadata["name"] = "shop-keys".into();
            serde_json::from_value(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})).unwrap()
        };
        let labels = json!(names::labels("shop", "router"));
        let owner = |uid: &str| json!([{"apiVersion": "fairway.dev/v1alpha1", "kind": "ModelEndpoint", "name": "shop", "uid": uid}]);
        let wanted = secret(json!({"labels": labels}));
        let table = [
            (json!({"labels": labels}), None),
            (json!({"labels": labels, "ownerReferences": owner("2")}), None),
            (json!({"labels": labels, "ownerReferences": owner("1")}), Some("was deleted")),
            (json!({}), Some("no keys of this endpoint")),
            (json!({"labels": names::labels("shop-eu", "router")}), Some("no keys of this endpoint")),
        ];
        for (metadata, expected) in table {
            let found = are_keys_of(&secret(metadata.clone()), &wanted, Some("2")).map_err(|error| error.to_string());
            match expected {
                None => assert_eq!(found, Ok(()), "{metadata}"),
                Some(why) => assert!(found.as_ref().is_err_and(|error| error.contains(why)), "{metadata}: {found:?}"),
            }
        }
    }
}
