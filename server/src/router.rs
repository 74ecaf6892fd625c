//! The router: its state, and what the operator's side does to it (routes, versions, windows, decisions). How a
//! request is answered is in `recommend`, how feedback is taken in `feedback`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use fairway_stats::Bins;
use fairway_wire::{Decision, Profile, Route, Target, Weight, Window};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::assign::canary_weight;
use crate::config::{self, Clock, RouterConfig, millis};
use crate::decisions::{DecisionNames, Decisions};
use crate::event_ids::EventIds;
use crate::exposures::Exposures;
use crate::interner::{Interner, UNKNOWN};
use crate::lease::{Lease, Watch};
use crate::metrics::Metrics;
use crate::model_server::ModelServer;
use crate::peers::Peers;
use crate::popularity::Popularity;
use crate::pseudonym::Pseudonyms;
use crate::served::Served;
use crate::trials::Trial;
use crate::users::Users;
use crate::windows::{WindowNames, Windows};

/// The route in force with the versions that it names, as far as they are installed.
pub(crate) struct Plan {
    pub(crate) route: Route,
    pub(crate) stable: Option<Arc<Served>>,
    pub(crate) canary: Option<Arc<Served>>,
    /// Their digests as numbers; [`UNKNOWN`] if the route has none.
    pub(crate) stable_version: u32,
    pub(crate) canary_version: u32,
    /// The experiments of the route, in its order.
    pub(crate) trials: Vec<Trial>,
    /// False until the first route came.
    pub(crate) told: bool,
    /// A person has set the canary to 0 under this route, or under an earlier one of the same rollout.
    pub(crate) aborted: bool,
    /// What its lease is measured by.
    pub(crate) lease: Lease,
}

/// The data plane of one endpoint: assigns users, asks versions, falls back, takes feedback, counts.
///
/// All methods take `&self`; one router is shared by all connections.
pub struct Router {
    pub(crate) config: RouterConfig,
    clock: Clock,
    pub(crate) pseudonyms: Pseudonyms,
    pub(crate) items: Interner,
    pub(crate) segments: Interner,
    pub(crate) versions: Interner,
    pub(crate) arms: Interner,
    pub(crate) users: Users,
    pub(crate) popularity: Popularity,
    pub(crate) exposures: Arc<Exposures>,
    pub(crate) windows: Arc<Windows>,
    pub(crate) decisions: Decisions,
    pub(crate) event_ids: EventIds,
    pub(crate) peers: Peers,
    pub(crate) metrics: Metrics,
    pub(crate) plan: ArcSwap<Plan>,
    pub(crate) numbers: AtomicU32,
    pub(crate) shadows: Arc<Semaphore>,
    models: Mutex<BTreeMap<String, Arc<Served>>>,
    draining: AtomicBool,
}

/// What a router says of itself on `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `ready`, or `draining` while it stops.
    pub status: &'static str,
    /// Generation of the route in force.
    pub generation: u64,
    /// Number of the stable version, if the route has one.
    pub stable: Option<u64>,
    /// Number of the version on trial, if there is one.
    pub canary: Option<u64>,
    /// Digests of the versions that are loaded.
    pub installed: Vec<String>,
}

impl Router {
    /// A router without a route: it answers with popularity until it gets one.
    pub fn new(config: RouterConfig, clock: Clock, pseudonyms: Pseudonyms) -> Arc<Self> {
        let now_ms = clock().as_millisecond();
        let within = millis(config.reward_within);
        Arc::new(Self {
            items: Interner::new(config::ITEMS_MAX),
            segments: Interner::new(config::SEGMENTS_MAX),
            versions: Interner::new(0),
            arms: Interner::new(0),
            users: Users::new(config.users_max, config.history_max),
            popularity: Popularity::new(config.popularity_window),
            exposures: Arc::new(Exposures::new(within, config.reward_cap, config.pending_max)),
            windows: Arc::new(Windows::new(&config, now_ms)),
            decisions: Decisions::new(config::DECISIONS_MAX, config.decision_sample),
            event_ids: EventIds::new(config::EVENT_IDS_MAX),
            peers: Peers::default(),
            metrics: Metrics::new(),
            plan: ArcSwap::from_pointee(Plan::untold()),
            numbers: AtomicU32::new(rand::random()),
            shadows: Arc::new(Semaphore::new(config::SHADOWS_MAX)),
            models: Mutex::default(),
            draining: AtomicBool::new(false),
            config,
            clock,
            pseudonyms,
        })
    }

