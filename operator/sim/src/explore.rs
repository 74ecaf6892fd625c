//! Everything that can be observed in a small world, breadth first: two versions, three steps, a clock of a few ticks, and
//! at each tick one event of a list that has every fault in it. Each state that is reached is decided upon, each decision is
//! held against the promises (`fairway_core::invariants`) and against ghosts: facts that this file keeps by itself, without
//! a look at what the decision remembers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use fairway_core::Plan;
use fairway_core::endpoint::{EndpointEffect, EndpointObserved, EndpointStatus, RolloutRequest, RolloutResult, decide};
use fairway_core::invariants;
use fairway_core::policy::{EndpointPolicy, OnMissingTelemetry, RolloutGate};
use fairway_wire::{Arm, ArmKey, ErrorKind, Target, Track, Window};
use jiff::Timestamp;
use serde::Serialize;

/// One tick of the small world's clock.
pub const TICK: Duration = Duration::from_secs(600);
/// Requests in the window of one tick.
const REQUESTS: u64 = 2_000;

/// What happens in a tick. Where nothing else is said routers report, take what they are told, and all goes well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Event {
    AllWell,
    CanaryErrs,
    CanaryEarnsLess,
    NobodyAsks,
    RoutersSilent,
    WindowTwice,
    Pause,
    Resume,
    Promote,
    PromoteFull,
    Abort,
    Retry,
    Undo,
    CandidateLost,
    StableLost,
    CandidateBroken,
    ApprovalTakenBack,
    ApprovalGiven,
    RoutersLag,
    RegistryDown,
    StableWanted,
    NothingWanted,
    CandidateWanted,
    ClockJumps,
    ClockGoesBack,
}

const EVENTS: [Event; 25] = [
    Event::AllWell,
    Event::CanaryErrs,
    Event::CanaryEarnsLess,
    Event::NobodyAsks,
    Event::RoutersSilent,
    Event::WindowTwice,
    Event::Pause,
    Event::Resume,
    Event::Promote,
    Event::PromoteFull,
    Event::Abort,
    Event::Retry,
    Event::Undo,
    Event::CandidateLost,
    Event::StableLost,
    Event::CandidateBroken,
    Event::ApprovalTakenBack,
    Event::ApprovalGiven,
    Event::RoutersLag,
    Event::RegistryDown,
    Event::StableWanted,
    Event::NothingWanted,
    Event::CandidateWanted,
    Event::ClockJumps,
    Event::ClockGoesBack,
];

/// A promise that was broken, and the shortest way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The events from the start.
    pub path: Vec<Event>,
    /// The promise.
    pub promise: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Different states reached.
    pub states: usize,
    /// Decisions made, those that only look whether a way back is open included.
    pub decisions: usize,
    /// Broken promises; the first only, if it was asked to stop there.
    pub violations: Vec<Violation>,
    /// How rollouts ended, by how many decisions ended one so: what never happens was not explored.
    pub endings: BTreeMap<String, usize>,
}

/// The world between two ticks.
#[derive(Clone, Debug, Serialize)]
struct State {
    status: EndpointStatus,
    now: Timestamp,
    ticks: u64,
    ready: BTreeSet<String>,
    broken: bool,
    unapproved: bool,
    wanted: Option<u64>,
    acked: u64,
    champion: Option<u64>,
    ghost: Ghost,
}

/// What this file knows by itself.
#[derive(Clone, Debug, Default, Serialize)]
struct Ghost {
    /// Weight in force in the routers, in parts per million.
    weight: u32,
    /// Requests that the canary answered since that weight was set.
    answered: u64,
    /// When it was set.
    since: Option<Timestamp>,
    /// When a router was last heard.
    heard: Option<Timestamp>,
    /// Routes under which the candidate had users, and that its reward was not yet told of.
    exposed: BTreeSet<u64>,
    /// The candidate was taken back and nobody has said `retry` since.
    barred: bool,
}

fn target(version: u64) -> Target {
    Target { version, digest: format!("sha256:{version:064}") }
}

/// Explores `depth` ticks from "version 1 serves, version 2 is registered". `first` stops at the first broken promise.
pub fn explore(policy: &EndpointPolicy, depth: u64, first: bool) -> Found {
    let mut found = Found { states: 0, decisions: 0, violations: Vec::new(), endings: BTreeMap::new() };
    let mut seen = BTreeSet::new();
    let mut waiting = VecDeque::from([(beginning(), Vec::new())]);
    while let Some((state, path)) = waiting.pop_front() {
        if !seen.insert(fingerprint(&state)) {
            continue;
        }
        found.states += 1;
        if state.ticks == depth {
            continue;
        }
        for event in EVENTS {
            let mut path = path.clone();
            path.push(event);
            let (next, broken) = tick(policy, &state, event, &mut found);
            let violations = broken.into_iter().map(|promise| Violation { path: path.clone(), promise });
            found.violations.extend(violations);
            if first && !found.violations.is_empty() {
                return found;
            }
            waiting.push_back((next, path));
        }
    }
    found
}

