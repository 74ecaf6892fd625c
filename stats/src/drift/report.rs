//! What the rule found, with the numbers behind it, and in words.

use serde::{Deserialize, Serialize};

use super::DriftRule;

/// Features that a sentence names; the report has them all.
const NAMED: usize = 1;

/// How far a report goes, in ascending order.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// No feature had enough observations.
    Unjudged,
    /// Nothing moved enough to speak of.
    Steady,
    /// Something moved, but too little, or in too few features, to act on.
    Warn,
    /// The model should be looked at; [`super::Persistence`] says whether it lasts.
    Alarm,
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
    /// `p` after correction for the number of judged features (Benjamini-Hochberg); 1 if not judged.
    #[serde(default = "one")]
    pub adjusted_p: f64,
    /// Pearson's X² of homogeneity, on bins pooled to 5 expected.
    #[serde(default)]
    pub chi_square: f64,
    /// Degrees of freedom of `chi_square`.
    #[serde(default)]
    pub freedom: usize,
    /// The Jensen-Shannon divergence in bits. Reported, not judged.
    #[serde(default)]
    pub js_bits: f64,
    /// The largest difference of the cumulative shares; `None` for categories, which have no order. Reported, not judged.
    #[serde(default)]
    pub ks: Option<f64>,
    /// The Wasserstein-1 distance in standard deviations of training, where bins are known. Reported, not judged.
    #[serde(default)]
    pub w1_over_sd: Option<f64>,
    /// Its weight in the share of alarming features.
    #[serde(default = "one")]
    pub importance: f64,
}

fn one() -> f64 {
    1.0
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
    /// The importance of the alarming features over that of all judged ones, scores aside.
    #[serde(default)]
    pub share: f64,
    /// The rule that was applied.
    pub rule: DriftRule,
}

impl FeatureDrift {
    /// Whether it had enough observations under `rule`.
    pub(super) fn is_judged(&self, rule: &DriftRule) -> bool {
        self.current_n >= rule.minimum.max(1) && self.reference_n > 0
    }

    /// All numbers about the feature in one line, for a person who doubts the verdict.
    pub fn evidence(&self) -> String {
        let ks = self.ks.map_or_else(String::new, |d| format!(", KS {d:.3}"));
        let w1 = self.w1_over_sd.map_or_else(String::new, |w| format!(", W1 {w:.3} sd"));
        format!(
            "{}: PSI {:.3} (noise floor {:.3}), JSD {:.4} bits{ks}{w1}, chi-square {:.1} on {} degrees of freedom, \
             p {:.2e} (adjusted {:.2e}), {} against {} events",
            self.name,
            self.psi,
            self.noise_floor,
            self.js_bits,
            self.chi_square,
            self.freedom,
            self.p,
            self.adjusted_p,
            self.current_n,
            self.reference_n
        )
    }
}

impl DriftReport {
    /// How far it goes.
    pub fn level(&self) -> Level {
        match (self.enough, self.alarm) {
            (false, _) => Level::Unjudged,
            (true, true) => Level::Alarm,
            (true, false) if self.features.iter().any(|f| f.alarming || f.warning) => Level::Warn,
            (true, false) => Level::Steady,
        }
    }

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
        let judged = self.features.iter().filter(|f| f.is_judged(rule));
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
