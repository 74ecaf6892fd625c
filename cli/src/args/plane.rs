//! The command lines of the data plane: `fairway serve` and `fairway router`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use fairway_api::values::Duration;

use super::StoreArgument;

/// See [`super::Command::Serve`].
#[derive(Debug, Args)]
pub struct Serve {
    /// The registry: s3://bucket/prefix, gs://…, az://…, or a folder
    #[arg(long, value_name = "URL")]
    pub registry: String,
    /// Namespace of the model
    #[arg(long, default_value = "default")]
    pub namespace: String,
    /// The model; routers ask for it by this name
    #[arg(long)]
    pub model: String,
    /// The version, by its digest: what is served never changes
    #[arg(long, value_name = "sha256:…")]
    pub version: String,
    /// Address that routers are answered on; in a pod 0.0.0.0:8080
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    pub listen: SocketAddr,
    /// A public key (PEM) of which one must have signed the version; may be given several times
    #[arg(long = "signer", value_name = "FILE")]
    pub signers: Vec<PathBuf>,
    /// Where to keep the bundle [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Fetch the version into --cache, every byte checked, and end: for another's server that reads it there
    #[arg(long, requires = "cache", conflicts_with = "behind")]
    pub fetch_only: bool,
    /// Answer through this server of the Open Inference Protocol v2 instead of loading the weights
    #[arg(long, value_name = "URL")]
    pub behind: Option<String>,
    /// What that server calls the model [default: --model]
    #[arg(long, value_name = "NAME", requires = "behind")]
    pub behind_model: Option<String>,
    /// How long that server may take to be ready
    #[arg(long, default_value = "10m", value_name = "TIME", requires = "behind")]
    pub behind_within: Duration,
    /// How long it goes on after it was asked to stop, so that routers hear of it first
    #[arg(long, default_value = "5s", value_name = "TIME")]
    pub drain: Duration,
    /// How to reach the registry's store
    #[command(flatten)]
    pub store: StoreArgument,
}

/// See [`super::Command::Router`].
#[derive(Clone, Debug, Args)]
pub struct Router {
    /// The orders: JSON {"route", "versions", "settings"}, replaced as a whole by whoever gives them
    #[arg(long, value_name = "FILE", required_unless_present = "orders_configmap")]
    pub orders_file: Option<PathBuf>,
    /// The ConfigMap that holds the orders under orders.json, followed through the API server; with that gone the last ones
    /// stay
    #[arg(long, value_name = "NAME", conflicts_with = "orders_file")]
    pub orders_configmap: Option<String>,
    /// The model's name at the model servers
    #[arg(long)]
    pub model: String,
    /// The key of users' pseudonyms: hex digits, the same for all routers of a model, kept secret
    #[arg(long, value_name = "FILE")]
    pub users_key: PathBuf,
    /// The token that `POST /admin/abort` and other routers must show; without it nobody can abort here, and routers of an
    /// endpoint do not tell each other what users did
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Address that users are served on; in a pod 0.0.0.0:8080
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    pub listen: SocketAddr,
    /// Address of polls, abort and metrics; keep it from users
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "HOST:PORT")]
    pub admin: SocketAddr,
    /// Its name in windows; the moment of its start is added [default: the host's]
    #[arg(long, value_name = "NAME", env = "HOSTNAME", default_value = "router")]
    pub replica: String,
    /// Keep decisions and users' histories in this registry
    #[arg(long, value_name = "URL", requires = "endpoint")]
    pub registry: Option<String>,
    /// Namespace of the endpoint, for --registry and --orders-configmap
    #[arg(long, default_value = "default")]
    pub namespace: String,
    /// The endpoint, for --registry
    #[arg(long)]
    pub endpoint: Option<String>,
    /// How to reach the registry's store
    #[command(flatten)]
    pub store: StoreArgument,
}
