//! Gives a filter's columns their fields, as Spark does: by name, whatever its case. Negations end up in the
//! questions, and unknown truth (NULL) counts as false, which is what a filter makes of it.

use iceberg::spec::{Datum, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, Transform, Type};

use super::check::{Check, Comparison, Term, Test, Tree};
use super::coerce::{Operator, compare};
use super::constant::{Constant, MICROS_PER_DAY, start_of};
use super::syntax::{Condition, Operand};

/// The condition as questions about columns of the schema.
pub(super) fn bind(condition: &Condition, schema: &Schema) -> Result<Tree<Test>, String> {
    let bound = Binder {
        schema: schema.as_struct(),
    }
    .condition(condition, false)?;
    Ok(with_implied_values(bound))
}

/// Adds what Spark infers of questions that stand by themselves: their columns are not null.
fn with_implied_values(filter: Tree<Test>) -> Tree<Test> {
    match filter {
        Tree::All(parts) => Tree::all(parts.into_iter().map(with_implied_values)),
        Tree::Leaf(test) if test.implies_value => {
            let not_null = Test {
                check: Check::NotNull,
                implies_value: false,
                ..test.clone()
            };
            Tree::all([Tree::Leaf(not_null), Tree::Leaf(test)])
        }
        filter => filter,
    }
}

struct Binder<'a> {
    schema: &'a StructType,
}

/// A column that was found.
struct Column {
    field: NestedFieldRef,
    /// Neither the column nor a struct around it can be null.
    is_required: bool,
}

