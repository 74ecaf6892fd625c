//! Gates: what is proved about one metric of a canary, the numbers behind it, and a sentence.
//!
//! A gate gathers three evidences at once, each valid at every look: that the canary does harm, that it is not inferior,
//! that it is better. A claim is proved when its evidence reaches 1/α at any look; proved harm comes first. Many gates
//! together keep one error rate by [`crate::combine`]. What follows from a verdict is the operator's policy.

use serde::{Deserialize, Serialize};

use crate::confidence::{Interval, Running, ln_e_above, one_sided, p_value, rho2_one_sided};
use crate::effect::Effect;
use crate::odds::{DesignEffects, OddsGrid};

/// What is proved about the canary.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Worse than the margin allows.
    Harmful,
    /// Not worse than the margin allows.
    NonInferior,
    /// Not worse than the margin allows, and better than stable.
    Better,
    /// None of these yet.
    Inconclusive,
}

/// Natural logarithms of the evidence for each claim; 0 is none, and `ln(1/α)` is proof at level α.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq)]
pub struct LnE {
    /// The canary is worse than the margin allows.
    pub harm: f64,
    /// It is not.
    pub non_inferior: f64,
    /// It is better.
    pub better: f64,
}

impl LnE {
    fn max(self, other: Self) -> Self {
        Self {
            harm: self.harm.max(other.harm),
            non_inferior: self.non_inferior.max(other.non_inferior),
            better: self.better.max(other.better),
        }
    }

    /// What this evidence proves at level `alpha`; nothing outside (0, 1).
    pub fn outcome(&self, alpha: f64) -> Outcome {
        let needed = ln_needed(alpha);
        match self {
            Self { harm, .. } if *harm >= needed => Outcome::Harmful,
            Self { non_inferior, .. } if *non_inferior < needed => Outcome::Inconclusive,
            Self { better, .. } if *better >= needed => Outcome::Better,
            Self { non_inferior, .. } if *non_inferior >= needed => Outcome::NonInferior,
            _ => Outcome::Inconclusive,
        }
    }
}

/// What a gate says after the latest look.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What people call the metric.
    pub gate: String,
    /// What is proved at level `alpha`.
    pub outcome: Outcome,
    /// The level.
    pub alpha: f64,
    /// The evidence now: what [`crate::combine`] adds up.
    pub now: LnE,
    /// The greatest evidence of each claim at any look: what the outcome rests on.
    pub most: LnE,
    /// The anytime-valid p-value of harm.
    pub p_harm: f64,
    /// Canary over stable, less 1, or the difference, with the bounds that hold at all looks where the gate has them.
    pub effect: Option<Interval>,
    /// Bad answers or units behind it.
    pub n: u64,
    /// The outcome in words, with its numbers.
    pub sentence: String,
}

/// A gate on something rare that should not happen: an error, a timeout, an answer over the latency limit. Immune to ramps
/// and to base rates that move ([`crate::odds`]).
///
/// Evidence of harm counts up to 1/α and no further, and is boosted for that at looks that may carry it beyond (Fischer &
/// Ramdas, "Improving the (approximate) sequential probability ratio test by avoiding overshoot", arXiv 2410.16076): proof
/// of a gate's own claim, in [`Self::most`]. What is added up with other gates, [`Self::now`], is without it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct RateGate {
    alpha: f64,
    harm: OddsGrid,
    non_inferior: OddsGrid,
    better: OddsGrid,
    /// Of the claim of harm, and of the others.
    design_effect: f64,
    #[serde(default = "none")]
    health_effect: f64,
    /// By what harm's evidence is multiplied, as a natural logarithm at a design effect of 1.
    #[serde(default)]
    ln_boost: f64,
    most: LnE,
    bad: [u64; 2],
    requests: [u64; 2],
    /// Mantel–Haenszel: the rate ratio as it is within looks.
    ratio: [f64; 2],
}

/// The canary's share of the requests of a look.
fn share([canary, stable]: [u64; 2]) -> f64 {
    canary as f64 / (canary as f64 + stable as f64)
}

/// The design effect of answers that come independently.
fn none() -> f64 {
    1.0
}

impl RateGate {
    /// Harm is a rate more than `1 + margin` times that of stable, at level `alpha` for each claim.
    pub fn new(margin: f64, alpha: f64) -> Self {
        Self {
            alpha,
            harm: OddsGrid::harm(margin),
            non_inferior: OddsGrid::non_inferiority(margin),
            better: OddsGrid::superiority(0.0),
            design_effect: 1.0,
            health_effect: none(),
            ln_boost: 0.0,
            most: LnE::default(),
            bad: [0; 2],
            requests: [0; 2],
            ratio: [0.0; 2],
        }
    }

