//! How many model servers run: the fields, and the policy that core scales by.

use std::num::NonZeroU32;

use fairway_core::scaling::ScalingPolicy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ModelEndpointSpec;
use crate::error::{FieldError, positive};
use crate::values::Duration;

/// How many model servers run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "self.min <= self.max", "message": "min must not be above max" },
    { "rule": "self.mode == 'HPA' || !has(self.cpuUtilization)", "message": "cpuUtilization is for the mode HPA", "fieldPath": ".cpuUtilization" },
    { "rule": "self.mode != 'HPA' || !has(self.p95)", "message": "p95 is for the mode Builtin", "fieldPath": ".p95" }
]))]
pub struct Scaling {
    /// Fewest replicas of a version that carries traffic. The endpoint's `/scale` sets it.
    #[schemars(range(min = 1, max = 1000))]
    pub min: u32,
    /// Most replicas of a version.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
    /// Requests in flight that one replica should hold. Builtin takes 8 when nothing is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub in_flight: Option<u32>,
    /// Requests a second that one replica should answer. What asks for more replicas decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_second: Option<u32>,
    /// With Builtin: answers slower than this keep the replicas from being taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<Duration>,
    /// With HPA: use of the requested processors in percent, over all replicas. HPA takes 70 when neither this nor a number of
    /// requests is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub cpu_utilization: Option<u32>,
    /// The highest demand of this time counts before replicas are taken away.
    pub scale_down_delay: Duration,
    /// Who decides on the number of replicas.
    pub mode: ScalingMode,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            min: 1,
            max: 4,
            in_flight: None,
            requests_per_second: None,
            p95: None,
            cpu_utilization: None,
            scale_down_delay: Duration::minutes(5),
            mode: ScalingMode::Builtin,
        }
    }
}

/// Who decides on the number of replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalingMode {
    /// Fairway, which knows about the canary.
    #[default]
    Builtin,
    /// A HorizontalPodAutoscaler for each version. Requests in flight or a second reach it by KEDA.
    HPA,
}

/// Requests in flight of one replica when nothing is said.
const IN_FLIGHT: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);
/// Processor use that a HorizontalPodAutoscaler aims at when nothing is said, in percent.
const CPU_UTILIZATION: u32 = 70;

impl Scaling {
    /// What core scales by. In the mode HPA it only says how many replicas a step of a rollout needs beforehand.
    ///
    /// # Errors
    /// All fields that contradict each other.
    pub fn policy(&self) -> Result<ScalingPolicy, Vec<FieldError>> {
        let mut errors = Vec::new();
        self.check(&mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let whole = |number: Option<u32>| number.and_then(NonZeroU32::new);
        let mut policy = ScalingPolicy::new(self.min, self.max, whole(self.in_flight).unwrap_or(IN_FLIGHT));
        policy.requests_per_second = whole(self.requests_per_second);
        policy.p95 = self.p95.map(Duration::std);
        policy.scale_down_delay = self.scale_down_delay.std();
        let refused =
            |error: fairway_core::scaling::ScalingError| vec![FieldError::new("spec.scaling", error.to_string(), "")];
        policy.checked().map_err(refused)
    }

    /// The processor use that a HorizontalPodAutoscaler aims at where it knows of no requests, in percent.
    pub fn cpu_or_default(&self) -> u32 {
        self.cpu_utilization.unwrap_or(CPU_UTILIZATION)
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        if self.min > self.max {
            let problem = format!("{} is above max ({})", self.min, self.max);
            errors.push(FieldError::new("spec.scaling.min", problem, "min must not be above max"));
        }
        if let Some(p95) = self.p95 {
            positive("spec.scaling.p95", p95, errors);
        }
        let (other, stray, field) = match self.mode {
            ScalingMode::Builtin => ("HPA", self.cpu_utilization.is_some(), "cpuUtilization"),
            ScalingMode::HPA => ("Builtin", self.p95.is_some(), "p95"),
        };
        if stray {
            let problem = format!("{field} is for the mode {other}");
            errors.push(FieldError::new(format!("spec.scaling.{field}"), problem, "remove it, or change mode"));
        }
    }
}

impl ModelEndpointSpec {
    /// Checks the scaling with what the servers ask of the cluster.
    pub(super) fn check_scaling(&self, errors: &mut Vec<FieldError>) {
        self.scaling.check(errors);
        let cpu = self.server.resources.as_ref().is_some_and(|resources| resources.cpu.is_some());
        let by_requests = self.scaling.in_flight.is_some() || self.scaling.requests_per_second.is_some();
        if self.scaling.mode == ScalingMode::HPA && !by_requests && !cpu {
            let problem = "HPA by processor use needs server.resources.cpu: the use is a share of what is requested";
            errors.push(FieldError::new("spec.server", problem, "server: {resources: {cpu: \"1\"}}"));
        }
    }
}
