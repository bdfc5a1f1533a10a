//! Jobs, tables and the drain switch as text for people, or as the API's JSON.

use serde_json::Value;

use crate::args::ApiArgs;
use crate::output::{print, print_json};

/// One job.
pub(super) fn job(args: &ApiArgs, job: &Value) -> anyhow::Result<()> {
    if args.json {
        return print_json(job);
    }
    print(&headline(job))?;
    for result in job["results"].as_array().into_iter().flatten() {
        print(&result_line(result))?;
    }
    if let Some(error) = job["error"].as_str() {
        print(&format!("  error: {error}"))?;
    }
    Ok(())
}

/// One line for one action's result.
pub(crate) fn result_line(result: &Value) -> String {
    let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
    let seconds = result["elapsed_seconds"].as_f64().unwrap_or_default();
    let outcome = if result["success"] == true {
        text("message")
    } else {
        format!("FAILED: {}", text("error"))
    };
    let mut line = format!("  {:<30} {outcome} ({seconds:.1} s)", text("action"));
    if let Some(preview) = result["preview"].as_object() {
        for (name, value) in preview.iter().filter(|(_, value)| !value.is_null()) {
            line.push_str(&format!(
                "\n    {name}: {}",
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            ));
        }
    }
    line
}

/// A list of jobs.
pub(super) fn jobs(jobs: &[Value]) -> anyhow::Result<()> {
    for job in jobs {
        print(&headline(job))?;
    }
    Ok(())
}

/// A list of tables.
pub(super) fn tables(tables: &[Value]) -> anyhow::Result<()> {
    for table in tables {
        let text = |name: &str| table[name].as_str().unwrap_or_default().to_owned();
        print(&format!("{}.{}", text("database"), text("table_name")))?;
    }
    Ok(())
}

/// A health report.
pub(super) fn health(report: &Value) -> anyhow::Result<()> {
    let files = &report["file_stats"];
    print(&format!(
        "{} data files ({} small), {} delete files, {} bytes",
        files["total_data_files"],
        files["small_file_count"],
        files["total_delete_files"],
        files["total_size_bytes"]
    ))?;
    print(&format!(
        "{} snapshots, {} manifests, {} records",
        report["snapshot_count"], report["manifest_count"], report["total_records"]
    ))?;
    for issue in report["issues"].as_array().into_iter().flatten() {
        let text = |name: &str| issue[name].as_str().unwrap_or_default();
        print(&format!(
            "  {:<8} {}: {}",
            text("severity"),
            text("code"),
            text("message")
        ))?;
    }
    let due: Vec<_> = report["recommended_actions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let due = match due.is_empty() {
        true => "nothing is due".to_owned(),
        false => format!("due: {}", due.join(" ")),
    };
    print(&due)?;
    Ok(())
}

/// What is due on a table.
pub(super) fn recommendation(advice: &Value) -> anyhow::Result<()> {
    for entry in advice["actions"].as_array().into_iter().flatten() {
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        let due = if entry["recommended"] == true { "due" } else { "-" };
        print(&format!("{:<30} {due:<4} {}", text("action"), text("reason")))?;
    }
    if let Some(cause) = advice["skip_reason"].as_str() {
        print(&format!("nothing is submitted by itself now: {cause}"))?;
    }
    Ok(())
}

/// A list of orchestrator runs.
pub(super) fn runs(runs: &[Value]) -> anyhow::Result<()> {
    for run in runs {
        let text = |name: &str| run[name].as_str().unwrap_or_default();
        let dry_run = if run["dry_run"] == true { " (dry run)" } else { "" };
        let error = run["error"].as_str().map(|error| format!(": {error}"));
        print(&format!(
            "{} {:<9} {} assessed, {} skipped, {} healthy, {} submitted{dry_run}{}",
            text("started_at"),
            text("status"),
            run["tables_assessed"],
            run["tables_skipped"],
            run["tables_healthy"],
            run["jobs_submitted"],
            error.unwrap_or_default()
        ))?;
    }
    Ok(())
}

/// The drain switch.
pub(super) fn drain(args: &ApiArgs, drain: &Value) -> anyhow::Result<()> {
    if args.json {
        return print_json(drain);
    }
    let state = if drain["enabled"] == true { "on" } else { "off" };
    let reason = drain["reason"].as_str().map(|reason| format!(": {reason}"));
    print(&format!("drain mode is {state}{}", reason.unwrap_or_default()))?;
    Ok(())
}

fn headline(job: &Value) -> String {
    let text = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
    let actions: Vec<_> = job["actions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let dry_run = if job["dry_run"] == true { " (dry run)" } else { "" };
    format!(
        "{} {:<9} {}.{} {}{dry_run}",
        text("job_id"),
        text("status"),
        text("database"),
        text("table_name"),
        actions.join(",")
    )
}
