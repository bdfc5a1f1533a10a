//! How rewrite_data_files arranges rows: as they are read, sorted, or along a z-order curve.
//!
//! Text of an order follows Spark's procedure: terms like `category DESC NULLS LAST` or `bucket(16, id)`, or
//! `zorder(a, b)`. Without `NULLS`, ascending terms have nulls first and descending ones last.

mod parse;

use iceberg::spec::{NestedFieldRef, NullOrder, SchemaRef, SortDirection, TableMetadata, Transform, Type};
use snowpack_domain::{Compaction, Strategy};

use parse::{ParsedOrder, parse_columns, parse_order};

/// The order of rows in new files.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrangement {
    /// As they are read.
    AsRead,
    /// Sorted.
    Sorted {
        /// The terms, most significant first.
        terms: Vec<SortTerm>,
        /// The table's sort order that this is, or 0: unsorted for all that the table knows.
        order_id: i32,
    },
    /// Along a z-order curve over these columns.
    ZOrder(Vec<NestedFieldRef>),
}

/// One term of a sort order.
#[derive(Clone, Debug, PartialEq)]
pub struct SortTerm {
    /// The column.
    pub field: NestedFieldRef,
    /// What is compared of it.
    pub transform: Transform,
    /// Largest first.
    pub descending: bool,
    /// Nulls before all values.
    pub nulls_first: bool,
}

impl Arrangement {
    /// What the settings ask for, on this table.
    ///
    /// # Errors
    /// What is wrong, and with which option: an order that cannot be read, names a column the table does not
    /// have or one that has no order, contradicts the strategy, or is missing.
    pub fn resolve(settings: &Compaction, metadata: &TableMetadata) -> Result<Self, (&'static str, String)> {
        let schema = metadata.current_schema();
        let wrong = |reason| ("sort_order", reason);
        match (settings.strategy, settings.sort_order.as_deref()) {
            (Strategy::BinPack, None) => Ok(Self::AsRead),
            (Strategy::BinPack, Some(_)) => Err((
                "strategy",
                "binpack takes no sort_order: leave one of them out".to_owned(),
            )),
            (Strategy::Sort, None) => table_order(metadata).map_err(wrong),
            (Strategy::Sort, Some(text)) => given_order(text, schema).map_err(wrong),
            (Strategy::ZOrder, None) => Err(wrong("name the columns, like \"zorder(a, b)\"".to_owned())),
            (Strategy::ZOrder, Some(text)) => z_order(text, schema).map_err(wrong),
        }
    }
}

fn table_order(metadata: &TableMetadata) -> Result<Arrangement, String> {
    let order = metadata.default_sort_order();
    if order.fields.is_empty() {
        return Err("the table has no sort order: give one, like \"id DESC NULLS LAST\"".to_owned());
    }
    let schema = metadata.current_schema();
    let terms = order.fields.iter().map(|field| {
        let source = schema
            .field_by_id(field.source_id)
            .ok_or_else(|| format!("sort order {} names a column that is gone", order.order_id))?;
        Ok(SortTerm {
            field: comparable(source)?,
            transform: field.transform,
            descending: field.direction == SortDirection::Descending,
            nulls_first: field.null_order == NullOrder::First,
        })
    });
    Ok(Arrangement::Sorted {
        terms: terms.collect::<Result<_, String>>()?,
        order_id: i32::try_from(order.order_id).map_err(|_| "its id is out of range".to_owned())?,
    })
}

fn given_order(text: &str, schema: &SchemaRef) -> Result<Arrangement, String> {
    let terms = match parse_order(text)? {
        ParsedOrder::ZOrder(columns) => return z_columns(&columns, schema),
        ParsedOrder::Terms(terms) => terms,
    };
    let terms = terms.into_iter().map(|term| {
        let field = column(&term.column, schema)?;
        if term.transform.result_type(&field.field_type).is_err() {
            return Err(format!(
                "{} does not apply to column {} of type {}",
                term.transform, term.column, field.field_type
            ));
        }
        Ok(SortTerm {
            field,
            transform: term.transform,
            descending: term.descending,
            nulls_first: term.nulls_first.unwrap_or(!term.descending),
        })
    });
    Ok(Arrangement::Sorted {
        terms: terms.collect::<Result<_, String>>()?,
        order_id: 0,
    })
}

/// `zorder(a, b)`, or only `a, b`.
fn z_order(text: &str, schema: &SchemaRef) -> Result<Arrangement, String> {
    match parse_order(text) {
        Ok(ParsedOrder::ZOrder(columns)) => z_columns(&columns, schema),
        _ => z_columns(&parse_columns(text)?, schema),
    }
}

fn z_columns(names: &[String], schema: &SchemaRef) -> Result<Arrangement, String> {
    let columns = names.iter().map(|name| column(name, schema));
    Ok(Arrangement::ZOrder(columns.collect::<Result<_, _>>()?))
}

fn column(name: &str, schema: &SchemaRef) -> Result<NestedFieldRef, String> {
    let field = schema
        .field_by_name(name)
        .ok_or_else(|| format!("the table has no column {name}"))?;
    comparable(field)
}

/// A column inside a list or map has many values in a row, and a nested one no order.
fn comparable(field: &NestedFieldRef) -> Result<NestedFieldRef, String> {
    match field.field_type.as_ref() {
        Type::Primitive(_) => Ok(NestedFieldRef::clone(field)),
        other => Err(format!(
            "column {} is of type {other}, which has no order",
            field.name
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::DiskTable;

    fn resolve(strategy: Strategy, order: Option<&str>) -> Result<Arrangement, String> {
        let table = DiskTable::new().load();
        let settings = Compaction {
            strategy,
            sort_order: order.map(str::to_owned),
            ..crate::fixture::settings(1_000)
        };
        Arrangement::resolve(&settings, &table.metadata)
            .map_err(|(option, reason)| format!("{option}: {reason}"))
    }

    #[test]
    fn orders_are_resolved_against_the_schema() {
        let Ok(Arrangement::Sorted { terms, order_id: 0 }) =
            resolve(Strategy::Sort, Some("id DESC, bucket(4, part)"))
        else {
            panic!("it is an order");
        };
        assert_eq!(terms[0].field.name, "id");
        assert!(terms[0].descending && !terms[0].nulls_first);
        assert_eq!(terms[1].transform, Transform::Bucket(4));
        assert!(terms[1].nulls_first);
        for text in ["zorder(id, part)", "id, part"] {
            let Ok(Arrangement::ZOrder(columns)) = resolve(Strategy::ZOrder, Some(text)) else {
                panic!("{text} is a z-order");
            };
            assert_eq!(columns.len(), 2);
        }
        assert_eq!(resolve(Strategy::BinPack, None), Ok(Arrangement::AsRead));
    }

    #[test]
    fn what_cannot_be_sorted_by_is_named() {
        let wrong = |strategy, order| resolve(strategy, order).unwrap_err();
        assert!(wrong(Strategy::Sort, Some("absent")).contains("no column absent"));
        assert!(wrong(Strategy::Sort, None).contains("no sort order"));
        assert!(wrong(Strategy::ZOrder, None).contains("name the columns"));
        assert!(wrong(Strategy::BinPack, Some("id")).starts_with("strategy: "));
        assert!(wrong(Strategy::Sort, Some("days(id)")).contains("does not apply"));
    }
}
