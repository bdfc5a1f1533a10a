//! Random schemas three levels deep, values with extremes, and legal evolutions.

use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, StructType, Type};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::values::Value;

/// How deep types nest.
const DEPTH: u32 = 3;

/// Makes random things; the same seed makes the same.
pub(crate) struct Generator {
    pub(crate) random: StdRng,
    next_id: i32,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            next_id: 0,
        }
    }

    fn id(&mut self) -> i32 {
        self.next_id += 1;
        self.next_id
    }

    /// Whether something with this chance happens.
    pub(crate) fn chance(&mut self, chance: f64) -> bool {
        self.random.random_bool(chance)
    }

    /// A schema of a few columns, the first a required long named `id`.
    pub(crate) fn schema(&mut self) -> StructType {
        let id = self.id();
        let mut fields: Vec<NestedFieldRef> =
            vec![NestedField::required(id, "id", PrimitiveType::Long.into()).into()];
        for _ in 0..self.random.random_range(1..6) {
            fields.push(self.field(DEPTH, false));
        }
        StructType::new(fields)
    }

    fn field(&mut self, depth: u32, optional: bool) -> NestedFieldRef {
        let id = self.id();
        let required = !optional && self.chance(0.2);
        let field_type = self.field_type(depth);
        NestedField::new(id, format!("f-{id}"), field_type, required).into()
    }

    fn field_type(&mut self, depth: u32) -> Type {
        match self.random.random_range(0..10) {
            0 | 1 if depth > 0 => {
                let count = self.random.random_range(1..4);
                Type::Struct(StructType::new(
                    (0..count).map(|_| self.field(depth - 1, false)).collect(),
                ))
            }
            2 if depth > 0 => {
                let id = self.id();
                let required = self.chance(0.3);
                let element = self.field_type(depth - 1);
                Type::List(ListType {
                    element_field: NestedField::list_element(id, element, required).into(),
                })
            }
            3 if depth > 0 => {
                let (key, value) = (self.id(), self.id());
                let key_type = self.primitive();
                let required = self.chance(0.3);
                let value_type = self.field_type(depth - 1);
                Type::Map(MapType {
                    key_field: NestedField::map_key_element(key, key_type.into()).into(),
                    value_field: NestedField::map_value_element(value, value_type, required).into(),
                })
            }
            _ => self.primitive().into(),
        }
    }

    fn primitive(&mut self) -> PrimitiveType {
        let all = [
            PrimitiveType::Boolean,
            PrimitiveType::Int,
            PrimitiveType::Long,
            PrimitiveType::Float,
            PrimitiveType::Double,
            PrimitiveType::Decimal {
                precision: 7,
                scale: 2,
            },
            PrimitiveType::Decimal {
                precision: 17,
                scale: 0,
            },
            PrimitiveType::Decimal {
                precision: 30,
                scale: 9,
            },
            PrimitiveType::Date,
            PrimitiveType::Time,
            PrimitiveType::Timestamp,
            PrimitiveType::Timestamptz,
            PrimitiveType::String,
            PrimitiveType::Uuid,
            PrimitiveType::Fixed(5),
            PrimitiveType::Binary,
        ];
        all.choose(&mut self.random).unwrap().clone()
    }

    /// A later schema: columns dropped, renamed, promoted, moved and added, at every level.
    pub(crate) fn evolve(&mut self, fields: &StructType) -> StructType {
        let mut evolved: Vec<NestedFieldRef> = Vec::new();
        for field in fields.fields() {
            if field.name != "id" && self.chance(0.15) {
                continue;
            }
            let mut field = field.as_ref().clone();
            field.field_type = Box::new(self.evolve_type(&field.field_type));
            if field.name != "id" && self.chance(0.2) {
                field.name = format!("r{}.{}", self.next_id, field.id);
            }
            field.required = field.required && !self.chance(0.3);
            evolved.push(field.into());
        }
        if evolved.is_empty() || self.chance(0.4) {
            evolved.push(self.field(1, true));
        }
        if self.chance(0.3) {
            evolved.shuffle(&mut self.random);
        }
        StructType::new(evolved)
    }

    fn evolve_type(&mut self, field_type: &Type) -> Type {
        match field_type {
            Type::Struct(fields) => Type::Struct(self.evolve(fields)),
            Type::List(list) => {
                let mut element = list.element_field.as_ref().clone();
                element.field_type = Box::new(self.evolve_type(&element.field_type));
                Type::List(ListType {
                    element_field: element.into(),
                })
            }
            Type::Map(map) => {
                let mut value = map.value_field.as_ref().clone();
                value.field_type = Box::new(self.evolve_type(&value.field_type));
                Type::Map(MapType {
                    key_field: map.key_field.clone(),
                    value_field: value.into(),
                })
            }
            Type::Primitive(primitive) if self.chance(0.5) => promoted(primitive).into(),
            same => same.clone(),
        }
    }

    /// A row of a schema; ids count up, so that rows can be told apart.
    pub(crate) fn row(&mut self, fields: &StructType, id: i64) -> Value {
        let mut row = Vec::new();
        for field in fields.fields() {
            row.push(if field.name == "id" {
                Value::Int(id)
            } else {
                self.value(field)
            });
        }
        Value::Struct(row)
    }

    fn value(&mut self, field: &NestedField) -> Value {
        if !field.required && self.chance(0.25) {
            return Value::Null;
        }
        match field.field_type.as_ref() {
            Type::Primitive(primitive) => self.primitive_value(primitive),
            Type::Struct(fields) => {
                Value::Struct(fields.fields().iter().map(|field| self.value(field)).collect())
            }
            Type::List(list) => {
                let length = self.random.random_range(0..4);
                Value::List((0..length).map(|_| self.value(&list.element_field)).collect())
            }
            Type::Map(map) => {
                let length = self.random.random_range(0..3);
                let mut pairs: Vec<(Value, Value)> = Vec::new();
                for _ in 0..length {
                    let key = self.value(&map.key_field);
                    if pairs.iter().all(|(known, _)| *known != key) {
                        pairs.push((key, self.value(&map.value_field)));
                    }
                }
                Value::Map(pairs)
            }
        }
    }

    fn primitive_value(&mut self, primitive: &PrimitiveType) -> Value {
        let floats = [
            0.0,
            -0.0,
            1.5,
            -2.25,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::from(f32::MIN_POSITIVE),
        ];
        let texts = [
            "",
            "a",
            "bc",
            "a longer text than bounds are",
            "ünïcödé \u{10FFFF}\u{10FFFF}",
            "日本",
        ];
        match primitive {
            PrimitiveType::Boolean => Value::Bool(self.chance(0.5)),
            PrimitiveType::Int | PrimitiveType::Date => {
                let edges = [0, 1, -1, i64::from(i32::MIN), i64::from(i32::MAX)];
                Value::Int(self.number(&edges))
            }
            PrimitiveType::Time => Value::Int(self.number(&[0, 1, 86_399_999_999])),
            PrimitiveType::Long | PrimitiveType::Timestamp | PrimitiveType::Timestamptz => {
                Value::Int(self.number(&[0, -1, i64::MIN, i64::MAX]))
            }
            PrimitiveType::Float | PrimitiveType::Double => {
                Value::float(*floats.choose(&mut self.random).unwrap())
            }
            PrimitiveType::Decimal { precision, .. } => {
                let most = 10i128.pow(*precision) - 1;
                Value::Decimal(*[0, 1, -1, most, -most].choose(&mut self.random).unwrap())
            }
            PrimitiveType::String => Value::Text((*texts.choose(&mut self.random).unwrap()).to_owned()),
            PrimitiveType::Uuid => self.bytes(16),
            PrimitiveType::Fixed(length) => self.bytes(*length as usize),
            _ => {
                let length = self.random.random_range(0..25);
                self.bytes(length)
            }
        }
    }

    /// One of the edges, or one of a few small numbers so that keys repeat.
    fn number(&mut self, edges: &[i64]) -> i64 {
        if self.chance(0.3) {
            *edges.choose(&mut self.random).unwrap()
        } else {
            self.random.random_range(0..5)
        }
    }

    fn bytes(&mut self, length: usize) -> Value {
        let byte = *[0u8, 1, 127, 128, 255].choose(&mut self.random).unwrap();
        Value::Bytes(vec![byte; length])
    }
}

/// The widest type the specification lets a column be promoted to, step by step.
fn promoted(primitive: &PrimitiveType) -> PrimitiveType {
    match primitive {
        PrimitiveType::Int => PrimitiveType::Long,
        PrimitiveType::Float => PrimitiveType::Double,
        PrimitiveType::Decimal { precision, scale } => PrimitiveType::Decimal {
            precision: (precision + 5).min(38),
            scale: *scale,
        },
        same => same.clone(),
    }
}
