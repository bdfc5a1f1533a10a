//! Opens the catalog the flags or environment name, and reads a table's work from the command line.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use snowpack_aws::S3StorageFactory;
use snowpack_catalog::{AnyCatalog, CatalogConfig};
use snowpack_domain::{Action, JobOptions, OptionValue, TableId};
use snowpack_settings::Environment;

use crate::args::{CatalogArgs, WorkArgs};
use crate::output::UsageError;

/// Opens the catalog that flags or environment name.
///
/// # Errors
/// When the configuration is incomplete or the catalog cannot be opened.
pub(crate) async fn open(args: &CatalogArgs) -> anyhow::Result<AnyCatalog> {
    let kind = args.kind.as_deref().ok_or_else(|| {
        UsageError(
            "no catalog given: use --catalog sql, rest, glue or s3tables, or set SNOWPACK_CATALOG".to_owned(),
        )
    })?;
    let config = config(args, kind)?;
    Ok(snowpack_catalog::open(&config, Some(Arc::new(S3StorageFactory::default()))).await?)
}

/// The catalog as a deployed function would read it from variables of these values.
fn config(args: &CatalogArgs, kind: &str) -> anyhow::Result<CatalogConfig> {
    let properties = (!args.properties.is_empty()).then(|| args.properties.join(";"));
    let given = [
        ("SNOWPACK_CATALOG", Some(kind)),
        ("SNOWPACK_CATALOG_URI", args.uri.as_deref()),
        ("SNOWPACK_CATALOG_NAME", args.name.as_deref()),
        ("SNOWPACK_WAREHOUSE", args.warehouse.as_deref()),
        ("SNOWPACK_CATALOG_CREDENTIAL", args.credential.as_deref()),
        ("SNOWPACK_CATALOG_TOKEN", args.token.as_deref()),
        (
            "SNOWPACK_CATALOG_OAUTH2_SERVER_URI",
            args.oauth2_server_uri.as_deref(),
        ),
        ("SNOWPACK_CATALOG_SCOPE", args.scope.as_deref()),
        ("SNOWPACK_CATALOG_PROPERTIES", properties.as_deref()),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let config = snowpack_settings::catalog(&Environment::from_pairs(given));
    Ok(config.map_err(|error| UsageError(error.to_string()))?)
}

/// Defaults of action options from the environment.
///
/// # Errors
/// When a `SNOWPACK_*` variable has a bad value.
pub(crate) fn deployment() -> anyhow::Result<HashMap<String, String>> {
    Ok(snowpack_settings::deployment(&Environment::new(
        std::env::vars_os(),
    ))?)
}

/// A table and what to do to it, checked.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) table: TableId,
    pub(crate) actions: Vec<Action>,
    pub(crate) options: JobOptions,
    pub(crate) dry_run: bool,
}

impl Work {
    /// Checks what clap could not.
    pub(crate) fn parse(args: &WorkArgs) -> anyhow::Result<Self> {
        let table = TableId::parse(&args.table).map_err(|error| UsageError(error.to_string()))?;
        let actions = args
            .actions
            .iter()
            .map(|name| Action::parse(name))
            .collect::<Result<Vec<_>, _>>();
        let actions = actions.map_err(|error| UsageError(error.to_string()))?;
        let mut options = JobOptions::default();
        for option in &args.options {
            let (action, name, value) = split_option(option)?;
            options
                .set(action, name, value)
                .map_err(|error| UsageError(error.to_string()))?;
        }
        Ok(Self {
            table,
            actions: Action::in_order(actions),
            options,
            dry_run: args.dry_run,
        })
    }
}

/// Splits `ACTION.KEY=VALUE`; keys may have dots, values may have anything.
fn split_option(option: &str) -> anyhow::Result<(Action, &str, OptionValue)> {
    let malformed = || UsageError(format!("--option {option:?} is not of the form ACTION.KEY=VALUE"));
    let (key, value) = option.split_once('=').ok_or_else(malformed)?;
    let (action, name) = key.split_once('.').ok_or_else(malformed)?;
    let action = Action::parse(action)
        .map_err(|error| UsageError(error.to_string()))
        .context("in --option")?;
    Ok((action, name, OptionValue::Text(value.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(actions: &[&str], options: &[&str]) -> anyhow::Result<Work> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Work::parse(&WorkArgs {
            table: "db.t".into(),
            actions: texts(actions),
            options: texts(options),
            dry_run: false,
        })
    }

    #[test]
    fn options_split_at_the_first_dot_and_equals_sign() {
        let work = work(
            &["rewrite_data_files"],
            &["rewrite_data_files.partial-progress.enabled=false"],
        )
        .unwrap();
        let value = work
            .options
            .get(Action::RewriteDataFiles, "partial-progress.enabled");
        assert_eq!(value, Some(&OptionValue::Bool(false)));
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for (action, option) in [
            ("compact", "rewrite_data_files.where=x"),
            ("expire_snapshots", "nonsense"),
        ] {
            let error = work(&[action], &[option]).unwrap_err();
            assert!(error.chain().any(|cause| cause.is::<UsageError>()), "{error:#}");
        }
    }
}
