//! Filters against Spark's reading of them, and against a naive model of rows.

use std::collections::HashMap;

use iceberg::spec::{Datum, Literal, Struct, TableMetadata};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fixture::{FileOf, metadata_from, metadata_json};

fn types_metadata() -> TableMetadata {
    let types = [
        ("id", "long"),
        ("i", "int"),
        ("f", "float"),
        ("d", "double"),
        ("dec", "decimal(9, 2)"),
        ("s", "string"),
        ("dt", "date"),
        ("ts", "timestamptz"),
        ("ntz", "timestamp"),
        ("b", "binary"),
        ("flag", "boolean"),
        ("Mixed", "int"),
    ];
    let optional = |(at, (name, kind)): (usize, &(&str, &str))| json!({"id": at + 1, "name": name, "required": false, "type": kind});
    let mut fields: Vec<Value> = types.iter().enumerate().map(optional).collect();
    fields.push(json!({"id": 20, "name": "req", "required": true, "type": "long"}));
    fields.push(
        json!({"id": 21, "name": "st", "required": false, "type": {"type": "struct", "fields": [
            {"id": 22, "name": "a", "required": true, "type": "int"},
            {"id": 23, "name": "b c", "required": false, "type": "string"}
        ]}}),
    );
    let mut json = metadata_json();
    json["schemas"] = json!([{"type": "struct", "schema-id": 0, "fields": fields}]);
    json["partition-specs"] = json!([{"spec-id": 0, "fields": []}]);
    json["default-spec-id"] = 0.into();
    json["last-column-id"] = 30.into();
    metadata_from(&json)
}

/// The questions a filter comes to, in a short form.
fn shown(text: &str) -> String {
    let metadata = types_metadata();
    match FileFilter::resolve(text, &metadata) {
        Ok(filter) => show(&filter.rows, &metadata),
        Err(reason) => format!("refused: {reason}"),
    }
}

fn show(tree: &Tree<Test>, metadata: &TableMetadata) -> String {
    let join = |parts: &[Tree<Test>], by: &str| {
        let parts: Vec<_> = parts.iter().map(|part| show(part, metadata)).collect();
        format!("({})", parts.join(by))
    };
    match tree {
        Tree::Always(value) => value.to_string(),
        Tree::All(parts) => join(parts, " and "),
        Tree::Any(parts) => join(parts, " or "),
        Tree::Leaf(test) => {
            let name = metadata.current_schema().name_by_field_id(test.term.id).unwrap();
            let term = match test.term.transform {
                iceberg::spec::Transform::Identity => name.to_owned(),
                transform => format!("{transform}({name})"),
            };
            match &test.check {
                check::Check::Compare(comparison, value) => format!("{term} {comparison:?} {value}"),
                check::Check::In(values) => format!("{term} In {}", list(values)),
                check::Check::NotIn(values) => format!("{term} NotIn {}", list(values)),
                other => format!("{term} {other:?}"),
            }
        }
    }
}

fn list(values: &[Datum]) -> String {
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    values.join(",")
}