    /// From now on counts clumps of bad answers as [`crate::odds::design_effects`] found them. What was proved stays.
    pub fn set_design_effects(&mut self, effects: DesignEffects) {
        let usable = |effect: f64| if effect.is_finite() { effect.max(1.0) } else { 1.0 };
        (self.design_effect, self.health_effect) = (usable(effects.harm), usable(effects.health));
    }

    /// Adds one look: requests and bad answers of the canary and of stable in this look alone. One without requests in
    /// both arms compares nothing.
    pub fn look(&mut self, requests: [u64; 2], bad: [u64; 2]) {
        let share = share(requests);
        self.boost(share, bad);
        self.add(share, requests, bad);
    }

    /// The same where some requests count on both sides, because canary and stable both answered them, and are as many on either:
    /// the rest of the canary's are its alone.
    ///
    /// Let a canary be bad with probability p, stable with q, and a point of the grid multiply the evidence by r > 1 for a bad
    /// answer of the canary and by s < 1 for one of stable. Whichever way the two depend on each other, with a the chance that
    /// both are bad, a request of both multiplies it by 1 + p (r−1) − q (1−s) − a (r−1)(1−s) in the mean, which no dependence
    /// makes greater than two requests of one each do. So the error rate holds as in [`Self::look`], but for the boost, which
    /// needs to know how the bad answers would be divided, and is left out.
    pub fn look_in_pairs(&mut self, requests: [u64; 2], bad: [u64; 2]) {
        let share = share(requests);
        self.harm.add(share, bad[0] as f64, bad[1] as f64);
        self.add(share, requests, bad);
    }

    fn add(&mut self, share: f64, requests: [u64; 2], bad: [u64; 2]) {
        self.note_harm();
        for grid in [&mut self.non_inferior, &mut self.better] {
            grid.add(share, bad[0] as f64, bad[1] as f64);
        }
        for arm in 0..2 {
            self.bad[arm] = self.bad[arm].saturating_add(bad[arm]);
            self.requests[arm] = self.requests[arm].saturating_add(requests[arm]);
        }
        if requests.iter().all(|n| *n > 0) {
            self.ratio[0] += bad[0] as f64 * (1.0 - share);
            self.ratio[1] += bad[1] as f64 * share;
        }
        let (most, design_effect) = (&mut self.most, self.health_effect);
        for (grid, most) in [(&self.non_inferior, &mut most.non_inferior), (&self.better, &mut most.better)] {
            // A mean is no greater than its greatest part, so most looks need no logarithm of a sum.
            if grid.largest() > *most * design_effect {
                *most = most.max(grid.ln_e_at(design_effect));
            }
        }
    }

    fn boost(&mut self, share: f64, bad: [u64; 2]) {
        let (needed, effect) = (ln_needed(self.alpha), self.design_effect);
        self.ln_boost += effect * self.harm.add_boosted(share, bad, effect, needed - self.ln_boost / effect);
    }

    fn note_harm(&mut self) {
        let (needed, effect) = (ln_needed(self.alpha), self.design_effect);
        if self.harm.largest() + self.ln_boost > self.most.harm * effect {
            let plain = self.harm.ln_e_at(effect);
            self.most.harm = self.most.harm.max(plain).max((plain + self.ln_boost / effect).min(needed));
        }
    }

    /// How much more often still counts as no harm, as a fraction of stable's rate.
    pub fn margin(&self) -> f64 {
        self.harm.margin()
    }

    /// The evidence now.
    pub fn now(&self) -> LnE {
        let health = |grid: &OddsGrid| grid.ln_e_at(self.health_effect);
        let harm = self.harm.ln_e_at(self.design_effect);
        LnE { harm, non_inferior: health(&self.non_inferior), better: health(&self.better) }
    }

    /// The greatest evidence of each claim at any look; that of harm is boosted up to `ln(1/α)`.
    pub fn most(&self) -> LnE {
        self.most
    }

    /// The ratio of the two rates as it is within looks; `None` before stable had anything bad.
    pub fn ratio(&self) -> Option<f64> {
        (self.ratio[1] > 0.0).then(|| self.ratio[0] / self.ratio[1])
    }

