//! `snowpack`: direct runs, the local server, the demo, and a client of the API.

mod args;
mod catalog;
mod client;
mod demo;
mod engine;
mod output;
mod progress;
mod run;
mod serve;
mod ui;

use std::process::ExitCode;

use clap::Parser;
use snowpack_telemetry::log_to_stderr;

use crate::args::{Cli, Command};
use crate::output::{Exit, log_filter, report_error};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = start_log(cli.verbose) {
        return report_error(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report_error(&error.into()),
    };
    match runtime.block_on(dispatch(cli.command)) {
        Ok(exit) => exit.into(),
        Err(error) => report_error(&error),
    }
}

fn start_log(verbose: u8) -> anyhow::Result<()> {
    Ok(log_to_stderr(&log_filter(verbose)?)?)
}

async fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Serve(args) => serve::serve(args).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::Submit(args) => client::submit(args).await,
        Command::Job(args) => client::job(args).await,
        Command::Jobs(args) => client::jobs(args).await,
        Command::Cancel(args) => client::cancel(args).await,
        Command::Tables(args) => client::tables(args).await,
        Command::Health(args) => client::health(args).await,
        Command::Recommend(args) => client::recommend(args).await,
        Command::Runs(args) => client::runs(args).await,
        Command::Drain(args) => client::drain(args).await,
        Command::Ui(args) => ui::ui(args).await,
    }
}
