//! Verdicts against scipy, statsmodels, ville and, where they are installed, savvi and gbstats (`oracles/verdicts.py`). Runs
//! where `FAIRWAY_ORACLES` names a Python that has them; see `oracles/requirements.txt`.

#[path = "support/oracle.rs"]
mod oracle;

use fairway_stats::confidence::{asymptotic_half_width, ln_e, ln_e_above, p_value, rho2_approximate, rho2_exact};
use fairway_stats::effect::{Effect, Estimate, Scale, pseudo_outcome};
use fairway_stats::odds::OddsGrid;
use fairway_stats::plan::{self, Demand};
use fairway_stats::sequential::{Spending, bounds, crossed};
use fairway_stats::srm;
use serde_json::Value;
use statrs::function::beta::{beta_reg, ln_beta};

/// Closed forms.
const CLOSED: f64 = 1e-9;
/// Root searches and integrals on either side.
const SEARCHED: f64 = 1e-7;

fn cases() -> Option<Vec<Value>> {
    oracle::run("verdicts.py", &[]).map(|output| oracle::parse(&output))
}

fn of<T: serde::de::DeserializeOwned>(value: &Value, key: &str) -> T {
    serde_json::from_value(value[key].clone()).unwrap()
}

#[test]
fn the_verdicts_are_those_of_the_oracles() {
    let Some(cases) = cases() else {
        return;
    };
    assert!(cases.len() >= 180, "{} cases", cases.len());
    for case in cases {
        let (name, expected): (String, f64) = (of(&case, "case"), of(&case, "expected"));
        let (found, tolerance) = find(&name, &case["inputs"]);
        let far = (found - expected).abs();
        assert!(far <= tolerance * expected.abs().max(1e-3), "{name}: {found:e} here, {expected:e} there: {case}");
    }
}

/// The value of a case and its relative tolerance.
fn find(name: &str, inputs: &Value) -> (f64, f64) {
    let number = |key: &str| of::<f64>(inputs, key);
    match name {
        "chi_square_p" => {
            (srm::chi_square_p(&of::<Vec<u64>>(inputs, "counts"), &of::<Vec<f64>>(inputs, "shares")), CLOSED)
        }
        "two_proportions_p" => {
            let (bad, n): ([f64; 2], f64) = (of(inputs, "bad"), number("n"));
            let pooled = (bad[0] + bad[1]) / (2.0 * n);
            let z = (bad[0] - bad[1]) / n / (pooled * (1.0 - pooled) * 2.0 / n).sqrt();
            (statrs::function::gamma::gamma_ur(0.5, z * z / 2.0), CLOSED)
        }
        "srm_ln_e" => {
            // Differences of logarithms of gammas of thousands.
            (srm::ln_e(&of::<Vec<u64>>(inputs, "counts"), &of::<Vec<f64>>(inputs, "shares"), srm::STRENGTH), 1e-8)
        }
        "truncated_beta" => (truncated_beta(inputs), SEARCHED),
        "odds_grid" => {
            let margin = number("margin");
            let mut grid = if of(inputs, "harm") { OddsGrid::harm(margin) } else { OddsGrid::non_inferiority(margin) };
            for (share, bad_canary, bad_stable) in of::<Vec<(f64, u64, u64)>>(inputs, "looks") {
                grid.update(share, bad_canary, bad_stable);
            }
            (grid.ln_e(), CLOSED)
        }
        "rho2" => (rho2_exact(number("alpha"), number("t_opt")), CLOSED),
        "ln_e_above" => (ln_e_above(number("z"), 1.0, 1000.0, number("time") / 1000.0), CLOSED),
        // Ville searches for ρ, ours is exact.
        "ab_lower" => (a_b_test(inputs, -1.0), SEARCHED),
        "ab_upper" => (a_b_test(inputs, 1.0), SEARCHED),
        "spent" | "first_bound" | "second_bound" => group_sequential(name, inputs),
        "fixed" => {
            let demand = Demand { alpha: number("alpha"), power: number("power") };
            // Whole users.
            (plan::fixed(number("distance"), 1.0, number("share"), demand).total, 0.01)
        }
        "gbstats_lower" | "gbstats_p" | "gbstats_ratio_lower" => (gbstats(name, inputs), CLOSED),
        other => panic!("no such case: {other}"),
    }
}

