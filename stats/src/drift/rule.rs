//! The rule that turns counts of all features into one answer, and the answer in words.

use serde::{Deserialize, Serialize};

use super::{benjamini_hochberg, chi_square_p, psi, psi_noise_floor, total_u64};

/// Features that a sentence names; the report has them all.
const NAMED: usize = 1;

/// When counts have drifted.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct DriftRule {
    /// PSI from which a feature alarms.
    pub effect: f64,
    /// PSI from which a feature warns.
    pub warn: f64,
    /// Expected share of false ones among the significant features (Benjamini-Hochberg).
    pub false_discovery_rate: f64,
    /// Share of the judged features (the score aside) that must alarm for the model to alarm.
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

/// What was found about one feature.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct FeatureDrift {
    /// What people call it.
    pub name: String,
    /// The population stability index.
    pub psi: f64,
    /// The PSI that noise alone can give at these sample sizes.
    pub noise_floor: f64,
    /// The chi-square p-value, before correction for the number of features.
    pub p: f64,
    /// Observations at training.
    pub reference_n: u64,
    /// Observations now.
    pub current_n: u64,
    /// The effect is large enough to act on, above noise and significant.
    pub alarming: bool,
    /// As `alarming`, but the effect only reaches the rule's `warn`. Never both.
    pub warning: bool,
}

/// What was found about all features.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct DriftReport {
    /// Each feature, in the order given.
    pub features: Vec<FeatureDrift>,
    /// The score moved, or enough of the other features did.
    pub alarm: bool,
    /// At least one feature had enough observations to be judged.
    pub enough: bool,
    /// The rule that was applied.
    pub rule: DriftRule,
}

/// Judges the counts of all features by `rule`.
///
/// Features with fewer than `rule.minimum` current observations, or with none at training, are reported but not judged:
/// they neither alarm nor count in the share of features or in the correction.
pub fn assess(rule: &DriftRule, features: &[FeatureCounts<'_>]) -> DriftReport {
    let mut found: Vec<FeatureDrift> = features.iter().map(measure).collect();
    let judged: Vec<usize> = (0..found.len()).filter(|&i| is_judged(rule, &found[i])).collect();
    let p: Vec<f64> = judged.iter().map(|&i| found[i].p).collect();
    let significant = benjamini_hochberg(&p, rule.false_discovery_rate);
    for (&i, significant) in judged.iter().zip(significant) {
        let feature = &mut found[i];
        let real = significant && feature.psi > feature.noise_floor;
        feature.alarming = real && feature.psi >= rule.effect;
        feature.warning = real && feature.psi >= rule.warn && !feature.alarming;
    }
    let score = judged.iter().any(|&i| features[i].is_score && found[i].alarming);
    let plain = judged.iter().filter(|&&i| !features[i].is_score);
    let alarming = plain.clone().filter(|&&i| found[i].alarming).count();
    let share = alarming as f64 / plain.count().max(1) as f64;
    DriftReport {
        alarm: score || (alarming > 0 && share >= rule.share_of_features),
        enough: !judged.is_empty(),
        features: found,
        rule: rule.clone(),
    }
}

fn is_judged(rule: &DriftRule, feature: &FeatureDrift) -> bool {
    feature.current_n >= rule.minimum.max(1) && feature.reference_n > 0
}

fn measure(feature: &FeatureCounts<'_>) -> FeatureDrift {
    let &FeatureCounts { name, reference, current, .. } = feature;
    let (reference_n, current_n) = (total_u64(reference), total_u64(current));
    let bins = reference.len().max(current.len());
    FeatureDrift {
        name: name.to_owned(),
        psi: psi(reference, current),
        noise_floor: psi_noise_floor(reference_n, current_n, bins),
        p: chi_square_p(reference, current),
        reference_n,
        current_n,
        alarming: false,
        warning: false,
    }
}

impl DriftReport {
    /// What a person should read: what moved, by how much, against which limits, on how many observations.
    pub fn sentence(&self) -> String {
        let rule = &self.rule;
        if !self.enough {
            let most = self.features.iter().map(|f| f.current_n).max().unwrap_or(0);
            return format!("too few events to judge drift: {most}, needs {}", rule.minimum);
        }
        if self.features.iter().any(|f| f.alarming) {
            let moved = name_some(&self.features, "moved", rule.effect, |f| f.alarming);
            let few = if self.alarm { "" } else { "too few features for an alarm: " };
            return format!("{few}{moved}");
        }
        if self.features.iter().any(|f| f.warning) {
            return name_some(&self.features, "moved a little", rule.effect, |f| f.warning);
        }
        let judged = self.features.iter().filter(|f| is_judged(rule, f));
        match judged.max_by(|a, b| a.psi.total_cmp(&b.psi)) {
            Some(f) => format!("no drift: largest is {}", describe(f, "", rule.effect)),
            None => "no drift: no feature was judged".to_owned(),
        }
    }
}

fn describe(f: &FeatureDrift, verb: &str, effect: f64) -> String {
    let space = if verb.is_empty() { "" } else { " " };
    format!(
        "{}{space}{verb}: PSI {:.2} against {:.2} (noise floor {:.2}, {} against {} events)",
        f.name, f.psi, effect, f.noise_floor, f.current_n, f.reference_n
    )
}

/// The features that `pick` picks, the ones that moved most first.
fn name_some(features: &[FeatureDrift], verb: &str, effect: f64, pick: impl Fn(&FeatureDrift) -> bool) -> String {
    let mut picked: Vec<&FeatureDrift> = features.iter().filter(|f| pick(f)).collect();
    picked.sort_by(|a, b| b.psi.total_cmp(&a.psi));
    let more = picked.len().saturating_sub(NAMED);
    let named = picked.iter().take(NAMED);
    let mut sentence = named.map(|f| describe(f, verb, effect)).collect::<Vec<_>>().join("; ");
    if more > 0 {
        sentence.push_str(&format!("; and {more} more"));
    }
    sentence
}
