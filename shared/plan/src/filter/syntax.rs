//! Reads the text of a filter: a boolean expression as Spark writes it, of the shapes that Iceberg's Spark
//! procedures can push down to files (`SparkV2Filters`). Anything else is refused by name.

use iceberg::spec::Transform;
use sqlparser::ast::{
    BinaryOperator, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    InTarget, ObjectNamePart, UnaryOperator, Value,
};
use sqlparser::dialect::Dialect;
use sqlparser::parser::{Parser, ParserOptions};
use sqlparser::tokenizer::{Token, Tokenizer, Word};

use super::check::Comparison;
use super::coerce::Operator;
use super::constant::{Constant, unescaped};

/// Longest text read, in bytes: room for a list of thousands of values.
const MOST_BYTES: usize = 256 * 1024;
/// Most words and operators between constants: chains of them nest, and are walked by recursion.
const MOST_WORDS: usize = 2_000;
/// How deep parentheses and the like may nest.
const MOST_NESTED: usize = 50;

/// A column by the names on its path.
pub(super) type Path = Vec<String>;

/// What is compared with constants.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Column(Path),
    /// `system.bucket(4, id)`
    Transformed(Transform, Path),
    /// `CAST(ts AS DATE)`
    DayOf(Path),
}

/// A filter with its columns still unknown.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// TRUE, FALSE or NULL.
    Constant(Option<bool>),
    /// A boolean column.
    Flag(Path),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Compare(Operand, Operator, Constant),
    In(Operand, Vec<Constant>),
    IsNull(Path),
    StartsWith(Path, String),
}

/// Spark's lexical rules.
#[derive(Debug)]
struct Spark;

impl Dialect for Spark {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_ascii_alphabetic() || ch == '_'
    }
    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_ascii_alphanumeric() || ch == '_'
    }
    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }
    fn supports_bang_not_operator(&self) -> bool {
        true
    }
}

/// Reads a filter.
pub(super) fn parse(text: &str) -> Result<Condition, String> {
    let wrong = |reason: &dyn std::fmt::Display| format!("it cannot be read as a condition: {reason}");
    if text.len() > MOST_BYTES {
        return Err(wrong(&format!("it has more than {MOST_BYTES} bytes")));
    }
    let tokens = Tokenizer::new(&Spark, text).with_unescape(false).tokenize();
    let tokens = with_suffixes(tokens.map_err(|error| wrong(&error))?);
    if tokens.iter().filter(|token| is_word(token)).count() > MOST_WORDS {
        return Err(wrong(&format!(
            "it has more than {MOST_WORDS} words and operators"
        )));
    }
    let mut parser = Parser::new(&Spark)
        .with_recursion_limit(MOST_NESTED)
        .with_options(ParserOptions::new().with_unescape(false))
        .with_tokens(tokens);
    let expr = parser.parse_expr().map_err(|error| wrong(&error))?;
    match parser.peek_token().token {
        Token::EOF => condition(&expr),
        token => Err(wrong(&format!("{token} is not expected there"))),
    }
}

fn is_word(token: &Token) -> bool {
    !matches!(
        token,
        Token::Whitespace(_)
            | Token::Comma
            | Token::Minus
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
    )
}

/// Joins numbers with the suffixes that give their types, like the BD of 1.5BD.
fn with_suffixes(tokens: Vec<Token>) -> Vec<Token> {
    let mut joined: Vec<Token> = Vec::with_capacity(tokens.len());
    for token in tokens {
        match (joined.last_mut(), token) {
            (
                Some(Token::Number(digits, false)),
                Token::Word(Word {
                    value,
                    quote_style: None,
                    ..
                }),
            ) => {
                digits.push_str(&value);
            }
            (_, token) => joined.push(token),
        }
    }
    joined
}

