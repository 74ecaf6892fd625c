//! Sample-ratio mismatch: do the arms get the share of users that they should get?
//!
//! A mismatch means that the comparison itself is broken (lost events, a faulty hash, a redirect), so it blocks every
//! other verdict. The Dirichlet-multinomial e-process of Lindon & Malek, NeurIPS 2022 (arXiv 2011.03567), valid at
//! every look. Fail at E ≥ 1000, that is `ln_e >= 6.9`.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::{gamma_ur, ln_gamma};

/// ln E that fails the check: ln 1000.
pub const LN_E_FAIL: f64 = 6.907_755_278_982_137;
/// The prior's strength that looks for small mismatches.
pub const STRENGTH: f64 = 1000.0;

/// A share so small that the prior gives it fewer users than this counts as none.
const LEAST_PRIOR: f64 = 1e-9;

/// The natural logarithm of the evidence that users did not arrive in the given shares.
///
/// `counts` are users of each arm since the shares were set (not events: a user counts once), `shares` the intended
/// shares (any scale: they are divided by their sum), `k` the strength of the prior; 1000 looks for small mismatches.
/// When shares change, start anew and add up the `ln_e` of the stages: [`SampleRatio`] does.
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
        match shares.get(arm).filter(|s| usable(s)).map(|s| s / all).filter(|s| k * s >= LEAST_PRIOR) {
            Some(share) => {
                users += count;
                ln += ln_gamma(k * share + count) - ln_gamma(k * share) - count * share.ln();
            }
            None if count > 0.0 => return f64::INFINITY,
            None => {}
        }
    }
    ln + ln_gamma(k) - ln_gamma(k + users)
}

/// The p-value of Pearson's chi-square test of one look at the counts, for people who know it; not valid at repeated
/// looks. 1 where there is nothing to test; 0 when users are in an arm that should have none.
pub fn chi_square_p(counts: &[u64], shares: &[f64]) -> f64 {
    let share = |arm: usize| shares.get(arm).copied().filter(|s| s.is_finite() && *s > 0.0).unwrap_or(0.0);
    let arms = counts.len().max(shares.len());
    let all: f64 = (0..arms).map(share).sum();
    let users: f64 = counts.iter().map(|&n| n as f64).sum();
    let freedom = (0..arms).filter(|&arm| share(arm) > 0.0).count().saturating_sub(1);
    if !(all > 0.0 && all.is_finite() && users > 0.0) {
        return 1.0;
    }
    let off = |arm: usize| {
        let (count, expected) = (counts.get(arm).copied().unwrap_or(0) as f64, users * (share(arm) / all));
        if count == expected { 0.0 } else { (count - expected).powi(2) / expected }
    };
    let statistic: f64 = (0..arms).map(off).sum();
    match freedom {
        _ if statistic == f64::INFINITY => 0.0,
        0 => 1.0,
        // Beyond this the tail is 0 in double precision.
        _ => gamma_ur(freedom as f64 / 2.0, (statistic / 2.0).clamp(f64::MIN_POSITIVE, 1e4)).clamp(0.0, 1.0),
    }
}

/// The check over a whole rollout: a stage for each setting of the shares, with a fresh prior in each, whose evidences are
/// multiplied. Valid at every look, and however the shares are changed. Memory is two numbers an arm.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SampleRatio {
    shares: Vec<f64>,
    counts: Vec<u64>,
    ln_e_of_closed_stages: f64,
    ln_e_max: f64,
}

impl SampleRatio {
    /// Begins with the intended share of each arm, on any scale.
    pub fn new(shares: &[f64]) -> Self {
        Self { shares: shares.to_vec(), counts: vec![0; shares.len()], ln_e_of_closed_stages: 0.0, ln_e_max: 0.0 }
    }

    /// Adds users who were seen for the first time under the shares in force; does not allocate. Users beyond the last arm
    /// are not counted.
    pub fn update(&mut self, new_users: &[u64]) {
        for (count, new) in self.counts.iter_mut().zip(new_users) {
            *count = count.saturating_add(*new);
        }
        self.ln_e_max = self.ln_e_max.max(self.ln_e());
    }

    /// Sets new shares: closes the stage and begins the next.
    pub fn stage(&mut self, shares: &[f64]) {
        *self = Self { ln_e_of_closed_stages: self.ln_e(), ln_e_max: self.ln_e_max, ..Self::new(shares) };
    }

    /// The natural logarithm of the evidence now, over all stages.
    pub fn ln_e(&self) -> f64 {
        self.ln_e_of_closed_stages + ln_e(&self.counts, &self.shares, STRENGTH)
    }

    /// Whether the evidence ever sufficed ([`LN_E_FAIL`]).
    pub fn fails(&self) -> bool {
        self.ln_e_max >= LN_E_FAIL
    }

    /// What was found, for people.
    pub fn sentence(&self) -> String {
        let users: u64 = self.counts.iter().fold(0, |sum, &n| sum.saturating_add(n));
        let p = chi_square_p(&self.counts, &self.shares);
        let numbers = format!(
            "{:?} users at shares {:?}; evidence {:.2} of the {LN_E_FAIL:.2} needed, chi-square p {p:.4}",
            self.counts,
            self.shares,
            self.ln_e_max.max(0.0),
        );
        match (self.fails(), users) {
            (true, _) => format!("users do not arrive in the shares set, so no other verdict counts: {numbers}"),
            (false, 0) => "no users yet under the shares in force".to_owned(),
            (false, _) => format!("users arrive in the shares set: {numbers}"),
        }
    }
}

#[cfg(test)]
mod tests;
