//! The command line: commands, options and their help.

mod api;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use api::*;

/// Keeps Apache Iceberg tables healthy: compacts small files, applies deletes, expires snapshots.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 done; 1 failed; 2 bad command line; 3 refused (no such table or job, table busy, drain mode).",
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Log what happens to standard error; twice for details.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Maintain a table directly, without a server.
    Run(RunArgs),
    /// Run the API, a worker, sync, the sweeper and, if asked, the orchestrator in one process.
    Serve(ServeArgs),
    /// Show everything once on a badly kept table in a temporary warehouse.
    Demo(DemoArgs),
    /// Submit a maintenance job to the API.
    Submit(SubmitArgs),
    /// Show one job.
    Job(JobArgs),
    /// List active and recent jobs.
    Jobs(JobsArgs),
    /// Cancel a pending or running job.
    Cancel(JobArgs),
    /// List the tables the server knows.
    Tables(TablesArgs),
    /// Show the health of a table: its files, snapshots and manifests, and what is wrong with them.
    Health(TableArgs),
    /// Show which actions are due on a table, and why.
    Recommend(TableArgs),
    /// List the orchestrator's runs.
    Runs(RunsArgs),
    /// Show the drain switch, or turn it: while it is on, workers finish what they do and nothing new starts.
    Drain(DrainArgs),
    /// Open the API's web page in a browser on this machine: what it asks is sent with the token or signature of this
    /// command.
    Ui(UiArgs),
}

/// Which catalog holds the tables.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Catalog")]
pub(crate) struct CatalogArgs {
    /// Kind of catalog: sql, rest, glue or s3tables.
    #[arg(long = "catalog", env = "SNOWPACK_CATALOG", value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Where the catalog is: sqlite:///path/catalog.db, postgresql://user@host/database, or http://host:port.
    #[arg(
        long = "catalog-uri",
        env = "SNOWPACK_CATALOG_URI",
        hide_env_values = true,
        value_name = "URI"
    )]
    pub(crate) uri: Option<String>,
    /// The catalog's name inside a SQL catalog [default: snowpack]; the account of a Glue catalog.
    #[arg(long = "catalog-name", env = "SNOWPACK_CATALOG_NAME", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The warehouse: file:///path, s3://bucket/path, a REST catalog's warehouse name, or a table bucket's ARN.
    #[arg(long, env = "SNOWPACK_WAREHOUSE", value_name = "LOCATION")]
    pub(crate) warehouse: Option<String>,
    /// A REST catalog's OAuth2 client credentials, ID:SECRET, or a PostgreSQL database's password. Better set
    /// the variable: others on this machine can see arguments.
    #[arg(
        long = "catalog-credential",
        env = "SNOWPACK_CATALOG_CREDENTIAL",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub(crate) credential: Option<String>,
    /// A REST catalog's bearer token. Better set the variable.
    #[arg(
        long = "catalog-token",
        env = "SNOWPACK_CATALOG_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) token: Option<String>,
    /// Where the credential buys tokens [default: the REST catalog itself].
    #[arg(
        long = "catalog-oauth2-server-uri",
        env = "SNOWPACK_CATALOG_OAUTH2_SERVER_URI",
        value_name = "URI"
    )]
    pub(crate) oauth2_server_uri: Option<String>,
    /// The scope of those tokens [default: catalog].
    #[arg(long = "catalog-scope", env = "SNOWPACK_CATALOG_SCOPE", value_name = "SCOPE")]
    pub(crate) scope: Option<String>,
    /// A further catalog property, for example s3.region=eu-west-1. May be repeated.
    #[arg(
        long = "catalog-property",
        env = "SNOWPACK_CATALOG_PROPERTIES",
        hide_env_values = true,
        value_delimiter = ';',
        value_name = "KEY=VALUE"
    )]
    pub(crate) properties: Vec<String>,
}

/// Shows only what is no secret, and no address either: it may hold a password.
impl fmt::Debug for CatalogArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogArgs")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("warehouse", &self.warehouse)
            .finish_non_exhaustive()
    }
}

/// What to do to which table.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorkArgs {
    /// The table; the last dot separates database and table.
    #[arg(value_name = "DB.TABLE")]
    pub(crate) table: String,
    /// What to do, one or more of rewrite_data_files, rewrite_position_delete_files, expire_snapshots,
    /// rewrite_manifests, remove_orphan_files. They run in this order.
    #[arg(value_name = "ACTION", required = true)]
    pub(crate) actions: Vec<String>,
    /// An option of an action, for example rewrite_data_files.min-input-files=2. May be repeated.
    #[arg(long = "option", value_name = "ACTION.KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// Only say what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) work: WorkArgs,
    /// Print one JSON document to standard output.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on. Anyone who reaches it may submit jobs, so keep it local.
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Folder for jobs, locks and the queue. One server at a time uses it.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Jobs that run at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: u8,
    /// Look at all tables this often, and submit jobs for those that need them. Without it nothing is maintained by
    /// itself: pointing a laptop at a catalog must not change it.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) orchestrate_every: Option<u64>,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep the warehouse in this new or empty folder instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}
