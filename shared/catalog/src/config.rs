//! Which catalog to open, checked before anything is opened.

use std::collections::BTreeMap;
use std::fmt;

use url::Url;

use crate::port::CatalogError;

/// The catalog's name inside a SQL catalog unless given.
pub const DEFAULT_CATALOG_NAME: &str = "snowpack";

/// Properties with these words in their names are never printed.
const SECRET_WORDS: [&str; 6] = [
    "token",
    "credential",
    "secret",
    "password",
    "access-key",
    "header.",
];

/// The kinds of catalogs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogKind {
    /// Tables in a SQL database, as Java's JDBC catalog and PyIceberg's SQL catalog keep them.
    Sql,
    /// A server of the Iceberg REST specification.
    Rest,
    /// AWS Glue.
    Glue,
    /// A table bucket of Amazon S3 Tables.
    S3Tables,
}

impl CatalogKind {
    /// The kind of that name: `sql`, `rest`, `glue` or `s3tables`.
    ///
    /// # Errors
    /// [`CatalogError::Configuration`] for any other name.
    pub fn parse(name: &str) -> Result<Self, CatalogError> {
        match name {
            "sql" => Ok(Self::Sql),
            "rest" => Ok(Self::Rest),
            "glue" => Ok(Self::Glue),
            "s3tables" => Ok(Self::S3Tables),
            other => Err(configuration(format!(
                "{other:?} is no kind of catalog: use sql, rest, glue or s3tables"
            ))),
        }
    }

    /// What Iceberg's Spark catalog calls this kind; none where a run on a cluster cannot reach it.
    pub const fn spark_type(self) -> Option<&'static str> {
        match self {
            Self::Glue => Some("glue"),
            Self::Rest => Some("rest"),
            Self::Sql | Self::S3Tables => None,
        }
    }
}

/// A catalog to open.
///
/// # Properties
/// Named as in Iceberg's Java and Python libraries.
/// - REST: `token`, or `credential` (`id:secret` or `secret`) with `oauth2-server-uri`, `scope`, `audience` and
///   `resource`, or `rest.sigv4-enabled` with `rest.` before `signing-name`, `signing-region`, `access-key-id`,
///   `secret-access-key` and `session-token`; `prefix`, `header.NAME`.
/// - SQL on PostgreSQL: `jdbc.user` and `jdbc.password` win over the address.
/// - Glue: `glue.endpoint`, `glue.id` (the account of the catalog), and `glue.` or `client.` before `region`,
///   `access-key-id`, `secret-access-key`, `session-token`.
/// - S3 Tables: `s3tables.endpoint`, and `s3tables.` or `client.` before the same.
/// - `s3.*` and `client.*` go to the storage.
#[derive(Clone, PartialEq, Eq)]
pub struct CatalogConfig {
    /// Its kind.
    pub kind: CatalogKind,
    /// Where it is: `sqlite:///path`, `postgresql://user@host/database`, either with `jdbc:` before it, or
    /// `http(s)://...`; for AWS services an optional endpoint.
    pub uri: Option<String>,
    /// Its name inside a SQL catalog.
    pub name: String,
    /// The warehouse; a REST server may want it to pick a catalog, S3 Tables want the ARN of a table bucket.
    pub warehouse: Option<String>,
    /// Everything else.
    pub properties: BTreeMap<String, String>,
}

impl CatalogConfig {
    /// A catalog of that kind, with the default name and nothing else.
    pub fn new(kind: CatalogKind) -> Self {
        Self {
            kind,
            uri: None,
            name: DEFAULT_CATALOG_NAME.to_owned(),
            warehouse: None,
            properties: BTreeMap::new(),
        }
    }

    /// A property that is set and not empty.
    pub(crate) fn property(&self, name: &str) -> Option<&str> {
        self.properties
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The properties meant for the storage of table files.
    pub(crate) fn storage_properties(&self) -> impl Iterator<Item = (&String, &String)> {
        storage_properties(&self.properties)
    }

    /// Where the SQL database is.
    pub(crate) fn sql_address(&self) -> Result<SqlAddress, CatalogError> {
        let uri = self.required_uri("sqlite:///path/catalog.db or postgresql://user@host/database")?;
        let uri = uri.strip_prefix("jdbc:").unwrap_or(uri);
        let (scheme, rest) = uri.split_once(':').unwrap_or((uri, ""));
        // SQLAlchemy puts the driver's name behind a plus sign.
        match scheme.split('+').next() {
            Some("sqlite") => sqlite_path(rest).map(SqlAddress::Sqlite),
            Some("postgresql" | "postgres") => Ok(SqlAddress::Postgres(format!("postgresql:{rest}"))),
            _ => Err(configuration(format!(
                "SQL catalogs live in SQLite or PostgreSQL: use sqlite:///path or postgresql://host/database, not {scheme:?}"
            ))),
        }
    }

    /// The address of an HTTP service, without a slash at its end.
    pub(crate) fn http_uri(&self) -> Result<Url, CatalogError> {
        parse_http("the catalog's address", self.required_uri("http://host:port")?)
    }

    fn required_uri(&self, example: &str) -> Result<&str, CatalogError> {
        let given = self.uri.as_deref().filter(|uri| !uri.is_empty());
        given.ok_or_else(|| {
            configuration(format!(
                "a {:?} catalog needs an address such as {example}",
                self.kind
            ))
        })
    }
}

/// Where a SQL catalog is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SqlAddress {
    /// The path of a SQLite file.
    Sqlite(String),
    /// The address of a PostgreSQL database, which may hold a password.
    Postgres(String),
}

