//! Tests of estimates and effects: worked values, gbstats' cases, and what the past explains.

use proptest::prelude::*;

use super::*;
use crate::confidence::z_quantile;
use crate::portable_stream::Stream;

#[track_caller]
fn close(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} {expected}");
}

/// Sums of a sample: n, Σx, Σx².
type Sums = (f64, f64, f64);

fn of_sums((n, sum, squares): Sums) -> Estimate {
    let variance = (squares - sum * sum / n) / (n - 1.0);
    Estimate { n: n as u64, value: sum / n, error: (variance / n).sqrt() }
}

#[test]
fn a_mean_is_what_the_cells_say() {
    let mut cells = Cells::new();
    let mut stream = Stream::new(1);
    (0..5000).for_each(|_| cells.record((stream.uniform() * 256.0) as u8, stream.uniform()));
    let mean = Estimate::mean(&cells).unwrap();
    close(mean.value, cells.mean().unwrap(), 1e-15);
    close(mean.error, cells.standard_error().unwrap(), 1e-15);
    assert_eq!(mean.n, 5000);
}

#[test]
fn gbstats_absolute_and_relative() {
    // Reference 4: A (1396.87, 52377.9767, 3000), B (2422.7, 134698.29, 3461); Welch .29 / .70732 with n_A 3407.
    let stable = Estimate { n: 3407, value: 0.41, error: 3.9 / 3407_f64.sqrt() };
    let canary = Estimate { n: 3461, value: 0.7, error: 6.2 / 3461_f64.sqrt() };
    let absolute = Effect::between(canary, stable, Scale::Absolute).unwrap();
    close(absolute.value, 0.29, 1e-12);
    // Welch's t has about 5,800 degrees of freedom here.
    close(absolute.value - z_quantile(0.975) * absolute.error, 0.04538, 1e-4);
    let relative = Effect::between(canary, stable, Scale::Relative).unwrap();
    close(relative.value, 0.70732, 1e-5);
    close(relative.value - z_quantile(0.975) * relative.error, -0.03526, 5e-4);
    close(relative.value + z_quantile(0.975) * relative.error, 1.44989, 5e-4);
}

/// One arm of gbstats' ratio with CUPED: sums of numerator and denominator after and before, and of their six products.
struct RatioArm {
    sums: [Sums; 4],
    products: [f64; 6],
}

impl RatioArm {
    fn before_and_after(&self) -> BeforeAndAfter {
        let n = self.sums[0].0;
        let mean = |i: usize| self.sums[i].1 / n;
        let covariance = |i: usize, j: usize| {
            let product = match (i.min(j), i.max(j)) {
                (0, 1) => self.products[0],
                (2, 3) => self.products[1],
                (0, 2) => self.products[2],
                (1, 3) => self.products[3],
                (0, 3) => self.products[4],
                (1, 2) => self.products[5],
                _ => self.sums[i].2,
            };
            (product - self.sums[i].1 * self.sums[j].1 / n) / (n - 1.0) / n
        };
        // The gradient of M/D.
        let slope = |m: usize| [(m, 1.0 / mean(m + 1)), (m + 1, -mean(m) / mean(m + 1).powi(2))];
        let between = |a: usize, b: usize| -> f64 {
            slope(a).iter().flat_map(|&(i, x)| slope(b).map(|(j, y)| x * y * covariance(i, j))).sum()
        };
        let estimate = |m: usize| Estimate { n: n as u64, value: mean(m) / mean(m + 1), error: between(m, m).sqrt() };
        BeforeAndAfter { after: estimate(0), before: estimate(2), covariance: between(0, 2) }
    }
}

#[test]
fn gbstats_ratio_with_cuped() {
    let stable = RatioArm {
        sums: [
            (100.0, 485.112236689623, 2715.484666118136),
            (100.0, 679.9093275844917, 4939.424001640236),
            (100.0, 192.59138069991536, 460.076026390857),
            (100.0, 290.1398399750233, 920.9461385038898),
        ],
        products: [
            3602.146836776702,
            634.239482353647,
            1113.6215759318352,
            2130.9404074446747,
            1559.2878434944676,
            1460.3181079276983,
        ],
    };
    let canary = RatioArm {
        sums: [
            (100.0, 514.7757826608777, 2994.897482705013),
            (100.0, 705.4090874383759, 5291.36604146392),
            (100.0, 206.94157227402536, 514.2903702246757),
            (100.0, 302.54389139107326, 994.4506208125663),
        ],
        products: [
            3918.1561431600717,
            698.4173425817908,
            1237.0953021125997,
            2292.081739775257,
            1701.0287270040265,
            1604.0759503266522,
        ],
    };
    let (canary, stable) = cuped(&canary.before_and_after(), &stable.before_and_after());
    let effect = Effect::between(canary, stable, Scale::Relative).unwrap();
    close(effect.value, -0.0007, 5e-5);
    // gbstats divides by the unadjusted base, which is a little noisier: .00391.
    assert!(effect.error < 0.00391 && effect.error > 0.98 * 0.00391, "{effect:?}");
}

