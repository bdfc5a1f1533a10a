//! Both ends of a hand-over on the command line, so that tests can put a real Spark between them.
//!
//!     handover order DATABASE.TABLE ACTION [OPTION=VALUE...]    the order document, on standard output
//!     handover result ACTION                                   what the script left, from standard input, as a result

use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use snowpack_domain::{
    Action, Duration, JobId, JobOptions, Metric, OptionValue, Properties, TableId, Timestamp,
};
use snowpack_service::SystemClock;
use snowpack_service::ports::{Clock as _, Provenance};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let answer = match words.as_slice() {
        ["order", table, action, options @ ..] => order(table, action, options, SystemClock.now())?,
        ["result", action] => result(action)?,
        _ => bail!("usage: handover order DATABASE.TABLE ACTION [OPTION=VALUE...] | handover result ACTION"),
    };
    std::io::stdout().write_all(answer.as_bytes())?;
    Ok(())
}

fn order(table: &str, action: &str, options: &[&str], now: Timestamp) -> anyhow::Result<String> {
    let table = TableId::parse(table)?;
    let action = Action::parse(action)?;
    let mut given = JobOptions::default();
    for pair in options {
        let (name, value) = pair.split_once('=').context("options are NAME=VALUE")?;
        given.set(action, name, OptionValue::Text(value.to_owned()))?;
    }
    let nothing = HashMap::new();
    let properties = Properties {
        table: &nothing,
        deployment: &nothing,
    };
    let provenance = Provenance {
        job: Some(JobId::from_u128(7)),
        fence: 3,
    };
    Ok(snowpack_spark::order(&table, action, &given, properties, &provenance, now)?.document)
}

fn result(action: &str) -> anyhow::Result<String> {
    let mut document = String::new();
    std::io::stdin().read_to_string(&mut document)?;
    let result = snowpack_spark::read_output(Action::parse(action)?, &document, Duration::from_seconds(1))?;
    let number = |metric: &Metric| match metric {
        Metric::Count(count) => json!(count),
        Metric::Ratio(ratio) => json!(ratio),
    };
    let metrics: BTreeMap<&String, Value> = result
        .metrics
        .iter()
        .map(|(name, metric)| (name, number(metric)))
        .collect();
    Ok(json!({"message": result.outcome.unwrap_or_default(), "metrics": metrics}).to_string())
}
