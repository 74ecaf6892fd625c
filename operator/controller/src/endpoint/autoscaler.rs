//! A HorizontalPodAutoscaler for each version, where the manifest leaves the number of servers to one. Pure.

use fairway_api::endpoint::ScalingMode;
use fairway_wire::Target;
use serde_json::{Value, json};

use super::build::Builder;
use crate::names;

impl Builder<'_> {
    /// The autoscaler of a version; none in the builtin mode. `least` is what a rollout needs of it now: it is never scaled
    /// below.
    pub(super) fn autoscaler(&self, target: &Target, least: u32) -> Option<Value> {
        let scaling = &self.subject.endpoint.spec.scaling;
        if scaling.mode != ScalingMode::HPA {
            return None;
        }
        let name = names::of_version(self.name(), &target.digest);
        let least = least.clamp(scaling.min, scaling.max);
        let cpu = scaling.cpu_target().map(|percent| {
            json!({"type": "Resource", "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": percent},
            }})
        });
        // Requests in flight or a second are told by the operator, under the names that `metrics` serves.
        let external = |metric: &str, value: u32| {
            json!({"type": "External", "external": {
                "metric": {"name": metric, "selector": {"matchLabels": {"deployment": name}}},
                "target": {"type": "AverageValue", "averageValue": value.to_string()},
            }})
        };
        let metrics: Vec<Value> = cpu
            .into_iter()
            .chain(scaling.in_flight.map(|value| external("fairway_in_flight", value)))
            .chain(scaling.requests_per_second.map(|value| external("fairway_requests_per_second", value)))
            .collect();
        let delay = scaling.scale_down_delay.std().as_secs().min(3_600);
        let spec = json!({"spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": least,
            "maxReplicas": scaling.max,
            "metrics": metrics,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": delay}},
        }});
        Some(self.object("autoscaling/v2", "HorizontalPodAutoscaler", &name, "server", spec))
    }
}
