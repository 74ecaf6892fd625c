//! The command line of `fairway train`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StoreArgument;

/// See [`super::Command::Train`].
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Train {
    /// Before and after a container that trains.
    #[command(subcommand)]
    pub part: Option<TrainPart>,
    /// The whole run.
    #[command(flatten)]
    pub whole: TrainRun,
}

/// The parts of a run that are left when somebody else's container trains.
#[derive(Debug, Subcommand)]
pub enum TrainPart {
    /// Write the run's data and plan into a folder, for a container that trains
    ///
    /// Reads and checks the data as `fairway train` does, and writes interactions.parquet, items.parquet (if there are
    /// features of items) and, last, plan.json. Rows with holdout = true are what the bundle is judged on: the container
    /// trains on the others. A run that has ended leaves ended.json instead. Exit codes are those of `fairway train`; 0: the
    /// container may begin.
    ///
    /// Example:  fairway train prepare /work --registry s3://models/shop --model recs --run 0007-drift
    Prepare(TrainFolder),
    /// Check, judge and upload the bundle that a container has left in a folder, and write the run's result
    ///
    /// The bundle is DIR/bundle, by the rules of `fairway bundle check`; its model and run are the plan's. It is judged as one
    /// that was trained here. Exit codes are those of `fairway train`.
    ///
    /// Example:  fairway train publish /work --registry s3://models/shop --model recs --run 0007-drift
    Publish(TrainPublish),
}

/// A run, and the folder between its parts.
#[derive(Debug, Args)]
pub struct TrainFolder {
    /// The folder that the container reads and writes
    pub dir: PathBuf,
    /// The run
    #[command(flatten)]
    pub run: TrainRun,
}

/// What is published, and when.
#[derive(Debug, Args)]
pub struct TrainPublish {
    /// The folder
    #[command(flatten)]
    pub folder: TrainFolder,
    /// Wait for SIGTERM first. For a container beside the one that trains: Kubernetes sends it to an init container with
    /// restartPolicy Always once that one has ended. A bundle that is not whole then is left alone, with exit code 1: the
    /// trainer may have been stopped half-way
    #[arg(long)]
    pub when_stopped: bool,
}

/// Which run. What is required may be missing where a subcommand brings its own.
#[derive(Debug, Args)]
pub struct TrainRun {
    /// The registry: s3://bucket/prefix, gs://…, az://…, or a folder
    #[arg(long, value_name = "URL", required = true)]
    pub registry: Option<String>,
    /// Namespace of the model
    #[arg(long, default_value = "default")]
    pub namespace: String,
    /// The model
    #[arg(long, required = true)]
    pub model: Option<String>,
    /// The run; its plan is in the registry
    #[arg(long, required = true)]
    pub run: Option<String>,
    /// Where to work, with room for the bundle and the champion's [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Where data URLs without a scheme start
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub base: PathBuf,
    /// Keep the newest line of progress in this file too
    #[arg(long, value_name = "FILE")]
    pub progress_file: Option<PathBuf>,
    /// How to reach the registry's store
    #[command(flatten)]
    pub store: StoreArgument,
}
