//! Iceberg's procedures (`CALL ...`) that do what an action would do, with every setting said.

use snowpack_domain::{
    Compaction, Expiry, FileSizes, ManifestRewrite, PositionDeleteCompaction, RewriteJobOrder, Strategy,
    TableId,
};

use crate::literal::{instant, table, text};

/// A procedure being put together.
pub(crate) struct Call {
    catalog: &'static str,
    procedure: &'static str,
    arguments: Vec<String>,
}

impl Call {
    fn new(catalog: &'static str, procedure: &'static str, on: &TableId) -> Self {
        Self {
            catalog,
            procedure,
            arguments: vec![format!("table => {}", table(catalog, on))],
        }
    }

    fn with(mut self, name: &str, literal: impl std::fmt::Display) -> Self {
        self.arguments.push(format!("{name} => {literal}"));
        self
    }

    fn with_text(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, text(value)),
            None => self,
        }
    }

    fn with_options(self, options: &Options) -> Self {
        let pairs: Vec<String> = options
            .0
            .iter()
            .map(|(name, value)| format!("{}, {}", text(name), text(value)))
            .collect();
        self.with("options", format_args!("map({})", pairs.join(", ")))
    }

    /// The statement.
    pub(crate) fn sql(&self) -> String {
        let Self {
            catalog, procedure, ..
        } = self;
        format!(
            "CALL `{catalog}`.system.{procedure}({})",
            self.arguments.join(", ")
        )
    }
}

/// Pairs of an options map.
#[derive(Default)]
struct Options(Vec<(&'static str, String)>);

impl Options {
    fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.0.push((name, format!("{value}")));
        self
    }

    fn with_some(self, name: &'static str, value: Option<impl std::fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn with_sizes(self, sizes: FileSizes) -> Self {
        self.with("target-file-size-bytes", sizes.target_bytes)
            .with("min-file-size-bytes", sizes.min_bytes)
            .with("max-file-size-bytes", sizes.max_bytes)
    }
}

/// rewrite_data_files.
pub(crate) fn rewrite_data_files(catalog: &'static str, on: &TableId, settings: &Compaction) -> Call {
    let options = Options::default()
        .with_sizes(settings.sizes())
        .with("min-input-files", settings.min_input_files)
        .with("rewrite-all", settings.rewrite_all)
        .with("max-file-group-size-bytes", settings.max_group_bytes)
        .with_some(
            "max-concurrent-file-group-rewrites",
            settings.max_concurrent_groups,
        )
        .with("partial-progress.enabled", settings.partial_progress)
        .with("partial-progress.max-commits", settings.max_commits)
        .with_some("partial-progress.max-failed-commits", settings.max_failed_commits)
        .with("rewrite-job-order", job_order(settings.job_order))
        .with("delete-file-threshold", settings.delete_file_threshold)
        .with("delete-ratio-threshold", settings.delete_ratio_threshold)
        .with_some("max-files-to-rewrite", settings.max_files_to_rewrite)
        .with_some("output-spec-id", settings.output_spec_id)
        .with(
            "use-starting-sequence-number",
            settings.use_starting_sequence_number,
        )
        .with("remove-dangling-deletes", settings.remove_dangling_deletes);
    let (strategy, sort_order) = arrangement(settings);
    Call::new(catalog, "rewrite_data_files", on)
        .with("strategy", text(strategy))
        .with_text("sort_order", sort_order.as_deref())
        .with_text("where", settings.filter.as_deref())
        .with_options(&options)
}

/// To Spark, a z-order is a sort order of its own form.
fn arrangement(settings: &Compaction) -> (&'static str, Option<String>) {
    let order = settings.sort_order.clone();
    match settings.strategy {
        Strategy::BinPack => ("binpack", order),
        Strategy::Sort => ("sort", order),
        Strategy::ZOrder => {
            let is_called = |text: &str| {
                let name = text.trim_start().get(..6);
                name.is_some_and(|name| name.eq_ignore_ascii_case("zorder")) && text.contains('(')
            };
            let wrap = |text: String| {
                if is_called(&text) {
                    text
                } else {
                    format!("zorder({text})")
                }
            };
            ("sort", order.map(wrap))
        }
    }
}

const fn job_order(order: RewriteJobOrder) -> &'static str {
    match order {
        RewriteJobOrder::None => "none",
        RewriteJobOrder::BytesAscending => "bytes-asc",
        RewriteJobOrder::BytesDescending => "bytes-desc",
        RewriteJobOrder::FilesAscending => "files-asc",
        RewriteJobOrder::FilesDescending => "files-desc",
    }
}

