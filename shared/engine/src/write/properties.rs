//! The table properties that say how data files are written (`TableProperties`, `Parquet.WriteBuilder`).

use std::collections::HashMap;
use std::str::FromStr;

use iceberg::spec::TableMetadata;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use snowpack_domain::OptionError;

use super::location::LocationProvider;
use super::metrics_config::MetricsConfig;

/// `write.parquet.row-group-size-bytes`.
const ROW_GROUP_BYTES: u64 = 128 * 1024 * 1024;
/// `write.parquet.page-size-bytes`.
const PAGE_BYTES: usize = 1024 * 1024;
/// `write.parquet.page-row-limit`.
const PAGE_ROWS: usize = 20_000;
/// `write.parquet.dict-size-bytes`.
const DICTIONARY_BYTES: usize = 2 * 1024 * 1024;
/// `write.parquet.bloom-filter-max-bytes`.
const BLOOM_FILTER_BYTES: u64 = 1024 * 1024;
/// `write.parquet.bloom-filter-fpp.column.*`.
const BLOOM_FILTER_FPP: f64 = 0.01;
/// The sort order of files that are in no order (spec, Sorting).
const UNSORTED: i32 = 0;
/// The level of parquet-java's zstd codec.
const ZSTD_LEVEL: i32 = 3;

/// How this table's data files are written.
#[derive(Clone, Debug)]
pub(crate) struct WriteProperties {
    /// Encoded bytes after which a row group is ended.
    pub(crate) row_group_bytes: u64,
    /// Where files go.
    pub(crate) locations: LocationProvider,
    /// Which metrics manifests keep of each column.
    pub(crate) metrics: MetricsConfig,
    /// The table's sort order that the rows are in.
    pub(crate) sort_order_id: i32,
    compression: Compression,
    page_bytes: usize,
    page_rows: usize,
    dictionary_bytes: usize,
    bloom_filter_bytes: u64,
    properties: HashMap<String, String>,
}

impl WriteProperties {
    /// Reads the properties of a table.
    ///
    /// # Errors
    /// A value cannot be used; names the property. Checked before anything is written.
    pub(crate) fn of(table: &TableMetadata) -> Result<Self, OptionError> {
        Self::read(table, table.properties())
    }

    /// How position-delete files are written: by `write.delete.parquet.*`, and where that says nothing as data
    /// files are (`Parquet.DeleteWriteBuilder`), but for settings of single columns.
    ///
    /// # Errors
    /// As [`WriteProperties::of`].
    pub(crate) fn of_position_deletes(table: &TableMetadata) -> Result<Self, OptionError> {
        const OF_DELETES: &str = "write.delete.parquet.";
        let mut all = table.properties().clone();
        all.retain(|key, _| !key.contains(".column."));
        for (key, value) in table.properties() {
            if let Some(name) = key.strip_prefix(OF_DELETES) {
                all.insert(format!("write.parquet.{name}"), value.clone());
            }
        }
        Ok(Self {
            metrics: MetricsConfig::full(),
            ..Self::read(table, &all)?
        })
    }

    fn read(table: &TableMetadata, all: &HashMap<String, String>) -> Result<Self, OptionError> {
        let codec = all
            .get("write.parquet.compression-codec")
            .map_or("zstd", String::as_str);
        let level = all.get("write.parquet.compression-level").map(String::as_str);
        Ok(Self {
            row_group_bytes: positive(all, "write.parquet.row-group-size-bytes", ROW_GROUP_BYTES)?,
            locations: LocationProvider::of(table)?,
            metrics: MetricsConfig::of(table),
            sort_order_id: UNSORTED,
            compression: compression(codec, level)?,
            page_bytes: positive(all, "write.parquet.page-size-bytes", PAGE_BYTES)?,
            page_rows: positive(all, "write.parquet.page-row-limit", PAGE_ROWS)?,
            dictionary_bytes: positive(all, "write.parquet.dict-size-bytes", DICTIONARY_BYTES)?,
            bloom_filter_bytes: positive(all, "write.parquet.bloom-filter-max-bytes", BLOOM_FILTER_BYTES)?,
            properties: all.clone(),
        })
    }

