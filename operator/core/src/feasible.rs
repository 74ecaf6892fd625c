//! Can the traffic answer the question in the time allowed? Said early, so that nobody waits for a verdict that cannot
//! come: "4,100 requests a day: this gate needs 410 days".

use std::time::Duration;

use jiff::Timestamp;

use crate::plan::{Condition, Reason, elapsed, spell};
use crate::policy::{EndpointPolicy, RolloutGate};
use crate::rollout::Rollout;

/// Canary requests needed until non-inferiority can be expected to show on a rare event: the expected log evidence per
/// bad answer at equal rates is the Kullback–Leibler divergence between the shares at ratio 1 and at ratio 1 + margin.
/// `share` is the canary's share of requests and `bad_rate` the rate of bad answers, both in (0, 1).
pub fn canary_requests_for_proof(share: f64, bad_rate: f64, margin: f64, alpha: f64) -> f64 {
    let boundary = (1.0 + margin) * share / ((1.0 + margin) * share + 1.0 - share);
    let divergence = share * (share / boundary).ln() + (1.0 - share) * ((1.0 - share) / (1.0 - boundary)).ln();
    if divergence <= 0.0 || bad_rate <= 0.0 {
        return f64::INFINITY;
    }
    (1.0 / alpha).ln() / divergence / bad_rate * share
}

/// The condition `EvidenceFeasible` of a running rollout. Without `requireProof` nothing has to be proved, and it holds.
pub fn condition(policy: &EndpointPolicy, rollout: &Rollout, now: Timestamp) -> Condition {
    let holds = |reason| Condition { kind: "EvidenceFeasible".to_owned(), status: true, reason };
    if !policy.require_proof {
        return holds(Reason::new(
            "NoProofAsked",
            "harm must be proved to roll back; nothing must be proved to promote",
        ));
    }
    let seen = rollout.evidence.canary_requests + rollout.evidence.stable_requests;
    let age = elapsed(rollout.started, now).as_secs_f64();
    if seen < 100 || age <= 0.0 {
        return holds(Reason::new("Unknown", "too little traffic so far to say"));
    }
    let share = (rollout.evidence.canary_requests as f64 / seen as f64).clamp(1e-6, 1.0 - 1e-6);
    let canary_per_second = rollout.evidence.canary_requests as f64 / age;
    let rules = rollout.evidence.rules(policy);
    let alpha = rules.alpha();
    let longest = rules
        .gates
        .iter()
        .filter_map(|gate| match gate {
            RolloutGate::Errors { tolerance } => Some(("errors", *tolerance, rollout.evidence.error_rate())),
            RolloutGate::Slow { tolerance, .. } => Some(("slow", *tolerance, rollout.evidence.slow_rate())),
            RolloutGate::Reward { .. } => None,
        })
        .map(|(name, margin, rate)| (name, canary_requests_for_proof(share, rate, margin, alpha) / canary_per_second))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    let Some((gate, seconds)) = longest else {
        return holds(Reason::new("Feasible", "the gates can answer in time"));
    };
    let per_day = (seen as f64 / age * 86_400.0).round();
    if seconds <= policy.max_duration.as_secs_f64() {
        let needs = spell(Duration::from_secs_f64(seconds));
        return holds(Reason::new("Feasible", format!("{per_day} requests a day: {gate} needs about {needs}")));
    }
    let needs = if seconds.is_finite() { format!("{:.0} days", seconds / 86_400.0) } else { "for ever".to_owned() };
    let message = format!(
        "{per_day} requests a day: proof on {gate} needs {needs}, and maxDuration allows {}; raise the tolerance, the \
         weight or maxDuration, or leave requireProof out",
        spell(policy.max_duration)
    );
    Condition { kind: "EvidenceFeasible".to_owned(), status: false, reason: Reason::new("TooLittleTraffic", message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rarer_events_and_tighter_margins_need_more() {
        let base = canary_requests_for_proof(0.25, 0.01, 0.2, 0.05);
        assert!(canary_requests_for_proof(0.25, 0.001, 0.2, 0.05) > 9.0 * base);
        assert!(canary_requests_for_proof(0.25, 0.01, 0.1, 0.05) > 3.0 * base);
        assert!(canary_requests_for_proof(0.25, 0.0, 0.1, 0.05).is_infinite());
    }
}
