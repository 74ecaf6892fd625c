//! What a rollout has seen, and what that proves. Evidence only adds up: windows may come from any number of replicas.
//!
//! Errors and slow answers go through the odds-grid e-process (immune to ramps and to base rates that move); reward
//! through a confidence sequence over strata, one stratum for each weight that was in force when the user was exposed,
//! because pooling over weights would compare different crowds.
//!
//! A look compares the canary's share of the requests with its share of the bad answers, and with a handful of requests the
//! former is mostly chance. So what routers report is added up, by generation of the route, before it is looked at
//! ([`Evidence::look`]), and fifty routers prove what one does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_stats::Cells;
use fairway_stats::confidence::{MINIMUM_UNITS, asymptotic_half_width_one_sided, rho2_exact};
use fairway_stats::odds::design_effects;
use fairway_stats::verdict::{self, RateGate};
use fairway_wire::{Rival, Track, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::afterwards::Afterwards;
use crate::plan::elapsed;
use crate::policy::{EndpointPolicy, Margin, RolloutGate};

mod reward;
mod rules;

use reward::{Matured, Stratum, contrast};
pub use rules::Rules;

/// Requests of the canary that a look has at least, if it does not wait too long for them. Fewer tell little of its share;
/// more would keep harm waiting.
const LOOK_AT_REQUESTS: u64 = 5;

/// What is proved about one gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Worse than the tolerance allows.
    Harmful,
    /// Not worse than the tolerance allows.
    NonInferior,
    /// Neither is proved yet.
    Inconclusive,
}

/// A gate's outcome with the numbers behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// `errors`, `slow` or `reward`.
    pub gate: String,
    /// What is proved.
    pub outcome: Outcome,
    /// The numbers, for people.
    pub message: String,
}

/// Evidence about one rare event (an error, a slow answer).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rare {
    gate: RateGate,
    /// Requests of canary and stable by user-hash cell, 1 if it was so: how far it comes clumped by user.
    by_cell: [Cells; 2],
    clumps: f64,
    bad: [u64; 2],
}

impl Rare {
    fn new(tolerance: f64, alpha: f64) -> Self {
        Self { gate: RateGate::new(tolerance, alpha), by_cell: [Cells::new(), Cells::new()], clumps: 1.0, bad: [0; 2] }
    }

    /// Adds what one window has; it is looked at later.
    fn add(&mut self, side: usize, bad: u64, by_cell: &Cells) {
        self.bad[side] += bad;
        self.by_cell[side].merge(by_cell);
    }

    /// Adds one look; its counts and cells were added before. `unseen` are answers of the candidate to requests that stable
    /// answered too, and errors among them.
    fn look(&mut self, requests: [u64; 2], bad: [u64; 2], unseen: [u64; 2]) {
        let effects = design_effects(&self.by_cell[0], &self.by_cell[1]);
        self.clumps = effects.harm;
        self.gate.set_design_effects(effects);
        match unseen {
            [0, _] => self.gate.look(requests, bad),
            [more, bad_more] => self.gate.look_in_pairs([requests[0] + more, requests[1]], [bad[0] + bad_more, bad[1]]),
        }
    }
}

/// What has come in under one generation of the route and was not looked at yet; canary first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Gathered {
    since: Timestamp,
    requests: [u64; 2],
    errors: [u64; 2],
    slow: [u64; 2],
    /// Stable's requests that the candidate answered unseen, and errors among them.
    #[serde(default)]
    unseen: [u64; 2],
}

/// Under which generations of the route the candidate had users, and how.
#[derive(Clone, Copy, Debug)]
pub struct Routes<'a> {
    /// Which users were eligible.
    pub eligible: &'a Eligible,
    /// Those under which nobody had stable.
    pub alone: &'a BTreeSet<u64>,
    /// The generation at which the weight in force was set.
    pub current: u64,
}