fn condition(expr: &Expr) -> Result<Condition, String> {
    match expr {
        Expr::Nested(inner) => condition(inner),
        Expr::UnaryOp {
            op: UnaryOperator::Not | UnaryOperator::BangNot,
            expr,
        } => Ok(not(condition(expr)?, true)),
        Expr::BinaryOp {
            op: BinaryOperator::And,
            ..
        } => Ok(Condition::All(chain(expr, &BinaryOperator::And)?)),
        Expr::BinaryOp {
            op: BinaryOperator::Or,
            ..
        } => Ok(Condition::Any(chain(expr, &BinaryOperator::Or)?)),
        Expr::BinaryOp { left, op, right } => comparison(left, op, right).ok_or_else(|| unsupported(expr))?,
        Expr::Value(_) => match constant(expr)? {
            Constant::Bool(value) => Ok(Condition::Constant(Some(value))),
            Constant::Null => Ok(Condition::Constant(None)),
            _ => Err(unsupported(expr)),
        },
        Expr::Function(function) => starts_with(function).ok_or_else(|| unsupported(expr)),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            path(expr).map(Condition::Flag).ok_or_else(|| unsupported(expr))
        }
        _ => test(expr),
    }
}

/// A condition that has words for its operator.
fn test(expr: &Expr) -> Result<Condition, String> {
    match expr {
        Expr::IsNotDistinctFrom(left, right) => compare(left, Operator::NullSafeEq, right),
        Expr::IsDistinctFrom(left, right) => compare(left, Operator::NullSafeNotEq, right),
        Expr::IsNull(inner) => Ok(Condition::IsNull(path(inner).ok_or_else(|| unsupported(expr))?)),
        Expr::IsNotNull(inner) => Ok(not(
            Condition::IsNull(path(inner).ok_or_else(|| unsupported(expr))?),
            true,
        )),
        Expr::IsTrue(flag) => is_bool(flag, Operator::NullSafeEq, true),
        Expr::IsFalse(flag) => is_bool(flag, Operator::NullSafeEq, false),
        Expr::IsNotTrue(flag) => is_bool(flag, Operator::NullSafeNotEq, true),
        Expr::IsNotFalse(flag) => is_bool(flag, Operator::NullSafeNotEq, false),
        Expr::In {
            expr,
            target: InTarget::List(list),
            negated,
            ..
        } => {
            let constants = list.iter().map(constant).collect::<Result<_, _>>()?;
            Ok(not(Condition::In(operand(expr)?, constants), *negated))
        }
        Expr::Between {
            expr,
            negated,
            low,
            high,
        } => {
            let at_least = compare(expr, Operator::Of(Comparison::GtEq), low)?;
            let at_most = compare(expr, Operator::Of(Comparison::LtEq), high)?;
            Ok(not(Condition::All(vec![at_least, at_most]), *negated))
        }
        Expr::Like {
            negated,
            any: false,
            expr: column,
            pattern,
            escape_char: None,
        } => {
            let like = like(column, &constant(pattern)?).ok_or_else(|| unsupported(expr))?;
            Ok(not(like, *negated))
        }
        _ => Err(unsupported(expr)),
    }
}

fn not(condition: Condition, negated: bool) -> Condition {
    match negated {
        true => Condition::Not(Box::new(condition)),
        false => condition,
    }
}

/// The operands of a chain of one operator, which the parser nests to the left.
fn chain(mut expr: &Expr, operator: &BinaryOperator) -> Result<Vec<Condition>, String> {
    let mut parts = Vec::new();
    while let Expr::BinaryOp { left, op, right } = expr
        && op == operator
    {
        parts.push(condition(right)?);
        expr = left;
    }
    parts.push(condition(expr)?);
    parts.reverse();
    Ok(parts)
}

