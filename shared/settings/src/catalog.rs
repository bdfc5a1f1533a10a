//! Which catalog a deployment works on.

use snowpack_catalog::{CatalogConfig, CatalogKind, DatabaseScope};

use crate::environment::{Environment, Problem, Problems, SettingsError};

/// The property that names the account of a Glue catalog, as Iceberg's Java library spells it.
const GLUE_ID: &str = "glue.id";

/// The property with the password of a PostgreSQL database, as Java's JDBC catalog spells it.
const JDBC_PASSWORD: &str = "jdbc.password";
/// Variables of a REST catalog, and the properties that Iceberg's libraries know their values by.
const REST_VARIABLES: [(&str, &str); 3] = [
    ("SNOWPACK_CATALOG_TOKEN", "token"),
    ("SNOWPACK_CATALOG_OAUTH2_SERVER_URI", "oauth2-server-uri"),
    ("SNOWPACK_CATALOG_SCOPE", "scope"),
];

/// Reads the `SNOWPACK_CATALOG*` variables and `SNOWPACK_WAREHOUSE`.
///
/// # Errors
/// [`SettingsError`] naming each variable that is bad, or missing for this kind. Values are not repeated: they
/// may be secrets.
pub fn catalog(environment: &Environment) -> Result<CatalogConfig, SettingsError> {
    let mut problems = Problems::default();
    let kind = problems.note(kind(environment));
    let uri = problems.note(kind.map_or(Ok(None), |kind| uri(environment, kind)));
    let name = problems.note(environment.text("SNOWPACK_CATALOG_NAME"));
    let warehouse = problems.note(warehouse(environment, kind));
    let properties = problems.note_all(kind.map_or(Ok(Vec::new()), |kind| properties(environment, kind)));
    let config = (|| {
        let mut config = config(kind?, uri?, name?, warehouse?);
        config.properties.extend(properties?);
        Some(config)
    })();
    problems.or(config)
}

/// Reads `SNOWPACK_CATALOG_DATABASES`.
///
/// # Errors
/// [`SettingsError`] when it is no text.
pub(crate) fn catalog_databases(environment: &Environment) -> Result<DatabaseScope, SettingsError> {
    let text = environment.text("SNOWPACK_CATALOG_DATABASES");
    let text = text
        .map_err(|problem| SettingsError(vec![problem]))?
        .unwrap_or_default();
    let patterns = text
        .split(',')
        .map(str::trim)
        .filter(|pattern| !pattern.is_empty());
    Ok(DatabaseScope::new(patterns))
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

/// Everything that reaches the catalog as a property; what is given by name of a property comes last and wins.
fn properties(environment: &Environment, kind: CatalogKind) -> Result<Vec<(String, String)>, SettingsError> {
    const CREDENTIAL: &str = "SNOWPACK_CATALOG_CREDENTIAL";
    let mut problems = Problems::default();
    let mut found = Vec::new();
    let secret = match kind {
        CatalogKind::Rest => Some("credential"),
        CatalogKind::Sql => Some(JDBC_PASSWORD),
        CatalogKind::Glue | CatalogKind::S3Tables => None,
    };
    found.push(problems.note(fitting(environment, CREDENTIAL, secret)));
    for (variable, property) in REST_VARIABLES {
        let property = (kind == CatalogKind::Rest).then_some(property);
        found.push(problems.note(fitting(environment, variable, property)));
    }
    let further = problems.note(further(environment)).unwrap_or_default();
    problems.or(Some(
        found.into_iter().flatten().flatten().chain(further).collect(),
    ))
}

/// A variable as the property it stands for with this kind of catalog.
fn fitting(
    environment: &Environment,
    variable: &'static str,
    property: Option<&str>,
) -> Result<Option<(String, String)>, Problem> {
    match (environment.text(variable)?, property) {
        (None, _) => Ok(None),
        (Some(value), Some(property)) => Ok(Some((property.to_owned(), value.to_owned()))),
        (Some(_), None) => Err(Problem {
            variable,
            reason: "means nothing to this kind of catalog: unset it".to_owned(),
        }),
    }
}

fn further(environment: &Environment) -> Result<Vec<(String, String)>, Problem> {
    const VARIABLE: &str = "SNOWPACK_CATALOG_PROPERTIES";
    let text = environment.text(VARIABLE)?.unwrap_or_default();
    let pairs = text.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    let pairs = (1..).zip(pairs).map(|(number, pair)| match pair.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(Problem {
            variable: VARIABLE,
            reason: format!("has no NAME=VALUE at place {number}: separate pairs by semicolons"),
        }),
    });
    pairs.collect()
}

/// The kind that `SNOWPACK_CATALOG` names.
pub(crate) fn kind(environment: &Environment) -> Result<CatalogKind, Problem> {
    let given = environment.text("SNOWPACK_CATALOG")?.unwrap_or("glue");
    CatalogKind::parse(given).map_err(|_| Problem {
        variable: "SNOWPACK_CATALOG",
        reason: format!("is {given:?}: use glue, rest, s3tables or sql"),
    })
}

