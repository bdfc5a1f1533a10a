//! A REST catalog in memory that checks requirements and applies updates, and fails when told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use iceberg::spec::{TableMetadata, TableMetadataBuilder};
use iceberg::{TableRequirement, TableUpdate};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::signature::Received;
use crate::suite::creation;

/// What the next commit answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// This status, nothing applied.
    Before(u16),
    /// This status after it was applied.
    After(u16),
    /// Success without sense, after it was applied.
    Garbage,
    /// As Glue refuses what comes too fast.
    Throttled,
}

#[derive(Default)]
pub(crate) struct Catalog {
    /// By namespace path and name as they stand in the URL.
    pub(crate) tables: BTreeMap<(String, String), (String, TableMetadata)>,
    pub(crate) next_commit: Option<Answer>,
    /// The only bearer token taken; any when absent.
    pub(crate) token: Option<String>,
    /// Tokens handed out for client credentials.
    pub(crate) tokens_sold: usize,
    /// Answers every request but for tokens as one without rights.
    pub(crate) denied: bool,
    /// The newest request for a token.
    pub(crate) form: String,
    pub(crate) config: Value,
    /// What a loaded table brings besides metadata: `config` and `storage-credentials`.
    pub(crate) handout: Value,
    /// What the credentials endpoint of the table answers.
    pub(crate) credentials: Value,
    /// How often a table was loaded and that endpoint asked.
    pub(crate) loads: (usize, usize),
    /// The service and region every request must be signed for, with the key `AKID` and the secret `hush`.
    pub(crate) signed_for: Option<(&'static str, &'static str)>,
    /// The headers of the newest request.
    pub(crate) headers: HeaderMap,
}

pub(crate) type Shared = Arc<Mutex<Catalog>>;

#[derive(Deserialize)]
struct CommitRequest {
    requirements: Vec<TableRequirement>,
    updates: Vec<TableUpdate>,
}

type Reply = Result<Value, (u16, &'static str)>;

/// Starts a server with one table, `db` / `nested` / `t`, and returns its address.
pub(crate) async fn start(folder: &std::path::Path) -> (String, Shared) {
    let metadata = TableMetadataBuilder::from_table_creation(creation(folder))
        .unwrap()
        .build()
        .unwrap()
        .metadata;
    let mut catalog = Catalog {
        config: json!({}),
        handout: json!({"config": {}}),
        ..Catalog::default()
    };
    catalog.tables.insert(
        ("db%1Fnested".into(), "t".into()),
        ("file:///0.metadata.json".into(), metadata),
    );
    let shared: Shared = Arc::new(Mutex::new(catalog));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(handle).with_state(Arc::clone(&shared));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, shared)
}

async fn handle(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let mut catalog = shared.lock().unwrap();
    catalog.headers = headers.clone();
    if let Some((service, region)) = catalog.signed_for {
        let received = Received {
            method: &method,
            uri: &uri,
            headers: &headers,
            body: &body,
        };
        if !received.is_signed_for(service, region) {
            let refusal = "IncompleteSignatureException";
            return (StatusCode::FORBIDDEN, exception(refusal), refusal.to_owned());
        }
    }
    match route(&mut catalog, &method, &uri, &headers, &body) {
        Ok(Value::String(garbage)) => (StatusCode::OK, HeaderMap::new(), garbage),
        Ok(answer) => (StatusCode::OK, HeaderMap::new(), answer.to_string()),
        Err((status, kind)) => {
            let error =
                json!({"error": {"code": status, "type": kind, "message": format!("injected {status}")}});
            let status = StatusCode::from_u16(status).unwrap();
            (status, exception(kind), error.to_string())
        }
    }
}

/// The header in which AWS names an exception.
fn exception(kind: &'static str) -> HeaderMap {
    let header = HeaderName::from_static("x-amzn-errortype");
    HeaderMap::from_iter([(header, HeaderValue::from_static(kind))])
}