    /// Puts a route in force; its lease is by this router's own clock. The open window is closed first, so that a window has one
    /// generation. An older route is ignored; the same generation again only extends the lease. A canary that a person has
    /// aborted stays away as long as its rollout goes on.
    pub fn set_route(&self, route: Route) {
        self.put_in_force(route, |_| Lease::OfRoute);
    }

    /// Puts a route in force that comes from another process: how long its lease holds is what [`poll`](Self::poll) is told.
    pub(crate) fn take_order(&self, route: Route) {
        self.put_in_force(route, Lease::handed_on);
    }

    fn put_in_force(&self, mut route: Route, lease: impl FnOnce(Lease) -> Lease) {
        let models = self.models();
        let current = self.plan.load_full();
        if current.told && route.generation <= current.route.generation {
            if route.generation == current.route.generation {
                let renewed = Route { lease_until: route.lease_until, ..current.route.clone() };
                self.plan.store(Arc::new(current.with(renewed)));
            }
            return;
        }
        for segment in route.canary.iter().flat_map(|canary| &canary.segments) {
            self.segments.add_trusted(segment);
        }
        // Whoever sets the route may not have heard of it yet.
        let aborted = current.aborted && is_same_trial(&current.route, &route);
        if aborted {
            end_trials(&mut route);
        }
        let now_ms = self.now().as_millisecond();
        self.mature(now_ms);
        self.windows.begin(now_ms, route.generation, route.canary.is_some());
        tracing::info!(generation = route.generation, "route in force");
        self.plan.store(Arc::new(Plan { aborted, lease: lease(current.lease), ..self.plan_of(route, &models) }));
    }

    /// Makes a version available under its digest; it serves as soon as a route names it. Its items become known.
    pub fn install(&self, target: &Target, model: Arc<dyn ModelServer>, profile: Arc<Profile>) {
        if let Some(Bins::Categories { names }) = profile.features.get("segment").map(|one| &one.bins) {
            for name in names {
                self.segments.add_trusted(name);
            }
        }
        let version = self.versions.add_trusted(&target.digest);
        let served = Served::new(target, version, model, profile, &self.items);
        self.change(|models| drop(models.insert(target.digest.clone(), Arc::new(served))));
    }

    /// Takes a version away. Requests that are asking it get their answer; later ones fall back if the route still
    /// names it.
    pub fn uninstall(&self, digest: &str) {
        self.change(|models| drop(models.remove(digest)));
    }

    /// Digests of the versions that are available, in order.
    pub fn installed(&self) -> Vec<String> {
        self.models().keys().cloned().collect()
    }

    /// The route in force, if one ever came.
    pub fn route(&self) -> Option<Route> {
        let plan = self.plan.load();
        plan.told.then(|| plan.route.clone())
    }

    /// Windows that are complete, oldest first. To be called about once a window: exposures
    /// mature here.
    pub fn take_windows(&self) -> Vec<Window> {
        let now_ms = self.now().as_millisecond();
        self.mature(now_ms);
        self.windows.take(now_ms, &self.window_names())
    }

    /// All windows, the open one closed before its time: for the shutdown.
    pub fn flush_windows(&self) -> Vec<Window> {
        let now_ms = self.now().as_millisecond();
        self.mature(now_ms);
        self.windows.flush(now_ms, &self.window_names())
    }

    /// Decisions since the last call, oldest first. At most 100,000 are kept; further ones are dropped and counted.
    pub fn take_decisions(&self) -> Vec<Decision> {
        self.decisions.take(&DecisionNames {
            items: &self.items,
            segments: &self.segments,
            versions: &self.versions,
            arms: &self.arms,
            pseudonyms: &self.pseudonyms,
        })
    }