/// When the small world begins.
pub fn start() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap_or_default()
}

fn beginning() -> State {
    let stable = target(1);
    State {
        status: EndpointStatus { stable: Some(stable.clone()), ..EndpointStatus::default() },
        now: start(),
        ticks: 0,
        ready: BTreeSet::from([stable.digest]),
        broken: false,
        unapproved: false,
        wanted: Some(2),
        acked: 0,
        champion: Some(1),
        ghost: Ghost::default(),
    }
}

/// Two hashes with different beginnings: enough that no two of a million states are taken for one.
fn fingerprint(state: &State) -> (u64, u64) {
    let bytes = serde_json::to_vec(state).unwrap_or_default();
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &bytes).hash(&mut hasher);
        hasher.finish()
    };
    (hash(0), hash(1))
}

fn tick(policy: &EndpointPolicy, before: &State, event: Event, found: &mut Found) -> (State, Vec<String>) {
    let mut state = before.clone();
    let from = state.now;
    state.ticks += 1;
    state.now = match event {
        Event::ClockJumps => from + 3 * TICK,
        Event::ClockGoesBack => from - TICK,
        _ => from + TICK,
    };
    happen(&mut state, event);
    let windows = windows(policy, &mut state, from, event);
    let requests: Vec<(String, RolloutRequest)> = request(event).map(|it| ("ann".to_owned(), it)).into_iter().collect();
    let (plan, mut broken) = look(policy, &state, &windows, &requests, found);
    broken.extend(ghosts(policy, &mut state, &windows, &requests, event, &plan));
    for ended in plan.status.history.iter().skip(state.status.history.len()) {
        *found.endings.entry(format!("{:?}: {}", ended.result, ended.reason.code)).or_default() += 1;
    }
    carry_out(&mut state, event, plan);
    let named = state.status.stable.as_ref().is_none_or(|stable| state.champion == Some(stable.version));
    if policy.promotes && event != Event::RegistryDown && !named {
        broken.push("the registry could have been told who is champion, and was not".to_owned());
    }
    (state, broken)
}

fn happen(state: &mut State, event: Event) {
    match event {
        Event::CandidateLost => drop(state.ready.remove(&target(2).digest)),
        Event::StableLost => drop(state.ready.remove(&target(1).digest)),
        Event::CandidateBroken => state.broken = true,
        Event::Retry => state.broken = false,
        Event::ApprovalTakenBack => state.unapproved = true,
        Event::ApprovalGiven => state.unapproved = false,
        Event::StableWanted => state.wanted = Some(1),
        Event::NothingWanted => state.wanted = None,
        Event::CandidateWanted => state.wanted = Some(2),
        _ => {}
    }
    if state.broken {
        state.ready.remove(&target(2).digest);
    }
}

fn request(event: Event) -> Option<RolloutRequest> {
    Some(match event {
        Event::Pause => RolloutRequest::Pause,
        Event::Resume => RolloutRequest::Resume,
        Event::Promote => RolloutRequest::Promote { full: false },
        Event::PromoteFull => RolloutRequest::Promote { full: true },
        Event::Abort => RolloutRequest::Abort,
        Event::Retry => RolloutRequest::Retry,
        Event::Undo => RolloutRequest::Undo { to: None },
        _ => return None,
    })
}

