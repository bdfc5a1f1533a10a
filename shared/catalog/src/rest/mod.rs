//! Catalogs behind the Iceberg REST specification. The server checks requirements, applies updates and writes
//! metadata; what it answers to a commit is the table as committed.

mod auth;
mod client;
mod failure;
mod paths;
mod sign;
mod vended;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use iceberg::TableRequirement;
use iceberg::io::{FileIO, FileIOBuilder, StorageFactory};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use snowpack_domain::{ListedTable, TableId};

use crate::config::{CatalogConfig, storage_properties};
use crate::metadata;
use crate::port::{Catalog, CatalogError, CommitError, LoadedTable, TableChange};
use crate::storage::{DispatchFactory, ObjectStorage};
use client::{Client, Session};
use failure::{Failure, commit_error, read_error};
pub use sign::AwsEndpoint;
use vended::{Handout, TableAccess};

/// Most pages of one list: a server that hands out page tokens for ever must not hang a sync.
const MAX_PAGES: usize = 10_000;
/// Added to what asks AWS for a page: of a table bucket, Glue refuses to list more and does not stop there.
const AWS_PAGE: &str = "&pageSize=100";
/// Namespaces whose children are listed at once: enough to hide a server's latency, few enough not to be throttled.
const CONCURRENT_LISTS: usize = 8;
/// Deepest nesting of namespaces followed.
const MAX_DEPTH: usize = 16;

/// A catalog behind a REST server.
#[derive(Clone)]
pub struct RestCatalog {
    client: Arc<Client>,
    objects: Option<Arc<dyn ObjectStorage>>,
    properties: BTreeMap<String, String>,
}

/// What a table's files are reached with.
struct Access {
    io: FileIO,
    objects: Option<Arc<dyn ObjectStorage>>,
}

/// The specification's `LoadTableResult` and `CommitTableResponse`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct TableAnswer {
    metadata_location: Option<String>,
    metadata: Value,
    #[serde(flatten)]
    handout: Handout,
}

/// A page of `ListNamespacesResponse` or `ListTablesResponse`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PageAnswer {
    next_page_token: Option<String>,
    /// The same, as S3 Tables spells it.
    #[serde(rename = "nextPageToken")]
    camel_page_token: Option<String>,
    #[serde(default)]
    namespaces: Vec<Vec<String>>,
    #[serde(default)]
    identifiers: Vec<Identifier>,
}

#[derive(Deserialize)]
struct Identifier {
    name: String,
}

/// Leaves out what may hold credentials.
impl fmt::Debug for RestCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestCatalog").finish_non_exhaustive()
    }
}

impl RestCatalog {
    pub(crate) async fn open(
        config: &CatalogConfig,
        objects: Option<Arc<dyn ObjectStorage>>,
    ) -> Result<Self, CatalogError> {
        Ok(Self {
            client: Arc::new(Client::new(config).await?),
            objects,
            properties: config.properties.clone(),
        })
    }

    fn loaded(&self, id: &TableId, answer: TableAnswer, access: Access) -> Result<LoadedTable, CatalogError> {
        let bad = |location: &str, reason: String| CatalogError::BadMetadata {
            table: id.to_string(),
            location: location.to_owned(),
            reason,
        };
        let location = answer
            .metadata_location
            .ok_or_else(|| bad("none", "the server gave no metadata location".to_owned()))?;
        let document = metadata::parse(id, &location, &answer.metadata)?;
        let table = LoadedTable::from_document(id.clone(), location, document, access.io);
        Ok(table.with_objects(access.objects))
    }

    /// The files of a table with the access that was handed out with it, or with ours.
    fn access(&self, table: &TableId, handout: &Handout) -> Result<Access, CatalogError> {
        let (objects, properties) = match &self.objects {
            Some(objects) if handout.has_credentials() => {
                let renewal = TableAccess::new(Arc::clone(&self.client), table, handout, &self.properties);
                (
                    Some(renewal.storage(Arc::clone(objects), handout)?),
                    BTreeMap::new(),
                )
            }
            // An endpoint or a region may come without credentials.
            objects => (objects.clone(), handout.config.clone()),
        };
        let served = objects.clone().map(|objects| objects as Arc<dyn StorageFactory>);
        let io = FileIOBuilder::new(Arc::new(DispatchFactory::new(served)))
            .with_props(storage_properties(&self.properties))
            .with_props(storage_properties(&properties))
            .build();
        Ok(Access { io, objects })
    }