fn warehouse(environment: &Environment, kind: Option<CatalogKind>) -> Result<Option<&str>, Problem> {
    const VARIABLE: &str = "SNOWPACK_WAREHOUSE";
    if kind != Some(CatalogKind::S3Tables) {
        return environment.text(VARIABLE);
    }
    let given = environment.required(VARIABLE)?;
    if given.starts_with("arn:") {
        return Ok(Some(given));
    }
    Err(Problem {
        variable: VARIABLE,
        reason: format!("is {given:?}: use the ARN of a table bucket"),
    })
}

/// How an address of a kind starts.
fn uri_schemes(kind: CatalogKind) -> &'static [&'static str] {
    match kind {
        CatalogKind::Rest | CatalogKind::Glue | CatalogKind::S3Tables => &["http://", "https://"],
        CatalogKind::Sql => &[
            "sqlite:",
            "postgresql:",
            "jdbc:sqlite:",
            "jdbc:postgresql:",
            "postgres:",
            "postgresql+",
        ],
    }
}

fn uri(environment: &Environment, kind: CatalogKind) -> Result<Option<&str>, Problem> {
    const VARIABLE: &str = "SNOWPACK_CATALOG_URI";
    let given = match kind {
        CatalogKind::Glue | CatalogKind::S3Tables => environment.text(VARIABLE)?,
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
    fn secrets_become_properties_and_are_not_shown() {
        let environment = Environment::from_pairs([
            ("SNOWPACK_CATALOG", "rest"),
            ("SNOWPACK_CATALOG_URI", "https://polaris/api/catalog"),
            ("SNOWPACK_CATALOG_CREDENTIAL", "id:hush"),
            ("SNOWPACK_CATALOG_TOKEN", "hush"),
            ("SNOWPACK_CATALOG_SCOPE", "PRINCIPAL_ROLE:ALL"),
            ("SNOWPACK_CATALOG_OAUTH2_SERVER_URI", "https://idp/token"),
            (
                "SNOWPACK_CATALOG_PROPERTIES",
                "header.Polaris-Realm=hush; rest.signing-name = glue;",
            ),
        ]);
        let config = catalog(&environment).unwrap();
        for (name, value) in [
            ("credential", "id:hush"),
            ("token", "hush"),
            ("scope", "PRINCIPAL_ROLE:ALL"),
            ("oauth2-server-uri", "https://idp/token"),
            ("header.Polaris-Realm", "hush"),
            ("rest.signing-name", "glue"),
        ] {
            assert_eq!(config.properties[name], value);
        }
        assert!(
            !format!("{config:?}{environment:?}").contains("hush"),
            "{config:?}"
        );
    }

    #[test]
    fn what_a_kind_has_no_use_for_is_refused() {
        let postgres = read(&[
            ("SNOWPACK_CATALOG", "sql"),
            ("SNOWPACK_CATALOG_URI", "postgresql://snowpack@db/lake"),
            ("SNOWPACK_CATALOG_CREDENTIAL", "hush"),
        ]);
        assert_eq!(postgres.unwrap().properties[JDBC_PASSWORD], "hush");
        let error = read(&[
            ("SNOWPACK_CATALOG_CREDENTIAL", "id:hush"),
            ("SNOWPACK_CATALOG_SCOPE", "hush"),
            ("SNOWPACK_CATALOG_PROPERTIES", "a=b;hush"),
        ])
        .unwrap_err();
        let named: Vec<_> = error.0.iter().map(|problem| problem.variable).collect();
        assert_eq!(
            named,
            [
                "SNOWPACK_CATALOG_CREDENTIAL",
                "SNOWPACK_CATALOG_SCOPE",
                "SNOWPACK_CATALOG_PROPERTIES"
            ]
        );
        assert!(
            !error.to_string().contains("hush") && error.to_string().contains("place 2"),
            "{error}"
        );
    }

    #[test]
    fn a_table_bucket_is_named_by_its_arn() {
        let arn = "arn:aws:s3tables:eu-west-1:123456789012:bucket/lake";
        let config = read(&[("SNOWPACK_CATALOG", "s3tables"), ("SNOWPACK_WAREHOUSE", arn)]).unwrap();
        assert_eq!(
            (config.kind, config.warehouse.as_deref()),
            (CatalogKind::S3Tables, Some(arn))
        );
        for wrong in ["", "s3://lake"] {
            let error = read(&[("SNOWPACK_CATALOG", "s3tables"), ("SNOWPACK_WAREHOUSE", wrong)]).unwrap_err();
            assert_eq!(error.0[0].variable, "SNOWPACK_WAREHOUSE", "{error}");
        }
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
        assert!(
            unknown
                .to_string()
                .contains("\"hive\": use glue, rest, s3tables or sql")
        );
    }
}
