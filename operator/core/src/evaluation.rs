//! The gates before any traffic: is the candidate's recipe good enough on the holdout?
//!
//! One gate on one group of users. All gates, all groups and what else a version needs are in [`crate::admission`].

use std::collections::BTreeMap;

use fairway_stats::{PairedSpread, confidence};

use crate::Reason;
use crate::policy::{Demand, EvaluationGate, Margin, Versus};

/// Offline metrics by name, for example `recall@20` → 0.1043.
pub type Metrics = BTreeMap<String, f64>;

/// How candidate and rival vary together over the holdout's users, by metric.
pub type Spreads = BTreeMap<String, PairedSpread>;

/// Confidence of a gate, one-sided: a candidate that is as good is rejected by one gate in twenty at most.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// The other side of a gate, scored on the same users as the candidate.
#[derive(Clone, Copy, Debug)]
pub struct Rival<'a> {
    /// Its metrics.
    pub metrics: &'a Metrics,
    /// How it varies with the candidate; a metric that is not in it is compared as it stands.
    pub spreads: &'a Spreads,
}

/// The three sides of an evaluation, scored on the same holdout.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// The candidate.
    pub candidate: &'a Metrics,
    /// The serving version, if there is one.
    pub champion: Option<Rival<'a>>,
    /// What sold lately.
    pub popularity: Rival<'a>,
}

/// Judges all gates on everybody together. A tolerance rejects a candidate that is shown to be worse than it allows; a
/// gain that is asked for must be shown. What the holdout cannot tell apart is left to the canary.
///
/// # Errors
/// The first gate that fails, with both numbers, the limit and the uncertainty.
pub fn judge(gates: &[EvaluationGate], scores: Scores<'_>) -> Result<(), Reason> {
    gates.iter().try_for_each(|gate| shortfall(gate, scores, "", CONFIDENCE).map_or(Ok(()), Err))
}

/// What one gate finds wanting in one group of users, at a one-sided confidence. `group` names it; empty is everybody.
pub(crate) fn shortfall(gate: &EvaluationGate, scores: Scores<'_>, group: &str, confidence: f64) -> Option<Reason> {
    let metric = gate.metric.to_string();
    let name = if group.is_empty() { metric.clone() } else { format!("{metric} of {group}") };
    let (rival, rival_name) = match gate.versus {
        Versus::Champion => (scores.champion?, "the champion"),
        Versus::Popularity => (scores.popularity, "popularity"),
    };
    let value = |metrics: &Metrics| metrics.get(&metric).copied().filter(|x| x.is_finite());
    let (Some(ours), Some(theirs)) = (value(scores.candidate), value(rival.metrics)) else {
        let message = format!("{name} was not measured; measured: {}", known(scores.candidate));
        return Some(Reason::new("MetricMissing", message));
    };
    // The candidate is held against `weight` times the rival plus `shift`.
    let (weight, shift, must_be_shown) = match gate.demand {
        Demand::AtMostWorse(Margin::Relative(x)) => (1.0 - x, 0.0, false),
        Demand::AtMostWorse(Margin::Absolute(x)) => (1.0, -x, false),
        Demand::AtLeastBetter(Margin::Relative(x)) => (1.0 + x, 0.0, true),
        Demand::AtLeastBetter(Margin::Absolute(x)) => (1.0, x, true),
    };
    let limit = weight * theirs + shift;
    let error = rival.spreads.get(&metric).map_or(0.0, |spread| spread.standard_error(weight));
    let doubt = confidence::z_quantile(confidence) * error;
    let least = if must_be_shown { limit + doubt } else { limit - doubt };
    // Decimal limits are not exact in binary; a metric never has twelve meaningful digits.
    if ours >= least - 1e-12 {
        return None;
    }
    let against = format!("{limit:.4}, which the gate asks against {rival_name} ({theirs:.4})");
    let sure = format!("uncertain by {doubt:.4} at {:.4} %", 100.0 * confidence);
    let sure = sure.replacen(".0000 %", " %", 1);
    let message = match must_be_shown {
        true => format!("{name} {ours:.4} is not shown to reach {against}: {sure}"),
        false => format!("{name} {ours:.4} is shown to be below {against}: {sure}"),
    };
    Some(Reason::new("GateRejected", message))
}

