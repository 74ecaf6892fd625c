//! `fairway`: the one binary. It parses the command line, sets up logging, and hands over to a command.

mod args;
mod commands;
mod exit;
mod live;
mod output;
mod plane;
mod replay;
mod runtime;
mod story;
mod train;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    start_logging(arguments.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return exit::Code::Failed.into();
        }
    };
    let code = match runtime.block_on(commands::run(arguments)) {
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

fn start_logging(verbose: u8) {
    let default = match verbose {
        0 => "error,fairway=warn",
        1 => "fairway=info,warn",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("FAIRWAY_LOG").unwrap_or_else(|_| default.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
