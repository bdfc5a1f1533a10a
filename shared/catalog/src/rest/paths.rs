//! Paths of the REST specification below the server's address.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use snowpack_domain::TableId;

/// What may stand in a path segment as it is (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// What the specification puts between the levels of a namespace, encoded.
const LEVEL_SEPARATOR: &str = "%1F";

/// The paths of one catalog of a server.
#[derive(Debug)]
pub(super) struct Paths {
    root: String,
    separator: String,
}

impl Paths {
    /// `prefix` and `separator` come from the server's configuration and are used as they are.
    pub(super) fn new(prefix: Option<&str>, separator: Option<&str>) -> Self {
        let prefix = prefix
            .map(|prefix| prefix.trim_matches('/'))
            .filter(|prefix| !prefix.is_empty());
        Self {
            root: prefix.map_or_else(
                || "v1/namespaces".to_owned(),
                |prefix| format!("v1/{prefix}/namespaces"),
            ),
            separator: separator.unwrap_or(LEVEL_SEPARATOR).to_owned(),
        }
    }

    /// The namespaces right below `parent`; the outermost ones for no levels.
    pub(super) fn namespaces(&self, parent: &[String]) -> String {
        if parent.is_empty() {
            return self.root.clone();
        }
        format!(
            "{}?parent={}",
            self.root,
            self.namespace(parent.iter().map(String::as_str))
        )
    }

    pub(super) fn tables(&self, levels: &[&str]) -> String {
        format!("{}/{}/tables", self.root, self.namespace(levels.iter().copied()))
    }

    pub(super) fn table(&self, table: &TableId) -> String {
        self.entry(table, "tables")
    }

    pub(super) fn view(&self, view: &TableId) -> String {
        self.entry(view, "views")
    }

    fn entry(&self, id: &TableId, kind: &str) -> String {
        let namespace = self.namespace(id.database.levels());
        format!("{}/{namespace}/{kind}/{}", self.root, encode(id.table.as_str()))
    }

    fn namespace<'a>(&self, levels: impl Iterator<Item = &'a str>) -> String {
        levels.map(encode).collect::<Vec<_>>().join(&self.separator)
    }
}

pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_joined_and_the_prefix_is_taken_as_given() {
        let id = TableId::parse("a.b.t").unwrap();
        assert_eq!(Paths::new(None, None).table(&id), "v1/namespaces/a%1Fb/tables/t");
        let paths = Paths::new(Some("/catalogs/c:1"), Some("%2E"));
        assert_eq!(
            paths.tables(&["a", "b"]),
            "v1/catalogs/c:1/namespaces/a%2Eb/tables"
        );
        assert_eq!(
            paths.namespaces(&["a/b".to_owned()]),
            "v1/catalogs/c:1/namespaces?parent=a%2Fb"
        );
    }
}