fn comparison(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Result<Condition, String>> {
    let operator = match op {
        BinaryOperator::Eq => Operator::Of(Comparison::Eq),
        BinaryOperator::NotEq => Operator::Of(Comparison::NotEq),
        BinaryOperator::Lt => Operator::Of(Comparison::Lt),
        BinaryOperator::LtEq => Operator::Of(Comparison::LtEq),
        BinaryOperator::Gt => Operator::Of(Comparison::Gt),
        BinaryOperator::GtEq => Operator::Of(Comparison::GtEq),
        BinaryOperator::Spaceship => Operator::NullSafeEq,
        _ => return None,
    };
    Some(compare(left, operator, right))
}

fn compare(left: &Expr, operator: Operator, right: &Expr) -> Result<Condition, String> {
    match (operand(left), operand(right)) {
        (Ok(operand), Err(_)) => Ok(Condition::Compare(operand, operator, constant(right)?)),
        (Err(_), Ok(operand)) => Ok(Condition::Compare(operand, operator.flipped(), constant(left)?)),
        (Ok(_), Ok(_)) => Err(format!(
            "{left} and {right} are both columns: a column can only be compared with constants"
        )),
        (Err(reason), Err(_)) => Err(reason),
    }
}

fn is_bool(flag: &Expr, operator: Operator, value: bool) -> Result<Condition, String> {
    Ok(Condition::Compare(
        operand(flag)?,
        operator,
        Constant::Bool(value),
    ))
}

/// `LIKE` with only a last `%`, or no wildcard at all.
fn like(column: &Expr, pattern: &Constant) -> Option<Condition> {
    let column = path(column)?;
    let pattern = match pattern {
        Constant::Text(pattern) => pattern,
        Constant::Null => return Some(Condition::Constant(None)),
        _ => return None,
    };
    let prefix = pattern.strip_suffix('%').unwrap_or(pattern);
    if prefix.contains(['%', '_', '\\']) || pattern == "%" {
        return None;
    }
    if prefix.len() == pattern.len() {
        let equal = Operator::Of(Comparison::Eq);
        return Some(Condition::Compare(
            Operand::Column(column),
            equal,
            Constant::Text(pattern.clone()),
        ));
    }
    Some(Condition::StartsWith(column, prefix.to_owned()))
}

fn starts_with(function: &Function) -> Option<Condition> {
    let [name] = &names(function)?[..] else {
        return None;
    };
    let [column, prefix] = arguments(function)?[..] else {
        return None;
    };
    match constant(prefix).ok()? {
        Constant::Text(prefix) if name.eq_ignore_ascii_case("startswith") => {
            Some(Condition::StartsWith(path(column)?, prefix))
        }
        _ => None,
    }
}

fn operand(expr: &Expr) -> Result<Operand, String> {
    match expr {
        Expr::Nested(inner) => operand(inner),
        Expr::Function(function) => transformed(function).ok_or_else(|| unsupported(expr)),
        Expr::Cast {
            kind: CastKind::Cast,
            expr: inner,
            data_type,
            format: None,
        } if data_type.to_string().eq_ignore_ascii_case("date") => {
            path(inner).map(Operand::DayOf).ok_or_else(|| unsupported(expr))
        }
        _ => path(expr).map(Operand::Column).ok_or_else(|| unsupported(expr)),
    }
}

/// `system.bucket(4, id)` and its like, with or without the catalog's name before it; `date(ts)`.
fn transformed(function: &Function) -> Option<Operand> {
    let names = names(function)?;
    let arguments = arguments(function)?;
    let column = |at: usize| path(arguments.get(at)?);
    let width = || match constant(arguments.first()?).ok()? {
        Constant::Integer(width) => u32::try_from(width).ok().filter(|width| *width > 0),
        _ => None,
    };
    let (name, schema) = names.split_last()?;
    let name = name.to_ascii_lowercase();
    if schema.is_empty() {
        let is_day = arguments.len() == 1 && matches!(name.as_str(), "date" | "to_date");
        return is_day.then(|| column(0).map(Operand::DayOf)).flatten();
    }
    if schema.len() > 2 || !schema.last()?.eq_ignore_ascii_case("system") {
        return None;
    }
    let (transform, at) = match (name.as_str(), arguments.len()) {
        ("bucket", 2) => (Transform::Bucket(width()?), 1),
        ("truncate", 2) => (Transform::Truncate(width()?), 1),
        ("years", 1) => (Transform::Year, 0),
        ("months", 1) => (Transform::Month, 0),
        ("days", 1) => (Transform::Day, 0),
        ("hours", 1) => (Transform::Hour, 0),
        _ => return None,
    };
    Some(Operand::Transformed(transform, column(at)?))
}

fn names(function: &Function) -> Option<Vec<&str>> {
    let names = function.name.0.iter().map(|part| match part {
        ObjectNamePart::Identifier(name) => Some(name.value.as_str()),
        ObjectNamePart::Function(_) => None,
    });
    names.collect()
}

fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    arguments.collect()
}

