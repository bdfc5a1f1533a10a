//! GET /metrics: how the deployment stands, in Prometheus's text format, version 0.0.4.
//!
//! Gauges alone, read from the store and the queue: the function keeps nothing between requests, so it has nothing
//! to count up.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use snowpack_domain::Duration;
use snowpack_service::ports::{Clock, JobQueue, JobStore};

use crate::api::Backend;
use crate::problem::Problem;
use crate::query::Query;
use crate::reply;

/// The format's content type.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long jobs that ended are counted: long enough for a scrape that comes late, short enough to count cheaply.
const RECENT: Duration = Duration::from_seconds(3600);

/// A gauge: its name and what it says.
struct Gauge {
    name: &'static str,
    help: &'static str,
}

const JOBS: Gauge = Gauge {
    name: "snowpack_jobs",
    help: "Jobs by status: pending and running ones now, others if they ended in the last hour; counted up to 10000.",
};
const QUEUE_DEPTH: Gauge = Gauge {
    name: "snowpack_queue_depth",
    help: "Messages that wait for a worker, approximately.",
};
const ACTIVE_WORKERS: Gauge = Gauge {
    name: "snowpack_active_workers",
    help: "Messages that a worker has taken and not finished with, approximately.",
};
const TABLES_KNOWN: Gauge = Gauge {
    name: "snowpack_tables_known",
    help: "Tables in the table cache.",
};
const TABLE_CACHE_AGE: Gauge = Gauge {
    name: "snowpack_table_cache_age_seconds",
    help: "Seconds since the last sync of the table cache; absent before the first.",
};

/// GET /metrics.
pub(crate) async fn metrics<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let now = api.clock().now();
    let (jobs, queue, cache) = futures::try_join!(
        api.store().job_counts(now - RECENT),
        api.queue().depth(),
        api.store().cache_state(),
    )?;
    let mut text = String::new();
    let by_status = jobs
        .iter()
        .map(|(status, count)| (format!("{{status=\"{}\"}}", status.as_str()), *count));
    put(&mut text, &JOBS, by_status);
    put(&mut text, &QUEUE_DEPTH, one(queue.waiting));
    put(&mut text, &ACTIVE_WORKERS, one(queue.in_flight));
    put(&mut text, &TABLES_KNOWN, one(cache.table_count));
    let age = cache
        .last_synced
        .map(|synced| (now - synced).as_micros().max(0).unsigned_abs() / 1_000_000);
    put(&mut text, &TABLE_CACHE_AGE, age.into_iter().flat_map(one));
    Ok(reply::text(CONTENT_TYPE, text))
}

/// One series without labels.
fn one(value: u64) -> impl Iterator<Item = (String, u64)> {
    std::iter::once((String::new(), value))
}

fn put(text: &mut String, gauge: &Gauge, series: impl IntoIterator<Item = (String, u64)>) {
    let Gauge { name, help } = gauge;
    let mut write = |line: std::fmt::Arguments<'_>| text.write_fmt(line).expect("a string takes everything");
    write(format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
    for (labels, value) in series {
        write(format_args!("{name}{labels} {value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_exactly_these_gauges() {
        let documentation = include_str!("../../../docs/observability.md");
        let documented: Vec<_> = documentation
            .lines()
            .filter(|line| line.starts_with("| `snowpack_"))
            .collect();
        let expected: Vec<_> = [JOBS, QUEUE_DEPTH, ACTIVE_WORKERS, TABLES_KNOWN, TABLE_CACHE_AGE]
            .iter()
            .map(|Gauge { name, help }| format!("| `{name}` | {help} |"))
            .collect();
        assert_eq!(documented, expected);
    }

    #[test]
    fn the_count_goes_as_far_as_the_help_says() {
        let most = snowpack_service::ports::MOST_JOBS_COUNTED;
        assert!(JOBS.help.ends_with(&format!("counted up to {most}.")));
    }
}