/// rewrite_position_delete_files.
pub(crate) fn rewrite_position_deletes(
    catalog: &'static str,
    on: &TableId,
    settings: &PositionDeleteCompaction,
) -> Call {
    let options = Options::default()
        .with_sizes(settings.sizes)
        .with("min-input-files", settings.min_input_files)
        .with("rewrite-all", settings.rewrite_all)
        .with("max-file-group-size-bytes", settings.max_group_bytes)
        .with_some(
            "max-concurrent-file-group-rewrites",
            settings.max_concurrent_groups,
        )
        .with("partial-progress.enabled", settings.partial_progress)
        .with("partial-progress.max-commits", settings.max_commits)
        .with("rewrite-job-order", job_order(settings.job_order));
    Call::new(catalog, "rewrite_position_delete_files", on)
        .with_text("where", settings.filter.as_deref())
        .with_options(&options)
}

/// expire_snapshots.
pub(crate) fn expire_snapshots(catalog: &'static str, on: &TableId, settings: &Expiry) -> Call {
    let call = Call::new(catalog, "expire_snapshots", on)
        .with("older_than", instant(settings.older_than))
        .with("retain_last", settings.retain_last);
    let ids: Vec<String> = settings.snapshot_ids.iter().map(|id| format!("{id}L")).collect();
    let call = if ids.is_empty() {
        call
    } else {
        call.with("snapshot_ids", format_args!("array({})", ids.join(", ")))
    };
    call.with("clean_expired_metadata", settings.clean_expired_metadata)
}

/// rewrite_manifests. The wanted size of a manifest is the table's property, for Spark as for us.
pub(crate) fn rewrite_manifests(catalog: &'static str, on: &TableId, settings: &ManifestRewrite) -> Call {
    let call = Call::new(catalog, "rewrite_manifests", on);
    match settings.spec_id {
        Some(id) => call.with("spec_id", id),
        None => call,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use snowpack_domain::{Action, JobOptions, OptionValue, Properties, Timestamp};

    use super::*;

    fn options(action: Action, pairs: &[(&str, &str)]) -> JobOptions {
        let mut options = JobOptions::default();
        for (name, value) in pairs {
            options
                .set(action, name, OptionValue::Text((*value).to_owned()))
                .unwrap();
        }
        options
    }

    fn rewrite(pairs: &[(&str, &str)]) -> String {
        let nothing = HashMap::new();
        let properties = Properties {
            table: &nothing,
            deployment: &nothing,
        };
        let settings = Compaction::resolve(&options(Action::RewriteDataFiles, pairs), properties).unwrap();
        rewrite_data_files("snowpack", &TableId::new("db", "t").unwrap(), &settings).sql()
    }

    #[test]
    fn every_setting_is_said() {
        let sql = rewrite(&[("where", "c = 'x'"), ("output-spec-id", "2")]);
        assert!(sql.starts_with(
            "CALL `snowpack`.system.rewrite_data_files(table => \
             '\\u0060snowpack\\u0060.\\u0060db\\u0060.\\u0060t\\u0060', strategy => 'binpack', \
             where => 'c = \\u0027x\\u0027', options => map('target\\u002dfile"
        ));
        for value in ["'536870912'", "'0.1'", "'2'", "'107374182400'"] {
            assert!(sql.contains(value), "{value} in {sql}");
        }
        assert!(!sql.contains("sort_order"));
    }

    #[test]
    fn orders_are_said_as_spark_says_them() {
        assert!(
            rewrite(&[("sort_order", "id DESC")]).contains("strategy => 'sort', sort_order => 'id DESC'")
        );
        for order in ["a, b", "zorder(a, b)", "ZORDER (a, b)"] {
            let sql = rewrite(&[("strategy", "zorder"), ("sort_order", order)]);
            assert!(sql.contains("strategy => 'sort'"), "{sql}");
            let said = sql.to_lowercase();
            assert!(
                said.contains("'zorder(a, b)'") || said.contains("'zorder (a, b)'"),
                "{sql}"
            );
        }
        let named = rewrite(&[("strategy", "zorder"), ("sort_order", "zorder_key, b")]);
        assert!(named.contains("'zorder(zorder_key, b)'"), "{named}");
    }

    #[test]
    fn metadata_actions_say_their_arguments() {
        let on = TableId::new("db", "t").unwrap();
        let expiry = Expiry {
            older_than: Timestamp::from_micros(0),
            retain_last: 3,
            snapshot_ids: vec![7, 8],
            clean_expired_metadata: true,
        };
        let sql = expire_snapshots("snowpack", &on, &expiry).sql();
        assert!(sql.ends_with(
            "older_than => TIMESTAMP '1970-01-01 00:00:00.000000 UTC', retain_last => 3, \
             snapshot_ids => array(7L, 8L), clean_expired_metadata => true)"
        ));
        let manifests = |spec_id| ManifestRewrite {
            spec_id,
            target_bytes: 1,
        };
        assert!(
            rewrite_manifests("snowpack", &on, &manifests(Some(1)))
                .sql()
                .ends_with(", spec_id => 1)")
        );
        assert!(
            !rewrite_manifests("snowpack", &on, &manifests(None))
                .sql()
                .contains("spec_id")
        );
    }
}