impl Binder<'_> {
    fn condition(&self, condition: &Condition, negated: bool) -> Result<Tree<Test>, String> {
        match condition {
            Condition::Constant(value) => Ok(Tree::Always(value.is_some_and(|value| value != negated))),
            Condition::Flag(path) => {
                let operand = Operand::Column(path.clone());
                let operator = Operator::Of(if negated {
                    Comparison::NotEq
                } else {
                    Comparison::Eq
                });
                self.compare(&operand, operator, &Constant::Bool(true))
            }
            Condition::Not(inner) => self.condition(inner, !negated),
            Condition::All(parts) | Condition::Any(parts) => {
                let bound = parts.iter().map(|part| self.condition(part, negated));
                let bound = bound.collect::<Result<Vec<_>, _>>()?;
                Ok(match matches!(condition, Condition::All(_)) != negated {
                    true => Tree::all(bound),
                    false => Tree::any(bound),
                })
            }
            Condition::Compare(operand, operator, constant) => {
                let operator = if negated { operator.negated() } else { *operator };
                self.compare(operand, operator, constant)
            }
            Condition::In(operand, constants) => self.is_in(operand, constants, negated),
            Condition::IsNull(path) => {
                let column = self.column(path)?;
                if column.is_required {
                    return Ok(Tree::Always(negated));
                }
                let check = if negated { Check::NotNull } else { Check::IsNull };
                Ok(Tree::Leaf(test(&column.field, Transform::Identity, check)))
            }
            Condition::StartsWith(path, prefix) => self.starts_with(path, prefix, negated),
        }
    }

    fn starts_with(&self, path: &[String], prefix: &str, negated: bool) -> Result<Tree<Test>, String> {
        let column = self.column(path)?;
        if *column.field.field_type != Type::Primitive(PrimitiveType::String) {
            return Err(format!(
                "LIKE needs a string column, and {} is {}",
                path.join("."),
                column.field.field_type
            ));
        }
        let check = match negated {
            true => Check::NotStartsWith(prefix.to_owned()),
            false => Check::StartsWith(prefix.to_owned()),
        };
        let test = test(&column.field, Transform::Identity, check);
        Ok(Tree::Leaf(Test {
            implies_value: true,
            ..test
        }))
    }

    fn compare(
        &self,
        operand: &Operand,
        operator: Operator,
        constant: &Constant,
    ) -> Result<Tree<Test>, String> {
        let (column, transform, compared) = self.operand(operand)?;
        if let Operand::DayOf(_) = operand {
            return self.compare_day(operand, operator, constant);
        }
        let is_column = transform == Transform::Identity;
        let checks =
            compare(&compared, operator, constant).map_err(|reason| about(&column.field, &reason))?;
        Ok(checks.replace(&|check: &Check<_>| match check {
            Check::IsNull if is_column && column.is_required => Tree::Always(false),
            Check::NotNull if is_column && column.is_required => Tree::Always(true),
            Check::IsNull | Check::NotNull => Tree::Leaf(test(&column.field, transform, check.clone())),
            check => Tree::Leaf(Test {
                implies_value: is_column && matches!(operator, Operator::Of(_)),
                ..test(&column.field, transform, check.clone())
            }),
        }))
    }

    /// `CAST(ts AS DATE)` is compared by the microseconds at which days start.
    fn compare_day(
        &self,
        operand: &Operand,
        operator: Operator,
        constant: &Constant,
    ) -> Result<Tree<Test>, String> {
        use Comparison::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        let (Operand::Column(path) | Operand::Transformed(_, path) | Operand::DayOf(path)) = operand;
        let day = match constant.clone().cast("date")? {
            Constant::Date(day) => day,
            _ => return Ok(Tree::Always(false)),
        };
        let (start, end) = (start_of(day), start_of(day) + MICROS_PER_DAY);
        let at = |comparison, micros| {
            let operand = Operand::Column(path.clone());
            self.compare(&operand, Operator::Of(comparison), &Constant::Clock(micros))
        };
        match operator {
            Operator::Of(Eq) => Ok(Tree::all([at(GtEq, start)?, at(Lt, end)?])),
            Operator::Of(NotEq) => Ok(Tree::any([at(Lt, start)?, at(GtEq, end)?])),
            Operator::Of(Lt) => at(Lt, start),
            Operator::Of(LtEq) => at(Lt, end),
            Operator::Of(Gt) => at(GtEq, end),
            Operator::Of(GtEq) => at(GtEq, start),
            Operator::NullSafeEq | Operator::NullSafeNotEq => {
                Err("CAST(... AS DATE) can be compared by =, !=, <, <=, > and >= only".to_owned())
            }
        }
    }

    fn is_in(&self, operand: &Operand, constants: &[Constant], negated: bool) -> Result<Tree<Test>, String> {
        let comparison = if negated {
            Comparison::NotEq
        } else {
            Comparison::Eq
        };
        match (operand, constants) {
            (Operand::DayOf(_), [constant]) => {
                return self.compare_day(operand, Operator::Of(comparison), constant);
            }
            (Operand::DayOf(_), _) => return Err("CAST(... AS DATE) cannot be in a list".to_owned()),
            _ => {}
        }
        let (column, transform, compared) = self.operand(operand)?;
        let known: Vec<_> = constants
            .iter()
            .filter(|constant| **constant != Constant::Null)
            .collect();
        if negated && known.len() < constants.len() {
            return Ok(Tree::Always(false));
        }
        let values = listed(&compared, &known).map_err(|reason| about(&column.field, &reason))?;
        let leaf = |check, implies_value| {
            Tree::Leaf(Test {
                implies_value,
                ..test(&column.field, transform, check)
            })
        };
        let is_column = transform == Transform::Identity;
        Ok(match (Check::is_in(values), negated) {
            (Check::In(values), true) if values.is_empty() => leaf(Check::NotNull, false),
            (Check::In(values), false) if values.is_empty() => Tree::Always(false),
            (Check::In(mut values), _) if values.len() == 1 => {
                leaf(Check::Compare(comparison, values.remove(0)), is_column)
            }
            (Check::In(values), true) => {
                let not_in = leaf(Check::is_not_in(values), false);
                Tree::all([leaf(Check::NotNull, false), not_in])
            }
            (check, _) => leaf(check, false),
        })
    }

    /// The column, what is compared of it, and the type constants have to have.
    fn operand(&self, operand: &Operand) -> Result<(Column, Transform, PrimitiveType), String> {
        let (path, transform) = match operand {
            Operand::Column(path) => (path, Transform::Identity),
            Operand::Transformed(transform, path) => (path, *transform),
            Operand::DayOf(path) => (path, Transform::Identity),
        };
        let column = self.column(path)?;
        let source = &column.field.field_type;
        if !source.is_primitive() {
            return Err(format!(
                "column {} is of type {source}, which can only be null or not",
                path.join(".")
            ));
        }
        let result = transform.result_type(source).map_err(|_| {
            format!(
                "{transform} does not apply to column {} of type {source}",
                path.join(".")
            )
        })?;
        match (operand, result) {
            (Operand::DayOf(_), Type::Primitive(PrimitiveType::Timestamp | PrimitiveType::Timestamptz)) => {
                Ok((column, transform, PrimitiveType::Date))
            }
            (Operand::DayOf(_), _) => Err(format!(
                "CAST({} AS DATE) needs a timestamp column",
                path.join(".")
            )),
            // Spark's days() are dates, and Iceberg's are days since 1970.
            (_, Type::Primitive(_)) if transform == Transform::Day => {
                Ok((column, transform, PrimitiveType::Date))
            }
            (_, Type::Primitive(result)) => Ok((column, transform, result)),
            (_, other) => Err(format!(
                "column {} is of type {other}, which can only be null or not",
                path.join(".")
            )),
        }
    }

    fn column(&self, path: &[String]) -> Result<Column, String> {
        let named = |fields: &StructType, name: &str| {
            let mut found = fields
                .fields()
                .iter()
                .filter(|field| field.name.to_lowercase() == name.to_lowercase());
            match (found.next(), found.next()) {
                (Some(field), None) => Ok(NestedFieldRef::clone(field)),
                (None, _) => Err(format!("the table has no column {}", path.join("."))),
                (Some(_), Some(_)) => Err(format!(
                    "{name} could be any of several columns that differ in case"
                )),
            }
        };
        let (first, rest) = path.split_first().expect("a column has a name");
        let mut field = named(self.schema, first)?;
        let mut is_required = field.required;
        for name in rest {
            let Type::Struct(fields) = field.field_type.as_ref() else {
                return Err(format!("the table has no column {}", path.join(".")));
            };
            field = named(fields, name)?;
            is_required &= field.required;
        }
        Ok(Column { field, is_required })
    }
}

