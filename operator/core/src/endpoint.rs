//! Which version may serve how many users: the decision of one endpoint.
//!
//! Phases: nothing served yet → stable alone → rollout (steps) → promoted and baking → stable alone. Rollback is one
//! step away from each of them and needs neither registry nor bucket (invariant I3): it is a route without the canary.
//!
//! Here is what goes in and what comes out; what is remembered is in `endpoint/status`. The phases are beside it: `wanted` (is
//! another version to be tried?), `advance` (the rollout), `bake`, `verbs` (people), `route` and `keep` (what must be loaded).

mod advance;
mod bake;
mod capacity;
mod conditions;
mod experiments;
mod keep;
mod route;
mod status;
mod verbs;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_wire::{Route, Slice, Target, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::experiment::Record;
use crate::plan::{Plan, Reason, spell};
use crate::planted::{Bug, planted};
use crate::policy::EndpointPolicy;
use crate::scaling::Sample;
pub use experiments::{AskedExperiment, Experiments};
pub use status::{Ended, EndpointStatus, Heard, Loading, Returning, RolloutResult};

/// The servers of one version, where versions are scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Servers {
    /// Servers that were ordered.
    pub ordered: u32,
    /// Servers that are ready.
    pub ready: u32,
    /// What they did since the last look, if that was measured.
    pub sample: Option<Sample>,
}

/// What a person asks of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "verb")]
pub enum RolloutRequest {
    /// Freeze the weight.
    Pause,
    /// Go on after a pause.
    Resume,
    /// To the next step now.
    Promote {
        /// All the way.
        full: bool,
    },
    /// Stable now; the digest is barred.
    Abort,
    /// Try a barred version again.
    Retry,
    /// Back to the version before, or to a named one.
    Undo {
        /// The version; the one before if none.
        to: Option<Target>,
    },
}

/// What is known about the endpoint at this moment.
#[derive(Clone, Debug)]
pub struct EndpointObserved<'a> {
    /// What was remembered.
    pub status: &'a EndpointStatus,
    /// Windows closed since the last look.
    pub windows: &'a [Window],
    /// The version that the manifest's reference stands for now.
    pub wanted: Option<&'a Target>,
    /// Digests that are loaded and verified (invariant I5).
    pub ready: &'a BTreeSet<String>,
    /// Digests that could not be loaded, and why.
    pub broken: &'a BTreeMap<String, String>,
    /// Digests that may not serve, and why: an approval is missing or was taken back.
    pub unapproved: &'a BTreeMap<String, String>,
    /// The version that the model's alias `champion` names.
    pub champion: Option<u64>,
    /// Every router that is alive has taken this generation of the route, or a later one.
    pub acked: u64,
    /// Servers by digest; none where one process serves everything and capacity is no question.
    pub servers: Option<&'a BTreeMap<String, Servers>>,
    /// What people asked since the last look, in order, with their names.
    pub requests: &'a [(String, RolloutRequest)],
    /// The model's loop found stable worse than popularity.
    pub serve_baseline: bool,
    /// How long the routers may keep a canary without hearing from us.
    pub lease: Duration,
    /// The experiments that manifests ask for.
    pub experiments: &'a [AskedExperiment],
}

/// What was observed beside the status and the windows: kept with each plan, so that it can be decided again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointInputs {
    /// See [`EndpointObserved::wanted`].
    pub wanted: Option<Target>,
    /// See [`EndpointObserved::ready`].
    pub ready: BTreeSet<String>,
    /// See [`EndpointObserved::broken`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broken: BTreeMap<String, String>,
    /// See [`EndpointObserved::unapproved`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unapproved: BTreeMap<String, String>,
    /// See [`EndpointObserved::champion`].
    pub champion: Option<u64>,
    /// See [`EndpointObserved::acked`].
    pub acked: u64,
    /// See [`EndpointObserved::servers`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<BTreeMap<String, Servers>>,
    /// See [`EndpointObserved::requests`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<(String, RolloutRequest)>,
    /// See [`EndpointObserved::serve_baseline`].
    pub serve_baseline: bool,
    /// See [`EndpointObserved::lease`].
    pub lease: Duration,
    /// See [`EndpointObserved::experiments`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experiments: Vec<AskedExperiment>,
}

