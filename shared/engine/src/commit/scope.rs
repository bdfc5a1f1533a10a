//! Which data files a delete file can apply to, told from metadata alone (spec, Scan Planning).

use iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
use iceberg::spec::{DataContentType, DataFile, Literal, PrimitiveLiteral, Struct, TableMetadata};
use snowpack_catalog::normalize_location;

/// A partition of one spec, with values in the widest type their column can have been promoted to, so that
/// files written before and after a promotion meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ScopeKey {
    spec_id: i32,
    values: Vec<Option<Literal>>,
}

impl ScopeKey {
    /// The scope of a file listed under `spec_id`.
    pub(crate) fn new(spec_id: i32, partition: &Struct) -> Self {
        let widened = |value: Option<&Literal>| value.cloned().map(widen);
        Self {
            spec_id,
            values: partition.iter().map(widened).collect(),
        }
    }
}

fn widen(literal: Literal) -> Literal {
    match literal {
        Literal::Primitive(PrimitiveLiteral::Int(value)) => Literal::long(i64::from(value)),
        Literal::Primitive(PrimitiveLiteral::Float(value)) => Literal::double(f64::from(value.0)),
        other => other,
    }
}

/// What a delete file can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Positions in this one data file (`ContentFileUtil.referencedDataFile`), its path normalised: delete
    /// files may spell it otherwise than manifests do.
    File(String),
    /// Positions in files of one partition.
    PartitionPositions(ScopeKey),
    /// Rows of one partition, by equality.
    PartitionRows(ScopeKey),
    /// Rows of the whole table, by equality: the delete's spec is unpartitioned.
    AllRows,
}

impl Reach {
    /// The reach of a delete file listed under `spec_id`.
    pub(crate) fn of(delete: &DataFile, spec_id: i32, metadata: &TableMetadata) -> Self {
        let scope = || ScopeKey::new(spec_id, delete.partition());
        if delete.content_type() == DataContentType::EqualityDeletes {
            let spec = metadata.partition_spec_by_id(spec_id);
            return match spec {
                Some(spec) if !spec.is_unpartitioned() => Self::PartitionRows(scope()),
                // A spec that is gone is taken for the widest reach.
                _ => Self::AllRows,
            };
        }
        match referenced_file(delete) {
            Some(path) => Self::File(normalize_location(&path).into_owned()),
            None => Self::PartitionPositions(scope()),
        }
    }
}

/// The only data file a position-delete file names, if that is known: the entry says so, or the bounds of
/// its path column are equal.
pub(super) fn referenced_file(delete: &DataFile) -> Option<String> {
    if let Some(path) = delete.referenced_data_file() {
        return Some(path);
    }
    let lower = delete.lower_bounds().get(&RESERVED_FIELD_ID_DELETE_FILE_PATH)?;
    let upper = delete.upper_bounds().get(&RESERVED_FIELD_ID_DELETE_FILE_PATH)?;
    match (lower.literal(), upper.literal()) {
        (PrimitiveLiteral::String(low), PrimitiveLiteral::String(high)) if low == high => Some(low.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promoted_partition_values_meet() {
        let before = ScopeKey::new(0, &Struct::from_iter([Some(Literal::int(7)), None]));
        let after = ScopeKey::new(0, &Struct::from_iter([Some(Literal::long(7)), None]));
        assert_eq!(before, after);
        assert_ne!(
            before,
            ScopeKey::new(1, &Struct::from_iter([Some(Literal::int(7)), None]))
        );
    }
}
