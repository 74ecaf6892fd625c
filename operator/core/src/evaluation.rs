//! The gates before any traffic: is the candidate's recipe good enough on the holdout?

use std::collections::BTreeMap;

use crate::Reason;
use crate::policy::{Demand, EvaluationGate, Margin, Versus};

/// Offline metrics by name, for example `recall@20` → 0.1043.
pub type Metrics = BTreeMap<String, f64>;

/// The three sides of an evaluation, scored on the same holdout.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// The candidate.
    pub candidate: &'a Metrics,
    /// The serving version, if there is one.
    pub champion: Option<&'a Metrics>,
    /// What sold lately.
    pub popularity: &'a Metrics,
}

/// Judges all gates.
///
/// # Errors
/// The first gate that fails, with both numbers and the limit.
pub fn judge(gates: &[EvaluationGate], scores: Scores<'_>) -> Result<(), Reason> {
    gates.iter().try_for_each(|gate| judge_one(gate, scores))
}

fn judge_one(gate: &EvaluationGate, scores: Scores<'_>) -> Result<(), Reason> {
    let name = gate.metric.to_string();
    let (rival, rival_name) = match gate.versus {
        Versus::Champion => match scores.champion {
            Some(champion) => (champion, "the champion"),
            None => return Ok(()),
        },
        Versus::Popularity => (scores.popularity, "popularity"),
    };
    let value = |metrics: &Metrics| metrics.get(&name).copied().filter(|x| x.is_finite());
    let (Some(ours), Some(theirs)) = (value(scores.candidate), value(rival)) else {
        return Err(Reason::new(
            "MetricMissing",
            format!("{name} was not measured; measured: {}", known(scores.candidate)),
        ));
    };
    let least = match gate.demand {
        Demand::AtMostWorse(Margin::Relative(x)) => theirs * (1.0 - x),
        Demand::AtMostWorse(Margin::Absolute(x)) => theirs - x,
        Demand::AtLeastBetter(Margin::Relative(x)) => theirs * (1.0 + x),
        Demand::AtLeastBetter(Margin::Absolute(x)) => theirs + x,
    };
    // Decimal limits are not exact in binary; a metric never has twelve meaningful digits.
    if ours >= least - 1e-12 {
        return Ok(());
    }
    Err(Reason::new(
        "GateRejected",
        format!("{name} {ours:.4} is below {least:.4}, which the gate asks against {rival_name} ({theirs:.4})"),
    ))
}

fn known(metrics: &Metrics) -> String {
    metrics.keys().cloned().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Metric, MetricKind};

    fn metrics(recall: f64) -> Metrics {
        BTreeMap::from([("recall@20".to_owned(), recall)])
    }

    fn gate(versus: Versus, demand: Demand) -> EvaluationGate {
        EvaluationGate { metric: Metric { kind: MetricKind::Recall, k: 20 }, versus, demand }
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
            let scores = Scores { candidate: &candidate, champion: champion.as_ref(), popularity: &popularity };
            assert_eq!(judge(&[gate], scores).is_ok(), passes, "{gate:?}");
        }
    }

    #[test]
    fn a_metric_nobody_measured_is_not_a_pass() {
        let (candidate, popularity) = (Metrics::new(), metrics(0.05));
        let scores = Scores { candidate: &candidate, champion: None, popularity: &popularity };
        let refusal = judge(&[gate(Versus::Popularity, Demand::AtLeastBetter(Margin::Absolute(0.0)))], scores);
        assert_eq!(refusal.unwrap_err().code, "MetricMissing");
    }
}