fn known(metrics: &Metrics) -> String {
    metrics.keys().cloned().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Metric, MetricKind, Segments};

    fn metrics(recall: f64) -> Metrics {
        BTreeMap::from([("recall@20".to_owned(), recall)])
    }

    fn gate(versus: Versus, demand: Demand) -> EvaluationGate {
        EvaluationGate {
            metric: Metric { kind: MetricKind::Recall, k: 20 },
            versus,
            demand,
            segments: Segments::Overall,
        }
    }

    #[test]
    fn table() {
        let relative = |x| Demand::AtMostWorse(Margin::Relative(x));
        let gain = |x| Demand::AtLeastBetter(Margin::Absolute(x));
        let cases = [
            // candidate, champion, popularity, gate, passes
            (0.10, Some(0.10), 0.05, gate(Versus::Champion, relative(0.0)), true),
            (0.0999, Some(0.10), 0.05, gate(Versus::Champion, relative(0.0)), false),
            (0.095, Some(0.10), 0.05, gate(Versus::Champion, relative(0.06)), true),
            (0.01, None, 0.05, gate(Versus::Champion, relative(0.0)), true),
            (0.06, None, 0.05, gate(Versus::Popularity, gain(0.01)), true),
            (0.059, None, 0.05, gate(Versus::Popularity, gain(0.01)), false),
            (f64::NAN, None, 0.05, gate(Versus::Popularity, gain(0.0)), false),
        ];
        for (candidate, champion, popularity, gate, passes) in cases {
            let (candidate, champion, popularity) = (metrics(candidate), champion.map(metrics), metrics(popularity));
            let none = Spreads::new();
            let rival = |metrics| Rival { metrics, spreads: &none };
            let scores = Scores {
                candidate: &candidate,
                champion: champion.as_ref().map(rival),
                popularity: rival(&popularity),
            };
            assert_eq!(judge(&[gate], scores).is_ok(), passes, "{gate:?}");
        }
    }

    #[test]
    fn a_metric_nobody_measured_is_not_a_pass() {
        let (candidate, popularity) = (Metrics::new(), metrics(0.05));
        let popularity = Rival { metrics: &popularity, spreads: &Spreads::new() };
        let scores = Scores { candidate: &candidate, champion: None, popularity };
        let refusal = judge(&[gate(Versus::Popularity, Demand::AtLeastBetter(Margin::Absolute(0.0)))], scores);
        assert_eq!(refusal.unwrap_err().code, "MetricMissing");
    }

    #[test]
    fn a_tolerance_rejects_what_is_shown_and_a_gain_must_be_shown() {
        // Standard error of the difference 0.01: at 95 % it is uncertain by 0.0164.
        let spread = PairedSpread { n: 400, first: 1e-4, second: 1e-4, covariance: 0.5e-4 };
        let spreads = Spreads::from([("recall@20".to_owned(), spread)]);
        let (none, gain) = (Demand::AtMostWorse(Margin::Relative(0.0)), Demand::AtLeastBetter(Margin::Absolute(0.0)));
        for (candidate, demand, passes) in
            [(0.090, none, true), (0.080, none, false), (0.110, gain, false), (0.120, gain, true)]
        {
            let (candidate, theirs) = (metrics(candidate), metrics(0.10));
            let rival = Rival { metrics: &theirs, spreads: &spreads };
            let scores = Scores { candidate: &candidate, champion: Some(rival), popularity: rival };
            let verdict = judge(&[gate(Versus::Champion, demand)], scores);
            assert_eq!(verdict.is_ok(), passes, "{candidate:?} {demand:?}: {verdict:?}");
        }
    }
}