impl EndpointInputs {
    /// With the status that was remembered and the windows that have closed since.
    pub fn with<'a>(&'a self, status: &'a EndpointStatus, windows: &'a [Window]) -> EndpointObserved<'a> {
        EndpointObserved {
            status,
            windows,
            wanted: self.wanted.as_ref(),
            ready: &self.ready,
            broken: &self.broken,
            unapproved: &self.unapproved,
            champion: self.champion,
            acked: self.acked,
            servers: self.servers.as_ref(),
            requests: &self.requests,
            serve_baseline: self.serve_baseline,
            lease: self.lease,
            experiments: &self.experiments,
        }
    }
}

/// What the runtime must do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "effect")]
pub enum EndpointEffect {
    /// Fetch, verify and load a version.
    Load {
        /// Which.
        target: Target,
    },
    /// Give the routers this route.
    SetRoute {
        /// The route.
        route: Route,
    },
    /// Run so many servers of a version.
    Scale {
        /// Its digest.
        digest: String,
        /// So many.
        replicas: u32,
        /// Why.
        why: String,
    },
    /// A version is not needed any more.
    Unload {
        /// Its digest.
        digest: String,
    },
    /// Move the model's alias `champion`.
    MoveChampion {
        /// To this version.
        to: Target,
        /// Why, for the log.
        why: String,
    },
    /// Keep the record of an experiment that has ended. Once in the bucket it is never another.
    Archive {
        /// The record.
        record: Box<Record>,
    },
}

/// Longest remembered list of barred digests and of ended rollouts.
const REMEMBERED: usize = 100;
/// Routers that are remembered; those that were silent longest are forgotten first.
const ROUTERS_MAX: usize = 1_000;

/// Decides what happens next. Pure: the same input gives the same plan.
pub fn decide(
    policy: &EndpointPolicy,
    observed: &EndpointObserved<'_>,
    now: Timestamp,
) -> Plan<EndpointEffect, EndpointStatus> {
    let mut look = Look {
        policy,
        observed,
        now,
        status: observed.status.clone(),
        effects: Vec::new(),
        reasons: Vec::new(),
        seen: BTreeMap::new(),
        slices: Vec::new(),
    };
    look.hear();
    look.measure();
    look.fit_policy();
    look.obey();
    look.advance();
    look.experiment();
    look.load();
    let fewer = look.scale();
    look.route();
    look.name_champion();
    look.effects.extend(fewer);
    look.unload();
    look.finish()
}

/// A decision in the making. Effects are added in the order in which it is safe to stop between any two of them: what
/// loads and adds capacity, then the route, then the registry, and what is not needed goes last.
struct Look<'a> {
    policy: &'a EndpointPolicy,
    observed: &'a EndpointObserved<'a>,
    now: Timestamp,
    status: EndpointStatus,
    effects: Vec<EndpointEffect>,
    reasons: Vec<Reason>,
    /// What the arms of experiments have seen since the last look.
    seen: experiments::Seen,
    /// The experiments of the next route.
    slices: Vec<Slice>,
}

