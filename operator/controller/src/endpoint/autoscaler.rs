//! Who scales each version's servers, where the manifest leaves their number to somebody else: a HorizontalPodAutoscaler by
//! processor use, or a ScaledObject by which KEDA asks the operator for requests. Pure.

use fairway_api::endpoint::{Scaling, ScalingMode};
use fairway_core::Reason;
use fairway_wire::Target;
use serde_json::{Value, json};

use super::build::Builder;
use crate::names;
use crate::scaler::Metric;

/// KEDA looks at a version this often, in seconds: about once a window.
const POLLING_SECONDS: u32 = 10;

/// What is to be there for one version.
#[derive(Debug, PartialEq)]
pub(super) enum Autoscaler {
    /// The operator scales by itself.
    None,
    Horizontal(Value),
    Scaled(Value),
}

/// What requests are scaled by, with what one server is to have of it.
pub(super) fn by_requests(scaling: &Scaling) -> Vec<(Metric, u32)> {
    if scaling.mode != ScalingMode::HPA {
        return Vec::new();
    }
    let named = [(Metric::InFlight, scaling.in_flight), (Metric::RequestsPerSecond, scaling.requests_per_second)];
    named.into_iter().filter_map(|(metric, target)| Some((metric, target?))).collect()
}

/// What keeps an endpoint from being scaled by requests as its manifest asks; `keda`: whether the cluster has it, `address`:
/// where it would ask.
pub(super) fn lacks(scaling: &Scaling, keda: bool, address: Option<&str>) -> Option<Reason> {
    if by_requests(scaling).is_empty() || keda && address.is_some() {
        return None;
    }
    let what = if keda {
        "this operator serves no scaler for KEDA: set --scaler-address and --scaler-listen (the chart's operator.scaler)"
    } else {
        "this cluster has no KEDA (https://keda.sh), which reads them: install it, and it is used within a minute"
    };
    let message = format!(
        "scaling.inFlight and requestsPerSecond are not acted on, servers are scaled by processor use ({} %) instead: {what}",
        scaling.cpu_or_default()
    );
    Some(Reason::new("NoExternalMetrics", message))
}

impl Builder<'_> {
    /// The autoscaler of a version. `least` is what a rollout needs of it now: it is never scaled below. `keda`: whether it
    /// is there.
    pub(super) fn autoscaler(&self, target: &Target, least: u32, keda: bool) -> Autoscaler {
        let scaling = &self.subject.endpoint.spec.scaling;
        if scaling.mode != ScalingMode::HPA {
            return Autoscaler::None;
        }
        let least = least.clamp(scaling.min, scaling.max);
        let asked = by_requests(scaling);
        match self.settings.scaler_address.as_deref().filter(|_| keda && !asked.is_empty()) {
            Some(address) => Autoscaler::Scaled(self.scaled(target, least, &asked, address)),
            None => Autoscaler::Horizontal(self.horizontal(target, least)),
        }
    }

    fn horizontal(&self, target: &Target, least: u32) -> Value {
        let scaling = &self.subject.endpoint.spec.scaling;
        let name = names::of_version(self.name(), &target.digest);
        let spec = json!({"spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": least,
            "maxReplicas": scaling.max,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": scaling.cpu_or_default()},
            }}],
            "behavior": behavior(scaling),
        }});
        self.object("autoscaling/v2", "HorizontalPodAutoscaler", &name, "server", spec)
    }

    fn scaled(&self, target: &Target, least: u32, asked: &[(Metric, u32)], address: &str) -> Value {
        let scaling = &self.subject.endpoint.spec.scaling;
        let name = names::of_version(self.name(), &target.digest);
        let cpu = scaling.cpu_utilization.map(
            |percent| json!({"type": "cpu", "metricType": "Utilization", "metadata": {"value": percent.to_string()}}),
        );
        let external = |(metric, target): &(Metric, u32)| {
            json!({"type": "external", "name": metric.name(), "metricType": "AverageValue", "metadata": {
                "scalerAddress": address,
                "metric": metric.name(),
                "target": target.to_string(),
            }})
        };
        let spec = json!({"spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "pollingInterval": POLLING_SECONDS,
            "minReplicaCount": least,
            "maxReplicaCount": scaling.max,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior(scaling)}},
            "triggers": asked.iter().map(external).chain(cpu).collect::<Vec<_>>(),
        }});
        self.object("keda.sh/v1alpha1", "ScaledObject", &name, "server", spec)
    }
}

fn behavior(scaling: &Scaling) -> Value {
    let delay = scaling.scale_down_delay.std().as_secs().min(3_600);
    json!({"scaleDown": {"stabilizationWindowSeconds": delay}})
}
