//! Planning: how much traffic until an effect is seen, and whether the time allowed suffices.
//!
//! Answered for the test that will decide: the odds grid, a confidence sequence, group-sequential looks, or one look at
//! the end. The power is that of the evidence at the planned size alone, so a test that may stop before has a little more.
//! Rates and spreads are guesses made before: plan again when the first windows have come in.

use serde::{Deserialize, Serialize};

use crate::confidence::{asymptotic_half_width_one_sided, rho2_one_sided, z_quantile};
use crate::odds::{Claim, OddsGrid};
use crate::sequential::{ScheduleError, Spending, bounds, crossed};

/// Beyond this many units an answer is "for ever".
const FOR_EVER: f64 = 1e15;

/// Level of the error and chance to see the effect, both in (0, 1).
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// The level of the claim, one-sided.
    pub alpha: f64,
    /// The chance to prove it when the effect is there.
    pub power: f64,
}

/// Traffic that a claim needs; infinite when it can never be proved.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Requests or users of both arms.
    pub total: f64,
    /// Those on the canary.
    pub canary: f64,
}

impl Traffic {
    fn of(total: f64, share: f64) -> Self {
        let total = if total <= FOR_EVER { total.ceil() } else { f64::INFINITY };
        Self { total, canary: if total.is_finite() { (total * share).ceil() } else { total } }
    }
}

/// Requests until an odds grid sees that the canary's bad rate is `ratio` times `rate`, stable's own. `grid` is the empty
/// grid of the claim ([`OddsGrid::harm`] or its kin), `share` the canary's share of the requests, `design_effect` how far
/// bad answers clump (1 if they do not).
///
/// The evidence is reckoned from as many bad answers on the canary as come at least with chance `power` (normal quantile):
/// about `ln(1/α)` and the mixture's price, over the divergence between the shares at `ratio` and at the boundary.
pub fn odds(grid: &OddsGrid, share: f64, rate: f64, ratio: f64, design_effect: f64, demand: Demand) -> Traffic {
    let canary = ratio * share / (ratio * share + 1.0 - share);
    let per_request = rate * (ratio * share + 1.0 - share);
    let z = z_quantile(demand.power);
    // Bad luck is few bad answers on the canary where harm is to be seen, and many where there is none.
    let toward = if grid.claim() == Claim::Harm { -1.0 } else { 1.0 };
    let usable = usable(share, demand) && rate > 0.0 && rate <= 1.0 && ratio >= 0.0 && ratio.is_finite();
    let proves = |requests: f64| {
        if !usable {
            return false;
        }
        let bad = requests * per_request;
        let spread = z * (design_effect.max(1.0) * bad * canary * (1.0 - canary)).sqrt();
        let on_canary = (bad * canary + toward * spread).clamp(0.0, bad);
        let mut seen = grid.clone();
        seen.add(share, on_canary, bad - on_canary);
        seen.ln_e_at(design_effect) >= -demand.alpha.ln()
    };
    Traffic::of(least(proves), share)
}

/// Users until a confidence sequence proves that a mean is beyond a margin that it is `distance` away from (the expected
/// effect plus the margin, in the unit of `deviation`, the standard deviation of a user's value). `t_opt` as the gate's,
/// in units of the smaller arm; `None` plans with the best one for the size found.
pub fn mean(distance: f64, deviation: f64, share: f64, t_opt: Option<f64>, demand: Demand) -> Traffic {
    let proves = |users: f64| {
        let error = deviation * (1.0 / (users * share) + 1.0 / (users * (1.0 - share))).sqrt();
        let n = users * share.min(1.0 - share);
        let rho2 = rho2_one_sided(demand.alpha, t_opt.unwrap_or(n));
        let half = asymptotic_half_width_one_sided(error, n, rho2, demand.alpha);
        distance.abs() - z_quantile(demand.power) * error >= half
    };
    Traffic::of(least(proves), share)
}

/// Users for one look at the end: `(z_α + z_β)² σ² (1/share + 1/(1 - share)) / distance²`.
pub fn fixed(distance: f64, deviation: f64, share: f64, demand: Demand) -> Traffic {
    let z = z_quantile(1.0 - demand.alpha) + z_quantile(demand.power);
    let total = (z * deviation / distance).powi(2) * (1.0 / share + 1.0 / (1.0 - share));
    Traffic::of(if usable(share, demand) && total >= 0.0 { total } else { f64::INFINITY }, share)
}

/// Users at full information for looks at fractions `times` of it, with the bounds of [`crate::sequential`].
///
/// # Errors
/// [`ScheduleError`], when the looks or the level are not usable.
pub fn fixed_looks(
    distance: f64,
    deviation: f64,
    share: f64,
    times: &[f64],
    spending: Spending,
    demand: Demand,
) -> Result<Traffic, ScheduleError> {
    let bounds = bounds(times, demand.alpha, spending)?;
    if times.is_empty() {
        return Ok(Traffic::of(f64::INFINITY, share));
    }
    let power = |drift: f64| crossed(times, &bounds, drift).map(|c| c.last().copied().unwrap_or(0.0));
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if power(middle)? < demand.power { low = middle } else { high = middle }
    }
    let single = z_quantile(1.0 - demand.alpha) + z_quantile(demand.power);
    let one_look = fixed(distance, deviation, share, demand);
    Ok(Traffic::of(one_look.total * (high / single).powi(2), share))
}

/// Whether traffic answers in time.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Feasibility {
    /// Days until then; infinite for never.
    pub days: f64,
    /// Whether that is within the time allowed.
    pub in_time: bool,
    /// For people, with the cure where it is not.
    pub sentence: String,
}

/// Compares the traffic that a claim needs with what comes: `per_day` requests or users of both arms together, and
/// `days_allowed`. `gate` and `unit` ("requests", "users") are what people call them.
pub fn feasible(needs: Traffic, per_day: f64, days_allowed: f64, gate: &str, unit: &str) -> Feasibility {
    let days = if per_day > 0.0 && needs.total.is_finite() { needs.total / per_day } else { f64::INFINITY };
    let in_time = days <= days_allowed;
    let count = if needs.total.is_finite() { format!("{:.0} {unit}", needs.total) } else { "no number".to_owned() };
    let time = if days.is_finite() { format!("{days:.1} days") } else { "for ever".to_owned() };
    let cure = if in_time {
        String::new()
    } else {
        format!(
            ", and {days_allowed:.1} are allowed: too little traffic to answer in time; widen the margin, raise the \
             canary's share, or allow more time"
        )
    };
    Feasibility { days, in_time, sentence: format!("{per_day:.0} {unit} a day: {gate} needs {count}, {time}{cure}") }
}

/// The least size from which on `proves` holds, to a thousandth; infinite if none does.
fn least(proves: impl Fn(f64) -> bool) -> f64 {
    let mut high = 1.0;
    while !proves(high) {
        high *= 2.0;
        if high > FOR_EVER {
            return f64::INFINITY;
        }
    }
    let mut low = high / 2.0;
    while high - low > (high * 1e-3).max(0.5) {
        let middle = (low + high) / 2.0;
        if proves(middle) { high = middle } else { low = middle }
    }
    high
}

fn usable(share: f64, demand: Demand) -> bool {
    [share, demand.alpha, demand.power].iter().all(|p| *p > 0.0 && *p < 1.0)
}

#[cfg(test)]
mod tests;