    /// All pages of a list.
    async fn pages(&self, session: &Session, path: &str) -> Result<Vec<PageAnswer>, Failure> {
        let mut pages: Vec<PageAnswer> = Vec::new();
        let mut token = String::new();
        let size = if self.client.is_aws() { AWS_PAGE } else { "" };
        while pages.len() < MAX_PAGES {
            let separator = if path.contains('?') { '&' } else { '?' };
            let paged = format!("{path}{separator}pageToken={}{size}", paths::encode(&token));
            let page: PageAnswer = self.client.call(session, Method::GET, &paged, None).await?;
            let next = page.next_page_token.as_ref().or(page.camel_page_token.as_ref());
            let next = next.filter(|next| !next.is_empty()).cloned();
            pages.push(page);
            match next {
                Some(next) => token = next,
                None => return Ok(pages),
            }
        }
        Err(Failure::Unreadable(format!(
            "{path} has more than {MAX_PAGES} pages"
        )))
    }

    /// Why the server has no such table: views have the names of tables, and paths of their own.
    async fn missing(&self, session: &Session, table: &TableId) -> CatalogError {
        let path = session.paths.view(table);
        let view = self.client.call::<Value>(session, Method::GET, &path, None).await;
        match view {
            Ok(view) if view.get("metadata").is_some() => {
                CatalogError::Unsupported(format!("{table} is a view"))
            }
            _ => CatalogError::NoSuchTable(table.to_string()),
        }
    }

    async fn children(&self, session: &Session, parent: &[String]) -> Result<Vec<Vec<String>>, CatalogError> {
        match self.pages(session, &session.paths.namespaces(parent)).await {
            Ok(pages) => Ok(pages.into_iter().flat_map(|page| page.namespaces).collect()),
            // Servers of flat namespaces refuse to look for nested ones; a namespace may be dropped meanwhile.
            Err(Failure::Refused {
                status: 400 | 404 | 501,
                ..
            }) if !parent.is_empty() => Ok(Vec::new()),
            Err(failure) => Err(read_error(failure, "namespaces")),
        }
    }
}

impl Catalog for RestCatalog {
    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        let session = self.client.session().await?;
        let answer = self
            .client
            .call(session, Method::GET, &session.paths.table(table), None)
            .await;
        match answer {
            Ok(answer) => {
                let answer: TableAnswer = answer;
                let access = self.access(table, &answer.handout)?;
                self.loaded(table, answer, access)
            }
            Err(Failure::Refused { status: 404, .. }) => Err(self.missing(session, table).await),
            Err(other) => Err(read_error(other, &table.to_string())),
        }
    }

    async fn commit(&self, base: &LoadedTable, mut change: TableChange) -> Result<LoadedTable, CommitError> {
        let session = self.client.session().await?;
        // A table dropped and created again under the same name is another table.
        if !change
            .requirements
            .iter()
            .any(|one| matches!(one, TableRequirement::UuidMatch { .. }))
        {
            change.requirements.push(TableRequirement::UuidMatch {
                uuid: base.metadata.uuid(),
            });
        }
        let body = json!({
            "identifier": {
                "namespace": base.id.database.levels().collect::<Vec<_>>(),
                "name": base.id.table.as_str(),
            },
            "requirements": change.requirements,
            "updates": change.updates,
        });
        let answer = self
            .client
            .call(session, Method::POST, &session.paths.table(&base.id), Some(&body))
            .await;
        let answer = answer.map_err(|failure| commit_error(failure, &base.id))?;
        // The answer to a commit hands out nothing: the access at hand goes on, and renews itself.
        let access = Access {
            io: base.io.clone(),
            objects: base.objects().cloned(),
        };
        // From here on it is committed; an answer that cannot be read is for the caller to clear up.
        self.loaded(&base.id, answer, access)
            .map_err(|error| CommitError::Unknown(error.to_string()))
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogError> {
        let session = self.client.session().await?;
        let deepest = if self.client.is_aws() { 1 } else { MAX_DEPTH };
        let mut found = Vec::new();
        let mut open = vec![Vec::new()];
        for depth in 1..=deepest {
            let lists: Vec<_> = open.iter().map(|parent| self.children(session, parent)).collect();
            let children: Vec<_> = stream::iter(lists)
                .buffer_unordered(CONCURRENT_LISTS)
                .try_collect()
                .await?;
            open = children.into_iter().flatten().collect();
            // A level with a dot in it could not be told from two levels.
            open.retain(|child| child.len() == depth && !child.iter().any(|level| level.contains('.')));
            found.extend(open.iter().map(|child| child.join(".")));
        }
        found.sort_unstable();
        Ok(found)
    }

    async fn tables(&self, database: &str) -> Result<Vec<ListedTable>, CatalogError> {
        let session = self.client.session().await?;
        let levels: Vec<&str> = database.split('.').collect();
        let pages = match self.pages(session, &session.paths.tables(&levels)).await {
            Err(Failure::Refused { status: 404, .. }) => return Ok(Vec::new()),
            pages => pages.map_err(|failure| read_error(failure, database))?,
        };
        let names = pages.into_iter().flat_map(|page| page.identifiers);
        Ok(names
            .filter_map(|identifier| TableId::new(database, &identifier.name).ok())
            .map(|table| ListedTable {
                table,
                metadata_location: None,
            })
            .collect())
    }
}
