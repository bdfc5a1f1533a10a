//! Writing data files as Iceberg's own Parquet writer does: same types, properties, names and metrics.
//!
//! `properties` and `metrics_config` read the table's properties, `location` names files, `parquet_schema`
//! gives the Parquet types, `file_writer` encodes one file, `copy` takes row groups over as they are, `split` and `partition` decide which file a row
//! goes to.

mod bounds;
mod copy;
mod dictionary;
mod encoder;
mod file_writer;
mod location;
mod metrics;
mod metrics_config;
mod parquet_schema;
mod partition;
mod properties;
mod split;
mod written;

pub(crate) use copy::{CopyRules, RawRowGroup};
pub(crate) use dictionary::better_plain;
pub(crate) use file_writer::{DataFileWriter, FileWriterFactory};
pub(crate) use location::{FileNames, LocationProvider};
pub(crate) use partition::{PartitionRouter, Routed};
pub(crate) use properties::WriteProperties;
pub(crate) use split::Splitter;
pub(crate) use written::WrittenFiles;
