//! What a filter asks of a value, and how such questions are combined.

use std::cmp::Ordering;

use iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType, Transform};

/// Questions combined. There is no negation: it is pushed into the questions when a filter is read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree<L> {
    Always(bool),
    All(Vec<Tree<L>>),
    Any(Vec<Tree<L>>),
    Leaf(L),
}

impl<L> Tree<L> {
    /// All of these; what is decided already is folded away.
    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::combine(parts, false, Self::All)
    }

    /// Any of these; what is decided already is folded away.
    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::combine(parts, true, Self::Any)
    }

    fn combine(
        parts: impl IntoIterator<Item = Self>,
        decisive: bool,
        combined: impl Fn(Vec<Self>) -> Self,
    ) -> Self {
        let mut open = Vec::new();
        for part in parts {
            match part {
                Self::Always(value) if value == decisive => return part,
                Self::Always(_) => {}
                part => open.push(part),
            }
        }
        match open.len() {
            0 => Self::Always(!decisive),
            1 => open.pop().expect("there is one"),
            _ => combined(open),
        }
    }

    /// The answer, given the answer to each question.
    pub(super) fn holds(&self, answer: &impl Fn(&L) -> bool) -> bool {
        match self {
            Self::Always(value) => *value,
            Self::All(parts) => parts.iter().all(|part| part.holds(answer)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(answer)),
            Self::Leaf(leaf) => answer(leaf),
        }
    }

    /// The tree with every question replaced.
    pub(super) fn replace<M>(&self, with: &impl Fn(&L) -> Tree<M>) -> Tree<M> {
        match self {
            Self::Always(value) => Tree::Always(*value),
            Self::All(parts) => Tree::all(parts.iter().map(|part| part.replace(with))),
            Self::Any(parts) => Tree::any(parts.iter().map(|part| part.replace(with))),
            Self::Leaf(leaf) => with(leaf),
        }
    }

    pub(super) fn for_each(&self, visit: &mut impl FnMut(&L)) {
        match self {
            Self::Always(_) => {}
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.for_each(visit)),
            Self::Leaf(leaf) => visit(leaf),
        }
    }
}

/// An order between a value and a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
}

impl Comparison {
    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::NotEq => ordering.is_ne(),
            Self::Lt => ordering.is_lt(),
            Self::LtEq => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::GtEq => ordering.is_ge(),
        }
    }
}

/// One question about a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Check<V> {
    IsNull,
    NotNull,
    IsNan,
    NotNan,
    Compare(Comparison, V),
    /// Any of these, which are sorted.
    In(Vec<V>),
    /// None of these, which are sorted.
    NotIn(Vec<V>),
    StartsWith(String),
    NotStartsWith(String),
}

impl<V: PartialOrd> Check<V> {
    pub(super) fn is_in(mut values: Vec<V>) -> Self {
        sort(&mut values);
        Self::In(values)
    }

    pub(super) fn is_not_in(mut values: Vec<V>) -> Self {
        sort(&mut values);
        Self::NotIn(values)
    }
}

fn sort<V: PartialOrd>(values: &mut Vec<V>) {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    values.dedup_by(|a, b| a == b);
}

impl Check<Datum> {
    /// The same question about values without their type.
    pub(super) fn untyped(&self) -> Check<PrimitiveLiteral> {
        let literals = |values: &[Datum]| values.iter().map(|value| value.literal().clone()).collect();
        match self {
            Self::IsNull => Check::IsNull,
            Self::NotNull => Check::NotNull,
            Self::IsNan => Check::IsNan,
            Self::NotNan => Check::NotNan,
            Self::Compare(comparison, value) => Check::Compare(*comparison, value.literal().clone()),
            Self::In(values) => Check::is_in(literals(values)),
            Self::NotIn(values) => Check::is_not_in(literals(values)),
            Self::StartsWith(prefix) => Check::StartsWith(prefix.clone()),
            Self::NotStartsWith(prefix) => Check::NotStartsWith(prefix.clone()),
        }
    }
}

impl Check<PrimitiveLiteral> {
    /// Whether the value passes, as Java's `Evaluator` decides on partition values: there is no third truth
    /// value, and null is less than everything.
    pub(super) fn accepts(&self, value: Option<&PrimitiveLiteral>) -> bool {
        match self {
            Self::IsNull => value.is_none(),
            Self::NotNull => value.is_some(),
            Self::IsNan => value.is_some_and(is_nan),
            Self::NotNan => !value.is_some_and(is_nan),
            Self::Compare(comparison, constant) => {
                let ordering = value.map_or(Some(Ordering::Less), |value| compare(value, constant));
                // Values of another type than the column's cannot be judged.
                ordering.is_none_or(|ordering| comparison.accepts(ordering))
            }
            Self::In(values) => value.is_some_and(|value| contains(values, value)),
            Self::NotIn(values) => !value.is_some_and(|value| contains(values, value)),
            Self::StartsWith(prefix) => starts_with(value, prefix),
            Self::NotStartsWith(prefix) => !starts_with(value, prefix),
        }
    }
}

fn contains(sorted: &[PrimitiveLiteral], value: &PrimitiveLiteral) -> bool {
    let found = sorted.binary_search_by(|known| known.partial_cmp(value).unwrap_or(Ordering::Less));
    found.is_ok()
}

fn starts_with(value: Option<&PrimitiveLiteral>, prefix: &str) -> bool {
    matches!(value, Some(PrimitiveLiteral::String(text)) if text.starts_with(prefix))
}

pub(super) fn is_nan(value: &PrimitiveLiteral) -> bool {
    match value {
        PrimitiveLiteral::Float(value) => value.is_nan(),
        PrimitiveLiteral::Double(value) => value.is_nan(),
        _ => false,
    }
}

/// The order of two values of one type, the column's; NaN is greatest and both zeros are one, so that a row with
/// the one is found by the other. `None` for values of different types.
pub(super) fn compare(a: &PrimitiveLiteral, b: &PrimitiveLiteral) -> Option<Ordering> {
    let is_one_type = std::mem::discriminant(a) == std::mem::discriminant(b);
    is_one_type.then(|| a.partial_cmp(b)).flatten()
}

/// What is compared: a column, or a transform of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    /// The column's field id.
    pub(super) id: i32,
    /// The column's type; `None` for structs, lists and maps, which can only be null or not.
    pub(super) source: Option<PrimitiveType>,
    /// What is compared of it.
    pub(super) transform: Transform,
}

/// A question about a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    pub(super) term: Term,
    pub(super) check: Check<Datum>,
    /// Whether Spark adds, where the question stands by itself, that the column is not null
    /// (`InferFiltersFromConstraints`).
    pub(super) implies_value: bool,
}
