//! The command line. Help texts teach: each says what happens, what is written, and gives an example.

mod backtest;
mod cluster;
mod plane;
mod registry;
mod storage;
mod train;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::output::Output;

pub use backtest::Backtest;
pub use cluster::{Approve, Doctor, Operator, Story};
pub use plane::{Router, Serve};
pub use registry::{
    ActorArgument, AliasName, AuthorArgument, ModelName, Registry, RegistryArgument, StoreArgument, StoreOption,
    VersionName, options_of,
};
pub use storage::{StorageInitializer, StorageUri};
pub use train::{Train, TrainFolder, TrainPart, TrainRun};

/// Keeps personalization models good in production: notices that a model no longer fits its users, trains a successor,
/// proves it on a canary, and takes it back by itself when it does harm.
#[derive(Debug, Parser)]
#[command(name = "fairway", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Log more to stderr; twice for everything. FAIRWAY_LOG takes a filter such as `fairway_server=debug`
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done (of a run: registered), 1 error, 2 invalid input, 3 gate rejected, \
4 suppressed, 5 failed, 6 timeout, 143 stopped by a signal.\n\nStart here:  fairway up configs/quickstart";

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first manifest from the columns of a data file
    ///
    /// Reads the file's columns, guesses which are the user, the item and the time, and prints a commented manifest.
    /// Nothing is written unless --out is given.
    Init(Init),
    /// Check manifests without any server
    Validate(Validate),
    /// Run the whole loop in this process, from the same manifests as on a cluster
    ///
    /// Serves POST /v1/recommend and /v1/events, watches, trains, rolls out and takes back. Everything that it writes is
    /// under --state and in the registry that the manifests name. Ctrl-C stops it in order; started again it goes on.
    Up(Up),
    /// Run the loop on Kubernetes: obey Models and ModelEndpoints, start Jobs, model servers and routers
    ///
    /// Usually started by the Helm chart. Of several operators one leads; what it has decided is in the bucket before it
    /// is done, so that it may be killed at any moment.
    Operator(Operator),
    /// Play a story against an endpoint that is served elsewhere, such as on a cluster
    ///
    /// A shop with customers asks the endpoint over HTTP and buys what suits them; tastes shift; two bad candidates are
    /// brought in. Reads the manifests that were applied, and the bucket. Exit code 0 if it went as told.
    Story(Story),
    /// Start, watch or cancel training runs, of a running `fairway up` or (--endpoint) on a cluster
    #[command(subcommand)]
    Run(Run),
    /// Do one training run in this process, from its plan in a registry, and leave the result there
    ///
    /// Reads runs/<RUN>/plan.json, trains, judges beside the champion that the plan names, uploads the bundle, and writes
    /// runs/<RUN>/result.json, once. Registers nothing: whoever keeps the registry's log does. So its credentials need to
    /// write runs/<RUN>/, versions/ and pins/ of its model only. Credentials of data and registry come from the environment
    /// (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP, GOOGLE_SERVICE_ACCOUNT, …).
    ///
    /// A run that has a result or an outcome is not done again; its exit code is given: 0 uploaded, 3 a gate rejected it, 5
    /// failed or the data were refused, 6 not done within the plan's deadline. 1 says that nothing was written and another
    /// try may help. SIGTERM ends it at once with 143 and without a result: the same command begins it anew. Stdout has a
    /// line of JSON a second at most: {"run", "step", "percent", "secondsLeft"}, the last two of the step.
    ///
    /// Example:  fairway train --registry s3://models/shop --namespace shop --model recs --run 0007-drift
    Train(Train),
    /// Serve one version from a registry, as a model server that routers ask
    ///
    /// Fetches the version's bundle, checks every byte against the digest (and a signature of one of the --signer keys),
    /// loads it, and asks it its own golden requests. Only then it listens: the Open Inference Protocol v2 (`POST
    /// /v2/models/<MODEL>/infer`), `GET /v2/models/<MODEL>/fairway` for routers, `GET /metrics`. With --behind it stands
    /// before another's server of that protocol, which must reproduce the golden answers too.
    ///
    /// Example:  fairway serve --registry s3://models/shop --namespace shop --model recs --version sha256:4f1c…
    Serve(Serve),
    /// Answer users: assign them to versions, ask model servers, count
    ///
    /// The data plane of an endpoint in a process of its own. Does what its orders say (which version, which weights, until
    /// when, and where the model servers are), read again whenever the file changes. While no model server answers, and
    /// before there is one, popularity does. The operator asks for windows and renews the lease at `POST /v1/poll` of the
    /// admin port; `POST /admin/abort` with the token sets the canary to 0.
    ///
    /// Example:  fairway router --orders-file orders.json --model recs --users-key users.key
    Router(Router),
    /// Fetch versions into folders, for KServe, which runs this before a model server starts
    ///
    /// The image of a ClusterStorageContainer: KServe adds the URI of the InferenceService (`storageUri`) and a folder. Every byte
    /// is checked against the version's digest, and a signature where keys are given. The folder may be there, and is not
    /// replaced: the version's files are moved in when all are checked, manifest.json last. Files that are there already are
    /// checked and left; another version of a registry makes room.
    ///
    /// Example:  fairway storage-initializer fairway://shop/recs@champion /mnt/models --registry s3://models/shop
    StorageInitializer(StorageInitializer),
    /// Replay recorded purchases as live traffic and compare ways to retrain
    ///
    /// Each invoice of a known customer is a visit: recommend 20 items, then feed back what was bought. Four policies are
    /// scored side by side on the same visits: frozen, monthly, calendar and managed (the manifests' own loop).
    Replay(Replay),
    /// Tell what a rollout policy would have done on recorded windows, before it is applied
    ///
    /// Plays many rollouts through the very decisions that `fairway up` takes, on the windows that an endpoint has left in
    /// its bucket: of a good candidate, and of bad ones with the harm of --inject. Says how often good ones would have been
    /// taken back, how soon bad ones, and how many users would have met them. Reads the bucket and writes nothing to it.
    Backtest(Box<Backtest>),
    /// Show what a running or stopped `fairway up` serves, or (--endpoint) a cluster, and why
    Status(Place),
    /// Show how far what goes in and comes out has moved since the champion was trained
    ///
    /// A line a feature: the population stability index (PSI) of the last window that was judged, and what noise alone can
    /// give with so many events. Exit code 0, drift or not: what follows from it is the model's policy.
    Drift(Place),
    /// Say what is missing on a cluster: definitions, rights, an operator that leads
    ///
    /// Asks the cluster that the kubeconfig names, and changes nothing. Exit code 1 if anything is missing.
    Doctor(Doctor),
    /// Say yes (or, with --reject, no) to a version, as a ModelApproval on the cluster that the kubeconfig names
    ///
    /// The word is yours: the API server takes it only in your own name. Deleting the ModelApproval takes it back.
    Approve(Approve),
    /// Keep versions of models: look, push, pull, move aliases, approve, sign, delete, export
    ///
    /// A registry is a bucket or a folder, without a server. Models are written `namespace/name`, or `name` where there
    /// is only one of that name. Versions are written `@champion`, `3` or `sha256:…` where the registry has one model,
    /// else `models:/name@champion`, `models:/name/3`, `models:/name@sha256:…`, with the namespace in front of the name
    /// (`models:/shop/recs@champion`) where several have that name.
    #[command(subcommand)]
    Registry(Box<Registry>),
    /// Check bundles
    #[command(subcommand)]
    Bundle(Bundle),
    /// Watch and steer the rollout of a running `fairway up`, or (--endpoint) of one on a cluster
    #[command(subcommand)]
    Rollout(Rollout),
    /// Print shell completions, for example `fairway completions bash > /etc/bash_completion.d/fairway`
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the reference of all manifest fields as Markdown
    #[command(hide = true)]
    Reference,
}

