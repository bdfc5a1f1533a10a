//! The address of a PostgreSQL database, in the spellings of libpq, JDBC and SQLAlchemy.

use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::config::{CatalogConfig, configuration};
use crate::port::CatalogError;

/// What the server lists the connection as.
const APPLICATION: &str = "snowpack";

/// Whom a connection is encrypted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Whoever answers, as libpq's `prefer` and `require` do.
    Anyone,
    /// A host whose name is vouched for by an authority of this file, or of the machine.
    Authorities(Option<PathBuf>),
}

/// Where the database is and how to get in.
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) trust: Trust,
    /// Host and database, for messages.
    pub(super) place: String,
}

/// The options that are not passed on as they are.
#[derive(Default)]
struct Options {
    mode: Option<String>,
    authorities: Option<PathBuf>,
    schema: Option<String>,
    others: Vec<String>,
}

impl Address {
    /// Reads `postgresql://user:password@host:port/database?option=value`. `sslmode` is `disable`, `prefer`
    /// (default), `require` or `verify-full`, `sslrootcert` a file of authorities; JDBC's `ssl` and
    /// `currentSchema` are known. The properties `jdbc.user` and `jdbc.password` win over what it says.
    ///
    /// # Errors
    /// [`CatalogError::Configuration`], which repeats no part of the address but names of options.
    pub(super) fn parse(uri: &str, given: &CatalogConfig) -> Result<Self, CatalogError> {
        let (start, options) = uri.split_once('?').unwrap_or((uri, ""));
        let options = Options::read(options);
        let uri = match options.others.is_empty() {
            true => start.to_owned(),
            false => format!("{start}?{}", options.others.join("&")),
        };
        let mut config = Config::from_str(&uri).map_err(|error| {
            configuration(format!(
                "the address of the PostgreSQL catalog cannot be read: {}",
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
            ))
        })?;
        if let Some(user) = given.property("jdbc.user") {
            config.user(user);
        }
        if let Some(password) = given.property("jdbc.password") {
            config.password(password);
        }
        if let Some(schema) = &options.schema {
            config.options(format!("-c search_path={}", schema.replace(' ', "")));
        }
        config.application_name(APPLICATION);
        let (mode, trust) = options.encryption()?;
        config.ssl_mode(mode);
        let place = place(&config);
        Ok(Self { config, trust, place })
    }
}

impl Options {
    fn read(text: &str) -> Self {
        let mut options = Self::default();
        for option in text.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = || percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "sslmode" => options.mode = Some(value()),
                "sslrootcert" => options.authorities = Some(value().into()),
                "currentSchema" => options.schema = Some(value()),
                "ssl" if value() == "true" => {
                    options.mode.get_or_insert("verify-full".to_owned());
                }
                "ssl" => {}
                _ => options.others.push(option.to_owned()),
            }
        }
        options
    }

    /// What libpq makes of `sslmode`: an authority that is named is asked in mode `require` too.
    fn encryption(self) -> Result<(SslMode, Trust), CatalogError> {
        let named = self.authorities.is_some();
        let known = Trust::Authorities(self.authorities);
        match self.mode.as_deref().unwrap_or("prefer") {
            "disable" => Ok((SslMode::Disable, Trust::Anyone)),
            "prefer" => Ok((SslMode::Prefer, Trust::Anyone)),
            "require" if !named => Ok((SslMode::Require, Trust::Anyone)),
            "require" | "verify-full" => Ok((SslMode::Require, known)),
            other => Err(configuration(format!(
                "sslmode is {other:?}: use disable, prefer, require or verify-full"
            ))),
        }
    }
}

fn place(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    match config.get_dbname() {
        Some(database) => format!("PostgreSQL {host}/{database}"),
        None => format!("PostgreSQL {host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CatalogKind;

    fn parse(uri: &str, properties: &[(&str, &str)]) -> Result<Address, CatalogError> {
        let mut config = CatalogConfig::new(CatalogKind::Sql);
        for (name, value) in properties {
            config.properties.insert((*name).to_owned(), (*value).to_owned());
        }
        Address::parse(uri, &config)
    }

    #[test]
    fn passwords_come_from_the_address_or_beside_it() {
        let address = parse("postgresql://me:p%40w@h:7/d", &[]).unwrap();
        assert_eq!(address.config.get_password(), Some(&b"p@w"[..]));
        assert_eq!(
            (address.config.get_ports(), address.place.as_str()),
            (&[7][..], "PostgreSQL h/d")
        );
        let beside = [("jdbc.user", "you"), ("jdbc.password", "other")];
        let address = parse("postgresql://h/d?user=me&password=pw", &beside).unwrap();
        assert_eq!(address.config.get_user(), Some("you"));
        assert_eq!(address.config.get_password(), Some(&b"other"[..]));
    }

    #[test]
    fn encryption_is_as_libpq_has_it() {
        let read = |options: &str| {
            let address = parse(&format!("postgresql://h/d?{options}"), &[]).unwrap();
            (address.config.get_ssl_mode(), address.trust)
        };
        let file = || Trust::Authorities(Some("/ca.pem".into()));
        assert_eq!(read(""), (SslMode::Prefer, Trust::Anyone));
        assert_eq!(read("sslmode=disable"), (SslMode::Disable, Trust::Anyone));
        assert_eq!(read("sslmode=require"), (SslMode::Require, Trust::Anyone));
        assert_eq!(
            read("sslmode=require&sslrootcert=%2Fca.pem"),
            (SslMode::Require, file())
        );
        assert_eq!(
            read("sslmode=verify-full"),
            (SslMode::Require, Trust::Authorities(None))
        );
        assert_eq!(read("ssl=true"), (SslMode::Require, Trust::Authorities(None)));
        assert_eq!(read("currentSchema=s").0, SslMode::Prefer);
    }

    #[test]
    fn what_cannot_be_read_is_named_without_secrets() {
        for uri in [
            "postgresql://me:hush@h/d?nonsense=hush",
            "postgresql://me:hush@h:port/d",
            "postgresql://me:hush@h/d?sslmode=verify-ca",
        ] {
            let error = parse(uri, &[]).map(|_| ()).unwrap_err().to_string();
            assert!(
                error.starts_with("catalog configuration: ") && !error.contains("hush"),
                "{error}"
            );
        }
    }
}