fn sqlite_path(path: &str) -> Result<String, CatalogError> {
    if path.contains('?') {
        return Err(configuration(
            "options after ? in a sqlite: address are not supported".to_owned(),
        ));
    }
    let path = path.strip_prefix("//").unwrap_or(path);
    // SQLAlchemy writes absolute paths with four slashes.
    let path = path
        .strip_prefix('/')
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    if path.trim_matches('/').is_empty() {
        return Err(configuration("the sqlite: address names no file".to_owned()));
    }
    Ok(path.to_owned())
}

/// The properties meant for the storage of table files.
pub(crate) fn storage_properties(
    properties: &BTreeMap<String, String>,
) -> impl Iterator<Item = (&String, &String)> {
    properties
        .iter()
        .filter(|(name, _)| name.starts_with("s3.") || name.starts_with("client."))
}

/// Parses an address whose credentials must be elsewhere; messages never repeat it whole.
pub(crate) fn parse_http(what: &str, address: &str) -> Result<Url, CatalogError> {
    let url = Url::parse(address.trim_end_matches('/'))
        .map_err(|error| configuration(format!("{what} is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(configuration(format!(
            "{what} must start with http:// or https://, not {}:",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(configuration(format!(
            "{what} must not contain a user or password: use the property credential"
        )));
    }
    Ok(url)
}

/// An address without what may be secret in it: the user's part and the options.
fn shown_uri(uri: &str) -> &str {
    let uri = uri.split('?').next().unwrap_or_default();
    uri.rsplit('@').next().unwrap_or_default()
}

pub(crate) fn configuration(reason: String) -> CatalogError {
    CatalogError::Configuration(reason)
}

/// Values of properties that may be secret are left out.
impl fmt::Debug for CatalogConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = |name: &str| {
            SECRET_WORDS
                .iter()
                .any(|word| name.to_ascii_lowercase().contains(word))
        };
        let shown = |(name, value): (&String, &String)| {
            (
                name.clone(),
                if secret(name) {
                    "***".to_owned()
                } else {
                    value.clone()
                },
            )
        };
        f.debug_struct("CatalogConfig")
            .field("kind", &self.kind)
            .field("uri", &self.uri.as_deref().map(shown_uri))
            .field("name", &self.name)
            .field("warehouse", &self.warehouse)
            .field(
                "properties",
                &self.properties.iter().map(shown).collect::<BTreeMap<_, _>>(),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(kind: CatalogKind, uri: &str) -> CatalogConfig {
        CatalogConfig {
            uri: Some(uri.to_owned()),
            ..CatalogConfig::new(kind)
        }
    }

    #[test]
    fn every_spelling_of_a_sqlite_file_is_read() {
        for uri in [
            "sqlite:///a/c.db",
            "sqlite:////a/c.db",
            "sqlite:/a/c.db",
            "jdbc:sqlite:/a/c.db",
            "jdbc:sqlite:///a/c.db",
        ] {
            let read = config(CatalogKind::Sql, uri).sql_address().unwrap();
            assert_eq!(read, SqlAddress::Sqlite("/a/c.db".to_owned()), "{uri}");
        }
        let relative = config(CatalogKind::Sql, "sqlite:c.db").sql_address();
        assert_eq!(relative.unwrap(), SqlAddress::Sqlite("c.db".to_owned()));
        for uri in [
            "postgresql://h/d",
            "postgres://h/d",
            "jdbc:postgresql://h/d",
            "postgresql+psycopg2://h/d",
        ] {
            let read = config(CatalogKind::Sql, uri).sql_address().unwrap();
            assert_eq!(read, SqlAddress::Postgres("postgresql://h/d".to_owned()), "{uri}");
        }
    }

    #[test]
    fn bad_addresses_say_what_to_write_and_repeat_no_secret() {
        for uri in ["mysql://u:pw@h/d", "sqlite:///", "sqlite:///a?mode=ro", ""] {
            let error = config(CatalogKind::Sql, uri)
                .sql_address()
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("catalog configuration: ") && !error.contains("pw"),
                "{error}"
            );
        }
        for uri in ["ftp://h", "http://u:pw@h", "nonsense", ""] {
            let error = config(CatalogKind::Rest, uri).http_uri().unwrap_err().to_string();
            assert!(
                error.starts_with("catalog configuration: ") && !error.contains("pw"),
                "{error}"
            );
        }
        assert_eq!(
            config(CatalogKind::Rest, "http://h:1/api/")
                .http_uri()
                .unwrap()
                .as_str(),
            "http://h:1/api"
        );
        assert!(
            CatalogKind::parse("hive")
                .unwrap_err()
                .to_string()
                .contains("hive")
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut config = config(CatalogKind::Rest, "http://u:pw@h?password=pw");
        for name in ["token", "credential", "s3.secret-access-key", "s3.access-key-id"] {
            config.properties.insert(name.to_owned(), "hush".to_owned());
        }
        config.properties.insert("scope".to_owned(), "seen".to_owned());
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("hush") && !shown.contains("pw") && shown.contains("seen"),
            "{shown}"
        );
    }
}