/// See [`Command::Init`].
#[derive(Debug, Args)]
pub struct Init {
    /// Parquet, CSV or JSON lines: a file, a folder or a URL
    #[arg(long, value_name = "FILE")]
    pub data: String,
    /// Name of the model
    #[arg(long, default_value = "recs")]
    pub name: String,
    /// Write to this file, which must not exist, instead of printing
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// See [`Command::Validate`].
#[derive(Debug, Args)]
pub struct Validate {
    /// A folder of manifests, or one file
    pub path: PathBuf,
    /// Values of variables in the manifests, for example `data=/tmp/x.parquet`
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// See [`Command::Up`].
#[derive(Debug, Args)]
pub struct Up {
    /// A folder of manifests
    pub path: PathBuf,
    /// Where to keep keys, caches and (unless the manifests name another) the registry [default: .fairway/<folder>]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Address that users are served on
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    pub listen: std::net::SocketAddr,
    /// Address of status page, metrics and verbs; keep it on loopback
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "HOST:PORT")]
    pub admin: std::net::SocketAddr,
    /// Run the clock this many times as fast; a story brings its own speed
    #[arg(long, value_name = "N", value_parser = parse_speed)]
    pub speed: Option<f64>,
    /// Play the story once and exit, with code 0 only if it went as told
    #[arg(long)]
    pub once: bool,
    /// Do not play the story that the folder may hold
    #[arg(long, conflicts_with = "once")]
    pub no_story: bool,
    /// Values of variables in the manifests
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Sign each version that is trained here with this private key (PEM; `fairway registry keygen` makes one)
    #[arg(long, value_name = "FILE")]
    pub signing_key: Option<PathBuf>,
    /// How to reach the registry's store
    #[command(flatten)]
    pub store: StoreArgument,
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "a number such as 2000".to_owned())?;
    if (1.0..=100_000.0).contains(&speed) { Ok(speed) } else { Err("between 1 and 100000".to_owned()) }
}

