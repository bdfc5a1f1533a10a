//! Names of databases and tables, checked once at the border (api.md, Conventions).

use std::fmt;

/// Longest name accepted, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// A database: `^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$`; dots separate nested namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseName(String);

/// A table: `^[A-Za-z0-9_][A-Za-z0-9_-]{0,254}$`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName(String);

/// A table by its full name; prints as `database.table`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    /// The database, possibly nested.
    pub database: DatabaseName,
    /// The table inside it.
    pub table: TableName,
}

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    /// `database` or `table`.
    pub field: &'static str,
    /// What the caller gave, cut to a printable length.
    pub given: String,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = if self.field == "database" { "_ . -" } else { "_ -" };
        write!(
            f,
            "{:?} is not a {} name: use 1 to {MAX_NAME_BYTES} letters, digits or {allowed}, starting with a letter, digit or _",
            self.given, self.field
        )
    }
}

impl std::error::Error for NameError {}

fn check(given: &str, field: &'static str, dots: bool) -> Result<String, NameError> {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let follow = |b: u8| letter(b) || b == b'-' || (dots && b == b'.');
    let bytes = given.as_bytes();
    let well_formed = bytes.len() <= MAX_NAME_BYTES
        && bytes.first().copied().is_some_and(letter)
        && bytes.iter().skip(1).copied().all(follow);
    if well_formed {
        return Ok(given.to_owned());
    }
    Err(NameError {
        field,
        given: given.chars().take(80).collect(),
    })
}

impl DatabaseName {
    /// Checks a database name.
    ///
    /// # Errors
    /// [`NameError`] when it does not have the documented form.
    pub fn new(given: &str) -> Result<Self, NameError> {
        check(given, "database", true).map(Self)
    }

    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels of a nested namespace, outermost first.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl TableName {
    /// Checks a table name.
    ///
    /// # Errors
    /// [`NameError`] when it does not have the documented form.
    pub fn new(given: &str) -> Result<Self, NameError> {
        check(given, "table", false).map(Self)
    }

    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TableId {
    /// Checks both names; the database is looked at first.
    ///
    /// # Errors
    /// [`NameError`] naming the part that is malformed.
    pub fn new(database: &str, table: &str) -> Result<Self, NameError> {
        Ok(Self {
            database: DatabaseName::new(database)?,
            table: TableName::new(table)?,
        })
    }

    /// Splits `database.table` at its last dot.
    ///
    /// # Errors
    /// [`NameError`] when there is no dot or a part is malformed.
    pub fn parse(full: &str) -> Result<Self, NameError> {
        let (database, table) = full.rsplit_once('.').ok_or_else(|| NameError {
            field: "table",
            given: full.chars().take(80).collect(),
        })?;
        Self::new(database, table)
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_contract_accepts() {
        for good in ["a", "_x", "0", "offer_service", "a.b-c", &"x".repeat(255)] {
            assert!(DatabaseName::new(good).is_ok(), "{good}");
        }
        assert!(TableName::new("of-fers_1").is_ok());
    }

    #[test]
    fn refuses_everything_else() {
        for bad in ["", ".a", "-a", "a b", "a/b", "../x", "é", "a\0", &"x".repeat(256)] {
            assert!(DatabaseName::new(bad).is_err(), "{bad}");
            assert!(TableName::new(bad).is_err(), "{bad}");
        }
        assert!(TableName::new("a.b").is_err());
    }

    #[test]
    fn full_names_split_at_the_last_dot() {
        let id = TableId::parse("a.b.c").unwrap();
        assert_eq!((id.database.as_str(), id.table.as_str()), ("a.b", "c"));
        assert_eq!(id.database.levels().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(TableId::parse("plain").unwrap_err().field, "table");
    }
}