/// What the router saw in the tick, under the route that it has.
fn windows(policy: &EndpointPolicy, state: &mut State, from: Timestamp, event: Event) -> Vec<Window> {
    if event == Event::RoutersSilent {
        return Vec::new();
    }
    state.ghost.heard = Some(state.now.max(from));
    let mut window = Window::new("router", state.ticks, from, state.now.max(from));
    let Some(route) = state.status.route.as_ref() else { return vec![window] };
    window.generation = route.generation;
    let weight = route.canary.as_ref().map_or(0, |canary| canary.weight.ppm());
    let all = if event == Event::NobodyAsks { 0 } else { REQUESTS };
    let canary = all * u64::from(weight) / 1_000_000;
    let mut count = |target: &Target, track, requests: u64, errors: u64| {
        let key = ArmKey { digest: target.digest.clone(), track, segment: String::new(), arm: String::new() };
        let mut arm = Arm { requests, ..Arm::default() };
        if errors > 0 {
            arm.errors.insert(ErrorKind::Error, errors);
        }
        window.arms.insert(key, arm);
    };
    if let Some(stable) = &route.stable {
        count(stable, Track::Stable, all - canary, 0);
    }
    if let Some(on_trial) = &route.canary {
        // A lost server fails every request; a bad one fails half of them.
        let errors = match event {
            Event::CandidateLost | Event::CandidateBroken => canary,
            Event::CanaryErrs => canary / 2,
            _ => 0,
        };
        count(&on_trial.target, Track::Canary, canary, errors);
    }
    if event == Event::CanaryEarnsLess && policy.gates.iter().any(|gate| matches!(gate, RolloutGate::Reward { .. })) {
        for generation in std::mem::take(&mut state.ghost.exposed) {
            rewarded(&mut window, generation);
        }
    }
    let copies = if event == Event::WindowTwice { 2 } else { 1 };
    vec![window; copies]
}

/// What was matured of users exposed under a route: stable earned in half of the cases, the candidate in none of many.
fn rewarded(window: &mut Window, generation: u64) {
    for (version, track, earns) in [(1, Track::Stable, 1), (2, Track::Canary, 0)] {
        let key = ArmKey { digest: target(version).digest, track, segment: String::new(), arm: String::new() };
        let cells = window.arms.entry(key).or_default().reward.entry(generation).or_default();
        for i in 0..4_000_u32 {
            cells.record((i % 256) as u8, f64::from(u8::from(i / 256 % (4 - 2 * earns) == 0)));
        }
    }
}

fn look(
    policy: &EndpointPolicy,
    state: &State,
    windows: &[Window],
    requests: &[(String, RolloutRequest)],
    found: &mut Found,
) -> (Plan<EndpointEffect, EndpointStatus>, Vec<String>) {
    let why = |holds: bool| -> BTreeMap<String, String> {
        holds.then(|| (target(2).digest, "so it is".to_owned())).into_iter().collect()
    };
    let (broken, unapproved) = (why(state.broken), why(state.unapproved));
    let wanted = state.wanted.map(target);
    let mut observed = EndpointObserved {
        status: &state.status,
        windows,
        wanted: wanted.as_ref(),
        ready: &state.ready,
        broken: &broken,
        unapproved: &unapproved,
        champion: state.champion,
        acked: state.acked,
        servers: None,
        requests,
        serve_baseline: false,
        lease: TICK / 4,
        experiments: &[],
    };
    let plan = decide(policy, &observed, state.now);
    found.decisions += 1;
    let mut kept: Vec<String> =
        invariants::endpoint(policy, &observed, &plan, state.now).into_iter().map(str::to_owned).collect();
    // I3, by trying: from here, one word of a person takes the candidate away.
    let on_trial = plan.status.rollout.as_ref().or(plan.status.bake.as_ref().map(|bake| &bake.rollout));
    if let Some(candidate) = on_trial.map(|rollout| rollout.candidate.clone()) {
        let abort = [("ann".to_owned(), RolloutRequest::Abort)];
        observed = EndpointObserved { status: &plan.status, windows: &[], requests: &abort, ..observed };
        let after = decide(policy, &observed, state.now);
        found.decisions += 1;
        let route = after.status.route.as_ref();
        let gone = route.is_some_and(|route| {
            route.canary.is_none() && route.stable.as_ref().is_some_and(|stable| *stable != candidate)
        });
        if !gone {
            kept.push("I3: abort does not take the candidate away in one step".to_owned());
        }
    }
    (plan, kept)
}