/// All that a rollout has seen so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    canary: String,
    stable: String,
    /// None was kept by earlier versions.
    #[serde(default)]
    rules: Option<Rules>,
    /// Boxed: an endpoint without a rollout need not hold the room.
    errors: Option<Box<Rare>>,
    slow: Option<Box<Rare>>,
    /// By generation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    gathered: BTreeMap<u64, Gathered>,
    /// Errors while nobody had stable, if there is a gate on errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alone: Option<Box<Afterwards>>,
    strata: BTreeMap<u64, Stratum>,
    /// Stable's requests that the candidate answered unseen, and errors among them.
    #[serde(default)]
    unseen: [u64; 2],
    /// Requests assigned to the canary.
    pub canary_requests: u64,
    /// Requests of eligible users assigned to stable meanwhile.
    pub stable_requests: u64,
    /// Requests that the canary answered since its weight was last set (invariant I2).
    pub answered_at_weight: u64,
}

/// Which users were eligible under which generation of the route.
pub type Eligible = BTreeMap<u64, Vec<String>>;

impl Evidence {
    /// Nothing seen yet.
    pub fn new(policy: &EndpointPolicy, canary: &str, stable: &str) -> Self {
        let rules = Rules::of(policy);
        let rare = |tolerance: Option<f64>| tolerance.map(|tolerance| Box::new(Rare::new(tolerance, rules.alpha())));
        Self {
            canary: canary.to_owned(),
            stable: stable.to_owned(),
            errors: rare(policy.errors_tolerance()),
            slow: rare(policy.slow_tolerance()),
            rules: Some(rules),
            gathered: BTreeMap::new(),
            alone: None,
            strata: BTreeMap::new(),
            unseen: [0; 2],
            canary_requests: 0,
            stable_requests: 0,
            answered_at_weight: 0,
        }
    }

    /// What it is judged by: the gates of its start, or of `policy` where an earlier version did not keep them.
    pub fn rules(&self, policy: &EndpointPolicy) -> Rules {
        self.rules.clone().unwrap_or_else(|| Rules::of(policy))
    }

    /// From now on its rules are kept. False if `policy` says something else by now.
    pub fn fix_rules(&mut self, policy: &EndpointPolicy) -> bool {
        self.rules.get_or_insert_with(|| Rules::of(policy)).are_those_of(policy)
    }

    /// Adds a closed window; [`Self::look`] makes something of it.
    pub fn absorb(&mut self, window: &Window, routes: &Routes<'_>, now: Timestamp) {
        if let Some(segments) = routes.eligible.get(&window.generation) {
            self.absorb_requests(window, segments, routes, now);
        }
        for (generation, segments) in routes.eligible {
            self.absorb_reward(window, *generation, segments, routes.alone.contains(generation));
        }
    }

    fn absorb_requests(&mut self, window: &Window, segments: &[String], routes: &Routes<'_>, now: Timestamp) {
        let is_alone = routes.alone.contains(&window.generation);
        let (mut requests, mut errors, mut slow, mut unseen) = ([0_u64; 2], [0_u64; 2], [0_u64; 2], [0_u64; 2]);
        for (key, arm) in &window.arms {
            let side = match key.track {
                Track::Canary if key.digest == self.canary => 0,
                Track::Stable if key.digest == self.stable && !is_alone => 1,
                _ => continue,
            };
            if !is_eligible(segments, &key.segment) {
                continue;
            }
            requests[side] += arm.requests;
            errors[side] += arm.errors_total();
            slow[side] += arm.slow;
            if is_alone {
                self.look_alone(arm.requests, arm.errors_total(), &arm.errors_by_cell);
                continue;
            }
            if let Some(rare) = &mut self.errors {
                rare.add(side, arm.errors_total(), &arm.errors_by_cell);
                if side == 0 {
                    rare.by_cell[0].merge(&arm.unseen.errors_by_cell);
                    unseen = [unseen[0] + arm.unseen.requests, unseen[1] + arm.unseen.errors];
                }
            }
            if let Some(rare) = &mut self.slow {
                rare.add(side, arm.slow, &arm.slow_by_cell);
            }
        }
        self.canary_requests += requests[0];
        self.stable_requests += requests[1];
        if window.generation >= routes.current {
            self.answered_at_weight += requests[0] - errors[0].min(requests[0]);
        }
        if is_alone || requests == [0; 2] {
            return;
        }
        let empty = Gathered { since: now, requests: [0; 2], errors: [0; 2], slow: [0; 2], unseen: [0; 2] };
        let gathered = self.gathered.entry(window.generation).or_insert(empty);
        for side in 0..2 {
            gathered.requests[side] += requests[side];
            gathered.errors[side] += errors[side];
            gathered.slow[side] += slow[side];
            gathered.unseen[side] += unseen[side];
            self.unseen[side] += unseen[side];
        }
    }