fn truncated_beta(inputs: &Value) -> f64 {
    let [bad, fine, t0, a, b] = ["bad", "fine", "t0", "a", "b"].map(|key| of::<f64>(inputs, key));
    let tail = |a: f64, b: f64| beta_reg(b, a, 1.0 - t0).ln();
    let after = ln_beta(a + bad, b + fine) + tail(a + bad, b + fine);
    after - ln_beta(a, b) - tail(a, b) - bad * t0.ln() - fine * (-t0).ln_1p()
}

/// Pseudo-outcomes with the running mean as their centre.
fn a_b_test(inputs: &Value, side: f64) -> f64 {
    let (outcomes, on_canary): (Vec<f64>, Vec<f64>) = (of(inputs, "outcomes"), of(inputs, "on_canary"));
    let (propensity, t_opt): (f64, f64) = (of(inputs, "propensity"), of(inputs, "t_opt"));
    let (mut sum, mut n) = (0.0, 0.0_f64);
    let phi: Vec<f64> = outcomes
        .iter()
        .zip(&on_canary)
        .map(|(&outcome, &arm)| {
            let centre = if n > 0.0 { sum / n } else { 0.0 };
            (sum, n) = (sum + outcome, n + 1.0);
            pseudo_outcome(outcome, centre, arm > 0.5, propensity).unwrap()
        })
        .collect();
    let estimate = mean(&phi);
    let half = asymptotic_half_width(estimate.error, n, rho2_exact(0.05, t_opt), 0.05);
    estimate.value + side * half
}

fn mean(values: &[f64]) -> Estimate {
    let n = values.len() as f64;
    let value = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - value).powi(2)).sum::<f64>() / (n - 1.0);
    Estimate { n: values.len() as u64, value, error: (variance / n).sqrt() }
}

fn ratio(above: &[f64], below: &[f64]) -> Estimate {
    let (m, d) = (mean(above), mean(below));
    let value = m.value / d.value;
    let pulls: Vec<f64> = above.iter().zip(below).map(|(m, d)| m - value * d).collect();
    Estimate { n: m.n, value, error: mean(&pulls).error / d.value }
}

fn group_sequential(name: &str, inputs: &Value) -> (f64, f64) {
    let (times, alpha): (Vec<f64>, f64) = (of(inputs, "times"), of(inputs, "alpha"));
    let spending = inputs["spending"].as_f64().map_or(Spending::OBrienFleming, Spending::Power);
    let found = bounds(&times, alpha, spending).unwrap();
    match name {
        "first_bound" => (found[0], SEARCHED),
        "second_bound" => (found[1], SEARCHED),
        _ => (*crossed(&times, &found, 0.0).unwrap().last().unwrap(), SEARCHED),
    }
}

fn gbstats(name: &str, inputs: &Value) -> f64 {
    let [stable, canary] = ["stable", "canary"].map(|key| of::<Vec<f64>>(inputs, key));
    let arms = match name {
        "gbstats_ratio_lower" => {
            let [stable_below, canary_below] = ["stable_below", "canary_below"].map(|key| of::<Vec<f64>>(inputs, key));
            (ratio(&canary, &canary_below), ratio(&stable, &stable_below))
        }
        _ => (mean(&canary), mean(&stable)),
    };
    let scale = if of(inputs, "relative") { Scale::Relative } else { Scale::Absolute };
    let effect = Effect::between(arms.0, arms.1, scale).unwrap();
    let (n, rho2) = ((arms.0.n + arms.1.n) as f64, rho2_approximate(0.05, of(inputs, "n_star")));
    match name {
        "gbstats_p" => p_value(ln_e(effect.value, effect.error, n, rho2)),
        _ => effect.value - asymptotic_half_width(effect.error, n, rho2, 0.05),
    }
}
