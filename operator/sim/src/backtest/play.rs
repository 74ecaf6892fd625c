//! One rollout on recorded traffic: windows in, plans out, effects carried out at once, as a runtime does that is never
//! slow and never fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_core::endpoint::{EndpointEffect, EndpointInputs, EndpointStatus, RolloutResult, decide};
use fairway_core::plan::elapsed;
use fairway_core::policy::EndpointPolicy;
use fairway_wire::{Target, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::harm::Harm;
use super::router::Router;
use super::traffic::Traffic;

/// Shortest lease: that of a runtime in real time.
const LEASE: Duration = Duration::from_secs(30);
/// A lease in periods, so that long periods do not look like silence.
const LEASE_PERIODS: u32 = 4;
/// Looks at a bake, in which nothing but late rewards can happen: fewer than there are periods.
const LOOKS_AT_BAKE: usize = 240;

/// What became of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Played {
    /// The candidate is stable.
    Promoted,
    /// It was taken back, on trial or in its bake.
    RolledBack,
    /// The traffic was over before the rollout was.
    Unfinished,
}

/// A step that a rollout took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepAt {
    /// Seconds after the rollout's start.
    pub seconds: f64,
    /// Percent of the eligible users from then on; 100 when promoted, 0 when taken back.
    pub weight: f64,
}

/// One rollout, played to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// What became of it.
    pub result: Played,
    /// The code of its reason, such as `Promoted`, `Harmful`, `HarmfulInBake`; `TrafficOver` if it did not end.
    pub code: String,
    /// When it began; the wished start, if it never did.
    pub started: Timestamp,
    /// Seconds from its start to its end: to the promotion, or to the rollback wherever that came.
    pub seconds: Option<f64>,
    /// Seconds from the beginning of the harm to the rollback; none if there was no harm yet, or no rollback.
    pub seconds_of_harm: Option<f64>,
    /// Whether it ended, and its bake with it.
    pub is_over: bool,
    /// Seconds after its start at which it was frozen for a person.
    pub paused: Option<f64>,
    /// Users who met the candidate; none where the record does not tell users apart. See [`Traffic::users`].
    pub users: Option<f64>,
    /// Requests to the canary.
    pub canary_requests: u64,
    /// Errors and slow answers beyond stable's, until the rollback or the end of the bake.
    pub bad_answers: f64,
    /// Reward lost, in the reward's unit, as long.
    pub reward_lost: f64,
    /// Its weights.
    pub steps: Vec<StepAt>,
    /// What was said when it ended, and at its promotion.
    pub sentences: Vec<String>,
}

impl Outcome {
    /// Taken back because harm was proved.
    pub fn is_alarm(&self) -> bool {
        self.result == Played::RolledBack && ["Harmful", "HarmfulInBake"].contains(&self.code.as_str())
    }

    /// Taken back because of harm that was there.
    pub fn is_detection(&self) -> bool {
        self.is_alarm() && self.seconds_of_harm.is_some()
    }
}

/// The least time that a rollout by this policy and its bake take.
pub fn needed(policy: &EndpointPolicy) -> Duration {
    let holds = policy.steps.as_slice().iter().fold(Duration::ZERO, |sum, step| sum.saturating_add(step.hold));
    holds.saturating_add(policy.bake.max(policy.reward_within))
}

/// Plays one rollout of a candidate with this harm from `start` on, until it and its bake have ended or the traffic is
/// over. The same input gives the same outcome.
pub fn play(policy: &EndpointPolicy, traffic: &Traffic, harm: &Harm, start: Timestamp, seed: u64) -> Outcome {
    let mut stage = Stage::new(policy, traffic, harm, seed);
    let mut at = traffic.periods_in(elapsed(traffic.from, start)).min(traffic.len());
    stage.look(&[], at);
    while at < traffic.len() && !stage.is_over() {
        let until = (at + stage.stride()).min(traffic.len());
        let window = stage.router.serve(at..until);
        at = until;
        stage.look(window.as_slice(), at);
    }
    stage.outcome(start)
}

struct Stage<'a> {
    policy: &'a EndpointPolicy,
    traffic: &'a Traffic,
    harm: &'a Harm,
    router: Router<'a>,
    status: EndpointStatus,
    inputs: EndpointInputs,
    steps: Vec<(Timestamp, f64)>,
    paused: Option<Timestamp>,
    sentences: Vec<String>,
}

