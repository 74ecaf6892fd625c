//! The command lines of what runs on a cluster, and of the story that is played against it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use fairway_api::values::Duration;

use super::StoreArgument;
use crate::output::Output;

/// See [`super::Command::Operator`].
#[derive(Debug, Args)]
pub struct Operator {
    /// Registry of models that name none, such as s3://fairway
    #[arg(long, value_name = "URL", env = "FAIRWAY_REGISTRY")]
    pub registry: Option<String>,
    /// Obey the manifests of these namespaces only [default: of all]
    #[arg(long, value_name = "NS,…", env = "FAIRWAY_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch: Vec<String>,
    /// Image of trainers, model servers and routers: the one that this operator itself was started from
    #[arg(long, value_name = "IMAGE", env = "FAIRWAY_IMAGE")]
    pub image: String,
    /// How that image is pulled
    #[arg(long, value_name = "POLICY", env = "FAIRWAY_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub image_pull_policy: String,
    /// Namespace of the operator itself
    #[arg(long, value_name = "NS", env = "FAIRWAY_POD_NAMESPACE", default_value = "fairway-system")]
    pub namespace: String,
    /// Name of this process among those that may lead [default: the host's name]
    #[arg(long, value_name = "NAME", env = "FAIRWAY_POD_NAME")]
    pub identity: Option<String>,
    /// The Lease by which one of several operators leads
    #[arg(long, value_name = "NAME", env = "FAIRWAY_LEASE_NAME", default_value = "fairway")]
    pub lease: String,
    /// A leader that was not heard of for so long is replaced
    #[arg(long, value_name = "TIME", env = "FAIRWAY_LEASE_DURATION", default_value = "15s")]
    pub lease_duration: Duration,
    /// A canary goes on for so long without an operator; then its routers set it to 0
    #[arg(long, value_name = "TIME", env = "FAIRWAY_CANARY_LEASE", default_value = "30s")]
    pub canary_lease: Duration,
    /// Where /healthz and /readyz are served
    #[arg(long, value_name = "HOST:PORT", env = "FAIRWAY_ADMIN_LISTEN", default_value = "127.0.0.1:8081")]
    pub admin: SocketAddr,
    /// Where /metrics is served
    #[arg(long, value_name = "HOST:PORT", env = "FAIRWAY_METRICS_LISTEN", default_value = "127.0.0.1:8080")]
    pub metrics: SocketAddr,
    /// Who may read the metrics of routers and model servers: a JSON list of peers of a NetworkPolicy [default: nobody]
    #[arg(long, value_name = "JSON", env = "FAIRWAY_METRICS_FROM")]
    pub metrics_from: Option<String>,
    /// Where KEDA's questions are answered, by the operator that leads [default: nowhere]
    #[arg(long, value_name = "HOST:PORT", env = "FAIRWAY_SCALER_LISTEN", requires = "scaler_address")]
    pub scaler_listen: Option<SocketAddr>,
    /// Where KEDA asks: host and port of the Service in front of --scaler-listen [default: versions are not scaled by requests]
    #[arg(long, value_name = "HOST:PORT", env = "FAIRWAY_SCALER_ADDRESS", requires = "scaler_listen")]
    pub scaler_address: Option<String>,
    /// Objects of a kind that are looked at at once
    #[arg(long, value_name = "N", env = "FAIRWAY_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
}

/// See [`super::Command::Doctor`].
#[derive(Debug, Args)]
pub struct Doctor {
    /// The namespace of the manifests [default: the kubeconfig's]
    #[arg(short, long, value_name = "NS")]
    pub namespace: Option<String>,
    /// The namespace of the operator
    #[arg(long, value_name = "NS", default_value = "fairway-system")]
    pub operator_namespace: String,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// See [`super::Command::Approve`].
#[derive(Debug, Args)]
pub struct Approve {
    /// The model
    pub model: String,
    /// The version's digest [default: that of the model's challenger]
    #[arg(long, value_name = "sha256:…")]
    pub digest: Option<String>,
    /// Say no instead; needs --reason
    #[arg(long, requires = "reason")]
    pub reject: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The namespace [default: the kubeconfig's]
    #[arg(short, long, value_name = "NS")]
    pub namespace: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// See [`super::Command::Story`].
#[derive(Debug, Args)]
pub struct Story {
    /// A folder with the manifests that were applied, and a story
    pub path: PathBuf,
    /// URL of the endpoint, such as http://shop.default.svc
    #[arg(long, value_name = "URL", default_value = "http://shop")]
    pub url: String,
    /// Namespace that the manifests were applied to, where they name none
    #[arg(long, value_name = "NS", default_value = "default")]
    pub namespace: String,
    /// Folder for what the shop writes before it is copied to the URL of the model's data
    #[arg(long, value_name = "DIR", default_value = ".fairway/story")]
    pub work: PathBuf,
    /// Only write the shop's past sales to the bucket
    #[arg(long)]
    pub seed_only: bool,
    /// Seconds until tastes shift for the first time
    #[arg(long, value_name = "SECONDS", default_value_t = 240)]
    pub shift_after: u64,
    /// Longest that one act may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub act_within: u64,
    /// Values of variables in the manifests, for example `state=/tmp/x`
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// How to open the bucket.
    #[command(flatten)]
    pub store: StoreArgument,
}
