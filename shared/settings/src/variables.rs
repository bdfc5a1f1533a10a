//! Every variable Snowpack reads, with its default and meaning.

/// One environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What stands in when it is not set; empty when it must be set where it is used.
    pub default: &'static str,
    /// What it is for, in one sentence.
    pub meaning: &'static str,
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        default,
        meaning,
    }
}

/// Every variable, in the order of `docs/configuration.md`.
pub static VARIABLES: &[Variable] = &[
    variable(
        "SNOWPACK_TABLE_NAME",
        "",
        "The DynamoDB table that holds jobs, locks and the table cache.",
    ),
    variable("SNOWPACK_QUEUE_URL", "", "The URL of the SQS queue of jobs."),
    variable(
        "SNOWPACK_DEAD_LETTER_QUEUE_URL",
        "",
        "The URL of the SQS queue of messages that no worker could handle; the sweeper reads it.",
    ),
    variable(
        "SNOWPACK_CATALOG",
        "`glue`",
        "The kind of catalog: `glue`, `rest`, `s3tables` or `sql`.",
    ),
    variable(
        "SNOWPACK_CATALOG_URI",
        "none",
        "Where the catalog is: `http(s)://` for `rest`, `sqlite:///path` or `postgresql://user@host/database` for `sql`; an endpoint of its own for `glue` and `s3tables`.",
    ),
    variable(
        "SNOWPACK_CATALOG_NAME",
        "`snowpack` for `sql`",
        "The catalog's name inside a SQL catalog; for `glue`, the account that owns the catalog if it is another one.",
    ),
    variable(
        "SNOWPACK_WAREHOUSE",
        "none",
        "The warehouse: a location for `sql`, the server's name for it with `rest`, the table bucket's ARN for `s3tables`.",
    ),
    variable(
        "SNOWPACK_CATALOG_CREDENTIAL",
        "none",
        "Secret. `rest`: the OAuth2 client credentials `id:secret`. `sql`: the password of PostgreSQL.",
    ),
    variable(
        "SNOWPACK_CATALOG_TOKEN",
        "none",
        "Secret. `rest`: a fixed bearer token, instead of a credential.",
    ),
    variable(
        "SNOWPACK_CATALOG_OAUTH2_SERVER_URI",
        "`v1/oauth/tokens` below the catalog",
        "`rest`: where the credential buys tokens.",
    ),
    variable(
        "SNOWPACK_CATALOG_SCOPE",
        "`catalog`",
        "`rest`: the scope of those tokens.",
    ),
    variable(
        "SNOWPACK_CATALOG_PROPERTIES",
        "none",
        "Further catalog properties: `NAME=VALUE` pairs separated by semicolons.",
    ),
    variable(
        "SNOWPACK_CATALOG_DATABASES",
        "all",
        "The databases of the catalog that are known here, separated by commas, with `*` for any characters and `?` for one. Tables of others are neither listed nor found.",
    ),
    variable(
        "SNOWPACK_DATABASES",
        "all",
        "The databases Snowpack maintains by itself, separated by commas.",
    ),
    variable(
        "SNOWPACK_ENROLMENT",
        "`opt-out`",
        "Which tables Snowpack maintains by itself: with `opt-out` all but those with the property `snowpack.maintenance_enabled` = `false`, with `opt-in` only those with `true`.",
    ),
    variable(
        "SNOWPACK_MAX_SUBMISSIONS",
        "50",
        "Most jobs that one run of the orchestrator submits, at most 1000.",
    ),
    variable(
        "SNOWPACK_MAX_ACTIVE_JOBS",
        "20",
        "Most jobs, pending or running, up to which a run of the orchestrator submits more, at most 10000.",
    ),
    variable(
        "SNOWPACK_TABLE_CACHE_MAX_AGE_SECONDS",
        "900",
        "Age of the table cache from which the API's `/readyz` answers 503: three times the time between two syncs, or more.",
    ),
    variable(
        "SNOWPACK_LOG",
        "`info`",
        "What is logged: a level, or `target=level` pairs separated by commas.",
    ),
    variable(
        "SNOWPACK_METRICS",
        "`emf`",
        "`emf`: functions report metrics as CloudWatch's embedded metric format, lines on standard output; or `off`.",
    ),
    variable(
        "SNOWPACK_TABLE_METRICS",
        "`false`",
        "Reports the health of every table as metrics of its own, which CloudWatch bills for one by one.",
    ),
    variable(
        "SNOWPACK_DEPLOYMENT",
        "`snowpack`",
        "The deployment's name: the dimension `deployment` of its metrics.",
    ),
    variable(
        "SNOWPACK_CRASH_AT",
        "none",
        "For tests of recovery only: the named point at which a worker kills its own process, for example `before-commit`.",
    ),
    variable(
        "SNOWPACK_API",
        "`http://127.0.0.1:8787`",
        "Where the commands that talk to the API find it.",
    ),
    variable(
        "SNOWPACK_API_REGION",
        "the region in API Gateway's own address",
        "The region those commands sign requests for, when the API wants IAM and has a domain of its own.",
    ),
    variable(
        "SNOWPACK_API_TOKEN",
        "none",
        "The bearer token those commands send.",
    ),
    variable(
        "SNOWPACK_TARGET_FILE_SIZE_BYTES",
        "`write.target-file-size-bytes`, else 536870912",
        "Size of the data files compaction writes.",
    ),
    variable(
        "SNOWPACK_MIN_INPUT_FILES",
        "5",
        "Files in a group that make it worth compacting.",
    ),
    variable(
        "SNOWPACK_REWRITE_DATA_DELETE_FILE_THRESHOLD",
        "2",
        "Deletes on one data file that make it a candidate for compaction.",
    ),
    variable(
        "SNOWPACK_REWRITE_DATA_DELETE_RATIO_THRESHOLD",
        "0.10",
        "Share of deleted rows that makes a data file a candidate for compaction.",
    ),
    variable(
        "SNOWPACK_REWRITE_DATA_REWRITE_ALL",
        "`false`",
        "Compacts every data file, whatever its size.",
    ),
    variable(
        "SNOWPACK_PARTIAL_PROGRESS_MAX_COMMITS",
        "10",
        "Most commits of one compaction.",
    ),
    variable(
        "SNOWPACK_MAX_SNAPSHOT_AGE_DAYS",
        "`history.expire.max-snapshot-age-ms`, else 5",
        "Age at which snapshots expire.",
    ),
    variable(
        "SNOWPACK_MIN_SNAPSHOTS_TO_KEEP",
        "`history.expire.min-snapshots-to-keep`, else 3",
        "Snapshots of a branch kept whatever their age.",
    ),
    variable(
        "SNOWPACK_ORPHAN_FILE_MIN_AGE_HOURS",
        "72",
        "Age from which a file that nothing references counts as an orphan, at least 24.",
    ),
    variable(
        "SNOWPACK_MAINTENANCE_CADENCE_HOURS",
        "6",
        "Hours that a table is left alone after a job that completed.",
    ),
    variable(
        "SNOWPACK_DELETE_FILE_THRESHOLD",
        "5",
        "Delete files that are too many.",
    ),
    variable(
        "SNOWPACK_MAX_SNAPSHOT_COUNT",
        "100",
        "Snapshots that are still not too many.",
    ),
    variable(
        "SNOWPACK_MAX_MANIFEST_COUNT",
        "100",
        "Manifests that are still not too many.",
    ),
    variable(
        "SNOWPACK_ORPHAN_SCAN_CADENCE_DAYS",
        "7",
        "Days between two searches of a table's storage for orphan files.",
    ),
    variable(
        "SNOWPACK_ENGINE",
        "`native`",
        "Who rewrites: `native`; `spark` on EMR Serverless; or `auto`, Spark for what takes too long or is refused natively.",
    ),
    variable(
        "SNOWPACK_MAX_NATIVE_HOURS",
        "4",
        "With `auto`, a rewrite estimated to take the native engine longer goes to Spark.",
    ),
    variable(
        "SNOWPACK_SPARK_APPLICATION_ID",
        "none",
        "The EMR Serverless application whose runs do what is handed to Spark; needs the next two.",
    ),
    variable(
        "SNOWPACK_SPARK_EXECUTION_ROLE_ARN",
        "none",
        "The role those runs take on.",
    ),
    variable(
        "SNOWPACK_SPARK_LOCATION",
        "none",
        "The folder for their scripts, orders and results, `s3://bucket/prefix`, outside of every table.",
    ),
    variable(
        "SNOWPACK_SPARK_CONF",
        "none",
        "More settings of Spark for those runs, `name=value` pairs separated by semicolons; secrets as `EMR.secret@ARN`.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_exactly_these_variables() {
        let documentation = include_str!("../../../docs/configuration.md");
        let documented: Vec<_> = documentation
            .lines()
            .filter(|line| line.starts_with("| `SNOWPACK_"))
            .collect();
        let expected: Vec<_> = VARIABLES
            .iter()
            .map(
                |Variable {
                     name,
                     default,
                     meaning,
                 }| {
                    let default = if default.is_empty() { "required" } else { default };
                    format!("| `{name}` | {default} | {meaning} |")
                },
            )
            .collect();
        assert_eq!(documented, expected);
    }
}
