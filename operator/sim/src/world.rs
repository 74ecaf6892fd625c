//! The whole world of a schedule: a bucket, clusters, routers with their users, training jobs, people, a clock, and two
//! controllers. It moves one step at a time, by a tape of choices. What it knows against a plan is in `truth.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use fairway_core::Reason;
use fairway_core::endpoint::{EndpointEffect, RolloutRequest};
use fairway_core::model::{ModelEffect, ModelRequest, RunEnd};
use fairway_core::policy::{EndpointPolicy, ModelPolicy};
use fairway_wire::{Profile, Route, Target};
use jiff::Timestamp;

use crate::bucket::{EndpointPart, ModelPart, Version};
use crate::controller::Controller;
use crate::drawn;
use crate::fleet::{Fleet, Kinds};
use crate::plane::{Router, Truth, Users, names};
use crate::tape::Tape;

/// How long a router keeps a canary without hearing from anybody.
pub const LEASE: Duration = Duration::from_secs(1_800);
/// Time of a step, on average.
const STEP: Duration = Duration::from_secs(600);
/// Lines of the story that are kept.
const STORY_MAX: usize = 60;

/// How often what goes wrong, in thousandths of the occasions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The bucket: answers that are lost, writes that fail, lists that are stale.
    pub bucket: u32,
    /// Servers.
    pub fleet: u32,
    /// Routers and windows.
    pub plane: u32,
    /// Controllers: killed.
    pub controllers: u32,
    /// The clock.
    pub clock: u32,
    /// People, who ask for all kinds of things.
    pub people: u32,
    /// Training.
    pub training: u32,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Index of its model.
    pub model: usize,
    /// The alias that it follows.
    pub follows: &'static str,
    /// Its policy.
    pub policy: EndpointPolicy,
    /// Its part of the bucket.
    pub part: EndpointPart,
    /// Its servers.
    pub fleet: Fleet,
    /// The route that routers are to take.
    pub config: Option<Route>,
    /// Its routers.
    pub routers: Vec<Router>,
    /// Its users.
    pub users: Users,
    /// What people asked and nobody has answered yet.
    pub asked: Vec<(String, RolloutRequest)>,
    pub(crate) truth: Truth,
    pub(crate) ghost: Ghost,
}

/// What the world knows of an endpoint by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ghost {
    /// The rollout, its weight, and the generation that brought it.
    pub(crate) on_trial: Option<(String, u32, u64)>,
    /// Digests that were taken back and that nobody has called back.
    pub(crate) barred: BTreeSet<String>,
}

/// One model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its policy.
    pub policy: ModelPolicy,
    /// Its part of the bucket.
    pub part: ModelPart,
    /// What its versions expect.
    pub profile: Profile,
    /// Indices of its endpoints; the first one promotes.
    pub endpoints: Vec<usize>,
    /// Versions that miss an approval.
    pub unapproved: BTreeMap<String, String>,
    /// What is known to be wrong with the training data.
    pub data_fault: Option<Reason>,
    /// What people and CI asked.
    pub asked: Vec<ModelRequest>,
    /// Runs that were rejected or failed, and versions of its first endpoint that were taken back.
    pub(crate) bad_ends: u32,
    /// When the last run ended, and whether it was judged.
    pub(crate) ended: Option<(Timestamp, bool)>,
    /// Starts of automatic runs.
    pub(crate) started: Vec<Timestamp>,
}

/// What happened in a schedule: what never happens anywhere was not tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Decisions.
    pub decisions: u64,
    /// Events by name.
    pub sometimes: BTreeMap<&'static str, u64>,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct World {
    /// The choices.
    pub tape: Tape,
    /// The time.
    pub now: Timestamp,
    /// What goes wrong.
    pub faults: Faults,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The models.
    pub models: Vec<Model>,
    /// What happened.
    pub stats: Stats,
    /// The first promise that was broken.
    pub violation: Option<String>,
    /// What the last plans said, oldest first.
    pub story: VecDeque<String>,
    controllers: Vec<Controller>,
    /// Servers crash in this schedule, before it calms down.
    pub(crate) servers_crash: bool,
    /// Steps so far.
    pub steps: usize,
    quiet: bool,
}

