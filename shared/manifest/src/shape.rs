//! Walks the records of an Avro block by their schema without decoding them, so that no count or length inside is
//! believed: decoders reserve memory for as many values as a damaged file says it has.

use std::collections::HashMap;

use serde_json::Value;

use crate::container::Cursor;

/// Deepest nesting of a schema. Those of manifests nest six deep; more could exhaust the stack.
const MAX_DEPTH: u32 = 64;

/// The records' schema, with its named types.
pub(crate) struct Shape<'a> {
    root: &'a Value,
    named: HashMap<&'a str, &'a Value>,
}

impl<'a> Shape<'a> {
    pub(crate) fn of(schema: &'a Value) -> Self {
        let mut named = HashMap::new();
        collect_names(schema, &mut named, MAX_DEPTH);
        Self { root: schema, named }
    }

    /// Checks that a block holds `records` records, as far as their lengths go.
    ///
    /// # Errors
    /// What is wrong, in one sentence.
    pub(crate) fn check(&self, block: &[u8], records: i64) -> Result<(), String> {
        let mut cursor = Cursor(block);
        for _ in 0..records {
            if cursor.0.is_empty() {
                return Err("a block has fewer records than it says".to_owned());
            }
            self.skip(self.root, &mut cursor, MAX_DEPTH)?;
        }
        Ok(())
    }

    fn skip(&self, schema: &Value, cursor: &mut Cursor<'_>, depth: u32) -> Result<(), String> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(format!("its schema nests more than {MAX_DEPTH} deep"));
        };
        match schema {
            Value::String(name) => match self.named.get(name.as_str()) {
                Some(named) => self.skip(named, cursor, depth),
                None => skip_primitive(name, cursor),
            },
            Value::Array(branches) => {
                let branch = usize::try_from(cursor.long()?)
                    .ok()
                    .and_then(|index| branches.get(index));
                self.skip(branch.ok_or("a union has no such branch")?, cursor, depth)
            }
            Value::Object(members) => match members.get("type") {
                Some(Value::String(kind)) => self.skip_complex(kind, schema, cursor, depth),
                Some(inner) => self.skip(inner, cursor, depth),
                None => Err("a type of its schema has no name".to_owned()),
            },
            _ => Err("its schema is not one".to_owned()),
        }
    }

    fn skip_complex(
        &self,
        kind: &str,
        schema: &Value,
        cursor: &mut Cursor<'_>,
        depth: u32,
    ) -> Result<(), String> {
        match kind {
            "record" => {
                let fields = schema["fields"].as_array().map_or(&[][..], Vec::as_slice);
                fields
                    .iter()
                    .try_for_each(|field| self.skip(&field["type"], cursor, depth))
            }
            "array" => self.skip_blocks(cursor, |cursor| self.skip(&schema["items"], cursor, depth)),
            "map" => self.skip_blocks(cursor, |cursor| {
                cursor.bytes()?;
                self.skip(&schema["values"], cursor, depth)
            }),
            "fixed" => {
                let size = schema["size"]
                    .as_u64()
                    .and_then(|size| usize::try_from(size).ok());
                cursor.take(size.ok_or("a fixed type has no size")?).map(drop)
            }
            "enum" => cursor.long().map(drop),
            name => self.skip(&Value::from(name), cursor, depth),
        }
    }

    /// The blocks of an array or a map. Each value takes a byte at least, or the count alone would fill the memory.
    fn skip_blocks<'b>(
        &self,
        cursor: &mut Cursor<'b>,
        mut skip: impl FnMut(&mut Cursor<'b>) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            let count = cursor.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                cursor.long()?; // the block's length in bytes, which only helps to skip it
            }
            if count.unsigned_abs() > cursor.0.len() as u64 {
                return Err(format!("a list says it has {} values", count.unsigned_abs()));
            }
            for _ in 0..count.unsigned_abs() {
                skip(cursor)?;
            }
        }
    }
}

fn skip_primitive(name: &str, cursor: &mut Cursor<'_>) -> Result<(), String> {
    match name {
        "null" => Ok(()),
        "boolean" => cursor.take(1).map(drop),
        "int" | "long" => cursor.long().map(drop),
        "float" => cursor.take(4).map(drop),
        "double" => cursor.take(8).map(drop),
        "bytes" | "string" => cursor.bytes().map(drop),
        other => Err(format!("its schema has a type {other:?} it does not explain")),
    }
}

fn collect_names<'a>(schema: &'a Value, named: &mut HashMap<&'a str, &'a Value>, depth: u32) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    match schema {
        Value::Object(members) => {
            let is_named = matches!(schema["type"].as_str(), Some("record" | "fixed" | "enum"));
            if let (true, Some(name)) = (is_named, schema["name"].as_str()) {
                named.insert(name, schema);
            }
            members
                .values()
                .for_each(|member| collect_names(member, named, depth));
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| collect_names(element, named, depth)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_and_lengths_must_fit_the_block() {
        let schema = json!({"type": "record", "name": "r", "fields": [
            {"name": "path", "type": "string"},
            {"name": "sizes", "type": ["null", {"type": "array", "items": "long"}]},
        ]});
        let shape = Shape::of(&schema);
        let record = [4, b'a', b'b', 2, 4, 1, 1, 0];
        assert_eq!(shape.check(&record, 1), Ok(()));
        assert!(shape.check(&record, 2).is_err(), "more records than there are");
        let long_text = [0xfe, 0xff, 0xff, 0xff, 0x0f, b'a'];
        assert!(shape.check(&long_text, 1).is_err());
        let many_values = [0, 2, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1, 1, 0];
        assert!(shape.check(&many_values, 1).unwrap_err().contains("a list says"));
        let no_branch = [0, 6, 0];
        assert!(shape.check(&no_branch, 1).is_err());
    }

    #[test]
    fn a_schema_without_an_end_is_refused() {
        let schema = json!({"type": "record", "name": "r", "fields": [{"name": "r", "type": "r"}]});
        assert!(Shape::of(&schema).check(&[0; 8], 1).unwrap_err().contains("deep"));
    }
}
