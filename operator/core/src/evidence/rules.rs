//! What a rollout is judged by, as it was at its start: whoever changes gates while looking at what they say has no error rate.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::{EndpointPolicy, Probability, RolloutGate};

/// The gates of a rollout and how often they may err. Steps, holds and what happens in doubt may change meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// See [`EndpointPolicy::gates`].
    pub gates: Vec<RolloutGate>,
    /// See [`EndpointPolicy::false_alarm_rate`].
    pub false_alarm_rate: Probability,
    /// See [`EndpointPolicy::shadow`].
    pub shadow: bool,
    /// Exposures of the canary at which the bounds of reward are narrowest.
    pub planned: u64,
}

impl Rules {
    /// Those of a policy.
    pub fn of(policy: &EndpointPolicy) -> Self {
        Self {
            gates: policy.gates.clone(),
            false_alarm_rate: policy.false_alarm_rate,
            shadow: policy.shadow,
            planned: policy.min_requests.saturating_mul(policy.steps.as_slice().len() as u64),
        }
    }

    /// The part of the false-alarm rate that each gate may use.
    pub fn alpha(&self) -> f64 {
        self.false_alarm_rate.get() / self.gates.len().max(1) as f64
    }

    /// Above which time an answer is slow, if there is a gate on that.
    pub fn slow_over(&self) -> Option<Duration> {
        self.gates.iter().find_map(|gate| match gate {
            RolloutGate::Slow { over, .. } => Some(*over),
            _ => None,
        })
    }

    /// Whether a policy still says so.
    pub fn are_those_of(&self, policy: &EndpointPolicy) -> bool {
        (&self.gates, self.false_alarm_rate, self.shadow) == (&policy.gates, policy.false_alarm_rate, policy.shadow)
    }
}