#[test]
fn proportions_are_means_of_zeros_and_ones() {
    let stable = of_sums((3000.0, 1396.0, 1396.0));
    let canary = of_sums((3461.0, 2422.0, 2422.0));
    close(Effect::between(canary, stable, Scale::Relative).unwrap().value, 0.50386, 1e-5);
}

struct Crowd {
    outcome: Cells,
    shown: Cells,
    before: Cells,
    logged: LoggedArm,
}

/// Users with a level of their own that outcome and past share.
fn crowd(seed: u64, users: u32, lift: f64) -> Crowd {
    let mut stream = Stream::new(seed);
    let mut crowd =
        Crowd { outcome: Cells::new(), shown: Cells::new(), before: Cells::new(), logged: LoggedArm::default() };
    for _ in 0..users {
        let (cell, level) = ((stream.uniform() * 256.0) as u8, 5.0 * stream.uniform());
        let outcome = (level + stream.uniform()) * (1.0 + lift);
        crowd.outcome.record(cell, outcome);
        crowd.shown.record(cell, 1.0 + (4.0 * stream.uniform()).floor());
        crowd.before.record(cell, level + stream.uniform());
        crowd.logged.record(cell, outcome, 0.25);
    }
    crowd
}

#[test]
fn what_the_past_explains_narrows_the_error() {
    let (canary, stable) = (crowd(3, 4000, 0.02), crowd(4, 9000, 0.0));
    let arm =
        |c: &Crowd| BeforeAndAfter::of(&Linear::mean(&c.outcome).unwrap(), &Linear::mean(&c.before).unwrap()).unwrap();
    let plain = Effect::between(arm(&canary).after, arm(&stable).after, Scale::Relative).unwrap();
    let (one, other) = cuped(&arm(&canary), &arm(&stable));
    let adjusted = Effect::between(one, other, Scale::Relative).unwrap();
    // Correlation is 25/26, so what is left is about a quarter of the error.
    assert!(adjusted.error < 0.4 * plain.error, "{adjusted:?} {plain:?}");
    assert!((adjusted.value - 0.02).abs() < 4.0 * adjusted.error, "{adjusted:?}");
    let useless = BeforeAndAfter { covariance: 0.0, ..arm(&canary) };
    let (same, _) = cuped(&useless, &BeforeAndAfter { covariance: 0.0, ..arm(&stable) });
    assert_eq!(same.value, arm(&canary).after.value);
}

#[test]
fn equal_propensities_change_nothing_and_unusable_ones_do_not_count() {
    let canary = crowd(5, 3000, 0.0);
    let logged = canary.logged.mean().unwrap().estimate().unwrap();
    let plain = Estimate::mean(&canary.outcome).unwrap();
    // Weighted outcomes are rounded to millionths too.
    close(logged.value, plain.value, 1e-7);
    close(logged.error, plain.error, 1e-7);
    let mut arm = LoggedArm::default();
    for (value, propensity) in [(1.0, 0.0), (1.0, 1.5), (1.0, f64::NAN), (f64::NAN, 0.5), (f64::INFINITY, 0.5)] {
        assert!(!arm.record(0, value, propensity));
    }
    assert!(arm.mean().is_none());
}

#[test]
fn propensities_keep_the_crowds_of_a_ramp_comparable() {
    // At 10 % the level is 1, at 50 % it is 3; the canary changes nothing.
    let mut stream = Stream::new(8);
    let mut arms = [LoggedArm::default(), LoggedArm::default()];
    let mut pooled = [Cells::new(), Cells::new()];
    for unit in 0..40_000 {
        let (share, level) = if unit < 20_000 { (0.1, 1.0) } else { (0.5, 3.0) };
        let arm = usize::from(stream.uniform() >= share);
        let (cell, value) = ((stream.uniform() * 256.0) as u8, level + stream.uniform());
        arms[arm].record(cell, value, [share, 1.0 - share][arm]);
        pooled[arm].record(cell, value);
    }
    let effect = |canary: Estimate, stable: Estimate| Effect::between(canary, stable, Scale::Absolute).unwrap();
    let [canary, stable] = arms.map(|arm| arm.mean().unwrap().estimate().unwrap());
    let fair = effect(canary, stable);
    assert!(fair.value.abs() < 4.0 * fair.error, "{fair:?}");
    let [canary, stable] = pooled.map(|cells| Estimate::mean(&cells).unwrap());
    let misled = effect(canary, stable);
    assert!(misled.value > 10.0 * misled.error, "{misled:?}");
}

