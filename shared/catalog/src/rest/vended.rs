//! What a REST catalog hands out with a table to reach its files: credentials for each part, and where to get
//! new ones.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use snowpack_domain::TableId;

use super::client::Client;
use super::failure::read_error;
use crate::config::storage_properties;
use crate::port::CatalogError;
use crate::storage::{Grant, ObjectStorage, Renewal, VendedStorage};

const ACCESS_KEY: &str = "s3.access-key-id";
const SESSION_TOKEN: &str = "s3.session-token";
/// When a session ends, in milliseconds since 1970: Java's name, and an older one of Polaris and Lakekeeper.
const ENDS: [&str; 2] = ["s3.session-token-expires-at-ms", "expiration-time"];
/// Where the server wants to be asked for new credentials (Java's `AwsClientProperties`).
const REFRESH_ENDPOINT: &str = "client.refresh-credentials-endpoint";
/// How long a session of an unsaid end is believed to last: the shortest that AWS gives.
const SHORTEST_SESSION: Duration = Duration::from_secs(900);

/// The parts of the specification's `LoadTableResult` and `LoadCredentialsResponse` that are about access.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Handout {
    #[serde(default)]
    pub(super) config: BTreeMap<String, String>,
    #[serde(default)]
    storage_credentials: Vec<StorageCredential>,
}

#[derive(Clone, Deserialize)]
struct StorageCredential {
    prefix: String,
    config: BTreeMap<String, String>,
}

impl Handout {
    /// Whether it brings credentials for S3, in either form.
    pub(super) fn has_credentials(&self) -> bool {
        self.config.contains_key(ACCESS_KEY) || self.credentials().next().is_some()
    }

    /// Those for S3: a server may hand out some for other storages besides.
    fn credentials(&self) -> impl Iterator<Item = &StorageCredential> {
        self.storage_credentials
            .iter()
            .filter(|one| one.config.contains_key(ACCESS_KEY))
    }

    /// One grant for each prefix. What `config` says holds for all of them, and for whatever none is above.
    fn grants(&self, ours: &BTreeMap<String, String>) -> Vec<Grant> {
        let everything = StorageCredential {
            prefix: String::new(),
            config: BTreeMap::new(),
        };
        let all = self.credentials().chain([&everything]);
        all.map(|credential| self.grant(credential, ours)).collect()
    }

    fn grant(&self, credential: &StorageCredential, ours: &BTreeMap<String, String>) -> Grant {
        // Keys of ours must not be joined with a session of theirs.
        let inherited = storage_properties(&self.config).filter(|(name, _)| {
            let secret = [ACCESS_KEY, "s3.secret-access-key", SESSION_TOKEN];
            credential.config.is_empty() || !secret.contains(&name.as_str())
        });
        let mut properties: HashMap<String, String> = HashMap::new();
        let layers = storage_properties(ours)
            .chain(inherited)
            .chain(storage_properties(&credential.config));
        properties.extend(layers.map(|(name, value)| (name.clone(), value.clone())));
        Grant {
            prefix: credential.prefix.clone(),
            ends: ends(if credential.config.is_empty() {
                &self.config
            } else {
                &credential.config
            }),
            properties,
        }
    }
}

fn ends(config: &BTreeMap<String, String>) -> Option<SystemTime> {
    let said = ENDS.iter().find_map(|name| config.get(*name)?.parse().ok());
    match said {
        Some(millis) => Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)),
        None if config.contains_key(SESSION_TOKEN) => Some(SystemTime::now() + SHORTEST_SESSION),
        None => None,
    }
}

/// Asks for access to one table again.
pub(super) struct TableAccess {
    client: Arc<Client>,
    table: TableId,
    /// What the answers to a load said last; the credentials endpoint tells less.
    loaded: BTreeMap<String, String>,
    ours: BTreeMap<String, String>,
}

impl TableAccess {
    pub(super) fn new(
        client: Arc<Client>,
        table: &TableId,
        handout: &Handout,
        ours: &BTreeMap<String, String>,
    ) -> Self {
        Self {
            client,
            table: table.clone(),
            loaded: handout.config.clone(),
            ours: ours.clone(),
        }
    }

