//! Partition tuples that can be compared: one type per field, whatever the schema was when they were written.

use std::borrow::Cow;
use std::collections::HashMap;

use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Struct, StructType, TableMetadata, Type};

/// The partition types of a table's specs under its current schema.
#[derive(Debug)]
pub(crate) struct PartitionTypes(HashMap<i32, StructType>);

impl PartitionTypes {
    pub(crate) fn of(metadata: &TableMetadata) -> Self {
        let schema = metadata.current_schema();
        let types = metadata
            .partition_specs_iter()
            // A spec whose source column was dropped has no type any more; its tuples are compared as they are.
            .filter_map(|spec| Some((spec.spec_id(), spec.partition_type(schema).ok()?)));
        Self(types.collect())
    }

    /// The tuple with every value of the type its field has now. An identity partition on a column promoted
    /// from int to long is read as an int from manifests older than the promotion.
    pub(crate) fn current<'a>(&self, spec_id: i32, partition: &'a Struct) -> Cow<'a, Struct> {
        let Some(target) = self.0.get(&spec_id) else {
            return Cow::Borrowed(partition);
        };
        promoted_partition(partition, target)
    }
}

/// The tuple with every value of the type its field has in `target`.
pub fn promoted_partition<'a>(partition: &'a Struct, target: &StructType) -> Cow<'a, Struct> {
    let is_current = partition
        .iter()
        .zip(target.fields())
        .all(|(value, field)| promoted(value, &field.field_type).is_none());
    if is_current {
        return Cow::Borrowed(partition);
    }
    let values = partition
        .iter()
        .zip(target.fields())
        .map(|(value, field)| promoted(value, &field.field_type).or_else(|| value.cloned()));
    Cow::Owned(values.collect())
}

/// The value as `target`, if it has to change for that (spec, Schema Evolution: int to long, float to double).
fn promoted(value: Option<&Literal>, target: &Type) -> Option<Literal> {
    let promoted = match (value?, target.as_primitive_type()?) {
        (Literal::Primitive(PrimitiveLiteral::Int(v)), PrimitiveType::Long) => {
            PrimitiveLiteral::Long(i64::from(*v))
        }
        (Literal::Primitive(PrimitiveLiteral::Float(v)), PrimitiveType::Double) => {
            PrimitiveLiteral::Double(f64::from(v.0).into())
        }
        _ => return None,
    };
    Some(Literal::Primitive(promoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotes_only_what_changed_its_type() {
        let long = Type::Primitive(PrimitiveType::Long);
        let double = Type::Primitive(PrimitiveType::Double);
        assert_eq!(promoted(Some(&Literal::int(5)), &long), Some(Literal::long(5)));
        assert_eq!(
            promoted(Some(&Literal::float(0.5)), &double),
            Some(Literal::double(0.5))
        );
        assert_eq!(promoted(Some(&Literal::long(5)), &long), None);
        assert_eq!(promoted(None, &long), None);
        assert_eq!(
            promoted(Some(&Literal::int(5)), &Type::Primitive(PrimitiveType::Date)),
            None
        );
    }
}