    /// Nobody has stable to compare with: errors are held against a rate.
    fn look_alone(&mut self, requests: u64, errors: u64, by_cell: &Cells) {
        let Some((tolerance, requests_before, bad_before)) = self.errors_of_both() else { return };
        let fresh = || Box::new(Afterwards::on_trial(requests_before, bad_before, tolerance));
        self.alone.get_or_insert_with(fresh).look(requests, errors, by_cell);
        if let Some(rare) = &mut self.errors {
            rare.bad[0] += errors;
        }
    }

    /// Looks at what has come in: of each generation that has enough requests of the canary, or has waited for `patience`. How
    /// many of them were bad plays no part in when it is looked at.
    pub fn look(&mut self, now: Timestamp, patience: Duration) {
        let asked = |it: &Gathered| it.requests[0] + it.unseen[0];
        let is_due = |it: &Gathered| asked(it) >= LOOK_AT_REQUESTS || elapsed(it.since, now) >= patience;
        for (_, due) in self.gathered.extract_if(.., |_, gathered| is_due(gathered)) {
            if let Some(rare) = &mut self.errors {
                rare.look(due.requests, due.errors, due.unseen);
            }
            if let Some(rare) = &mut self.slow {
                rare.look(due.requests, due.slow, [0; 2]);
            }
        }
    }

    /// Where the baseline was shown in stable's place, its users' reward is what the candidate has to earn.
    fn absorb_reward(&mut self, window: &Window, generation: u64, segments: &[String], is_alone: bool) {
        for (key, arm) in &window.arms {
            let Some(cells) = arm.reward.get(&generation) else {
                continue;
            };
            if !is_eligible(segments, &key.segment) {
                continue;
            }
            let stratum = self.strata.entry(generation).or_default();
            match key.track {
                Track::Canary if key.digest == self.canary => stratum.canary.merge(cells),
                Track::Stable if key.digest == self.stable => stratum.stable.merge(cells),
                Track::Stable if key.digest.is_empty() && is_alone => stratum.stable.merge(cells),
                _ => {}
            }
        }
        for (key, pair) in &window.pairs {
            if key.generation == generation
                && key.digest == self.canary
                && key.against == Rival::Stable(self.stable.clone())
            {
                let stratum = self.strata.entry(generation).or_default();
                stratum.pair.difference.merge(&pair.difference);
                stratum.pair.base.merge(&pair.base);
            }
        }
    }

    /// What is proved, gate by gate. Each gate may err with an equal part of the rollout's false-alarm rate (a union
    /// bound), so that the whole rollout keeps it.
    pub fn verdicts(&self, policy: &EndpointPolicy) -> Vec<Verdict> {
        let rules = self.rules(policy);
        let of = if rules.shadow { Matured::pair } else { Matured::arms };
        let matured: Vec<Matured> = self.strata.values().filter_map(of).collect();
        rules.gates.iter().filter_map(|gate| self.verdict(gate, &rules, &matured)).collect()
    }

    fn verdict(&self, gate: &RolloutGate, rules: &Rules, matured: &[Matured]) -> Option<Verdict> {
        let alpha = rules.alpha();
        match gate {
            RolloutGate::Errors { .. } => {
                let compared = self.errors.as_ref()?;
                Some(self.verdict_alone(alpha).unwrap_or_else(|| self.rare_verdict("errors", compared, alpha)))
            }
            RolloutGate::Slow { .. } => self.slow.as_ref().map(|rare| self.rare_verdict("slow", rare, alpha)),
            RolloutGate::Reward { tolerance } => Some(self.reward_verdict(*tolerance, matured, rules)),
        }
    }

    fn verdict_alone(&self, alpha: f64) -> Option<Verdict> {
        let message = self.alone.as_ref()?.harm(alpha, "while nobody had stable to compare with")?;
        Some(Verdict { gate: "errors".to_owned(), outcome: Outcome::Harmful, message })
    }

