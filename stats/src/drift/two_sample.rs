//! Tests on two samples of raw values, for offline checks and for the scores of a classifier two-sample test. Drift of
//! live features is judged on bins ([`super::assess_features`]): at live sizes a p-value alone finds everything.

use statrs::distribution::{ContinuousCDF, Normal};

/// Above this n D² the p-value of D is twice the one-sided one to at least eight digits (Simard & L'Ecuyer 2011).
const TAIL: f64 = 2.2;
/// Up to this many values (equal sides: twice as many each) the exact one-sided tail is summed.
const MOST_SUMMED: f64 = 1e6;

/// The two-sample test of Kolmogorov and Smirnov.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KolmogorovSmirnov {
    /// The largest difference of the two cumulative distributions.
    pub d: f64,
    /// The asymptotic two-sided p-value.
    pub p: f64,
}

/// The two-sample Kolmogorov-Smirnov test, in O(n log n). NaN is left out; `None` when a side has no values.
///
/// p is that of the one-sample D at n = round(n₁ n₂ / (n₁ + n₂)), as SciPy's `method="asymp"` has it: below about .02
/// exact at that n (Smirnov's sum; beyond n = 10⁶ the limit), above by Vrbik's correction of the Kolmogorov limit (2018),
/// within .0002 from n = 100 and .01 from n = 5.
pub fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> Option<KolmogorovSmirnov> {
    let (a, b) = (sorted(a), sorted(b));
    let (n_a, n_b) = (a.len() as u128, b.len() as u128);
    if n_a == 0 || n_b == 0 {
        return None;
    }
    let (mut i, mut j, mut most) = (0, 0, 0);
    while let (Some(&x), Some(&y)) = (a.get(i), b.get(j)) {
        let next = x.min(y);
        i += a[i..].iter().take_while(|&&x| x <= next).count();
        j += b[j..].iter().take_while(|&&y| y <= next).count();
        // In units of 1 / (n_a n_b): exact.
        most = most.max((i as u128 * n_b).abs_diff(j as u128 * n_a));
    }
    let d = most as f64 / (n_a * n_b) as f64;
    let n = (n_a as f64 * n_b as f64 / (n_a + n_b) as f64).round_ties_even().max(1.0);
    Some(KolmogorovSmirnov { d, p: p_of_d(n, d) })
}

fn p_of_d(n: f64, d: f64) -> f64 {
    if d <= 0.0 {
        return 1.0;
    }
    let p = if n * d * d >= TAIL && n <= MOST_SUMMED {
        2.0 * smirnov_tail(n, d)
    } else {
        let z = d * n.sqrt();
        kolmogorov_tail(z + 1.0 / (6.0 * n.sqrt()) + (z - 1.0) / (4.0 * n))
    };
    p.clamp(0.0, 1.0)
}

/// P(D⁺ ≥ d) of n values: d Σⱼ C(n, j) (d + j/n)^(j−1) (1 − d − j/n)^(n−j) over j ≤ n (1 − d); in logarithms.
fn smirnov_tail(n: f64, d: f64) -> f64 {
    let (mut sum, mut ln_choose, mut j) = (0.0, 0.0, 0.0);
    while j <= n * (1.0 - d) {
        let (below, above) = (d + j / n, 1.0 - d - j / n);
        // At the last j nothing may be left above; only j = n makes that a factor of 1.
        let ln_above = if n > j { (n - j) * above.max(0.0).ln() } else { 0.0 };
        sum += (ln_choose + (j - 1.0) * below.ln() + ln_above).exp();
        ln_choose += ((n - j) / (j + 1.0)).ln();
        j += 1.0;
    }
    d * sum
}

/// P(√n D > z) in the limit: 2 Σ (−1)^(k−1) e^(−2 k² z²), below 1 in the form of the theta function that converges there.
fn kolmogorov_tail(z: f64) -> f64 {
    if z <= 0.0 {
        return 1.0;
    }
    let odd = |k: i32| f64::from(2 * k - 1);
    if z < 1.0 {
        let terms = (1..=4).map(|k| (-(odd(k) * std::f64::consts::PI / z).powi(2) / 8.0).exp());
        return 1.0 - (2.0 * std::f64::consts::PI).sqrt() / z * terms.sum::<f64>();
    }
    // Alternating: the smallest terms first.
    2.0 * (1..=6).rev().fold(0.0, |rest, k| (-2.0 * (f64::from(k) * z).powi(2)).exp() - rest)
}

/// The test of Mann and Whitney (Wilcoxon's rank sum).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// Pairs in which the value of the first sample is the greater one; ties count half.
    pub u: f64,
    /// U over all pairs: the probability that a value of the first sample is the greater one (the AUC).
    pub auc: f64,
    /// The two-sided p-value.
    pub p: f64,
    /// The one-sided p-value of "values of the first sample tend to be greater".
    pub p_greater: f64,
}

/// The Mann-Whitney U test, in O(n log n), by the normal limit with corrections for ties and continuity (Mann & Whitney
/// 1947), as SciPy's `method="asymptotic"`: good from about 10 values a side.
///
/// NaN is left out; `None` when a side has no values. p is 1 when all values are equal.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Option<MannWhitney> {
    let of = |sample: &[f64], first: bool| sorted(sample).into_iter().map(move |x| (x, first)).collect::<Vec<_>>();
    let (a, b) = (of(a, true), of(b, false));
    let (n_a, n_b) = (a.len() as f64, b.len() as f64);
    if n_a == 0.0 || n_b == 0.0 {
        return None;
    }
    let mut all = [a, b].concat();
    // Equal numbers side by side, -0 with 0 too.
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut u, mut ties, mut below) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|x, y| x.0 == y.0) {
        let firsts = group.iter().filter(|(_, first)| *first).count() as f64;
        let (size, seconds) = (group.len() as f64, group.len() as f64 - firsts);
        u += firsts * (below + seconds / 2.0);
        ties += size * (size * size - 1.0);
        below += seconds;
    }
    let (n, pairs) = (n_a + n_b, n_a * n_b);
    let sd = (pairs / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)))).max(0.0).sqrt();
    let tail = |above: f64| if sd > 0.0 { Normal::standard().sf((above - 0.5) / sd) } else { 1.0 };
    let above = u - pairs / 2.0;
    Some(MannWhitney { u, auc: u / pairs, p: (2.0 * tail(above.abs())).min(1.0), p_greater: tail(above) })
}

fn sorted(sample: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = sample.iter().copied().filter(|x| !x.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}