/// What Spark 3.5 with Iceberg 1.10.2 makes of each text (`SparkExpressionConverter`).
#[test]
fn conditions_come_to_what_spark_makes_of_them() {
    let cases = [
        ("id = 5", "(id NotNull and id Eq 5)"),
        ("5 < ID", "(id NotNull and id Gt 5)"),
        ("id <=> 5", "id Eq 5"),
        ("id <=> NULL", "id IsNull"),
        ("id = NULL", "false"),
        ("NOT id = 5", "(id NotNull and id NotEq 5)"),
        ("! (id <=> 5)", "id NotEq 5"),
        ("id IN (3, 1, 2L)", "id In 1,2,3"),
        ("id IN (1, 1)", "(id NotNull and id Eq 1)"),
        ("id IN (NULL)", "false"),
        ("id NOT IN (1, 2)", "(id NotNull and id NotIn 1,2)"),
        ("id NOT IN (1, NULL)", "false"),
        ("NOT (id = 1 AND i = 3)", "(id NotEq 1 or i NotEq 3)"),
        ("NOT (id NOT IN (1, 2) AND i = 3)", "(id In 1,2 or i NotEq 3)"),
        ("req IS NULL", "false"),
        ("req IS NOT NULL", "true"),
        ("id NOT BETWEEN 1 AND 5", "(id Lt 1 or id Gt 5)"),
        ("s LIKE 'a%'", "(s NotNull and s StartsWith(\"a\"))"),
        ("s NOT LIKE 'a%' OR id = 1", "(s NotStartsWith(\"a\") or id Eq 1)"),
        ("s LIKE 'abc'", "(s NotNull and s Eq \"abc\")"),
        ("startswith(s, 'ab')", "(s NotNull and s StartsWith(\"ab\"))"),
        ("s = 'it\\'s'", "(s NotNull and s Eq \"it's\")"),
        ("s = 'it''s'", "(s NotNull and s Eq \"its\")"),
        ("s = \"\\u0041\\101\"", "(s NotNull and s Eq \"AA\")"),
        ("flag", "(flag NotNull and flag Eq true)"),
        ("NOT flag OR id = 1", "(flag NotEq true or id Eq 1)"),
        ("flag = false", "(flag NotNull and flag NotEq true)"),
        ("flag IS TRUE", "flag Eq true"),
        ("true OR id = 5", "true"),
        ("NULL OR id = 5", "(id NotNull and id Eq 5)"),
        ("i < 3000000000", "i NotNull"),
        ("i != 3000000000", "i NotNull"),
        ("i <=> 3000000000", "false"),
        ("id < 9223372036854775808", "true"),
        ("i = 5.0", "(i NotNull and i Eq 5)"),
        ("i = 5.5", "false"),
        ("i <= -5.5D", "(i NotNull and i LtEq -6)"),
        ("i IN (1, 2.5)", "(i NotNull and i Eq 1)"),
        ("i NOT IN (3000000000, 4000000000)", "i NotNull"),
        ("f > 0.1", "(f NotNull and f GtEq 0.1)"),
        ("f = 0.1", "false"),
        ("d != double('NaN')", "(d NotNull and d NotNan)"),
        ("dec = 1e2BD", "(dec NotNull and dec Eq 100.00)"),
        ("dec > 5.255", "(dec NotNull and dec Gt 5.25)"),
        ("dt < '2024-01-01 10:00:00'", "(dt NotNull and dt Lt 2024-01-01)"),
        ("dt = DATE'2024-1-5'", "(dt NotNull and dt Eq 2024-01-05)"),
        (
            "ts > '2024-01-01T10:00:00.5+02:00'",
            "(ts NotNull and ts Gt 2024-01-01 08:00:00.500 UTC)",
        ),
        (
            "ts >= DATE '2024-01-01'",
            "(ts NotNull and ts GtEq 2024-01-01 00:00:00 UTC)",
        ),
        (
            "CAST(ts AS DATE) > '2024-01-01'",
            "(ts NotNull and ts GtEq 2024-01-02 00:00:00 UTC)",
        ),
        ("b = X'102'", "(b NotNull and b Eq 0102)"),
        ("st.A != 5", "(st.a NotNull and st.a NotEq 5)"),
        ("st.`b c` = 'x'", "(st.b c NotNull and st.b c Eq \"x\")"),
        ("mixed = 5", "(Mixed NotNull and Mixed Eq 5)"),
        ("lake.system.bucket(4, id) IN (1, 2)", "bucket[4](id) In 1,2"),
        ("SYSTEM.truncate(10, i) >= 20", "truncate[10](i) GtEq 20"),
        ("system.days(ts) >= '2024-01-01'", "day(ts) GtEq 2024-01-01"),
        (
            "id = 5 AND s = 'a' OR d > 1.0",
            "((id Eq 5 and s Eq \"a\") or d Gt 1)",
        ),
    ];
    let wrong = cases.iter().filter(|(text, expected)| shown(text) != *expected);
    let wrong: Vec<_> = wrong
        .map(|(text, expected)| format!("{text}: {} and not {expected}", shown(text)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_cannot_be_pushed_down_is_refused_by_name() {
    let cases = [
        ("id = i", "both columns"),
        ("id % 2 = 0", "id % 2"),
        ("lower(s) = 'a'", "lower(s)"),
        ("s LIKE '%a'", "LIKE"),
        ("s LIKE 'a_'", "LIKE"),
        ("id = 5.0D", "double"),
        ("i = 5.0F", "float"),
        ("s = 5", "whole number"),
        ("dec = 123456789.5", "out of the range"),
        ("d > double('NaN')", "NaN"),
        ("dt = TIMESTAMP '2024-01-01 00:00:00'", "timestamp"),
        ("dt IN ('2024-01-01')", "strings"),
        ("dt = 'soon'", "no date"),
        ("id = '5x'", "whole number"),
        ("nope = 5", "no column nope"),
        ("st.nope = 5", "no column st.nope"),
        ("st = 5", "only be null or not"),
        ("system.years(id) = 5", "does not apply"),
        ("system.bucket(0, id) = 5", "bucket"),
        ("id = ", "cannot be read"),
        ("id = 5; DROP TABLE x", "not expected"),
        ("id IN (SELECT 1)", "SELECT"),
        ("id", "boolean"),
        ("5", "cannot be decided"),
        ("", "cannot be read"),
    ];
    let is_wrong = |(text, reason): &&(&str, &str)| {
        let shown = shown(text);
        !shown.starts_with("refused: ") || !shown.contains(reason)
    };
    let wrong: Vec<_> = cases
        .iter()
        .filter(is_wrong)
        .map(|(text, _)| (text, shown(text)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let long = vec!["id = 1"; 5_000].join(" OR ");
    assert!(shown(&long).contains("2000 words"));
    let nested = format!("{}id = 1{}", "(".repeat(500), ")".repeat(500));
    assert!(shown(&nested).starts_with("refused"));
    let values: Vec<_> = (0..20_000).map(|v| v.to_string()).collect();
    assert!(!shown(&format!("id IN ({})", values.join(","))).starts_with("refused"));
}

/// A row of the table of the naive model.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: Option<i64>,
    name: Option<usize>,
    score: Option<f64>,
}

const NAMES: [&str; 6] = ["", "a", "ab", "abc", "b", "\u{1f9ca}"];
const SCORES: [f64; 6] = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 7.25, f64::NAN];

/// A table whose specs partition in every way by the columns of [`Row`].
fn model_metadata() -> TableMetadata {
    let mut json = metadata_json();
    let by = |spec: i32, source: i32, transform: &str| {
        let field = json!({"name": format!("p{spec}"), "transform": transform, "source-id": source, "field-id": 1000 + spec});
        json!({"spec-id": spec, "fields": [field]})
    };
    json["schemas"] = json!([{"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "id", "required": false, "type": "long"},
        {"id": 3, "name": "name", "required": false, "type": "string"},
        {"id": 4, "name": "score", "required": false, "type": "double"}
    ]}]);
    json["partition-specs"] = json!([
        {"spec-id": 0, "fields": []}, by(1, 1, "identity"), by(2, 1, "bucket[3]"), by(3, 1, "truncate[4]"),
        by(4, 3, "identity"), by(5, 3, "truncate[2]"), by(6, 3, "bucket[2]"), by(7, 4, "identity"), by(8, 1, "void")
    ]);
    json["last-partition-id"] = 1008.into();
    metadata_from(&json)
}

fn value_of(row: Row, column: i32) -> Option<Datum> {
    match column {
        1 => row.id.map(Datum::long),
        3 => row.name.map(|name| Datum::string(NAMES[name])),
        _ => row.score.map(Datum::double),
    }
}

/// The file of the rows that share the first row's partition of a spec, with the statistics a writer keeps, or none.
fn file_of(rows: &[Row], spec_id: i32, counted: bool, metadata: &TableMetadata) -> (FileOf, Vec<Row>) {
    let spec = metadata.partition_spec_by_id(spec_id).unwrap();
    let partition = |row: Row| -> Struct {
        let values = spec.fields().iter().map(|field| {
            let function = iceberg::transform::create_transform_function(&field.transform).unwrap();
            let value = value_of(row, field.source_id)?;
            let value = function.transform_literal(&value).unwrap()?;
            Some(Literal::Primitive(value.literal().clone()))
        });
        values.collect()
    };
    let shared = partition(rows[0]);
    let rows: Vec<Row> = rows
        .iter()
        .copied()
        .filter(|row| partition(*row) == shared)
        .collect();
    let mut file = FileOf::data("f", 10);
    file.spec_id = spec_id;
    let count = rows.len() as u64;
    file = file.with(|file| {
        file.partition(shared.clone()).record_count(count);
    });
    if counted {
        file = with_statistics(file, &rows);
    }
    (file, rows)
}

fn with_statistics(file: FileOf, rows: &[Row]) -> FileOf {
    let (mut lower, mut upper) = (HashMap::new(), HashMap::new());
    let (mut values, mut nulls, mut nans) = (HashMap::new(), HashMap::new(), HashMap::new());
    for column in [1, 3, 4] {
        let found: Vec<Datum> = rows.iter().filter_map(|row| value_of(*row, column)).collect();
        values.insert(column, rows.len() as u64);
        nulls.insert(column, (rows.len() - found.len()) as u64);
        if column == 4 {
            nans.insert(column, found.iter().filter(|value| value.is_nan()).count() as u64);
        }
        let order = |a: &&Datum, b: &&Datum| a.literal().partial_cmp(b.literal()).unwrap();
        let bounded = || found.iter().filter(|value| !value.is_nan());
        if let (Some(least), Some(most)) = (bounded().min_by(order), bounded().max_by(order)) {
            // Bounds of text are truncated outwards.
            let cut = |value: &Datum| match value.literal() {
                iceberg::spec::PrimitiveLiteral::String(text) => {
                    Datum::string(text.chars().take(2).collect::<String>())
                }
                _ => value.clone(),
            };
            let above = |value: &Datum| match cut(value) == *value {
                true => value.clone(),
                false => Datum::string("ac"),
            };
            lower.insert(column, cut(least));
            upper.insert(column, above(most));
        }
    }
    file.with(|file| {
        file.lower_bounds(lower.clone()).upper_bounds(upper.clone());
        file.value_counts(values.clone())
            .null_value_counts(nulls.clone())
            .nan_value_counts(nans.clone());
    })
}

/// A condition as text, and what it is for a row: true, false or unknown.
#[derive(Clone, Debug)]
enum Model {
    Id(&'static str, i64),
    Name(&'static str, usize),
    Score(&'static str, usize),
    Prefix(usize),
    IdIn(Vec<i64>),
    IsNull(&'static str),
    Bucket(i32),
    Not(Box<Model>),
    And(Box<Model>, Box<Model>),
    Or(Box<Model>, Box<Model>),
}

impl Model {
    fn text(&self) -> String {
        match self {
            Self::Id(op, value) => format!("id {op} {value}"),
            Self::Name(op, name) => format!("name {op} '{}'", NAMES[*name]),
            Self::Score(op, score) if SCORES[*score].is_nan() || SCORES[*score].is_infinite() => {
                // Only equality is defined for NaN.
                let op = if op.starts_with(['<', '>']) { "=" } else { op };
                format!("score {op} double('{}')", SCORES[*score])
            }
            Self::Score(op, score) => format!("score {op} {:?}D", SCORES[*score]),
            Self::Prefix(name) => format!("startswith(name, '{}')", NAMES[*name]),
            Self::IdIn(values) => {
                let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                format!("id IN ({})", values.join(", "))
            }
            Self::IsNull(column) => format!("{column} IS NULL"),
            Self::Bucket(bucket) => format!("system.bucket(3, id) = {bucket}"),
            Self::Not(inner) => format!("NOT ({})", inner.text()),
            Self::And(left, right) => format!("({}) AND ({})", left.text(), right.text()),
            Self::Or(left, right) => format!("({}) OR ({})", left.text(), right.text()),
        }
    }

    /// SQL's three-valued logic.
    fn of(&self, row: Row) -> Option<bool> {
        let ordered = |op: &str, order: std::cmp::Ordering| match op {
            "=" => order.is_eq(),
            "!=" => order.is_ne(),
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            _ => order.is_ge(),
        };
        match self {
            Self::Id(op, value) => Some(ordered(op, row.id?.cmp(value))),
            Self::Name(op, name) => Some(ordered(op, NAMES[row.name?].cmp(NAMES[*name]))),
            Self::Score(op, score) => {
                let only_equal = SCORES[*score].is_nan() || SCORES[*score].is_infinite();
                let op = if only_equal && op.starts_with(['<', '>']) {
                    "="
                } else {
                    op
                };
                let (value, constant) = (row.score?, SCORES[*score]);
                // Statistics leave NaN out of every order.
                if (value.is_nan() || constant.is_nan()) && op.starts_with(['<', '>']) {
                    return None;
                }
                let order = match (value.is_nan(), constant.is_nan()) {
                    (true, true) => std::cmp::Ordering::Equal,
                    (true, false) => std::cmp::Ordering::Greater,
                    (false, true) => std::cmp::Ordering::Less,
                    _ => value.partial_cmp(&constant).unwrap(),
                };
                Some(ordered(op, order))
            }
            Self::Prefix(name) => Some(NAMES[row.name?].starts_with(NAMES[*name])),
            Self::IdIn(values) => Some(values.contains(&row.id?)),
            Self::IsNull(column) => Some(match *column {
                "id" => row.id.is_none(),
                "name" => row.name.is_none(),
                _ => row.score.is_none(),
            }),
            Self::Bucket(bucket) => {
                let function =
                    iceberg::transform::create_transform_function(&iceberg::spec::Transform::Bucket(3))
                        .unwrap();
                let value = function
                    .transform_literal(&Datum::long(row.id?))
                    .unwrap()
                    .unwrap();
                Some(value == Datum::int(*bucket))
            }
            Self::Not(inner) => inner.of(row).map(|value| !value),
            Self::And(left, right) => match (left.of(row), right.of(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(left, right) => match (left.of(row), right.of(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        proptest::option::weighted(0.8, -6_i64..7),
        proptest::option::weighted(0.8, 0..NAMES.len()),
        proptest::option::weighted(0.8, 0..SCORES.len()),
    );
    let row = row.prop_map(|(id, name, score)| Row {
        id,
        name,
        score: score.map(|at| SCORES[at]),
    });
    proptest::collection::vec(row, 1..6)
}

fn models() -> impl Strategy<Value = Model> {
    let op = || proptest::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        (op(), -7_i64..8).prop_map(|(op, value)| Model::Id(op, value)),
        (op(), 0..NAMES.len()).prop_map(|(op, name)| Model::Name(op, name)),
        (op(), 0..SCORES.len()).prop_map(|(op, score)| Model::Score(op, score)),
        (0..NAMES.len()).prop_map(Model::Prefix),
        proptest::collection::vec(-7_i64..8, 1..4).prop_map(Model::IdIn),
        proptest::sample::select(vec!["id", "name", "score"]).prop_map(Model::IsNull),
        (0..3_i32).prop_map(Model::Bucket),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|inner| Model::Not(Box::new(inner))),
            two.clone()
                .prop_map(|(left, right)| Model::And(Box::new(left), Box::new(right))),
            two.prop_map(|(left, right)| Model::Or(Box::new(left), Box::new(right))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_file_with_a_matching_row_is_never_left_out(rows in rows(), model in models(), spec_id in 0..9, counted: bool) {
        let metadata = model_metadata();
        let filter = FileFilter::resolve(&model.text(), &metadata).unwrap();
        let (file, rows) = file_of(&rows, spec_id, counted, &metadata);
        if rows.iter().any(|row| model.of(*row) == Some(true)) {
            let file = file.build();
            prop_assert!(filter.selects(&file), "{} leaves out {rows:?}", model.text());
            prop_assert!(filter.selects_partition(&file));
        }
    }

    #[test]
    fn a_file_of_one_row_is_left_out_by_its_bounds(id in -6_i64..7, value in -7_i64..8) {
        let metadata = model_metadata();
        let row = Row { id: Some(id), name: None, score: None };
        for op in ["=", "<", "<=", ">", ">="] {
            let model = Model::Id(op, value);
            let filter = FileFilter::resolve(&model.text(), &metadata).unwrap();
            let (file, _) = file_of(&[row], 0, true, &metadata);
            prop_assert_eq!(filter.selects(&file.build()), model.of(row) == Some(true), "{}", model.text());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text: String, words in proptest::collection::vec(
        proptest::sample::select(vec!["id", "=", "'", "(", ")", "NOT", "AND", "5", ".5e", "X'1'", "IN", ",", "NULL", "`", "\\", "CAST", "AS"]), 0..12)) {
        let metadata = model_metadata();
        let _ = FileFilter::resolve(&text, &metadata);
        let _ = FileFilter::resolve(&words.join(" "), &metadata);
    }
}

#[test]
fn promoted_columns_and_dropped_statistics_are_judged_by_todays_type() {
    let metadata = model_metadata();
    let selects = |text: &str, lower: Datum, upper: Datum| {
        let file = FileOf::data("f", 10).unpartitioned().with(|file| {
            file.lower_bounds(HashMap::from([(1, lower.clone())]))
                .upper_bounds(HashMap::from([(1, upper.clone())]));
        });
        FileFilter::resolve(text, &metadata)
            .unwrap()
            .selects(&file.build())
    };
    assert!(selects("id = 5", Datum::int(1), Datum::int(9)));
    assert!(!selects("id = 10", Datum::int(1), Datum::int(9)));
    assert!(selects("id = 10", Datum::string("odd"), Datum::string("bounds")));
}

#[test]
fn partitions_from_before_1970_are_found_where_old_writers_put_them() {
    let mut json = metadata_json();
    json["schemas"][0]["fields"][1]["type"] = "timestamptz".into();
    json["partition-specs"][1]["fields"][0]["transform"] = "day".into();
    let metadata = metadata_from(&json);
    let selects = |text: &str, day: i32| {
        let file = FileOf::data("f", 10).partition(day);
        FileFilter::resolve(text, &metadata)
            .unwrap()
            .selects(&file.build())
    };
    let text = "part = '1969-12-31 10:00:00'";
    assert!(selects(text, -1) && selects(text, 0) && !selects(text, 1));
    let text = "part < '1969-12-31'";
    assert!(selects(text, -2) && selects(text, -1) && !selects(text, 0));
}