/// The values of a list as the column's type; those that it cannot have are in no row.
fn listed(compared: &PrimitiveType, constants: &[&Constant]) -> Result<Vec<Datum>, String> {
    let mut values = Vec::new();
    for constant in constants {
        match compare(compared, Operator::NullSafeEq, &in_list(compared, constant)?)? {
            Tree::Leaf(Check::Compare(_, value)) => values.push(value),
            Tree::Leaf(_) => return Err("NaN cannot be in a list".to_owned()),
            _ => {}
        }
    }
    Ok(values)
}

/// In a list, Spark takes strings for strings only, and makes strings of whole numbers.
fn in_list(compared: &PrimitiveType, constant: &Constant) -> Result<Constant, String> {
    match (compared, constant) {
        (PrimitiveType::String | PrimitiveType::Uuid | PrimitiveType::Binary, Constant::Text(_)) => {
            Ok(constant.clone())
        }
        (_, Constant::Text(_)) => Err(format!(
            "a list for {compared} cannot hold strings: write {compared} constants"
        )),
        (PrimitiveType::String, Constant::Integer(value)) => Ok(Constant::Text(value.to_string())),
        _ => Ok(constant.clone()),
    }
}

fn about(field: &NestedField, reason: &str) -> String {
    format!("column {}: {reason}", field.name)
}

fn test(field: &NestedField, transform: Transform, check: Check<Datum>) -> Test {
    Test {
        term: Term {
            id: field.id,
            source: field.field_type.as_primitive_type().cloned(),
            transform,
        },
        check,
        implies_value: false,
    }
}