    /// What is proved. `gate` is what people call it.
    pub fn verdict(&self, gate: &str) -> Verdict {
        let [canary, stable] = [0, 1].map(|arm| {
            let (bad, all) = (self.bad[arm], self.requests[arm]);
            format!("{bad} of {all} ({:.3} %)", 100.0 * bad as f64 / all.max(1) as f64)
        });
        let ratio = self.ratio().map_or_else(String::new, |r| format!(", {r:.2} times stable's rate within looks"));
        let clumped = if self.design_effect > 1.0 {
            format!(", clumps of {:.1} counted once", self.design_effect)
        } else {
            String::new()
        };
        let numbers = format!("{canary} on the canary, {stable} on stable{ratio}{clumped}");
        let margin = format!("{:.1} %", 100.0 * self.harm.margin());
        let n = self.bad[0].saturating_add(self.bad[1]);
        verdict(gate, self.alpha, self.now(), self.most, None, n, &margin, &numbers)
    }
}

/// A gate on a metric of which more is better (negate one of which less is): a mean or ratio, by user, matured.
/// Confidence sequences over [`Effect`]s; the margins are in the effect's unit, so a fraction for a relative one.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct MeanGate {
    alpha: f64,
    harm_margin: f64,
    margin: f64,
    /// The tuning of the bounds; NaN, which proves nothing, is kept as 0.
    rho2: f64,
    now: LnE,
    most: LnE,
    running: Running,
}

impl MeanGate {
    /// Harm is an effect below `-harm_margin`, non-inferior one above `-margin`, better one above 0, each at level
    /// `alpha`; `t_opt` is the number of units of the smaller arm at which it should be surest. Margins below 0 or not
    /// finite count as 0; with an `alpha` or `t_opt` outside its domain nothing is ever proved.
    pub fn new(harm_margin: f64, margin: f64, alpha: f64, t_opt: f64) -> Self {
        let usable = |margin: f64| if margin.is_finite() { margin.max(0.0) } else { 0.0 };
        let (harm_margin, margin) = (usable(harm_margin), usable(margin));
        let (rho2, none) = (rho2_one_sided(alpha, t_opt), LnE::default());
        let rho2 = if rho2.is_finite() { rho2 } else { 0.0 };
        Self { alpha, harm_margin, margin, rho2, now: none, most: none, running: Running::default() }
    }

    /// Takes the effect of *all* that was seen so far (not of this look alone).
    pub fn look(&mut self, effect: &Effect) {
        let above = |value: f64| ln_e_above(value, effect.error, effect.n as f64, self.rho2);
        self.now = LnE {
            harm: above(-self.harm_margin - effect.value),
            non_inferior: above(effect.value + self.margin),
            better: above(effect.value),
        };
        self.most = self.most.max(self.now);
        if let Some(latest) = one_sided(effect, self.alpha, self.rho2) {
            self.running.add(latest);
        }
    }

    /// The evidence now.
    pub fn now(&self) -> LnE {
        self.now
    }

    /// The greatest evidence of each claim at any look.
    pub fn most(&self) -> LnE {
        self.most
    }

    /// What is proved. `gate` is what people call it.
    pub fn verdict(&self, gate: &str) -> Verdict {
        let effect = self.running.interval();
        let numbers = effect.map_or_else(
            || "too few units to say anything".to_owned(),
            |i| format!("effect {:+.4}, between {:+.4} and {:+.4} over {} units", i.estimate, i.lower, i.upper, i.n),
        );
        let margin = format!("{:.4}", self.harm_margin.max(self.margin));
        verdict(gate, self.alpha, self.now, self.most, effect, effect.map_or(0, |i| i.n), &margin, &numbers)
    }
}

fn verdict(
    gate: &str,
    alpha: f64,
    now: LnE,
    most: LnE,
    effect: Option<Interval>,
    n: u64,
    margin: &str,
    numbers: &str,
) -> Verdict {
    let outcome = most.outcome(alpha);
    let found = match outcome {
        Outcome::Harmful => format!("worse on the canary by more than {margin}"),
        Outcome::Better => "better on the canary".to_owned(),
        Outcome::NonInferior => format!("not worse on the canary by more than {margin}"),
        Outcome::Inconclusive => format!(
            "nothing proved yet (evidence of harm {:.2}, of no harm {:.2}, needed {:.2})",
            most.harm,
            most.non_inferior,
            ln_needed(alpha)
        ),
    };
    let sentence = format!("{gate}: {found}: {numbers}");
    Verdict { gate: gate.to_owned(), outcome, alpha, now, most, p_harm: p_value(most.harm), effect, n, sentence }
}

/// ln(1/α), the evidence that proves a claim; infinite for a level outside (0, 1).
pub fn ln_needed(alpha: f64) -> f64 {
    if alpha > 0.0 && alpha < 1.0 { -alpha.ln() } else { f64::INFINITY }
}

#[cfg(test)]
mod tests;