impl<'a> Stage<'a> {
    fn new(policy: &'a EndpointPolicy, traffic: &'a Traffic, harm: &'a Harm, seed: u64) -> Self {
        let target = |version: u64| Target { version, digest: format!("sha256:{version:064}") };
        let (stable, candidate) = (target(1), target(2));
        let inputs = EndpointInputs {
            wanted: Some(candidate.clone()),
            ready: BTreeSet::from([stable.digest.clone(), candidate.digest.clone()]),
            broken: BTreeMap::new(),
            unapproved: BTreeMap::new(),
            champion: Some(stable.version),
            acked: 0,
            servers: None,
            requests: Vec::new(),
            serve_baseline: false,
            lease: LEASE.max(traffic.period.saturating_mul(LEASE_PERIODS)),
            experiments: Vec::new(),
        };
        Self {
            policy,
            traffic,
            harm,
            router: Router::new(policy, traffic, harm, candidate, seed),
            status: EndpointStatus { stable: Some(stable), ..EndpointStatus::default() },
            inputs,
            steps: Vec::new(),
            paused: None,
            sentences: Vec::new(),
        }
    }

    /// Decides at the beginning of period `at`, and carries out what follows.
    fn look(&mut self, windows: &[Window], at: usize) {
        let now = self.traffic.time(at);
        let plan = decide(self.policy, &self.inputs.with(&self.status, windows), now);
        let ended = plan.status.history.len() > self.status.history.len();
        self.status = plan.status;
        for effect in plan.effects {
            match effect {
                EndpointEffect::SetRoute { route } => {
                    self.router.take(&route, at);
                    self.inputs.acked = route.generation;
                }
                EndpointEffect::Load { target } => drop(self.inputs.ready.insert(target.digest)),
                EndpointEffect::Scale { .. } | EndpointEffect::Archive { .. } => {}
                EndpointEffect::Unload { digest } => drop(self.inputs.ready.remove(&digest)),
                EndpointEffect::MoveChampion { to, .. } => self.inputs.champion = Some(to.version),
            }
        }
        if let Some(rollout) = &self.status.rollout {
            self.router.started.get_or_insert(rollout.started);
            self.paused = self.paused.or(rollout.paused.as_ref().map(|pause| pause.since));
        }
        if ended {
            let is_end = |code: &str| ["Promoted", "RolledBack", "Superseded"].contains(&code);
            self.sentences.extend(plan.reasons.into_iter().filter(|it| is_end(&it.code)).map(|it| it.message));
        }
        self.note_weight(now);
    }

    fn note_weight(&mut self, now: Timestamp) {
        let canary = self.status.route.as_ref().and_then(|route| route.canary.as_ref());
        // The candidate is what is wanted all along.
        let is_promoted = self.status.stable == self.inputs.wanted;
        let weight = match canary {
            Some(canary) => canary.weight.percent(),
            None if is_promoted => 100.0,
            None => 0.0,
        };
        let is_news = self.steps.last().map_or(weight > 0.0, |(_, last)| *last != weight);
        if is_news {
            self.steps.push((now, weight));
        }
    }

    fn is_over(&self) -> bool {
        !self.status.history.is_empty() && self.status.rollout.is_none() && self.status.bake.is_none()
    }

    /// How many periods are served before the next look.
    fn stride(&self) -> usize {
        match (&self.status.rollout, &self.status.bake) {
            (None, Some(_)) => {
                let bake = self.policy.bake.max(self.policy.reward_within);
                (self.traffic.periods_in(bake) / LOOKS_AT_BAKE).max(1)
            }
            _ => 1,
        }
    }

    fn outcome(self, wished: Timestamp) -> Outcome {
        let is_over = self.is_over();
        let last = self.status.history.last();
        let started = self.router.started.unwrap_or(wished);
        let after = |at: Timestamp| elapsed(started, at).as_secs_f64();
        let result = match last.map(|ended| ended.result) {
            Some(RolloutResult::RolledBack) => Played::RolledBack,
            Some(RolloutResult::Promoted) => Played::Promoted,
            Some(RolloutResult::Superseded) | None => Played::Unfinished,
        };
        let seconds = last.map(|ended| after(ended.ended));
        let begins = self.harm.after().as_secs_f64();
        let harmed = seconds.filter(|end| result == Played::RolledBack && !self.harm.is_none() && *end > begins);
        Outcome {
            result,
            code: last.map_or_else(|| "TrafficOver".to_owned(), |ended| ended.reason.code.clone()),
            started,
            seconds,
            seconds_of_harm: harmed.map(|end| end - begins),
            is_over,
            paused: self.paused.map(after),
            users: self.router.truth.users(self.traffic),
            canary_requests: self.router.truth.on_canary,
            bad_answers: self.router.truth.bad,
            reward_lost: self.router.truth.lost,
            steps: self.steps.iter().map(|(at, weight)| StepAt { seconds: after(*at), weight: *weight }).collect(),
            sentences: self.sentences,
        }
    }
}