/// What the ghosts have to say of a plan; they live on.
fn ghosts(
    policy: &EndpointPolicy,
    state: &mut State,
    windows: &[Window],
    requests: &[(String, RolloutRequest)],
    event: Event,
    plan: &Plan<EndpointEffect, EndpointStatus>,
) -> Vec<String> {
    let minds_errors = policy.gates.iter().any(|gate| matches!(gate, RolloutGate::Errors { .. }));
    let errs = event == Event::CanaryErrs && minds_errors;
    let mut broken = Vec::new();
    let mut say = |kept: bool, promise: &str| {
        if !kept {
            broken.push(promise.to_owned());
        }
    };
    let ghost = &mut state.ghost;
    let on_canary = |arm: (&ArmKey, &Arm)| {
        if arm.0.track == Track::Canary { arm.1.requests - arm.1.errors_total() } else { 0 }
    };
    ghost.answered += windows.first().map_or(0, |window| window.arms.iter().map(on_canary).sum());
    let by_hand = requests.iter().any(|(_, request)| matches!(request, RolloutRequest::Promote { .. }));
    if requests.iter().any(|(_, request)| matches!(request, RolloutRequest::Retry)) {
        ghost.barred = false;
    }
    let before = &state.status;
    let was_on_trial = before.rollout.is_some();
    let candidate = target(2);
    let stable = |status: &EndpointStatus| status.stable.as_ref() == Some(&candidate);
    let promoted = was_on_trial && !stable(before) && stable(&plan.status);
    let held = |since: Option<Timestamp>| since.is_some_and(|since| state.now >= since + TICK);
    let judged = ghost.answered >= policy.min_requests && held(ghost.since);
    if promoted && !by_hand {
        say(judged, "a version was promoted that has not answered enough since its weight was set");
        say(!errs, "a version was promoted while it erred");
        say(!state.unapproved, "a version was promoted without its approval");
    }
    let silent = ghost.heard.is_none_or(|heard| state.now > heard.max(ghost.since.unwrap_or(heard)) + 6 * (TICK / 4));
    let weight = plan.status.route.as_ref().and_then(|route| route.canary.as_ref()).map_or(0, |it| it.weight.ppm());
    let first = policy.steps.as_slice()[0].weight.ppm();
    if weight > ghost.weight && weight > first && !by_hand && ghost.weight > 0 {
        say(judged, "a weight grew before enough was answered at the one before");
    }
    if (promoted || weight > ghost.weight && ghost.weight > 0) && !by_hand {
        let minds = policy.on_missing_telemetry != OnMissingTelemetry::Continue;
        say(!silent || !minds, "it went forward although no router had reported for long");
    }
    say(weight == 0 || !ghost.barred, "a version that was taken back is on trial again, and nobody said retry");
    let erred = errs && ghost.weight > 0 && was_on_trial;
    say(!erred || plan.status.rollout.is_none() || by_hand, "a version that fails half of its requests stays");
    let rolled_back = plan.status.history.len() > before.history.len()
        && plan
            .status
            .history
            .last()
            .filter(|it| it.result == RolloutResult::RolledBack && it.target == candidate)
            // A manifest that goes back accuses nobody.
            .is_some_and(|it| it.reason.code != "Withdrawn");
    ghost.barred |= rolled_back;
    if weight != ghost.weight {
        (ghost.weight, ghost.answered, ghost.since) = (weight, 0, Some(state.now));
    }
    if let Some(route) = plan.status.route.as_ref().filter(|_| weight > 0) {
        ghost.exposed.insert(route.generation);
    }
    say(!promoted || weight == 0, "a promoted version is still on trial");
    let told = event == Event::CanaryEarnsLess && windows.iter().any(|window| window.arms.values().any(is_rewarded));
    let kept = plan.status.rollout.as_ref().or(plan.status.bake.as_ref().map(|bake| &bake.rollout));
    let kept = kept.is_some_and(|rollout| rollout.candidate == candidate);
    let watched = was_on_trial || before.bake.is_some();
    say(!told || !watched || !kept || by_hand, "a version that earns half as much stays");
    broken
}

fn is_rewarded(arm: &Arm) -> bool {
    !arm.reward.is_empty()
}

fn carry_out(state: &mut State, event: Event, plan: Plan<EndpointEffect, EndpointStatus>) {
    for effect in &plan.effects {
        match effect {
            EndpointEffect::Load { target } => {
                let lost = match event {
                    Event::CandidateLost => target.version == 2,
                    Event::StableLost => target.version == 1,
                    _ => false,
                };
                if !(lost || state.broken && target.version == 2) {
                    state.ready.insert(target.digest.clone());
                }
            }
            EndpointEffect::Scale { .. } | EndpointEffect::Archive { .. } => {}
            EndpointEffect::Unload { digest } => drop(state.ready.remove(digest)),
            EndpointEffect::MoveChampion { to, .. } if event != Event::RegistryDown => {
                state.champion = Some(to.version)
            }
            EndpointEffect::MoveChampion { .. } => {}
            EndpointEffect::SetRoute { route } => {
                if event != Event::RoutersLag {
                    state.acked = route.generation;
                }
            }
        }
    }
    state.status = plan.status;
    // How long ago a rollout ended changes nothing: only its result does.
    state.status.history.iter_mut().for_each(|ended| ended.canary_requests = 0);
    // Nor does how long something is barred, where so little is.
    state.status.barred_since.clear();
}
