//! `snowpack demo`: a badly kept table in a temporary warehouse, maintained over HTTP, before and after.

mod census;
mod lake;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use iceberg::TableCreation;
use serde_json::Value;
use snowpack_catalog::{AnyCatalog, Catalog, create_sql_catalog};
use snowpack_domain::TableId;
use snowpack_service::SystemClock;
use snowpack_service::ports::Clock as _;
use tokio::net::TcpListener;

use crate::args::{ApiArgs, CatalogArgs, DemoArgs, WorkArgs};
use crate::catalog::{Work, open};
use crate::client::{Api, result_line, wait};
use crate::output::{Exit, human_bytes, note, print};
use crate::progress::Progress;
use crate::run::stop_on_ctrl_c;
use crate::serve::{Server, State, Workforce, read_settings};
use census::Census;

const TABLE: &str = "demo.orders";
/// Pause between polls: the demo pays for no one else's requests.
const POLL: Duration = Duration::from_millis(200);

/// `snowpack demo`.
pub(crate) async fn demo(args: DemoArgs) -> anyhow::Result<Exit> {
    let settings = read_settings()?;
    let (folder, _temporary) = folder(args.keep.as_deref())?;
    let catalog_args = catalog_args(&folder);
    note(&format!(
        "Writing a badly kept table {TABLE} in {}",
        folder.display()
    ));
    let catalog = make_table(&folder, &catalog_args).await?;
    let table = TableId::parse(TABLE)?;
    let before = census::take(&catalog.load(&table).await?).await?;

    let stop = stop_on_ctrl_c();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let catalog = Arc::new(catalog);
    let server = Server::start(
        settings,
        Arc::clone(&catalog),
        State::open(&folder.join("state"))?,
        listener,
        Workforce {
            workers: 1,
            orchestrate_every: None,
        },
        stop.clone(),
    )
    .await?;
    let url = format!("http://{}", server.address);
    note(&format!(
        "Serving on {url}; submitting rewrite_data_files and expire_snapshots"
    ));
    let job = maintain(&url).await;
    stop.cancel();
    server.join().await?;
    let job = job?;

    let after = census::take(&catalog.load(&table).await?).await?;
    report(&job, &before, &after, &folder, args.keep.is_some())?;
    ensure!(
        job["status"] == "completed",
        "the job ended {}: {}",
        job["status"],
        job["error"]
    );
    ensure!(
        (before.rows, before.checksum) == (after.rows, after.checksum),
        "the rows changed: this is a bug in Snowpack"
    );
    Ok(Exit::Done)
}

/// The demo's folder, and what removes it at the end unless it is to be kept.
fn folder(keep: Option<&Path>) -> anyhow::Result<(PathBuf, Option<tempfile::TempDir>)> {
    let Some(keep) = keep else {
        let temporary = tempfile::Builder::new().prefix("snowpack-demo-").tempdir()?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    std::fs::create_dir_all(keep).with_context(|| format!("cannot create {}", keep.display()))?;
    if std::fs::read_dir(keep)?.next().is_some() {
        bail!("{} is not empty: name a new or empty folder", keep.display());
    }
    Ok((keep.canonicalize()?, None))
}

fn catalog_args(folder: &Path) -> CatalogArgs {
    CatalogArgs {
        kind: Some("sql".to_owned()),
        uri: Some(format!("sqlite://{}", folder.join("catalog.db").display())),
        warehouse: Some(format!("file://{}", folder.join("warehouse").display())),
        ..CatalogArgs::default()
    }
}

async fn make_table(folder: &Path, args: &CatalogArgs) -> anyhow::Result<AnyCatalog> {
    create_sql_catalog(&folder.join("catalog.db"))?;
    let catalog = open(args).await?;
    let sql = catalog.sql().context("the demo's catalog is a SQL catalog")?;
    let creation = TableCreation::builder()
        .name("orders".to_owned())
        .location(format!("file://{}/warehouse/demo/orders", folder.display()))
        .schema(lake::schema()?)
        .partition_spec(lake::partitioning()?)
        .build();
    let table = sql.create_table(&TableId::parse(TABLE)?, creation).await?;
    let progress = Progress::new();
    lake::neglect(&catalog, table, |done, total| {
        progress.set("writing snapshots", done, total)
    })
    .await?;
    progress.clear();
    Ok(catalog)
}

/// Submits over HTTP, as anyone would, and follows the job to its end.
async fn maintain(url: &str) -> anyhow::Result<Value> {
    let api_args = ApiArgs {
        api: url.to_owned(),
        api_region: None,
        token: None,
        json: false,
    };
    let api = Api::new(&api_args).await?;
    // The table is minutes old, so the retention has to be short for anything to expire.
    let now_millis = SystemClock.now().as_micros() / 1000;
    let options = vec![
        format!("expire_snapshots.older_than={now_millis}"),
        "expire_snapshots.retain_last=1".to_owned(),
    ];
    let work = WorkArgs {
        table: TABLE.to_owned(),
        actions: vec!["rewrite_data_files".to_owned(), "expire_snapshots".to_owned()],
        options: options.clone(),
        dry_run: false,
    };
    let answer = api.submit(&Work::parse(&work)?, &options, None).await?;
    wait(&api, answer.body_or_error()?, Some(POLL)).await
}

fn report(job: &Value, before: &Census, after: &Census, folder: &Path, kept: bool) -> anyhow::Result<()> {
    for result in job["results"].as_array().into_iter().flatten() {
        print(&result_line(result))?;
    }
    print(&format!("\n{:<18} {:>18} {:>18}", TABLE, "before", "after"))?;
    let row = |name: &str, of: fn(&Census) -> String| {
        print(&format!("{name:<18} {:>18} {:>18}", of(before), of(after)))
    };
    row("data files", |census| census.data_files.to_string())?;
    row("delete files", |census| census.delete_files.to_string())?;
    row("snapshots", |census| census.snapshots.to_string())?;
    row("bytes", |census| human_bytes(census.bytes))?;
    row("rows", |census| census.rows.to_string())?;
    row("content checksum", |census| format!("{:016x}", census.checksum))?;
    let (folder, hint) = if kept {
        (folder, "")
    } else {
        (Path::new("DIR"), "  # first: snowpack demo --keep DIR")
    };
    print(&by_hand(&folder.display().to_string(), hint))?;
    Ok(())
}

/// The commands that do the same by hand.
fn by_hand(folder: &str, hint: &str) -> String {
    format!(
        r#"
The same by hand:{hint}
  snowpack serve --state {folder}/state --catalog sql --catalog-uri sqlite://{folder}/catalog.db --warehouse file://{folder}/warehouse &
  curl -s -X POST http://127.0.0.1:8787/tables/demo/orders/maintenance -H 'Content-Type: application/json' \
       -d '{{"actions": ["rewrite_data_files", "expire_snapshots"]}}'
  curl -s http://127.0.0.1:8787/jobs/JOB_ID
  curl -s 'http://127.0.0.1:8787/jobs?database=demo&table=orders'"#
    )
}
