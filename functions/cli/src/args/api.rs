//! The commands that talk to the API.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use super::WorkArgs;

/// Where the API is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "API")]
pub(crate) struct ApiArgs {
    /// Base URL of the API.
    #[arg(
        long,
        env = "SNOWPACK_API",
        default_value = "http://127.0.0.1:8787",
        value_name = "URL"
    )]
    pub(crate) api: String,
    /// Sign requests for this region, because the API wants IAM and has a domain of its own. At API Gateway's own
    /// addresses requests are signed without being told. Credentials are found where every AWS tool finds them.
    #[arg(
        long,
        env = "SNOWPACK_API_REGION",
        value_name = "REGION",
        conflicts_with = "token"
    )]
    pub(crate) api_region: Option<String>,
    /// Bearer token of an API behind a JWT authorizer.
    #[arg(
        long,
        env = "SNOWPACK_API_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) token: Option<String>,
    /// Print the API's JSON to standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) work: WorkArgs,
    /// Wait for the job to end; the exit status is then the job's.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Seconds between polls [default: what the API asks for; 1 on this machine].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) poll_seconds: Option<u64>,
    /// Submitting again with the same key returns the first job.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job's id.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    /// Only jobs in this status: pending, running, completed, failed or cancelled.
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only jobs of this table.
    #[arg(long, value_name = "DB.TABLE")]
    pub(crate) table: Option<String>,
    /// Most jobs to list.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) limit: u16,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// The table; the last dot separates database and table.
    #[arg(value_name = "DB.TABLE")]
    pub(crate) table: String,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Most runs to list.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) limit: u16,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Which way to turn it; without it, show how it stands.
    #[arg(value_name = "on|off")]
    pub(crate) turn: Option<Turn>,
    /// Why, for those whose jobs are refused.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Turn {
    /// Nothing new starts.
    On,
    /// Work goes on.
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct TablesArgs {
    /// Only tables of this database.
    #[arg(long)]
    pub(crate) database: Option<String>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UiArgs {
    /// Address of this machine to listen on.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}
