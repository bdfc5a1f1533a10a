//! `snowpack run`: maintain a table directly, without a server or a lock.
//!
//! Iceberg's optimistic commits keep concurrent runs and writers safe; only the job protocol's
//! one-job-per-table rule is missing here.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use snowpack_catalog::AnyCatalog;
use snowpack_domain::{Action, ActionResult, Preview, dry_run_result};
use snowpack_plan::CatalogTables;
use snowpack_service::ports::{ActionStop, Engine, Provenance, Supervisor, Tables};
use snowpack_wire::http::ResultBody;
use tokio_util::sync::CancellationToken;

use crate::args::RunArgs;
use crate::catalog::{Work, deployment, open};
use crate::client::result_line;
use crate::engine::{engine_of, without_spark};
use crate::output::{Exit, print, print_json};
use crate::progress::Progress;

/// `snowpack run`.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<Exit> {
    let work = Work::parse(&args.work)?;
    let catalog = match open(&args.catalog).await {
        Ok(catalog) => catalog,
        Err(error) => return report(&args, &work, &Outcome::failed(format!("{error:#}"))),
    };
    let outcome = if work.dry_run {
        preview(catalog, &work).await?
    } else {
        execute(catalog, &work).await?
    };
    report(&args, &work, &outcome)
}

/// How a run ended.
#[derive(Debug, Default)]
struct Outcome {
    results: Vec<ActionResult>,
    error: Option<String>,
}

impl Outcome {
    fn failed(cause: String) -> Self {
        Self {
            results: Vec::new(),
            error: Some(cause),
        }
    }
}

async fn preview(catalog: AnyCatalog, work: &Work) -> anyhow::Result<Outcome> {
    let tables = CatalogTables::new(Arc::new(catalog), without_spark(deployment()?));
    match tables.find(&work.table).await {
        Err(error) => return Ok(Outcome::failed(error.to_string())),
        Ok(None) => {
            return Ok(Outcome::failed(format!(
                "table {} does not exist in the catalog",
                work.table
            )));
        }
        Ok(Some(_)) => {}
    }
    let previews = tables.preview(&work.table, &work.actions, &work.options).await;
    let results = work.actions.iter().zip(previews);
    let results = results
        .map(|(action, preview)| {
            let preview = preview.unwrap_or_else(Preview::from);
            dry_run_result(*action, Some(preview))
        })
        .collect();
    Ok(Outcome { results, error: None })
}

async fn execute(catalog: AnyCatalog, work: &Work) -> anyhow::Result<Outcome> {
    let engine = engine_of(&Arc::new(catalog), deployment()?);
    let supervisor = Arc::new(Direct {
        stop: stop_on_ctrl_c(),
        progress: Progress::new(),
    });
    let provenance = Provenance { job: None, fence: 0 };
    let mut outcome = Outcome::default();
    for action in &work.actions {
        if let Err(stop) = engine.preflight(&work.table, &[*action], &work.options).await {
            outcome.stop(*action, stop, 0.0);
            return Ok(outcome);
        }
    }
    for action in &work.actions {
        let started = Instant::now();
        let run = engine.run(
            &work.table,
            *action,
            &work.options,
            &provenance,
            Arc::clone(&supervisor),
        );
        let ran = Box::pin(run).await;
        supervisor.progress.clear();
        match ran {
            Ok(result) => outcome.results.push(result),
            Err(stop) => {
                outcome.stop(*action, stop, started.elapsed().as_secs_f64());
                break;
            }
        }
    }
    Ok(outcome)
}

impl Outcome {
    fn stop(&mut self, action: Action, stop: ActionStop, elapsed_seconds: f64) {
        let cause = match stop {
            ActionStop::Failed { cause, .. } => cause,
            ActionStop::OutOfTime | ActionStop::Revoked | ActionStop::Elsewhere { .. } => {
                "interrupted; what was not committed was removed".to_owned()
            }
        };
        self.error = Some(cause.clone());
        let metrics = std::collections::BTreeMap::new();
        self.results.push(ActionResult {
            action,
            outcome: Err(cause),
            elapsed_seconds,
            metrics,
            predicted: Default::default(),
            preview: None,
        });
    }
}

/// Stops at Ctrl-C; there is no lock and no deadline.
struct Direct {
    stop: CancellationToken,
    progress: Progress,
}

impl Supervisor for Direct {
    async fn checkpoint(&self) -> Result<(), ActionStop> {
        self.poll()
    }

    fn poll(&self) -> Result<(), ActionStop> {
        if self.stop.is_cancelled() {
            Err(ActionStop::Revoked)
        } else {
            Ok(())
        }
    }

    fn progress(&self, progress: snowpack_domain::Progress) {
        self.progress
            .set(progress.action.as_str(), progress.done, progress.total);
    }

    fn seconds_left(&self) -> Option<f64> {
        None
    }
}

/// A token cancelled by the first Ctrl-C or SIGTERM; the second one kills the process as usual.
pub(crate) fn stop_on_ctrl_c() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
        let terminated = async {
            match &mut terminate {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = terminated => {}
        }
        cancelled.cancel();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    token
}

fn report(args: &RunArgs, work: &Work, outcome: &Outcome) -> anyhow::Result<Exit> {
    let status = if outcome.error.is_none() {
        "completed"
    } else {
        "failed"
    };
    let results: Vec<ResultBody> = outcome.results.iter().map(ResultBody::from).collect();
    let document = json!({ "table": work.table.to_string(), "status": status, "results": results, "error": outcome.error });
    if args.json {
        print_json(&document)?;
    } else {
        show(&document)?;
    }
    Ok(if outcome.error.is_none() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn show(document: &Value) -> anyhow::Result<()> {
    let text = |name: &str| document[name].as_str().unwrap_or_default();
    print(&format!("{} {}", text("table"), text("status")))?;
    let results = document["results"].as_array().map_or(&[][..], Vec::as_slice);
    for result in results {
        print(&result_line(result))?;
    }
    if results.is_empty() && !text("error").is_empty() {
        print(&format!("  {}", text("error")))?;
    }
    Ok(())
}