impl Look<'_> {
    fn say(&mut self, code: &str, message: impl Into<String>) {
        self.reasons.push(Reason::new(code, message));
    }

    /// Takes in the windows that were not heard before, and looks at what they come to together: however many routers share
    /// the traffic, it is one look. One that is older than what its router said last is late: its numbers are in the bucket,
    /// and no verdict waits for them.
    fn hear(&mut self) {
        for window in self.observed.windows {
            let heard = self.status.heard.get(&window.replica);
            if heard.is_some_and(|heard| window.seq <= heard.seq) && !planted(Bug::WindowsCountedTwice) {
                continue;
            }
            self.status.heard.insert(window.replica.clone(), Heard { seq: window.seq, end: window.end });
            if let Some(rollout) = &mut self.status.rollout {
                rollout.absorb(window, self.now);
            }
            if let Some(bake) = &mut self.status.bake {
                bake.absorb(window, self.now);
            }
            self.status.experiments.absorb(&window.arms, &mut self.seen);
        }
        let patience = self.observed.lease;
        let on_trial = self.status.rollout.iter_mut();
        let watched = on_trial.chain(self.status.bake.iter_mut().map(|bake| &mut bake.rollout));
        watched.for_each(|rollout| rollout.evidence.look(self.now, patience));
        while self.status.heard.len() > ROUTERS_MAX {
            let silent = self.status.heard.iter().min_by_key(|(_, heard)| heard.end).map(|(name, _)| name.clone());
            silent.and_then(|name| self.status.heard.remove(&name));
        }
    }

    fn advance(&mut self) {
        self.come_back();
        if self.status.rollout.is_some() {
            self.advance_rollout();
        } else if self.status.bake.is_some() {
            self.advance_bake();
        } else if self.status.returning.is_none() {
            self.consider_wanted();
        }
    }

    fn is_ready(&self, target: &Target) -> bool {
        self.observed.ready.contains(&target.digest)
    }

    fn bar(&mut self, digest: &str, why: &str) {
        self.status.barred.insert(digest.to_owned(), why.to_owned());
        self.status.barred_since.insert(digest.to_owned(), self.now);
        let status = &mut self.status;
        while status.barred.len() > REMEMBERED {
            let since = |digest: &&String| status.barred_since.get(*digest);
            let oldest = status.barred.keys().min_by_key(since).cloned();
            oldest.map(|digest| status.barred.remove(&digest));
        }
        status.barred_since.retain(|digest, _| status.barred.contains_key(digest));
    }

    /// Stable alone, now. The digest is barred until a person says `retry`.
    fn roll_back(&mut self, reason: Reason) {
        if let Some(rollout) = &self.status.rollout {
            let digest = rollout.candidate.digest.clone();
            if !planted(Bug::BarForgotten) {
                self.bar(&digest, &reason.message);
            }
            return self.end(RolloutResult::RolledBack, reason);
        }
        if let Some(bake) = self.status.bake.take() {
            return self.revert(bake, reason);
        }
        if let Some(returning) = self.status.returning.take() {
            let message = format!("the way back to version {} is called off", returning.to.version);
            return self.say("CalledOff", message);
        }
        self.say("NothingToAbort", "there is no rollout to take back");
    }

    fn end(&mut self, result: RolloutResult, reason: Reason) {
        let Some(rollout) = self.status.rollout.take() else {
            return;
        };
        let (code, verb) = match result {
            RolloutResult::Promoted => ("Promoted", "promoted"),
            RolloutResult::RolledBack => ("RolledBack", "rolled back"),
            RolloutResult::Superseded => ("Superseded", "superseded"),
        };
        let message = format!(
            "version {} {verb} after {} and {} requests: {}",
            rollout.candidate.version,
            spell(rollout.age(self.now)),
            rollout.evidence.canary_requests,
            reason.message
        );
        self.say(code, message);
        self.remember(Ended {
            id: rollout.id,
            target: rollout.candidate,
            result,
            reason,
            started: rollout.started,
            ended: self.now,
            canary_requests: rollout.evidence.canary_requests,
        });
    }

    fn remember(&mut self, ended: Ended) {
        self.status.history.push(ended);
        if self.status.history.len() > REMEMBERED {
            self.status.history.remove(0);
        }
    }

    fn finish(self) -> Plan<EndpointEffect, EndpointStatus> {
        let stable_is_ready = self.status.stable.as_ref().is_some_and(|stable| self.is_ready(stable));
        let conditions = conditions::conditions(self.policy, &self.status, &self.reasons, stable_is_ready, self.now);
        let busy = self.status.rollout.is_some() || self.status.bake.is_some() || !self.slices.is_empty();
        let next_look = self.now + if busy { self.observed.lease / 4 } else { self.observed.lease };
        let plan = Plan { effects: self.effects, status: self.status, next_look, reasons: self.reasons, conditions };
        if cfg!(debug_assertions) && !cfg!(feature = "planted") {
            let broken = crate::invariants::endpoint(self.policy, self.observed, &plan, self.now);
            debug_assert!(broken.is_empty(), "{broken:?}");
        }
        plan
    }
}
