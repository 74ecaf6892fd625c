//! From the manifest's evaluation, signing and approval to what a version must show before it may serve.

use fairway_core::policy::{
    AdmissionPolicy, Demand, EvaluationGate as PolicyGate, FairnessGate, MetricKind, Segments, Versus,
};

use super::evaluation::default_min_count;
use super::{EvaluationGate, Fairness, ModelSpec, Opponent, SegmentScope};
use crate::error::{FieldError, positive};
use crate::values::Duration;

impl ModelSpec {
    pub(super) fn admission_policy(&self, errors: &mut Vec<FieldError>) -> AdmissionPolicy {
        let gates = self.evaluation.gates.iter().enumerate();
        let gates = gates.filter_map(|(i, gate)| evaluation_gate(i, gate, errors)).collect();
        if let Some(latency) = self.evaluation.latency {
            positive("spec.evaluation.latency.p95", latency.p95, errors);
        }
        if let Some(valid_for) = self.approval.valid_for {
            positive("spec.approval.validFor", valid_for, errors);
        }
        AdmissionPolicy {
            gates,
            fairness: self.evaluation.fairness.map(|fairness| fairness_gate(&fairness, errors)),
            signature: self.signing.is_some(),
            latency_p95: self.evaluation.latency.map(|latency| latency.p95.std()),
            approvals: self.approvals(),
            approval_valid_for: self.approval.valid_for.map(Duration::std),
        }
    }
}

fn fairness_gate(fairness: &Fairness, errors: &mut Vec<FieldError>) -> FairnessGate {
    let Fairness { metric, gap, min_count } = *fairness;
    if metric.0.kind == MetricKind::Coverage {
        let problem = "coverage is one number for the whole catalogue: segments have none";
        errors.push(FieldError::new("spec.evaluation.fairness.metric", problem, "recall or ndcg, such as recall@20"));
    }
    FairnessGate { metric: metric.0, gap: gap.get(), min_count: u64::from(min_count) }
}

fn evaluation_gate(i: usize, gate: &EvaluationGate, errors: &mut Vec<FieldError>) -> Option<PolicyGate> {
    let demand = match (gate.tolerance, gate.min_gain) {
        (Some(tolerance), None) => Demand::AtMostWorse(tolerance.margin()),
        (None, Some(gain)) => Demand::AtLeastBetter(gain.margin()),
        (both, _) => {
            let problem =
                if both.is_some() { "both tolerance and minGain are named" } else { "the gate asks for nothing" };
            let help = "tolerance: 0% (at most so much worse) or minGain: \"0.01\" (at least so much better)";
            errors.push(FieldError::new(format!("spec.evaluation.gates[{i}]"), problem, help));
            return None;
        }
    };
    let versus = match gate.versus {
        Opponent::Champion => Versus::Champion,
        Opponent::Popularity => Versus::Popularity,
    };
    Some(PolicyGate { metric: gate.metric.0, versus, demand, segments: scope(i, gate, errors) })
}

fn scope(i: usize, gate: &EvaluationGate, errors: &mut Vec<FieldError>) -> Segments {
    let mut wrong = |field: &str, problem: &str, help: &str| {
        errors.push(FieldError::new(format!("spec.evaluation.gates[{i}].{field}"), problem, help));
    };
    match gate.segments {
        SegmentScope::Overall => {
            if gate.min_count.is_some() {
                wrong("minCount", "a gate on all users together needs no count", "segments: Each, or leave it out");
            }
            Segments::Overall
        }
        SegmentScope::Each => {
            if gate.metric.0.kind == MetricKind::Coverage {
                let problem = "coverage is one number for the whole catalogue: segments have none";
                wrong("segments", problem, "segments: Overall, or a gate on recall or ndcg");
            }
            Segments::Each { min_count: u64::from(gate.min_count.unwrap_or_else(default_min_count)) }
        }
    }
}