    /// Storage that uses what was handed out and comes back here when it ends.
    pub(super) fn storage(
        self,
        objects: Arc<dyn ObjectStorage>,
        handout: &Handout,
    ) -> Result<Arc<dyn ObjectStorage>, CatalogError> {
        let (grants, table) = (handout.grants(&self.ours), self.table.to_string());
        let storage = VendedStorage::new(objects, grants, Box::new(self));
        let storage = storage.map_err(|error| {
            CatalogError::Rejected(format!(
                "the credentials handed out with {table} cannot be used: {error}"
            ))
        })?;
        Ok(Arc::new(storage))
    }

    async fn ask(&self) -> Result<Handout, CatalogError> {
        let session = self.client.session().await?;
        // The endpoint renews what has a prefix. Credentials in `config`, which Polaris hands out as well,
        // come with the table only: without it they would stay the old ones.
        let endpoint = self.loaded.get(REFRESH_ENDPOINT);
        let endpoint = endpoint.filter(|_| !self.loaded.contains_key(ACCESS_KEY));
        let answer = match endpoint {
            Some(path) => self.client.call_named(session, path).await,
            None => {
                // With all snapshots: Glue's extensions know no other way.
                let path = session.paths.table(&self.table);
                self.client.call(session, Method::GET, &path, None).await
            }
        };
        let mut handout: Handout = answer.map_err(|failure| read_error(failure, &self.table.to_string()))?;
        if endpoint.is_some() {
            handout.config = self.loaded.clone();
        }
        Ok(handout)
    }
}

#[async_trait]
impl Renewal for TableAccess {
    async fn renew(&self) -> Result<Vec<Grant>, CatalogError> {
        let handout = self.ask().await?;
        if !handout.has_credentials() {
            return Ok(Vec::new());
        }
        tracing::debug!(table = %self.table, "access to the table's files renewed");
        Ok(handout.grants(&self.ours))
    }
}

/// Leaves out credentials.
impl fmt::Debug for TableAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableAccess")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(text: &str, ours: &[(&str, &str)]) -> Vec<Grant> {
        let handout: Handout = serde_json::from_str(text).unwrap();
        assert!(handout.has_credentials());
        let ours = ours
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        handout.grants(&ours.collect())
    }

    #[test]
    fn each_prefix_gets_what_is_said_for_it_over_what_is_said_for_all() {
        let text = r#"{"config": {"s3.endpoint": "e", "s3.session-token": "of all", "owner": "me"}, "storage-credentials": [
            {"prefix": "s3://b/t", "config": {"s3.access-key-id": "id", "s3.session-token-expires-at-ms": "5000"}},
            {"prefix": "gs://b", "config": {"gcs.oauth2.token": "x"}}]}"#;
        let grants = grants(
            text,
            &[("s3.region", "r"), ("s3.endpoint", "ours"), ("token", "hush")],
        );
        assert_eq!(grants.len(), 2, "{grants:?}");
        let own = &grants[0].properties;
        assert_eq!(
            (own["s3.endpoint"].as_str(), own["s3.region"].as_str()),
            ("e", "r")
        );
        assert_eq!(own["s3.access-key-id"], "id");
        assert!(!own.contains_key("s3.session-token") && !own.contains_key("token"));
        assert_eq!(
            grants[0].ends,
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5))
        );
        assert!(grants[1].prefix.is_empty());
    }

    #[test]
    fn a_session_without_an_end_is_short_and_a_key_without_a_session_lasts() {
        let with = |more: &str| format!(r#"{{"config": {{"s3.access-key-id": "id"{more}}}}}"#);
        let session = grants(&with(r#", "s3.session-token": "t""#), &[]);
        assert!(session[0].ends.unwrap() <= SystemTime::now() + SHORTEST_SESSION);
        assert_eq!(grants(&with(""), &[])[0].ends, None);
        let polaris = grants(&with(r#", "expiration-time": "7""#), &[]);
        assert_eq!(
            polaris[0].ends,
            Some(SystemTime::UNIX_EPOCH + Duration::from_millis(7))
        );
        assert!(!format!("{session:?}").contains("\"t\""));
    }
}