    /// Ends row groups no later than a file has to end, so that its size is known in time.
    pub(crate) fn with_row_groups_up_to(mut self, bytes: u64) -> Self {
        self.row_group_bytes = self.row_group_bytes.min(bytes.max(1));
        self
    }

    /// The settings of parquet's writer. `columns` gives each column's dotted name in the table with its
    /// path in the file.
    ///
    /// # Errors
    /// A per-column value cannot be used; names the property.
    pub(crate) fn writer_properties(
        &self,
        columns: &[(String, ColumnPath)],
    ) -> Result<WriterProperties, OptionError> {
        let mut builder = WriterProperties::builder()
            .set_compression(self.compression)
            .set_data_page_size_limit(self.page_bytes)
            .set_data_page_row_count_limit(self.page_rows)
            .set_dictionary_page_size_limit(self.dictionary_bytes)
            // The bounds of manifests come from these; `metrics` drops what is too long for the footer.
            .set_statistics_truncate_length(None)
            .set_created_by(concat!("snowpack ", env!("CARGO_PKG_VERSION")).to_owned());
        for (name, path) in columns {
            builder = self.column(builder, name, path)?;
        }
        Ok(builder.build())
    }

    fn column(
        &self,
        mut builder: WriterPropertiesBuilder,
        name: &str,
        path: &ColumnPath,
    ) -> Result<WriterPropertiesBuilder, OptionError> {
        if let Some(enabled) = self.flag(&format!("write.parquet.stats-enabled.column.{name}")) {
            let level = if enabled {
                EnabledStatistics::Page
            } else {
                EnabledStatistics::None
            };
            builder = builder.set_column_statistics_enabled(path.clone(), level);
        }
        if let Some(enabled) = self.flag(&format!("write.parquet.dict-encoding-enabled.column.{name}")) {
            builder = builder.set_column_dictionary_enabled(path.clone(), enabled);
        }
        if self.flag(&format!("write.parquet.bloom-filter-enabled.column.{name}")) == Some(true) {
            let fpp_key = format!("write.parquet.bloom-filter-fpp.column.{name}");
            let fpp = parsed(&self.properties, &fpp_key, BLOOM_FILTER_FPP)?;
            if !(fpp > 0.0 && fpp < 1.0) {
                return Err(refuse(&fpp_key, format!("{fpp} is not between 0 and 1")));
            }
            let values = bloom_filter_values(self.bloom_filter_bytes, fpp);
            builder = builder
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_fpp(path.clone(), fpp)
                .set_column_bloom_filter_ndv(path.clone(), values);
        }
        Ok(builder)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        // `Boolean.valueOf`: anything but "true" is false.
        self.properties
            .get(key)
            .map(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// Distinct values a filter of `bytes` holds at a false positive probability: the inverse of the sizing rule
/// of split block Bloom filters (Parquet format, Bloom Filter), which has 8 hashes per value.
fn bloom_filter_values(bytes: u64, fpp: f64) -> u64 {
    let bits = bytes as f64 * 8.0;
    (bits * -(1.0 - fpp.powf(1.0 / 8.0)).ln() / 8.0).max(1.0) as u64
}

fn compression(codec: &str, level: Option<&str>) -> Result<Compression, OptionError> {
    const LEVEL: &str = "write.parquet.compression-level";
    let bad_level = |e: parquet::errors::ParquetError| refuse(LEVEL, e.to_string());
    let number = || match level {
        None => Ok(None),
        Some(text) => match text.trim().parse::<i32>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(refuse(LEVEL, format!("{text:?} is not a number"))),
        },
    };
    Ok(match codec.to_ascii_lowercase().as_str() {
        "uncompressed" | "none" => Compression::UNCOMPRESSED,
        "snappy" => Compression::SNAPPY,
        // Hadoop's framing of LZ4 is deprecated in the Parquet format; every reader knows the raw one.
        "lz4" | "lz4_raw" => Compression::LZ4_RAW,
        "zstd" => Compression::ZSTD(ZstdLevel::try_new(number()?.unwrap_or(ZSTD_LEVEL)).map_err(bad_level)?),
        "gzip" => match number()? {
            // Java's -1 stands for zlib's own default.
            None | Some(-1) => Compression::GZIP(GzipLevel::default()),
            Some(level) => {
                let level =
                    u32::try_from(level).map_err(|_| refuse(LEVEL, format!("{level} is negative")))?;
                Compression::GZIP(GzipLevel::try_new(level).map_err(bad_level)?)
            }
        },
        "brotli" => match number()? {
            None => Compression::BROTLI(BrotliLevel::default()),
            Some(level) => {
                let level =
                    u32::try_from(level).map_err(|_| refuse(LEVEL, format!("{level} is negative")))?;
                Compression::BROTLI(BrotliLevel::try_new(level).map_err(bad_level)?)
            }
        },
        _ => {
            let reason =
                format!("{codec:?} is not supported; use zstd, gzip, snappy, lz4, brotli or uncompressed");
            return Err(refuse("write.parquet.compression-codec", reason));
        }
    })
}

pub(super) fn refuse(property: &str, reason: String) -> OptionError {
    OptionError {
        option: property.to_owned(),
        reason,
    }
}

fn parsed<T: FromStr>(all: &HashMap<String, String>, key: &str, default: T) -> Result<T, OptionError> {
    match all.get(key) {
        None => Ok(default),
        Some(text) => text
            .trim()
            .parse()
            .map_err(|_| refuse(key, format!("{text:?} is not a number that fits"))),
    }
}

fn positive<T>(all: &HashMap<String, String>, key: &str, default: T) -> Result<T, OptionError>
where
    T: FromStr + PartialOrd + From<u8>,
{
    let value = parsed(all, key, default)?;
    if value < T::from(1) {
        return Err(refuse(key, "it has to be more than 0".to_owned()));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_and_levels() {
        assert_eq!(
            compression("ZSTD", None).unwrap(),
            Compression::ZSTD(ZstdLevel::try_new(3).unwrap())
        );
        assert_eq!(
            compression("zstd", Some("19")).unwrap(),
            Compression::ZSTD(ZstdLevel::try_new(19).unwrap())
        );
        assert_eq!(
            compression("gzip", Some("-1")).unwrap(),
            Compression::GZIP(GzipLevel::default())
        );
        assert_eq!(compression("snappy", Some("9")).unwrap(), Compression::SNAPPY);
        assert_eq!(compression("none", None).unwrap(), Compression::UNCOMPRESSED);
        let error = compression("lzo", None).unwrap_err();
        assert_eq!(error.option, "write.parquet.compression-codec");
        let error = compression("zstd", Some("high")).unwrap_err();
        assert_eq!(error.option, "write.parquet.compression-level");
        assert!(compression("zstd", Some("99")).is_err());
    }

    #[test]
    fn sizes_have_to_be_positive() {
        let all = HashMap::from([("a".to_owned(), "0".to_owned()), ("b".to_owned(), "x".to_owned())]);
        assert!(positive::<u64>(&all, "a", 1).is_err());
        assert!(positive::<u64>(&all, "b", 1).is_err());
        assert_eq!(positive::<u64>(&all, "c", 7).unwrap(), 7);
    }

    #[test]
    fn a_filter_of_the_largest_size_is_made_for_as_many_values_as_fit() {
        let values = bloom_filter_values(1024 * 1024, 0.01);
        // About 9.7 bits per value at 1 %.
        assert!((800_000..900_000).contains(&values), "{values}");
    }
}
