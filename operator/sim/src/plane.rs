//! The modelled data plane: routers that learn of a route late or not at all, users, rewards that come hours later, and
//! windows that are lost, late, or sent twice. A router drops the canary by itself when its lease is over.

use std::collections::BTreeMap;

use fairway_stats::{Cells, Histogram};
use fairway_wire::{Arm, ArmKey, ErrorKind, Route, Track, Window};
use jiff::Timestamp;

use crate::bucket::Version;
use crate::fleet::Fleet;
use crate::tape::Tape;

/// Users' visits to one version that will be rewarded, or not.
#[derive(Clone, Debug)]
struct Exposure {
    matures: Timestamp,
    generation: u64,
    key: ArmKey,
    cell: u8,
    n: u64,
    earns: u32,
}

/// One router.
#[derive(Clone, Debug)]
pub struct Router {
    name: String,
    incarnations: u32,
    seq: u64,
    /// The route that it has.
    pub route: Option<Route>,
    /// Cut off from whoever gives it routes for so many looks.
    cut_off: u32,
    open: Window,
    exposures: Vec<Exposure>,
    /// Windows on their way.
    sent: Vec<(u32, Window)>,
}

/// What the users of an endpoint did since the route of a generation was taken: the truth, whatever was reported.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Requests that the canary answered, by generation.
    pub answered: BTreeMap<u64, u64>,
}

/// How an endpoint's users behave.
#[derive(Clone, Copy, Debug)]
pub struct Users {
    /// Requests of a look, at most.
    pub requests: u64,
    /// How long a reward takes.
    pub reward_within: std::time::Duration,
    /// Whether rewards are counted.
    pub rewarded: bool,
    /// Requests in a thousand that consume something new.
    pub taste: u32,
}