fn path(expr: &Expr) -> Option<Path> {
    let name = |ident: &Ident| ident.value.clone();
    match expr {
        Expr::Nested(inner) => path(inner),
        Expr::Identifier(ident) => Some(vec![name(ident)]),
        Expr::CompoundIdentifier(idents) => Some(idents.iter().map(name).collect()),
        _ => None,
    }
}

fn constant(expr: &Expr) -> Result<Constant, String> {
    match expr {
        Expr::Nested(inner) => constant(inner),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => constant(expr)?.negated(),
        Expr::UnaryOp {
            op: UnaryOperator::Plus,
            expr,
        } => constant(expr),
        Expr::Value(value) => literal(&value.value).ok_or_else(|| unsupported(expr))?,
        Expr::TypedString(typed) => {
            let kind = typed.data_type.to_string();
            let is_typed = ["DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "TIMESTAMP_LTZ"]
                .contains(&kind.to_ascii_uppercase().as_str());
            match literal(&typed.value.value) {
                Some(text) if is_typed => text?.cast(&kind),
                _ => Err(unsupported(expr)),
            }
        }
        Expr::Cast {
            kind: CastKind::Cast,
            expr,
            data_type,
            format: None,
        } => constant(expr)?.cast(&data_type.to_string()),
        Expr::Function(function) => match (names(function).as_deref(), arguments(function).as_deref()) {
            (Some([kind]), Some([argument])) => constant(argument)?.cast(kind),
            _ => Err(unsupported(expr)),
        },
        _ => Err(unsupported(expr)),
    }
}

fn literal(value: &Value) -> Option<Result<Constant, String>> {
    Some(Ok(match value {
        Value::Number(text, is_long) => {
            let suffix = if *is_long { "L" } else { "" };
            return Some(Constant::number(&format!("{text}{suffix}")));
        }
        Value::SingleQuotedString(raw) => Constant::Text(unescaped(raw, '\'')),
        Value::DoubleQuotedString(raw) => Constant::Text(unescaped(raw, '"')),
        Value::HexStringLiteral(digits) => Constant::Bytes(bytes(digits)?),
        Value::Boolean(value) => Constant::Bool(*value),
        Value::Null => Constant::Null,
        _ => return None,
    }))
}

/// An odd number of digits has a zero before it.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let even = format!("{}{digits}", if digits.len() % 2 == 1 { "0" } else { "" });
    let pairs = even.as_bytes().chunks(2).map(std::str::from_utf8);
    pairs
        .map(|pair| u8::from_str_radix(pair.ok()?, 16).ok())
        .collect()
}

fn unsupported(expr: &Expr) -> String {
    let shown: String = expr.to_string().chars().take(120).collect();
    format!(
        "{shown} cannot be decided from file statistics: use columns, or system.bucket, truncate, years, months, days \
         and hours of them, compared with constants by =, <=>, !=, <, <=, >, >=, IN, BETWEEN, IS NULL and LIKE 'prefix%'"
    )
}
