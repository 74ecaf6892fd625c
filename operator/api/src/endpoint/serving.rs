//! What answers, and what stands before it: model servers and routers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Duration;
use crate::workload::{EnvVar, PodTemplate, Resources, is_default};

/// What answers: at most one of `builtin` and `container`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.builtin) || !has(self.container)", "message": "name at most one of builtin and container"
}]))]
pub struct Server {
    /// Fairway's own model server; used when nothing is named. Has no settings: written `{}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builtin: Option<BuiltinServer>,
    /// Any server of the Open Inference Protocol v2, behind Fairway's router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerServer>,
    /// A version that has not answered after this is given up and the fallback answers.
    pub deadline: Duration,
    /// What the container that holds the version asks of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What is added to the pods of the model servers.
    #[serde(skip_serializing_if = "is_default")]
    pub pod_template: PodTemplate,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            builtin: None,
            container: None,
            deadline: Duration::millis(250),
            resources: None,
            pod_template: PodTemplate::default(),
        }
    }
}

/// Fairway's own model server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuiltinServer {}

/// Any server of the Open Inference Protocol v2. It finds the version's bundle in `/mnt/models` and may write to `/tmp`.
/// Fairway's own server stands before it and sends users only if it answers as its trainer said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerServer {
    /// The image.
    #[schemars(length(min = 1, max = 1024))]
    pub image: String,
    /// The port that it listens on, at all addresses. It answers `/v2/health/ready` and `/v2/health/live`.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Arguments of its entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Its environment, beside what Fairway says there about the version: `FAIRWAY_BUNDLE`, `FAIRWAY_MODEL`,
    /// `FAIRWAY_VERSION`, `FAIRWAY_DIGEST` and `FAIRWAY_PORT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,
}

fn default_port() -> u16 {
    8080
}

/// What stands before the model servers: assignment, fallback, windows, the decision log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Router {
    /// Number of routers. With one, answers stop while its node is replaced.
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u32,
    /// What a router asks of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What is added to the pods of the routers.
    #[serde(skip_serializing_if = "is_default")]
    pub pod_template: PodTemplate,
}

impl Default for Router {
    fn default() -> Self {
        Self { replicas: 2, resources: None, pod_template: PodTemplate::default() }
    }
}
