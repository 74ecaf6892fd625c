//! The commands. Each reads its arguments, does one thing, prints one result.

mod backtest;
mod bundle;
mod cluster;
mod drift;
mod init;
mod operator;
pub mod registry;
mod replay;
mod rollout;
mod router;
mod run;
mod serve;
mod state;
mod status;
mod storage_initializer;
mod story;
mod train;
mod up;
mod validate;

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Arguments, Command};
use crate::exit::Code;
use crate::output;

/// Runs the command that was asked for.
///
/// # Errors
/// What the command could not do, with the cure.
pub async fn run(arguments: Arguments) -> Result<Code> {
    match arguments.command {
        Command::Init(init) => init::run(init).await,
        Command::Validate(validate) => validate::run(&validate),
        Command::Up(up) => up::run(up).await,
        Command::Doctor(doctor) => cluster::doctor(&doctor).await,
        Command::Approve(approve) => cluster::approve(approve).await,
        Command::Operator(operator) => operator::run(operator).await,
        Command::Story(story) => story::run(story).await,
        Command::Run(run) => run::run(run).await,
        Command::Serve(serve) => serve::run(serve).await,
        Command::Router(router) => router::run(router).await,
        Command::StorageInitializer(initializer) => storage_initializer::run(&initializer).await,
        Command::Train(train) => train::run(train).await,
        Command::Replay(replay) => replay::run(replay).await,
        Command::Backtest(backtest) => backtest::run(*backtest).await,
        Command::Status(status) => status::run(status).await,
        Command::Drift(place) => drift::run(place).await,
        Command::Registry(registry) => registry::run(*registry).await,
        Command::Bundle(bundle) => bundle::run(&bundle),
        Command::Rollout(rollout) => rollout::run(rollout).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "fairway", &mut script);
            output::line(String::from_utf8(script)?.trim_end())?;
            Ok(Code::Done)
        }
        Command::Reference => {
            output::line(fairway_api::reference_markdown().trim_end())?;
            Ok(Code::Done)
        }
    }
}
