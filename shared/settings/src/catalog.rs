//! Which catalog a deployment works on.

use crate::environment::{Environment, Problem, Problems, SettingsError};

/// The kinds of catalogs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogKind {
    /// AWS Glue.
    Glue,
    /// An Iceberg REST catalog.
    Rest,
    /// A SQL catalog in a SQLite file.
    Sql,
}

/// The catalog of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogSettings {
    /// Its kind.
    pub kind: CatalogKind,
    /// Where it is; always set for `rest` and `sql`.
    pub uri: Option<String>,
    /// Its name inside a SQL catalog, or the account of a Glue catalog.
    pub name: Option<String>,
    /// Its warehouse.
    pub warehouse: Option<String>,
}

impl CatalogKind {
    /// The kind of that name: `glue`, `rest` or `sql`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "glue" => Some(Self::Glue),
            "rest" => Some(Self::Rest),
            "sql" => Some(Self::Sql),
            _ => None,
        }
    }

    /// How an address of this kind starts; none for a kind that has no address.
    fn uri_schemes(self) -> &'static [&'static str] {
        match self {
            Self::Glue => &[],
            Self::Rest => &["http://", "https://"],
            Self::Sql => &["sqlite:"],
        }
    }
}

impl CatalogSettings {
    /// Reads the `SNOWPACK_CATALOG*` variables and `SNOWPACK_WAREHOUSE`.
    ///
    /// # Errors
    /// [`SettingsError`] naming each variable that is bad, or missing for this kind.
    pub fn read(environment: &Environment) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let kind = problems.note(kind(environment));
        let uri = problems.note(match kind {
            Some(kind) => uri(environment, kind),
            None => Ok(None),
        });
        let name = problems.note(environment.text("SNOWPACK_CATALOG_NAME"));
        let warehouse = problems.note(environment.text("SNOWPACK_WAREHOUSE"));
        let settings = (|| {
            Some(Self {
                kind: kind?,
                uri: uri?,
                name: name?.map(str::to_owned),
                warehouse: warehouse?.map(str::to_owned),
            })
        })();
        problems.or(settings)
    }
}

fn kind(environment: &Environment) -> Result<CatalogKind, Problem> {
    let given = environment.text("SNOWPACK_CATALOG")?.unwrap_or("glue");
    CatalogKind::parse(given).ok_or_else(|| Problem {
        variable: "SNOWPACK_CATALOG",
        reason: format!("is {given:?}: use glue, rest or sql"),
    })
}

fn uri(environment: &Environment, kind: CatalogKind) -> Result<Option<String>, Problem> {
    let schemes = kind.uri_schemes();
    if schemes.is_empty() {
        return Ok(None);
    }
    let given = environment.required("SNOWPACK_CATALOG_URI")?;
    if schemes.iter().any(|scheme| given.starts_with(scheme)) {
        return Ok(Some(given.to_owned()));
    }
    // The value is not repeated: an address may carry a password.
    Err(Problem {
        variable: "SNOWPACK_CATALOG_URI",
        reason: format!(
            "must start with {} for this kind of catalog",
            schemes.join(" or ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glue_needs_nothing() {
        let settings = CatalogSettings::read(&Environment::default()).unwrap();
        assert_eq!(settings.kind, CatalogKind::Glue);
        assert_eq!(settings.uri, None);
    }

    #[test]
    fn other_kinds_need_their_address() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            CatalogSettings::read(&Environment::from_pairs(pairs.iter().copied()))
        };
        let sql = read(&[
            ("SNOWPACK_CATALOG", "sql"),
            ("SNOWPACK_CATALOG_URI", "sqlite:///x/catalog.db"),
        ]);
        assert_eq!(sql.unwrap().uri.as_deref(), Some("sqlite:///x/catalog.db"));
        let missing = read(&[("SNOWPACK_CATALOG", "rest")]).unwrap_err();
        assert_eq!(missing.0[0].variable, "SNOWPACK_CATALOG_URI");
        let wrong = read(&[
            ("SNOWPACK_CATALOG", "rest"),
            ("SNOWPACK_CATALOG_URI", "sqlite:///x"),
        ]);
        assert!(wrong.unwrap_err().to_string().contains("http://"));
        let unknown = read(&[("SNOWPACK_CATALOG", "hive")]).unwrap_err();
        assert!(unknown.to_string().contains("\"hive\": use glue, rest or sql"));
    }
}
