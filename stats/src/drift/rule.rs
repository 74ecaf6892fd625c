//! The rule (D1) that turns counts of all features into one answer.

use serde::{Deserialize, Serialize};

use super::{
    DriftReport, FeatureDrift, adjusted_p, benjamini_hochberg, chi_square, js_divergence, ks_on_bins, psi,
    psi_noise_floor, total_u64, w1_over_sd,
};
use crate::bins::Bins;

/// When counts have drifted.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct DriftRule {
    /// PSI from which a feature alarms.
    pub effect: f64,
    /// PSI from which a feature warns.
    pub warn: f64,
    /// Expected share of false ones among the significant features (Benjamini-Hochberg).
    pub false_discovery_rate: f64,
    /// Share of the judged features (the score aside), weighted by importance, that must alarm for the model to alarm.
    pub share_of_features: f64,
    /// Current observations that a feature needs to be judged.
    pub minimum: u64,
}

impl Default for DriftRule {
    fn default() -> Self {
        Self { effect: 0.25, warn: 0.1, false_discovery_rate: 0.05, share_of_features: 0.3, minimum: 1000 }
    }
}

/// The counts of one feature at training and now, on the same bins.
#[derive(Clone, Copy, Debug)]
pub struct FeatureCounts<'a> {
    /// What people call it.
    pub name: &'a str,
    /// Whether it is the model's score: when that moves, the model alarms by itself.
    pub is_score: bool,
    /// Counts at training.
    pub reference: &'a [u64],
    /// Counts now.
    pub current: &'a [u64],
}

/// The counts of one feature with what else is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Feature<'a> {
    /// The counts.
    pub counts: FeatureCounts<'a>,
    /// The bins that were counted on, if known: edges give a distance in standard deviations, categories have no order.
    pub bins: Option<&'a Bins>,
    /// Its weight in the share of alarming features, in any unit. What is not positive and finite weighs nothing.
    pub importance: f64,
}

impl<'a> From<FeatureCounts<'a>> for Feature<'a> {
    /// On unknown bins with an order, as important as every other.
    fn from(counts: FeatureCounts<'a>) -> Self {
        Self { counts, bins: None, importance: 1.0 }
    }
}

/// Judges the counts of all features by `rule`, each as important as the others: see [`assess_features`].
pub fn assess(rule: &DriftRule, features: &[FeatureCounts<'_>]) -> DriftReport {
    let features: Vec<Feature<'_>> = features.iter().map(|&counts| counts.into()).collect();
    assess_features(rule, &features)
}

/// Judges the counts of all features by `rule`.
///
/// A feature alarms when its PSI reaches `effect`, is above the noise floor, and its chi-square test stays significant
/// after correction. The model alarms when a score alarms, or features with `share_of_features` of the importance do.
/// Features with fewer than `rule.minimum` current observations, or with none at training, are reported but not judged:
/// they neither alarm nor count in the share of features or in the correction. If no judged feature has an importance,
/// all count the same.
pub fn assess_features(rule: &DriftRule, features: &[Feature<'_>]) -> DriftReport {
    let mut found: Vec<FeatureDrift> = features.iter().map(measure).collect();
    let judged: Vec<usize> = (0..found.len()).filter(|&i| found[i].is_judged(rule)).collect();
    let p: Vec<f64> = judged.iter().map(|&i| found[i].p).collect();
    let significant = benjamini_hochberg(&p, rule.false_discovery_rate);
    for ((&i, significant), adjusted) in judged.iter().zip(significant).zip(adjusted_p(&p)) {
        let feature = &mut found[i];
        let real = significant && feature.psi > feature.noise_floor;
        feature.adjusted_p = adjusted;
        feature.alarming = real && feature.psi >= rule.effect;
        feature.warning = real && feature.psi >= rule.warn && !feature.alarming;
    }
    let score = judged.iter().any(|&i| features[i].counts.is_score && found[i].alarming);
    let plain: Vec<&FeatureDrift> =
        judged.iter().filter(|&&i| !features[i].counts.is_score).map(|&i| &found[i]).collect();
    let share = alarming_share(&plain);
    DriftReport {
        alarm: score || (share > 0.0 && share >= rule.share_of_features),
        enough: !judged.is_empty(),
        share,
        features: found,
        rule: rule.clone(),
    }
}

fn alarming_share(judged: &[&FeatureDrift]) -> f64 {
    let sum = |weight: fn(&FeatureDrift) -> f64, alarming: bool| -> f64 {
        judged.iter().filter(|f| f.alarming || !alarming).map(|f| weight(f)).sum()
    };
    // By a power of two, so that the greatest numbers can be added and no digit changes.
    let mut weight: fn(&FeatureDrift) -> f64 = |f| f.importance * 2.0_f64.powi(-64);
    if sum(weight, false) <= 0.0 {
        weight = |_| 1.0;
    }
    sum(weight, true) / sum(weight, false).max(f64::MIN_POSITIVE)
}

fn measure(feature: &Feature<'_>) -> FeatureDrift {
    let FeatureCounts { name, reference, current, .. } = feature.counts;
    let (reference_n, current_n) = (total_u64(reference), total_u64(current));
    let bins = reference.len().max(current.len());
    let test = chi_square(reference, current);
    let edges = match feature.bins {
        Some(Bins::Quantiles { edges }) => edges.as_slice(),
        _ => &[],
    };
    let ordered = !matches!(feature.bins, Some(Bins::Categories { .. }));
    let usable = feature.importance.is_finite() && feature.importance > 0.0;
    FeatureDrift {
        name: name.to_owned(),
        psi: psi(reference, current),
        noise_floor: psi_noise_floor(reference_n, current_n, bins),
        p: test.p,
        reference_n,
        current_n,
        alarming: false,
        warning: false,
        adjusted_p: 1.0,
        chi_square: test.statistic,
        freedom: test.freedom,
        js_bits: js_divergence(reference, current),
        ks: ordered.then(|| ks_on_bins(reference, current)),
        w1_over_sd: w1_over_sd(edges, reference, current),
        importance: if usable { feature.importance } else { 0.0 },
    }
}