fn route(catalog: &mut Catalog, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Reply {
    let path: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    if path == ["v1", "oauth", "tokens"] {
        let form = String::from_utf8_lossy(body);
        if !form.contains("client_id=id")
            || !form.contains("client_secret=sesame")
            || !form.contains("scope=catalog")
        {
            return Err((400, "invalid_client"));
        }
        catalog.form = form.into_owned();
        catalog.tokens_sold += 1;
        let token = format!("token-{}", catalog.tokens_sold);
        catalog.token = Some(token.clone());
        return Ok(json!({"access_token": token, "token_type": "bearer", "expires_in": 3600}));
    }
    if catalog.denied {
        return Err((403, "ForbiddenException"));
    }
    let bearer = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    if catalog
        .token
        .as_ref()
        .is_some_and(|token| bearer != Some(format!("Bearer {token}")))
    {
        return Err((401, "NotAuthorizedException"));
    }
    let query = uri.query().unwrap_or_default();
    match (method, &path[..]) {
        (&Method::GET, ["v1", "config"]) => Ok(catalog.config.clone()),
        (&Method::GET, ["v1", .., "namespaces"]) => Ok(namespaces(query)),
        (&Method::GET, ["v1", .., "namespaces", namespace, "tables"]) => tables(catalog, namespace, query),
        (&Method::GET, ["v1", .., "namespaces", namespace, "tables", name]) => {
            catalog.loads.0 += 1;
            load(catalog, namespace, name)
        }
        (&Method::GET, ["v1", .., "namespaces", _, "tables", _, "credentials"]) => {
            catalog.loads.1 += 1;
            Ok(catalog.credentials.clone())
        }
        (&Method::GET, ["v1", .., "namespaces", "db", "views", "view"]) => Ok(json!({"metadata": {}})),
        (&Method::POST, ["v1", .., "namespaces", namespace, "tables", name]) => {
            commit(catalog, namespace, name, body)
        }
        _ => Err((404, "NoRoute")),
    }
}

/// The largest page that Glue may list of a table bucket.
const AWS_PAGE: &str = "&pageSize=100";

/// Two pages of outermost namespaces, of which `db` has one child.
fn namespaces(query: &str) -> Value {
    match query.strip_suffix(AWS_PAGE).unwrap_or(query) {
        "pageToken=" => json!({"namespaces": [["db"]], "next-page-token": "2 &"}),
        "pageToken=2%20%26" => json!({"namespaces": [["flat"], ["a.dot"]], "next-page-token": null}),
        "parent=db&pageToken=" => json!({"namespaces": [["db", "nested"]]}),
        _ => json!({"namespaces": []}),
    }
}

/// Two pages; the token of the second is spelt as S3 Tables spells it.
fn tables(catalog: &Catalog, namespace: &str, query: &str) -> Reply {
    let names = catalog.tables.keys().filter(|(found, _)| found == namespace);
    let names: Vec<Value> = names
        .map(|(_, name)| json!({"namespace": [], "name": name}))
        .collect();
    let page = query.strip_suffix(AWS_PAGE);
    if catalog.signed_for.is_some() && page.is_none() {
        return Err((400, "InvalidInputException"));
    }
    match page.unwrap_or(query) {
        _ if names.is_empty() => Err((404, "NoSuchNamespaceException")),
        "pageToken=" => {
            let first = json!({"namespace": [], "name": "not addressable"});
            Ok(json!({"identifiers": [first], "nextPageToken": "2"}))
        }
        "pageToken=2" => Ok(json!({"identifiers": names})),
        _ => Err((400, "BadRequestException")),
    }
}

fn load(catalog: &Catalog, namespace: &str, name: &str) -> Reply {
    let (location, metadata) = catalog
        .tables
        .get(&(namespace.to_owned(), name.to_owned()))
        .ok_or((404, "NoSuchTableException"))?;
    let mut answer = catalog.handout.clone();
    answer["metadata-location"] = json!(location);
    answer["metadata"] = json!(metadata);
    Ok(answer)
}

fn commit(catalog: &mut Catalog, namespace: &str, name: &str, body: &[u8]) -> Reply {
    let answer = catalog.next_commit.take();
    match answer {
        Some(Answer::Before(status)) => return Err((status, "Injected")),
        Some(Answer::Throttled) => return Err((400, "ThrottlingException")),
        _ => {}
    }
    let key = (namespace.to_owned(), name.to_owned());
    let (location, metadata) = catalog
        .tables
        .get(&key)
        .ok_or((404, "NoSuchTableException"))?
        .clone();
    let request: CommitRequest = serde_json::from_slice(body).map_err(|_| (400, "BadRequestException"))?;
    let uuid = request
        .requirements
        .iter()
        .any(|one| matches!(one, TableRequirement::UuidMatch { .. }));
    assert!(uuid, "every commit says which table it means");
    for requirement in &request.requirements {
        requirement
            .check(Some(&metadata))
            .map_err(|_| (409, "CommitFailedException"))?;
    }
    let mut builder = metadata.into_builder(Some(location));
    for update in request.updates {
        builder = update.apply(builder).map_err(|_| (400, "BadRequestException"))?;
    }
    let metadata = builder
        .build()
        .map_err(|_| (400, "ValidationException"))?
        .metadata;
    let location = format!("file:///{}.metadata.json", metadata.metadata_log().len());
    catalog.tables.insert(key, (location, metadata));
    match answer {
        Some(Answer::After(status)) => Err((status, "Injected")),
        Some(Answer::Garbage) => Ok(Value::String("<html>".to_owned())),
        // A commit hands out no access.
        _ => {
            let mut answer = load(catalog, namespace, name)?;
            answer
                .as_object_mut()
                .unwrap()
                .retain(|member, _| member.starts_with("metadata"));
            Ok(answer)
        }
    }
}
