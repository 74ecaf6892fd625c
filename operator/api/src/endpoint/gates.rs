//! The gates of a rollout: from entries as people write them to what core compares.

use std::collections::BTreeSet;

use fairway_core::policy::{Margin, RolloutGate};

use super::{Gate, GateMetric, Rollout};
use crate::error::FieldError;
use crate::values::{Duration, Tolerance};

/// Gates of a rollout, parsed.
pub(super) struct Gates {
    pub(super) gates: Vec<RolloutGate>,
    pub(super) shadow: bool,
    /// The limit of the gate on slow answers, if there is one.
    pub(super) slow_over: Option<Duration>,
}

/// Reads the gates; entries that cannot be used are left out and reported.
pub(super) fn gates(rollout: &Rollout, errors: &mut Vec<FieldError>) -> Gates {
    let mut parsed = Gates { gates: Vec::new(), shadow: false, slow_over: None };
    let mut seen = BTreeSet::new();
    for (i, gate) in rollout.gates.iter().enumerate() {
        let field = format!("spec.rollout.gates[{i}]");
        let Some(metric) = gate.metric else {
            match shadow(gate) {
                Ok(shadow) => parsed.shadow |= shadow,
                Err(problem) => {
                    errors.push(FieldError::new(
                        field,
                        problem,
                        "a gate has a metric (errors, slow or reward), or is {shadow: true}",
                    ));
                }
            }
            continue;
        };
        if !seen.insert(metric.name()) {
            let problem = format!("there is a gate on {} already", metric.name());
            errors.push(FieldError::new(format!("{field}.metric"), problem, "one gate a metric"));
        }
        if gate.shadow.is_some() {
            let help = "write it as an entry of its own: - {shadow: true}";
            errors.push(FieldError::new(format!("{field}.shadow"), "shadow does not belong to a metric", help));
        }
        if metric == GateMetric::Slow {
            parsed.slow_over = gate.over;
        }
        parsed.gates.extend(metric_gate(&field, metric, gate, errors));
    }
    parsed
}

/// An entry without a metric: shadow, or a mistake.
fn shadow(gate: &Gate) -> Result<bool, &'static str> {
    if gate.over.is_some() || gate.tolerance.is_some() || gate.query.is_some() || gate.max.is_some() {
        return Err("metric is missing");
    }
    gate.shadow.ok_or("the gate is empty")
}

fn metric_gate(field: &str, metric: GateMetric, gate: &Gate, errors: &mut Vec<FieldError>) -> Option<RolloutGate> {
    let stray = [
        (gate.over.is_some() && metric != GateMetric::Slow, "over"),
        (gate.query.is_some(), "query"),
        (gate.max.is_some(), "max"),
    ];
    if metric != GateMetric::Prometheus {
        for (_, name) in stray.iter().filter(|(set, _)| *set) {
            let problem = format!("a gate on {} has no {name}", metric.name());
            errors.push(FieldError::new(format!("{field}.{name}"), problem, "remove it"));
        }
    }
    match metric {
        GateMetric::Errors => Some(RolloutGate::Errors { tolerance: relative(field, gate, 10.0, errors)? }),
        GateMetric::Slow => {
            let tolerance = relative(field, gate, 20.0, errors)?;
            let Some(over) = gate.over.filter(|over| !over.std().is_zero()) else {
                let help = "say from when on an answer is slow: over: 50ms";
                errors.push(FieldError::new(format!("{field}.over"), "a gate on slow needs over, above zero", help));
                return None;
            };
            Some(RolloutGate::Slow { over: over.std(), tolerance })
        }
        GateMetric::Reward => {
            let tolerance = gate.tolerance.unwrap_or(Tolerance::Percent(2.0));
            if let Tolerance::Percent(percent) = tolerance
                && percent >= 100.0
            {
                let problem = format!("{tolerance} would allow a version that earns nothing");
                errors.push(FieldError::new(format!("{field}.tolerance"), problem, "below 100%; 1% to 5% is usual"));
                return None;
            }
            Some(RolloutGate::Reward { tolerance: tolerance.margin() })
        }
        GateMetric::Prometheus => {
            let help = "remove the gate: what it should protect would go unwatched";
            errors.push(FieldError::new(
                format!("{field}.metric"),
                "prometheus gates are not supported in this version",
                help,
            ));
            None
        }
    }
}

/// The tolerance of a ratio of rates, which only a percentage can be.
fn relative(field: &str, gate: &Gate, default: f64, errors: &mut Vec<FieldError>) -> Option<f64> {
    let tolerance = gate.tolerance.unwrap_or(Tolerance::Percent(default));
    match tolerance.margin() {
        Margin::Relative(fraction) => Some(fraction),
        Margin::Absolute(_) => {
            let problem = format!("`{tolerance}` is absolute, and this gate compares a ratio of rates");
            errors.push(FieldError::new(format!("{field}.tolerance"), problem, "a percentage, such as 10%"));
            None
        }
    }
}
