//! Many features are tested at once; some p-values are small by chance alone.

/// Which hypotheses to reject so that the expected share of false ones among them is at most `q` (Benjamini & Hochberg
/// 1995), in the order given. A p-value that is NaN is never rejected.
pub fn benjamini_hochberg(p: &[f64], q: f64) -> Vec<bool> {
    let mut sorted: Vec<f64> = p.iter().map(|&p| if p.is_nan() { f64::INFINITY } else { p }).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let m = sorted.len() as f64;
    let threshold =
        (1..=sorted.len()).rev().find(|&rank| sorted[rank - 1] <= q * rank as f64 / m).map(|rank| sorted[rank - 1]);
    p.iter().map(|&p| threshold.is_some_and(|t| p <= t)).collect()
}

/// The least q at which [`benjamini_hochberg`] would reject each hypothesis (Yekutieli & Benjamini 1999), in the order
/// given; in [0, 1]. NaN counts as 1.
pub fn adjusted_p(p: &[f64]) -> Vec<f64> {
    let usable = |p: f64| if p.is_nan() { 1.0 } else { p.clamp(0.0, 1.0) };
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| usable(p[a]).total_cmp(&usable(p[b])));
    let (mut adjusted, mut least) = (vec![1.0; p.len()], 1.0_f64);
    for (rank, &i) in order.iter().enumerate().rev() {
        least = least.min(usable(p[i]) * p.len() as f64 / (rank + 1) as f64);
        adjusted[i] = least;
    }
    adjusted
}