impl World {
    /// A world as the tape draws it.
    pub fn new(mut tape: Tape) -> Self {
        let now = Timestamp::from_second(1_700_000_000).unwrap_or_default();
        let drawn::World { faults, models, endpoints } = drawn::world(&mut tape, now);
        Self {
            tape,
            now,
            faults,
            endpoints,
            models,
            stats: Stats::default(),
            violation: None,
            story: VecDeque::new(),
            servers_crash: faults.fleet > 0,
            controllers: vec![Controller::new(1), Controller::new(2)],
            steps: 0,
            quiet: false,
        }
    }

    /// From now on nothing goes wrong, nobody asks for anything, and nothing new is trained: all must come to rest.
    pub fn calm_down(&mut self) {
        self.faults = Faults::default();
        self.quiet = true;
        for model in &mut self.models {
            model.policy.max_age = None;
            model.asked.clear();
            model.unapproved.clear();
            model.data_fault = None;
        }
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.asked.clear());
    }

    /// Keeps the first broken promise.
    pub fn violate(&mut self, promise: String) {
        self.violation.get_or_insert(promise);
    }

    /// Keeps what a plan said.
    pub fn tell(&mut self, of: &str, index: usize, reasons: &[Reason]) {
        for reason in reasons {
            self.story.push_back(format!("{} {of} {index}: {}: {}", self.now, reason.code, reason.message));
        }
        let surplus = self.story.len().saturating_sub(STORY_MAX);
        self.story.drain(..surplus);
    }

    /// Counts something that should happen now and then.
    pub fn saw(&mut self, what: &'static str) {
        *self.stats.sometimes.entry(what).or_default() += 1;
    }

    /// One step: time goes by for everything, and controllers act.
    pub fn step(&mut self) {
        self.steps += 1;
        self.pass_time();
        self.people();
        self.train();
        for index in 0..self.endpoints.len() {
            self.serve(index);
        }
        for index in 0..self.controllers.len() {
            // The second one is a rival that wakes up now and then: a lease that two believe in.
            let acts = if index == 0 { 1 + self.tape.pick(3) } else { u32::from(self.tape.fault(150)) };
            let mut controller = self.controllers[index].clone();
            if self.tape.fault(self.faults.controllers) {
                controller.kill();
                self.saw("a controller was killed");
            }
            for _ in 0..acts {
                controller.act(self);
            }
            self.controllers[index] = controller;
        }
        self.check();
    }

    fn pass_time(&mut self) {
        self.now += STEP / 2 + STEP / 100 * self.tape.pick(100);
        if self.tape.fault(self.faults.clock) {
            self.saw("the clock jumped");
            let hours = Duration::from_secs(3_600) * self.tape.pick(12);
            self.now = if self.tape.fault(300) { self.now - hours.min(2 * STEP) } else { self.now + hours };
        }
    }

    fn people(&mut self) {
        for index in 0..self.endpoints.len() {
            if self.tape.fault(self.faults.people) {
                let request = match self.tape.pick(8) {
                    0 => RolloutRequest::Resume,
                    1 => RolloutRequest::Pause,
                    2 => RolloutRequest::Promote { full: false },
                    3 => RolloutRequest::Promote { full: true },
                    4 => RolloutRequest::Abort,
                    5 => RolloutRequest::Retry,
                    6 => RolloutRequest::Undo { to: None },
                    _ => RolloutRequest::Undo { to: self.some_version(self.endpoints[index].model) },
                };
                self.endpoints[index].asked.push(("ann".to_owned(), request));
            }
        }
        for index in 0..self.models.len() {
            if self.tape.fault(self.faults.people / 2) {
                // CI repeats itself.
                let name = format!("ci-{}", self.tape.pick(6));
                let force = self.tape.fault(300);
                self.models[index].asked.push(ModelRequest::Start { name, reason: "CI".to_owned(), force });
            }
            if self.tape.fault(self.faults.training / 30) {
                self.saw("the data turned bad or good");
                let fault = &mut self.models[index].data_fault;
                *fault = match fault {
                    Some(_) => None,
                    None => Some(Reason::new("DataStale", "nothing newer than a week")),
                };
            }
            if self.tape.fault(self.faults.people / 4)
                && let Some(target) = self.some_version(index)
            {
                self.saw("an approval was given or taken back");
                let unapproved = &mut self.models[index].unapproved;
                if unapproved.remove(&target.digest).is_none() {
                    unapproved.insert(target.digest, "1 of 2 approvals".to_owned());
                }
            }
        }
    }

    fn some_version(&mut self, model: usize) -> Option<Target> {
        let part = &self.models[model].part;
        let at = self.tape.pick(u32::try_from(part.versions.len()).ok()?) as usize;
        part.versions.values().nth(at).map(|version| version.target.clone())
    }

    fn serve(&mut self, index: usize) {
        let (now, faults) = (self.now, self.faults);
        let endpoint = &mut self.endpoints[index];
        let versions = &self.models[endpoint.model].part.versions;
        let tape = &mut self.tape;
        let loads = |digest: &str| versions.values().any(|it| it.target.digest == digest && it.loads);
        let hangs = |digest: &str| versions.values().any(|it| it.target.digest == digest && it.hangs);
        endpoint.fleet.advance(Kinds { loads, hangs }, now, tape, faults.fleet);
        let mut crashed = 0;
        for router in &mut endpoint.routers {
            if tape.fault(faults.plane / 4) {
                router.crash(now);
                crashed += 1;
            }
            router.learn(endpoint.config.as_ref(), now, tape, faults.plane);
            router.serve(endpoint.users, versions, &mut endpoint.fleet, &mut endpoint.truth, now, tape);
            router.close(now, tape, faults.plane);
            endpoint.part.windows.extend(router.arrived());
        }
        for _ in 0..crashed {
            self.saw("a router crashed");
        }
    }

    fn train(&mut self) {
        for index in 0..self.models.len() {
            let running: Vec<String> = {
                let runs = &self.models[index].part.runs;
                runs.iter().filter(|(_, run)| run.left.is_some()).map(|(name, _)| name.clone()).collect()
            };
            if running.len() > 1 {
                self.violate(format!("I4: {} runs execute at once: {running:?}", running.len()));
            }
            for name in running {
                self.train_on(index, &name);
            }
        }
    }

    fn train_on(&mut self, index: usize, name: &str) {
        let Some(run) = self.models[index].part.runs.get_mut(name) else { return };
        if let Some(left @ 1..) = run.left {
            run.left = Some(left - 1);
            return;
        }
        if self.tape.fault(self.faults.training) {
            // Evicted: it begins again by itself.
            run.left = Some(self.tape.pick(12));
            return self.saw("a training was evicted");
        }
        let end = match self.tape.pick(10) {
            0..6 => RunEnd::Registered { version: self.register(index, name) },
            6 | 7 => RunEnd::Rejected { why: "recall@20 is shown to be below the champion's".to_owned() },
            8 => RunEnd::DataRefused { code: "DataStale".to_owned(), why: "nothing newer than a week".to_owned() },
            _ => RunEnd::Failed { why: "exit code 1".to_owned() },
        };
        if let Some(run) = self.models[index].part.runs.get_mut(name) {
            if run.outcome.is_some() {
                self.violation.get_or_insert(format!("I8: run {name} ended twice"));
            }
            let judged = !matches!(end, RunEnd::DataRefused { .. } | RunEnd::Failed { .. });
            let bad = matches!(end, RunEnd::Rejected { .. } | RunEnd::Failed { .. });
            (run.left, run.outcome) = (None, Some(end));
            self.models[index].ended = Some((self.now, judged));
            self.models[index].bad_ends += u32::from(bad);
        }
    }

    fn register(&mut self, index: usize, run: &str) -> u64 {
        let now = self.now;
        let kind = self.tape.pick(20);
        let part = &mut self.models[index].part;
        let number = part.versions.last_key_value().map_or(1, |(number, _)| number + 1);
        let version = Version {
            target: Target { version: number, digest: format!("sha256:{index:02}{number:062}") },
            run: run.to_owned(),
            errors: if matches!(kind, 12..=15) { 400 } else { 5 },
            earns: if matches!(kind, 16 | 17) { 100 } else { 300 },
            loads: kind != 18,
            hangs: kind == 19,
            knows_until: now,
        };
        part.versions.insert(number, version);
        part.aliases.insert("challenger".to_owned(), number);
        number
    }

    /// Which windows a look sees: those from the `from`th on. A stale list misses the newest.
    pub fn listed(&mut self, endpoint: usize, from: usize) -> Range<usize> {
        let missed = if self.tape.fault(self.faults.bucket) { self.tape.pick(4) as usize } else { 0 };
        let all = self.endpoints[endpoint].part.windows.len();
        let from = from.min(all);
        from..all.saturating_sub(missed).max(from)
    }

    /// Carries out one effect of plan `seq`; false if it must be tried again.
    pub fn carry_out_endpoint(&mut self, index: usize, seq: usize, effect: &EndpointEffect) -> bool {
        if self.tape.fault(self.faults.bucket) {
            self.saw("an effect failed");
            return false;
        }
        let now = self.now;
        let endpoint = &mut self.endpoints[index];
        match effect {
            EndpointEffect::Load { target } => endpoint.fleet.load(&target.digest, seq, &mut self.tape),
            EndpointEffect::SetRoute { route } => {
                for target in route.targets() {
                    endpoint.fleet.named(&target.digest, seq);
                }
                let newer = endpoint.config.as_ref().is_none_or(|config| {
                    route.generation > config.generation
                        || route.generation == config.generation && route.lease_until > config.lease_until
                });
                if newer {
                    endpoint.config = Some(route.clone());
                }
            }
            EndpointEffect::Scale { digest, replicas, .. } => endpoint.fleet.scale(digest, *replicas, seq),
            EndpointEffect::Unload { digest } => {
                if endpoint.fleet.unload(digest, seq) && names(&endpoint.routers, digest, now) {
                    self.violate("I7: a version was unloaded that a router sends users to".to_owned());
                }
            }
            EndpointEffect::MoveChampion { to, .. } => {
                let part = &mut self.models[endpoint.model].part;
                if !part.versions.contains_key(&to.version) {
                    self.violate("I10: champion names what is not registered".to_owned());
                } else {
                    part.aliases.insert("champion".to_owned(), to.version);
                }
            }
            // Nobody experiments in the simulation.
            EndpointEffect::Archive { .. } => {}
        }
        true
    }

    /// Carries out one effect; false if it must be tried again.
    pub fn carry_out_model(&mut self, index: usize, effect: &ModelEffect) -> bool {
        if self.tape.fault(self.faults.bucket) {
            return false;
        }
        let steps = self.tape.pick(12);
        let runs = &mut self.models[index].part.runs;
        match effect {
            ModelEffect::StartRun { name, .. } => {
                let run = runs.entry(name.clone()).or_default();
                // Created once: a run that has ended never runs again, and one that runs is not begun twice.
                if run.outcome.is_none() && run.left.is_none() {
                    (run.left, run.begun) = (Some(steps), run.begun + 1);
                    if run.begun > 1 {
                        self.violate(format!("I8: run {name} was begun twice"));
                    }
                }
            }
            ModelEffect::CancelRun { name, why } => {
                if let Some(run) = runs.get_mut(name).filter(|run| run.left.is_some()) {
                    (run.left, run.outcome) = (None, Some(RunEnd::Cancelled { why: why.clone() }));
                }
            }
        }
        true
    }
}