#[test]
fn pseudo_outcomes_average_to_the_effect() {
    let mut stream = Stream::new(12);
    let (mut sum, mut squares, n) = (0.0, 0.0, 20_000);
    for _ in 0..n {
        let on_canary = stream.uniform() < 0.2;
        let outcome = stream.uniform() + if on_canary { 0.3 } else { 0.0 };
        let phi = pseudo_outcome(outcome, 0.56, on_canary, 0.2).unwrap();
        sum += phi;
        squares += phi * phi;
    }
    let mean = sum / f64::from(n);
    let error = ((squares / f64::from(n) - mean * mean) / f64::from(n)).sqrt();
    assert!((mean - 0.3).abs() < 4.0 * error, "{mean} {error}");
    assert_eq!(pseudo_outcome(1.0, 0.0, true, 0.0), None);
    assert_eq!(pseudo_outcome(1.0, 0.0, true, f64::NAN), None);
}

#[test]
fn strata_of_the_same_users_do_not_make_us_surer() {
    let pair = || {
        let (canary, stable) = (crowd(21, 3000, 0.0), crowd(22, 3000, 0.0));
        (Linear::mean(&canary.outcome).unwrap(), Linear::mean(&stable.outcome).unwrap())
    };
    let once = Effect::over_strata(&[pair()], Scale::Relative).unwrap();
    let four = Effect::over_strata(&[pair(), pair(), pair(), pair()], Scale::Relative).unwrap();
    close(four.value, once.value, 1e-12);
    assert!(four.error >= 0.95 * once.error, "{four:?} {once:?}");
    let other = || {
        let (canary, stable) = (crowd(31, 3000, 0.0), crowd(32, 3000, 0.0));
        (Linear::mean(&canary.outcome).unwrap(), Linear::mean(&stable.outcome).unwrap())
    };
    let apart = Effect::over_strata(&[pair(), other()], Scale::Relative).unwrap();
    assert!(apart.error < 0.85 * once.error, "{apart:?} {once:?}");
    assert_eq!(Effect::over_strata(&[], Scale::Absolute), None);
}

#[test]
fn a_ratio_is_a_ratio_and_a_silent_arm_borrows_its_error() {
    let crowd = crowd(9, 2000, 0.0);
    let ratio = Linear::ratio(&crowd.outcome, &crowd.shown).unwrap().estimate().unwrap();
    close(ratio.value, crowd.outcome.sum() / crowd.shown.sum(), 1e-12);
    assert!(ratio.error > 0.0);
    assert!(Linear::ratio(&crowd.outcome, &Cells::new()).is_none());
    let (silent, other) = (Estimate { n: 400, value: 0.0, error: 0.0 }, Estimate { n: 900, value: 1.0, error: 0.1 });
    let (silent, _) = alike(silent, other);
    close(silent.error, 0.1 * 1.5, 1e-12);
    let near_zero = Estimate { n: 900, value: 0.2, error: 0.1 };
    assert_eq!(Effect::between(other, near_zero, Scale::Relative), None);
    let nothing = Estimate { n: 900, value: 0.0, error: 0.0 };
    assert_eq!(Effect::between(nothing, nothing, Scale::Absolute), None);
}

proptest! {
    /// Swapping the arms turns the sign; the unit of the metric does not matter to a relative effect.
    #[test]
    fn effects_are_symmetric_and_free_of_units(
        canary in (-1e3..1e3_f64, 0.01..1e2_f64), stable in (-1e3..1e3_f64, 0.01..1e2_f64), scale in 1e-3..1e3_f64,
    ) {
        let of = |(value, error): (f64, f64), n| Estimate { n, value, error };
        let (c, s) = (of(canary, 300), of(stable, 500));
        let there = Effect::between(c, s, Scale::Absolute).unwrap();
        let back = Effect::between(s, c, Scale::Absolute).unwrap();
        prop_assert_eq!(there.value, -back.value);
        prop_assert_eq!(there.error, back.error);
        let scaled = |e: Estimate| Estimate { value: e.value * scale, error: e.error * scale, ..e };
        let (one, other) =
            (Effect::between(c, s, Scale::Relative), Effect::between(scaled(c), scaled(s), Scale::Relative));
        if let (Some(one), Some(other)) = (one, other) {
            prop_assert!((one.value - other.value).abs() <= 1e-9 * one.value.abs().max(1.0));
            prop_assert!((one.error - other.error).abs() <= 1e-9 * one.error.max(1.0));
        }
    }

    #[test]
    fn no_input_makes_a_nan(values in prop::array::uniform6(prop::num::f64::ANY), n in any::<u64>()) {
        let estimate = |i: usize| Estimate { n, value: values[i], error: values[i + 1].abs() };
        for scale in [Scale::Absolute, Scale::Relative] {
            let (canary, stable) = alike(estimate(0), estimate(2));
            let all = [Effect::between(canary, stable, scale), Effect::between(estimate(0), estimate(4), scale)];
            for effect in all.into_iter().flatten() {
                prop_assert!(effect.value.is_finite() && effect.error > 0.0 && effect.error.is_finite());
            }
        }
    }
}
