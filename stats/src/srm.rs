//! Sample-ratio mismatch: do the arms get the share of users that they should get?
//!
//! A mismatch means that the comparison itself is broken (lost events, a faulty hash, a redirect), so it blocks every
//! other verdict. The Dirichlet-multinomial e-process of Lindon & Malek, NeurIPS 2022 (arXiv 2011.03567), valid at
//! every look. Fail at E ≥ 1000, that is `ln_e >= 6.9`.

use statrs::function::gamma::ln_gamma;

/// ln E that fails the check: ln 1000.
pub const LN_E_FAIL: f64 = 6.907_755_278_982_137;

/// The natural logarithm of the evidence that users did not arrive in the given shares.
///
/// `counts` are users of each arm since the shares were set (not events: a user counts once), `shares` the intended
/// shares (any scale: they are divided by their sum), `k` the strength of the prior; 1000 looks for small mismatches.
/// When shares change, start anew and add up the `ln_e` of the stages.
///
/// A missing or unusable share counts as 0: users in such an arm are impossible, and the answer is +∞. Without any
/// share, or with a `k` that is not positive, there is no evidence: 0.
pub fn ln_e(counts: &[u64], shares: &[f64], k: f64) -> f64 {
    let usable = |share: &f64| share.is_finite() && *share > 0.0;
    let all: f64 = shares.iter().filter(|s| usable(s)).sum();
    if !(all > 0.0 && all.is_finite() && k > 0.0 && k.is_finite()) {
        return 0.0;
    }
    let (mut users, mut ln) = (0.0, 0.0);
    for (arm, &count) in counts.iter().enumerate() {
        let count = count as f64;
        match shares.get(arm).filter(|s| usable(s)) {
            Some(share) => {
                let share = share / all;
                users += count;
                ln += ln_gamma(k * share + count) - ln_gamma(k * share) - count * share.ln();
            }
            None if count > 0.0 => return f64::INFINITY,
            None => {}
        }
    }
    ln + ln_gamma(k) - ln_gamma(k + users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values() {
        let even = [0.5, 0.5];
        let table = [
            ([5000, 5300], even, [-0.025105396831349935, 2.0032682300243323, 2.770492147913501, 1.862908098490152]),
            ([4970, 5030], even, [-4.19947074745869, -2.1317989474173373, -1.035522856854186, -0.25658145512716146]),
            ([900, 9200], [0.1, 0.9], [2.342970349234747, 4.543599350878594, 5.085853186686563, 3.076176830436907]),
        ];
        for (counts, shares, expected) in table {
            for (k, expected) in [2.0, 100.0, 1000.0, 10_000.0].into_iter().zip(expected) {
                let value = ln_e(&counts, &shares, k);
                assert!((value - expected).abs() < 1e-8, "{value} {expected}");
            }
        }
    }

    #[test]
    fn scale_of_the_shares_does_not_matter() {
        let percent = ln_e(&[900, 9200], &[10.0, 90.0], 1000.0);
        assert!((percent - ln_e(&[900, 9200], &[0.1, 0.9], 1000.0)).abs() < 1e-9);
    }

    #[test]
    fn odd_inputs_have_an_answer() {
        assert_eq!(ln_e(&[], &[], 1000.0), 0.0);
        assert_eq!(ln_e(&[5, 5], &[0.5, 0.5], f64::NAN), 0.0);
        assert_eq!(ln_e(&[5, 5], &[f64::NAN, 0.0], 1000.0), 0.0);
        assert_eq!(ln_e(&[5, 5], &[1.0, 0.0], 1000.0), f64::INFINITY);
        assert_eq!(ln_e(&[5, 5], &[1.0], 1000.0), f64::INFINITY);
        assert!(ln_e(&[5, 0], &[1.0], 1000.0).abs() < 1e-9);
        assert!(ln_e(&[0, 0], &[0.5, 0.5], 1000.0).abs() < 1e-9);
        assert!((LN_E_FAIL - 1000.0_f64.ln()).abs() < 1e-15);
        assert!(ln_e(&[8000, 2000], &[0.5, 0.5], 1000.0) > LN_E_FAIL);
    }
}
