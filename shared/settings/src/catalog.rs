//! Which catalog a deployment works on.

use snowpack_catalog::{CatalogConfig, CatalogKind};

use crate::environment::{Environment, Problem, Problems, SettingsError};

/// The property that names the account of a Glue catalog, as Iceberg's Java library spells it.
const GLUE_ID: &str = "glue.id";

/// Reads the `SNOWPACK_CATALOG*` variables and `SNOWPACK_WAREHOUSE`.
///
/// # Errors
/// [`SettingsError`] naming each variable that is bad, or missing for this kind.
pub fn catalog(environment: &Environment) -> Result<CatalogConfig, SettingsError> {
    let mut problems = Problems::default();
    let kind = problems.note(kind(environment));
    let uri = problems.note(kind.map_or(Ok(None), |kind| uri(environment, kind)));
    let name = problems.note(environment.text("SNOWPACK_CATALOG_NAME"));
    let warehouse = problems.note(environment.text("SNOWPACK_WAREHOUSE"));
    let config = (|| Some(config(kind?, uri?, name?, warehouse?)))();
    problems.or(config)
}

fn config(
    kind: CatalogKind,
    uri: Option<&str>,
    name: Option<&str>,
    warehouse: Option<&str>,
) -> CatalogConfig {
    let mut config = CatalogConfig::new(kind);
    config.uri = uri.map(str::to_owned);
    config.warehouse = warehouse.map(str::to_owned);
    match (kind, name) {
        (CatalogKind::Glue, Some(account)) => {
            config.properties.insert(GLUE_ID.to_owned(), account.to_owned());
        }
        (_, Some(name)) => config.name = name.to_owned(),
        (_, None) => {}
    }
    config
}

fn kind(environment: &Environment) -> Result<CatalogKind, Problem> {
    let given = environment.text("SNOWPACK_CATALOG")?.unwrap_or("glue");
    CatalogKind::parse(given).map_err(|_| Problem {
        variable: "SNOWPACK_CATALOG",
        reason: format!("is {given:?}: use glue, rest or sql"),
    })
}

/// How an address of a kind starts.
fn uri_schemes(kind: CatalogKind) -> &'static [&'static str] {
    match kind {
        CatalogKind::Rest | CatalogKind::Glue => &["http://", "https://"],
        CatalogKind::Sql => &["sqlite:", "jdbc:sqlite:"],
    }
}

fn uri(environment: &Environment, kind: CatalogKind) -> Result<Option<&str>, Problem> {
    const VARIABLE: &str = "SNOWPACK_CATALOG_URI";
    let given = match kind {
        CatalogKind::Glue => environment.text(VARIABLE)?,
        CatalogKind::Rest | CatalogKind::Sql => Some(environment.required(VARIABLE)?),
    };
    let schemes = uri_schemes(kind);
    match given {
        // The value is not repeated: an address may carry a password.
        Some(given) if !schemes.iter().any(|scheme| given.starts_with(scheme)) => Err(Problem {
            variable: VARIABLE,
            reason: format!(
                "must start with {} for this kind of catalog",
                schemes.join(" or ")
            ),
        }),
        fitting => Ok(fitting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<CatalogConfig, SettingsError> {
        catalog(&Environment::from_pairs(pairs.iter().copied()))
    }

    #[test]
    fn glue_needs_nothing_and_its_name_is_an_account() {
        let config = read(&[]).unwrap();
        assert_eq!((config.kind, config.uri), (CatalogKind::Glue, None));
        let config = read(&[
            ("SNOWPACK_CATALOG", "glue"),
            ("SNOWPACK_CATALOG_NAME", "123456789012"),
        ])
        .unwrap();
        assert_eq!(config.properties[GLUE_ID], "123456789012");
    }

    #[test]
    fn other_kinds_need_their_address() {
        let config = read(&[
            ("SNOWPACK_CATALOG", "sql"),
            ("SNOWPACK_CATALOG_URI", "sqlite:///x/catalog.db"),
            ("SNOWPACK_CATALOG_NAME", "kit"),
            ("SNOWPACK_WAREHOUSE", "file:///x"),
        ])
        .unwrap();
        assert_eq!((config.kind, config.name.as_str()), (CatalogKind::Sql, "kit"));
        assert_eq!(config.uri.as_deref(), Some("sqlite:///x/catalog.db"));
        assert_eq!(config.warehouse.as_deref(), Some("file:///x"));
        let missing = read(&[("SNOWPACK_CATALOG", "rest")]).unwrap_err();
        assert_eq!(missing.0[0].variable, "SNOWPACK_CATALOG_URI");
        let wrong = read(&[
            ("SNOWPACK_CATALOG", "rest"),
            ("SNOWPACK_CATALOG_URI", "sqlite:///x"),
        ])
        .unwrap_err();
        assert!(wrong.to_string().contains("http://"));
        let unknown = read(&[("SNOWPACK_CATALOG", "hive")]).unwrap_err();
        assert!(unknown.to_string().contains("\"hive\": use glue, rest or sql"));
    }
}