    /// Takes up what happened before this router started, as `(user, item, time, segment)`: histories and popularity,
    /// nothing else. Rows may come in any order.
    pub fn seed<'a>(&self, history: impl IntoIterator<Item = (&'a str, &'a str, Timestamp, Option<&'a str>)>) {
        let now_ms = self.now().as_millisecond();
        for (user, item, time, segment) in history {
            let Some(item) = self.items.add(item) else {
                continue;
            };
            let (key, time_ms) = (self.pseudonyms.key(user), time.as_millisecond());
            let segment = segment.filter(|name| !name.is_empty());
            let segment = segment.and_then(|name| self.segments.add(name));
            self.users.consume(&key, item, time_ms);
            self.popularity.seed(item, segment, time_ms, now_ms);
        }
        self.popularity.renew(now_ms, &self.items);
    }

    /// Metrics in the OpenMetrics text format.
    pub fn metrics_text(&self) -> String {
        let (waiting, given_up) = self.exposures.counts();
        self.metrics.pending.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.metrics.pending_dropped.set(given_up);
        self.metrics.reward_users_share.set(self.exposures.share());
        self.metrics.windows_lost.set(self.windows.lost());
        let plan = self.plan.load();
        self.metrics.generation.set(plan.route.generation);
        self.metrics.canary_weight.set(canary_weight(&plan.route, plan.watch(self.now())).percent() / 100.0);
        // Writing to a string does not fail.
        self.metrics.text().unwrap_or_default()
    }

    /// From now on `/readyz` says no, so that nobody sends new requests; the router still answers.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What it serves now.
    pub fn status(&self) -> Status {
        let plan = self.plan.load();
        let draining = self.draining.load(Ordering::Relaxed);
        Status {
            status: if draining { "draining" } else { "ready" },
            generation: plan.route.generation,
            stable: plan.route.stable.as_ref().map(|target| target.version),
            canary: plan.route.canary.as_ref().map(|canary| canary.target.version),
            installed: self.installed(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn mature(&self, now_ms: i64) {
        let matured = self.exposures.sweep(now_ms);
        if !matured.is_empty() {
            self.windows.mature(now_ms, &matured);
        }
    }

    /// What is to be done every second or so where windows are polled, whether anybody polls or not: exposures mature, and windows
    /// that are complete are written down.
    pub(crate) fn tend(&self) {
        let now_ms = self.now().as_millisecond();
        self.mature(now_ms);
        self.windows.pack(now_ms, &self.window_names());
    }

    pub(crate) fn models(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Served>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the installed versions and makes the plan anew, while no route comes in between.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<Served>>)) {
        let mut models = self.models();
        change(&mut models);
        let current = self.plan.load_full();
        let plan = self.plan_of(current.route.clone(), &models);
        let (told, aborted, lease) = (current.told, current.aborted, current.lease);
        self.plan.store(Arc::new(Plan { told, aborted, lease, ..plan }));
    }

    fn plan_of(&self, route: Route, models: &BTreeMap<String, Arc<Served>>) -> Plan {
        let find = |target: Option<&Target>| match target {
            None => (None, UNKNOWN),
            Some(target) => {
                let version = self.versions.add_trusted(&target.digest);
                (models.get(&target.digest).cloned(), version)
            }
        };
        let (stable, stable_version) = find(route.stable.as_ref());
        let (canary, canary_version) = find(route.canary.as_ref().map(|canary| &canary.target));
        let before = self.plan.load();
        let trials =
            route.experiments.iter().map(|slice| Trial::new(slice, &before.trials, &self.arms, find)).collect();
        let (told, aborted, lease) = (true, false, Lease::OfRoute);
        Plan { route, stable, canary, stable_version, canary_version, trials, told, aborted, lease }
    }

    pub(crate) fn window_names(&self) -> WindowNames<'_> {
        WindowNames {
            replica: &self.config.replica,
            versions: &self.versions,
            segments: &self.segments,
            arms: &self.arms,
        }
    }
}

impl Plan {
    fn untold() -> Self {
        let route = Route {
            generation: 0,
            stable: None,
            canary: None,
            salt: String::new(),
            holdback: Weight::ZERO,
            experiments: Vec::new(),
            serve_baseline: false,
            slow_over_ms: u32::MAX,
            deadline_ms: 0,
            lease_until: None,
        };
        Self {
            route,
            stable: None,
            canary: None,
            stable_version: UNKNOWN,
            canary_version: UNKNOWN,
            trials: Vec::new(),
            told: false,
            aborted: false,
            lease: Lease::OfRoute,
        }
    }

    /// Whether somebody watches over what is on trial.
    pub(crate) fn watch(&self, now: Timestamp) -> Watch {
        self.lease.watch(&self.route, now)
    }

    /// The same versions under a changed route.
    pub(crate) fn with(&self, route: Route) -> Self {
        let (stable, canary, trials) = (self.stable.clone(), self.canary.clone(), self.trials.clone());
        Self { route, stable, canary, trials, ..*self }
    }
}

/// Nobody gets the canary or an experiment under the route, and the canary is asked nothing unseen.
pub(crate) fn end_trials(route: &mut Route) {
    if let Some(canary) = &mut route.canary {
        (canary.weight, canary.shadow) = (Weight::ZERO, false);
    }
    route.experiments.clear();
}

/// Whether the same rollout tries the same version under both.
fn is_same_trial(before: &Route, after: &Route) -> bool {
    let of = |route: &Route| route.canary.as_ref().map(|canary| canary.target.digest.clone());
    before.salt == after.salt && of(before).is_some() && of(before) == of(after)
}