    /// What errors are held against while nobody has stable, as a fraction of the requests, if there is a gate on them.
    pub fn allowed_alone(&self) -> Option<f64> {
        let (tolerance, requests, bad) = self.errors_of_both()?;
        let alone = self.alone.as_ref().map(|alone| alone.allowed());
        Some(alone.unwrap_or_else(|| Afterwards::on_trial(requests, bad, tolerance).allowed()))
    }

    fn rare_verdict(&self, gate: &str, rare: &Rare, alpha: f64) -> Verdict {
        let most = rare.gate.most();
        let outcome = match most.outcome(alpha) {
            verdict::Outcome::Harmful => Outcome::Harmful,
            verdict::Outcome::NonInferior | verdict::Outcome::Better => Outcome::NonInferior,
            verdict::Outcome::Inconclusive => Outcome::Inconclusive,
        };
        let clumps = rare.clumps;
        let clumped =
            if clumps > 1.05 { format!(", clumps of {clumps:.1} by user counted once") } else { String::new() };
        let unseen = match self.unseen {
            [asked, bad] if asked > 0 && gate == "errors" => format!(" and {bad} of {asked} that nobody saw"),
            _ => String::new(),
        };
        let message = format!(
            "{gate}: {} of {} on the canary{unseen}, {} of {} on stable; evidence of harm {:.2} of the {:.2} needed{clumped}",
            rare.bad[0],
            self.canary_requests,
            rare.bad[1],
            self.stable_requests,
            most.harm.max(0.0),
            verdict::ln_needed(alpha),
        );
        Verdict { gate: gate.to_owned(), outcome, message }
    }

    fn reward_verdict(&self, tolerance: Margin, matured: &[Matured], rules: &Rules) -> Verdict {
        let (gate, alpha) = ("reward".to_owned(), rules.alpha());
        let Some(contrast) = contrast(matured, tolerance) else {
            let message =
                format!("reward: too few matured exposures to say anything ({} on the canary)", self.matured());
            return Verdict { gate, outcome: Outcome::Inconclusive, message };
        };
        let rho2 = rho2_exact((2.0 * alpha).min(0.5), rules.planned.max(MINIMUM_UNITS) as f64);
        let half = asymptotic_half_width_one_sided(contrast.standard_error, contrast.n as f64, rho2, alpha);
        let outcome = if contrast.estimate + half < 0.0 {
            Outcome::Harmful
        } else if contrast.estimate - half > 0.0 {
            Outcome::NonInferior
        } else {
            Outcome::Inconclusive
        };
        let message = format!(
            "reward: {:.4} on the canary against {:.4} on stable over {} matured exposures; with the tolerance the \
             difference lies between {:+.4} and {:+.4}",
            contrast.canary,
            contrast.stable,
            contrast.n,
            contrast.estimate - half,
            contrast.estimate + half,
        );
        Verdict { gate, outcome, message }
    }

    /// Errors per request, both sides together.
    pub fn error_rate(&self) -> f64 {
        self.rate(self.errors.as_deref())
    }

    /// The tolerance of the gate on errors, if there is one, and requests and errors of both sides together.
    pub fn errors_of_both(&self) -> Option<(f64, u64, u64)> {
        let errors = self.errors.as_ref()?;
        let requests = self.canary_requests + self.stable_requests;
        Some((errors.gate.margin(), requests, errors.bad[0] + errors.bad[1]))
    }

    /// Slow answers per request, both sides together.
    pub fn slow_rate(&self) -> f64 {
        self.rate(self.slow.as_deref())
    }

    fn rate(&self, rare: Option<&Rare>) -> f64 {
        let requests = self.canary_requests + self.stable_requests;
        let bad = rare.map_or(0, |rare| rare.bad[0] + rare.bad[1]);
        if requests == 0 { 0.0 } else { bad as f64 / requests as f64 }
    }

    /// Matured exposures of the canary.
    pub fn matured(&self) -> u64 {
        self.strata.values().map(|stratum| stratum.canary.n().max(stratum.pair.difference.n())).sum()
    }
}

fn is_eligible(segments: &[String], segment: &str) -> bool {
    segments.is_empty() || segments.iter().any(|one| one == segment)
}
