//! The option `where`: which files may hold rows that a condition is true for, decided as Spark's procedures decide
//! it (`SparkExpressionConverter`, then Iceberg's scan planning of 1.10).
//!
//! A file that holds such a row is always selected, but for rows with NaN: Spark has it greater than every number,
//! and Iceberg's statistics leave it out of every order. A condition that Spark could not push down is refused, and
//! so are constants that it would silently read as NULL.

mod bind;
mod check;
mod coerce;
mod constant;
mod metrics;
mod projection;
mod syntax;

use std::collections::{HashMap, HashSet};

use iceberg::spec::{Literal, TableMetadata};

use check::{Test, Tree};
use projection::PartitionTest;

use crate::partition::PartitionTypes;
use crate::types::LiveFile;

/// Selects the files of one table.
#[derive(Debug)]
pub(crate) struct FileFilter {
    rows: Tree<Test>,
    /// By partition spec.
    partitions: HashMap<i32, Tree<PartitionTest>>,
    types: PartitionTypes,
}

impl FileFilter {
    /// Reads a filter of this table's files.
    ///
    /// # Errors
    /// What is wrong: it is no condition, names a column that is not there, or asks what statistics cannot tell.
    pub(crate) fn resolve(text: &str, metadata: &TableMetadata) -> Result<Self, String> {
        let rows = bind::bind(&syntax::parse(text)?, metadata.current_schema())?;
        let specs = metadata.partition_specs_iter();
        Ok(Self {
            partitions: specs
                .map(|spec| (spec.spec_id(), projection::project(&rows, spec)))
                .collect(),
            types: PartitionTypes::of(metadata),
            rows,
        })
    }

    /// The filter of settings that [`check_settings`](crate::check_settings) accepted on this table.
    pub(crate) fn checked(text: Option<&str>, metadata: &TableMetadata) -> Option<Self> {
        text.map(|text| Self::resolve(text, metadata).expect("the settings were checked"))
    }

    /// The columns whose statistics [`FileFilter::selects`] looks at.
    pub(crate) fn columns(&self) -> HashSet<i32> {
        let mut columns = HashSet::new();
        self.rows.for_each(&mut |test| {
            columns.insert(test.term.id);
        });
        columns
    }

    /// Whether a data file may hold rows that the condition is true for.
    pub(crate) fn selects(&self, data: &LiveFile) -> bool {
        self.selects_partition(data) && metrics::may_match(&self.rows, &data.file)
    }

    /// Whether the file's partition may hold such rows. Position-delete files have no other statistics of the
    /// table's columns (`PositionDeletesBatchScan.baseTableFilter`).
    pub(crate) fn selects_partition(&self, file: &LiveFile) -> bool {
        let Some(filter) = self.partitions.get(&file.spec_id) else {
            return true;
        };
        let partition = self.types.current(file.spec_id, file.file.partition());
        filter.holds(&|test: &PartitionTest| {
            match partition.fields().get(test.position) {
                Some(Some(Literal::Primitive(value))) => test.check.accepts(Some(value)),
                Some(None) => test.check.accepts(None),
                // No value that could be judged.
                _ => true,
            }
        })
    }
}

#[cfg(test)]
mod tests;
