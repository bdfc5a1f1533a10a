//! The API client's commands: submit, job, jobs, cancel, tables, health, recommend, runs, drain.

mod access;
mod http;
mod show;

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::{ApiArgs, DrainArgs, JobArgs, JobsArgs, RunsArgs, SubmitArgs, TableArgs, TablesArgs, Turn};
use crate::catalog::Work;
use crate::output::{Exit, print_json};
use crate::progress::Progress;
#[cfg(test)]
pub(crate) use access::Access;
use http::segment;
pub(crate) use http::{Answer, Api};
pub(crate) use show::result_line;

/// `snowpack submit`.
pub(crate) async fn submit(args: SubmitArgs) -> anyhow::Result<Exit> {
    let api = Api::new(&args.api).await?;
    let work = Work::parse(&args.work)?;
    let answer = api
        .submit(&work, &args.work.options, args.idempotency_key.as_deref())
        .await?;
    let Some(job) = answer.accepted(&args.api)? else {
        return Ok(Exit::Refused);
    };
    if !args.wait {
        show::job(&args.api, &job)?;
        return Ok(Exit::Done);
    }
    let job = wait(&api, job, args.poll_seconds.map(Duration::from_secs)).await?;
    show::job(&args.api, &job)?;
    Ok(if job["status"] == "completed" {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Polls until the job has ended, as often as the API asks or `every` says.
pub(crate) async fn wait(api: &Api, job: Value, every: Option<Duration>) -> anyhow::Result<Value> {
    let progress = Progress::new();
    let id = job["job_id"].as_str().unwrap_or_default().to_owned();
    let mut job = job;
    let mut pause = Duration::ZERO;
    while matches!(job["status"].as_str(), Some("pending" | "running")) {
        tokio::time::sleep(every.unwrap_or(pause)).await;
        let answer = api.get(&format!("/jobs/{id}"), &[]).await?;
        pause = answer.retry_after(api.is_local());
        job = answer.body_or_error()?;
        let counted = &job["progress"];
        if let (Some(action), Some(done), Some(total)) = (
            counted["action"].as_str(),
            counted["done"].as_u64(),
            counted["total"].as_u64(),
        ) {
            progress.set(action, done, total);
        }
    }
    progress.clear();
    Ok(job)
}

/// `snowpack job`.
pub(crate) async fn job(args: JobArgs) -> anyhow::Result<Exit> {
    let answer = Api::new(&args.api)
        .await?
        .get(&format!("/jobs/{}", http::segment(&args.id)), &[])
        .await?;
    show_job(&args.api, answer)
}

/// `snowpack cancel`.
pub(crate) async fn cancel(args: JobArgs) -> anyhow::Result<Exit> {
    let answer = Api::new(&args.api)
        .await?
        .post(&format!("/jobs/{}/cancel", http::segment(&args.id)), None)
        .await?;
    show_job(&args.api, answer)
}

fn show_job(args: &ApiArgs, answer: Answer) -> anyhow::Result<Exit> {
    let Some(job) = answer.accepted(args)? else {
        return Ok(Exit::Refused);
    };
    show::job(args, &job)?;
    Ok(Exit::Done)
}

/// `snowpack jobs`.
pub(crate) async fn jobs(args: JobsArgs) -> anyhow::Result<Exit> {
    let mut query = vec![("limit", args.limit.to_string())];
    if let Some(status) = args.status {
        query.push(("status", status));
    }
    if let Some(full) = args.table {
        let table = snowpack_domain::TableId::parse(&full)
            .map_err(|error| crate::output::UsageError(error.to_string()))?;
        query.push(("database", table.database.to_string()));
        query.push(("table", table.table.to_string()));
    }
    list(&args.api, "/jobs", &query, show::jobs).await
}

/// `snowpack tables`.
pub(crate) async fn tables(args: TablesArgs) -> anyhow::Result<Exit> {
    let query: Vec<_> = args
        .database
        .into_iter()
        .map(|database| ("database", database))
        .collect();
    list(&args.api, "/tables", &query, show::tables).await
}

/// `snowpack health`.
pub(crate) async fn health(args: TableArgs) -> anyhow::Result<Exit> {
    about(&args, "health", show::health).await
}

/// `snowpack recommend`.
pub(crate) async fn recommend(args: TableArgs) -> anyhow::Result<Exit> {
    about(&args, "maintenance/recommendation", show::recommendation).await
}

/// `snowpack runs`.
pub(crate) async fn runs(args: RunsArgs) -> anyhow::Result<Exit> {
    let query = [("limit", args.limit.to_string())];
    list(&args.api, "/orchestrator/runs", &query, show::runs).await
}

async fn about(args: &TableArgs, what: &str, show: fn(&Value) -> anyhow::Result<()>) -> anyhow::Result<Exit> {
    let table = snowpack_domain::TableId::parse(&args.table)
        .map_err(|error| crate::output::UsageError(error.to_string()))?;
    let path = format!(
        "/tables/{}/{}/{what}",
        segment(table.database.as_str()),
        segment(table.table.as_str())
    );
    let answer = Api::new(&args.api).await?.get(&path, &[]).await?;
    let Some(body) = answer.accepted(&args.api)? else {
        return Ok(Exit::Refused);
    };
    if args.api.json {
        print_json(&body)?;
    } else {
        show(&body)?;
    }
    Ok(Exit::Done)
}

/// `snowpack drain`.
pub(crate) async fn drain(args: DrainArgs) -> anyhow::Result<Exit> {
    let api = Api::new(&args.api).await?;
    let answer = match args.turn {
        None => api.get("/drain", &[]).await?,
        Some(turn) => {
            let mut body = json!({ "enabled": turn == Turn::On });
            if let Some(reason) = &args.reason {
                body["reason"] = json!(reason);
            }
            api.put("/drain", body).await?
        }
    };
    let Some(drain) = answer.accepted(&args.api)? else {
        return Ok(Exit::Refused);
    };
    show::drain(&args.api, &drain)?;
    Ok(Exit::Done)
}

async fn list(
    args: &ApiArgs,
    path: &str,
    query: &[(&str, String)],
    show: fn(&[Value]) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let answer = Api::new(args).await?.get(path, query).await?;
    let Some(body) = answer.accepted(args)? else {
        return Ok(Exit::Refused);
    };
    if args.json {
        print_json(&body)?;
    } else {
        show(body.as_array().map_or(&[], Vec::as_slice))?;
    }
    Ok(Exit::Done)
}

/// The body of a submit.
pub(crate) fn submit_body(work: &Work, raw_options: &[String]) -> Value {
    let actions: Vec<_> = work.actions.iter().map(|action| action.as_str()).collect();
    let mut options = serde_json::Map::new();
    for option in raw_options {
        let Some((key, value)) = option.split_once('=') else {
            continue;
        };
        let Some((action, name)) = key.split_once('.') else {
            continue;
        };
        let of_action = options.entry(action).or_insert_with(|| json!({}));
        of_action[name] = json!(value);
    }
    let mut body = json!({ "actions": actions, "dry_run": work.dry_run });
    if !options.is_empty() {
        body["options"] = Value::Object(options);
    }
    body
}