/// Where a running or stopped `fairway up` keeps its state.
#[derive(Clone, Debug, Args)]
pub struct StateArgument {
    /// The state folder of `fairway up` [default: the only one under .fairway]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// How to reach the registry's store
    #[command(flatten)]
    pub store: StoreArgument,
}

/// Verbs of training runs.
#[derive(Debug, Subcommand)]
pub enum Run {
    /// Start a run; the same --name gives the same run and the same exit code
    Start {
        /// The idempotency key, for example the commit's hash
        #[arg(long)]
        name: Option<String>,
        /// For the log; on a cluster CI is recorded as such, anything else as Manual
        #[arg(long, default_value = "asked on the command line")]
        reason: String,
        /// Pass cooldown, budget, breaker and an active rollout; never the data checks
        #[arg(long)]
        force: bool,
        /// Wait for the end; the exit code tells it
        #[arg(long)]
        wait: bool,
        /// Longest wait, for example 30m
        #[arg(long, default_value = "1h")]
        timeout: fairway_api::values::Duration,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Wait for the end of a run; the exit code tells it
    Watch {
        /// The run
        name: String,
        /// Longest wait
        #[arg(long, default_value = "1h")]
        timeout: fairway_api::values::Duration,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// What was decided about a run, and its outcome; on a cluster its conditions, and how its pod's log is read
    Logs {
        /// The run
        name: String,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Cancel the active run
    Cancel {
        /// The run
        name: String,
        /// Where
        #[command(flatten)]
        place: Place,
    },
}

/// See [`Command::Replay`].
#[derive(Debug, Args)]
pub struct Replay {
    /// The transactions: Parquet, CSV or JSON lines
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// The manifests of the managed policy; `${data}` in them stands for --data
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// First day that is replayed as live traffic; everything before is history
    #[arg(long, value_name = "DATE")]
    pub from: jiff::civil::Date,
    /// Day after the last
    #[arg(long, value_name = "DATE")]
    pub to: jiff::civil::Date,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Which `fairway up`, or which endpoint on a cluster, and how to print.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Instead of `fairway up`: this ModelEndpoint of the cluster that the kubeconfig names
    #[arg(long, value_name = "NAME", conflicts_with = "state")]
    pub endpoint: Option<String>,
    /// Its namespace [default: the kubeconfig's]
    #[arg(short, long, value_name = "NS", requires = "endpoint")]
    pub namespace: Option<String>,
    /// Where
    #[command(flatten)]
    pub state: StateArgument,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Bundle commands.
#[derive(Debug, Subcommand)]
pub enum Bundle {
    /// Tell what is wrong with a bundle, for authors of trainers
    Check {
        /// The bundle's folder
        dir: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Verbs of a rollout.
#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Where the rollout stands
    Status(Place),
    /// Follow what happens until Ctrl-C
    Watch(Place),
    /// Freeze the weight; harm still rolls back
    Pause(Place),
    /// Go on after a pause
    Resume(Place),
    /// To the next step now
    Promote {
        /// All the way to everybody
        #[arg(long)]
        full: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Stable now; the version is barred until `retry`
    Abort(Place),
    /// Try the barred version again
    Retry(Place),
    /// Back to the version before
    Undo {
        /// This version instead
        #[arg(long, value_name = "VERSION")]
        to: Option<u64>,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// How rollouts ended
    ///
    /// On a cluster this is read from the bucket, with the variables of this shell (AWS_…) and --store-option.
    History {
        /// With --endpoint: the bucket of a Model that leaves it to the operator, such as s3://models
        #[arg(long, value_name = "URL", requires = "endpoint")]
        registry: Option<String>,
        /// Where
        #[command(flatten)]
        place: Place,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    /// Names that are used twice, groups that name nothing: what clap otherwise finds when a person types the command.
    #[test]
    fn the_command_line_is_whole() {
        super::Arguments::command().debug_assert();
    }
}
