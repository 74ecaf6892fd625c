//! `fairway`: the one binary. It parses the command line, and hands over to a command.

mod args;
mod commands;
mod exit;
mod live;
mod output;
mod plane;
mod replay;
mod runtime;
mod story;
mod telemetry;
mod train;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return exit::Code::Failed.into();
        }
    };
    let code = match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            exit::of(&error)
        }
    };
    // A fit that cannot be interrupted must not hold the process; its run is taken up again at the next start.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    code.into()
}

async fn run(arguments: args::Arguments) -> anyhow::Result<exit::Code> {
    let _telemetry = telemetry::start(arguments.verbose)?;
    commands::run(arguments).await
}