impl Router {
    /// A router that has heard nothing yet.
    pub fn new(name: &str, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            incarnations: 0,
            seq: 0,
            route: None,
            cut_off: 0,
            open: Window::new(name, 0, now, now),
            exposures: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// What users get: the route, less a canary whose lease is over.
    pub fn effective(&self, now: Timestamp) -> Option<Route> {
        let mut route = self.route.clone()?;
        if route.lease_until.is_some_and(|until| until < now) {
            route.canary = None;
        }
        Some(route)
    }

    /// Learns of the route, sooner or later.
    pub fn learn(&mut self, config: Option<&Route>, now: Timestamp, tape: &mut Tape, faults: u32) {
        if self.cut_off > 0 {
            self.cut_off -= 1;
            return;
        }
        if tape.fault(faults / 3) {
            self.cut_off = 1 + tape.pick(20);
            return;
        }
        let Some(config) = config else { return };
        let newer = self.route.as_ref().is_none_or(|mine| {
            config.generation > mine.generation
                || config.generation == mine.generation && config.lease_until > mine.lease_until
        });
        if newer {
            if self.route.as_ref().map(|mine| mine.generation) != Some(config.generation) {
                self.close(now, tape, faults);
            }
            self.route = Some(config.clone());
        }
    }

    /// Users come, under the route that the router has.
    pub fn serve(
        &mut self,
        users: Users,
        versions: &BTreeMap<u64, Version>,
        fleet: &mut Fleet,
        truth: &mut Truth,
        now: Timestamp,
        tape: &mut Tape,
    ) {
        let Some(route) = self.effective(now) else { return };
        let all = u64::from(tape.pick(u32::try_from(users.requests).unwrap_or(u32::MAX) + 1));
        let weight = route.canary.as_ref().map_or(0, |canary| u64::from(canary.weight.ppm()));
        let on_canary = (all * weight).div_ceil(1_000_000).min(all);
        let canary = route.canary.as_ref().map(|canary| (&canary.target, Track::Canary, on_canary));
        let stable = route.stable.as_ref().map(|stable| (stable, Track::Stable, all - on_canary));
        for (target, track, requests) in [stable, canary].into_iter().flatten().filter(|(.., requests)| *requests > 0) {
            let Some(version) = versions.get(&target.version) else { continue };
            fleet.asked(&target.digest, requests);
            let errors = if fleet.ready_servers(&target.digest) > 0 {
                let expected = requests * u64::from(version.errors);
                (expected + u64::from(tape.pick(1_000))) / 1_000
            } else {
                requests
            };
            let key = ArmKey { digest: target.digest.clone(), track, segment: String::new(), arm: String::new() };
            let arm = self.open.arms.entry(key.clone()).or_default();
            arm.requests += requests;
            if errors > 0 {
                *arm.errors.entry(ErrorKind::Error).or_default() += errors;
            }
            if track == Track::Canary {
                *truth.answered.entry(route.generation).or_default() += requests - errors.min(requests);
            }
            if users.rewarded {
                let cell = tape.pick(256) as u8;
                let matures = now + users.reward_within;
                self.exposures.push(Exposure {
                    matures,
                    generation: route.generation,
                    key,
                    cell,
                    n: requests,
                    earns: version.earns,
                });
            }
        }
        self.open.generation = route.generation;
        let consumed = self.open.consumed.get_or_insert_with(|| Histogram::with_len(2));
        let new = all * u64::from(users.taste) / 1_000;
        consumed.add_n(1, new);
        consumed.add_n(0, all - new);
    }

    /// Closes the open window, and sends it: late, twice, or not at all.
    pub fn close(&mut self, now: Timestamp, tape: &mut Tape, faults: u32) {
        self.seq += 1;
        let name = format!("{}-{}", self.name, self.incarnations);
        let mut window = std::mem::replace(&mut self.open, Window::new(&name, 0, now, now));
        (window.replica, window.seq) = (name, self.seq);
        window.end = window.end.max(now);
        self.mature(&mut window, now, tape);
        self.open.generation = window.generation;
        if tape.fault(faults) {
            return;
        }
        if tape.fault(faults) {
            self.sent.push((tape.pick(12), window.clone()));
        }
        let delay = if tape.fault(faults) { 1 + tape.pick(12) } else { 0 };
        self.sent.push((delay, window));
    }

    fn mature(&mut self, window: &mut Window, now: Timestamp, tape: &mut Tape) {
        let (ripe, green) =
            std::mem::take(&mut self.exposures).into_iter().partition(|it: &Exposure| it.matures <= now);
        self.exposures = green;
        for exposure in Vec::<Exposure>::from_iter(ripe) {
            let arm: &mut Arm = window.arms.entry(exposure.key).or_default();
            let cells: &mut Cells = arm.reward.entry(exposure.generation).or_default();
            // Even without a draw for each: 617 has no factor in common with 1,000.
            let offset = u64::from(tape.pick(1_000));
            for i in 0..exposure.n {
                let earns = (i * 617 + offset) % 1_000 < u64::from(exposure.earns);
                cells.record(exposure.cell.wrapping_add((i % 64) as u8), f64::from(u8::from(earns)));
            }
        }
    }

    /// Windows that have arrived.
    pub fn arrived(&mut self) -> Vec<Window> {
        let (here, on_their_way) = std::mem::take(&mut self.sent).into_iter().partition(|(left, _)| *left == 0);
        self.sent = on_their_way;
        self.sent.iter_mut().for_each(|(left, _)| *left -= 1);
        Vec::<(u32, Window)>::from_iter(here).into_iter().map(|(_, window)| window).collect()
    }

    /// It crashed: what it had not sent is lost, and it comes back under another name.
    pub fn crash(&mut self, now: Timestamp) {
        self.incarnations += 1;
        self.seq = 0;
        self.open = Window::new(&self.name, 0, now, now);
        self.exposures.clear();
        self.route = None;
    }
}

/// The generation of the route that every router has at least.
pub fn acked(routers: &[Router]) -> u64 {
    routers.iter().map(|router| router.route.as_ref().map_or(0, |route| route.generation)).min().unwrap_or(0)
}

/// Whether any router may still send users to this version.
pub fn names(routers: &[Router], digest: &str, now: Timestamp) -> bool {
    let mut routes = routers.iter().filter_map(|router| router.effective(now));
    routes.any(|route| route.targets().any(|target| target.digest == digest))
}
