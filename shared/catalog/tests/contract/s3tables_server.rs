//! An S3 Tables endpoint in memory that enforces version tokens, and fails when told to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Value, json};

/// The table bucket's ARN, and as it stands in paths.
pub(crate) const BUCKET: &str = "arn:aws:s3tables:eu-west-1:123456789012:bucket/lake";
const ENCODED: &str = "arn%3Aaws%3As3tables%3Aeu-west-1%3A123456789012%3Abucket%2Flake";

/// What the next update answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// This exception with this status, nothing applied.
    Before(u16, &'static str),
    /// This exception with this status, after it was applied.
    After(u16, &'static str),
    /// Another writer moves the table and moves it back first.
    Raced,
}

#[derive(Default)]
pub(crate) struct S3Tables {
    /// The metadata location of the one table, `db.t`.
    pub(crate) location: Option<String>,
    /// How often it was moved.
    pub(crate) moves: usize,
    pub(crate) updates: usize,
    /// Answers every request as one without rights.
    pub(crate) denied: bool,
    pub(crate) next_update: Option<Answer>,
}

pub(crate) type Shared = Arc<Mutex<S3Tables>>;

type Reply = Result<Value, (u16, &'static str)>;

pub(crate) async fn start(location: &str) -> (String, Shared) {
    let shared: Shared = Arc::new(Mutex::new(S3Tables {
        location: Some(location.to_owned()),
        ..S3Tables::default()
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(handle).with_state(Arc::clone(&shared));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, shared)
}

async fn handle(State(shared): State<Shared>, method: Method, uri: Uri, body: Bytes) -> impl IntoResponse {
    let mut tables = shared.lock().unwrap();
    match route(&mut tables, &method, &uri, &body) {
        Ok(answer) => (StatusCode::OK, [("x-amzn-errortype", "")], answer.to_string()),
        Err((status, kind)) => {
            let error = json!({"message": format!("injected {kind}")});
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("x-amzn-errortype", kind)], error.to_string())
        }
    }
}

fn route(tables: &mut S3Tables, method: &Method, uri: &Uri, body: &[u8]) -> Reply {
    let path: Vec<_> = uri.path().trim_start_matches('/').split('/').collect();
    let query = uri.query().unwrap_or_default();
    let second = query.contains("continuationToken=2");
    assert_eq!(path[1], ENCODED, "{uri}");
    match (method, &path[..]) {
        _ if tables.denied => Err((403, "AccessDeniedException")),
        (&Method::GET, ["namespaces", _]) => Ok(match second {
            false => json!({"namespaces": [namespace("db")], "continuationToken": "2"}),
            true => json!({"namespaces": [namespace("other")]}),
        }),
        (&Method::GET, ["tables", _]) if !query.contains("namespace=db") => Err((404, "NotFoundException")),
        (&Method::GET, ["tables", _]) => Ok(match second {
            false => json!({"tables": [table("odd name")], "continuationToken": "2"}),
            true => json!({"tables": [table("t")]}),
        }),
        (&Method::GET, ["tables", _, "db", "forbidden", "metadata-location"]) => {
            Err((403, "ForbiddenException"))
        }
        (&Method::GET, ["tables", _, "db", "t", "metadata-location"]) => get(tables),
        (&Method::PUT, ["tables", _, "db", "t", "metadata-location"]) => {
            update(tables, &serde_json::from_slice(body).unwrap())
        }
        _ => Err((404, "NotFoundException")),
    }
}

fn namespace(name: &str) -> Value {
    json!({"namespace": [name], "createdAt": "2026-01-01T00:00:00Z", "createdBy": "1", "ownerAccountId": "1"})
}

fn table(name: &str) -> Value {
    json!({"namespace": ["db"], "name": name, "type": "customer", "tableARN": BUCKET,
           "createdAt": "2026-01-01T00:00:00Z", "modifiedAt": "2026-01-01T00:00:00Z"})
}

fn get(tables: &S3Tables) -> Reply {
    let location = tables.location.as_ref().ok_or((404, "NotFoundException"))?;
    Ok(
        json!({"metadataLocation": location, "versionToken": format!("v{}", tables.moves), "warehouseLocation": "s3://w"}),
    )
}

fn update(tables: &mut S3Tables, request: &Value) -> Reply {
    tables.updates += 1;
    let answer = tables.next_update.take();
    if let Some(Answer::Before(status, kind)) = answer {
        return Err((status, kind));
    }
    get(tables)?;
    if matches!(answer, Some(Answer::Raced)) {
        tables.moves += 2;
    }
    if request["versionToken"] != format!("v{}", tables.moves) {
        return Err((409, "ConflictException"));
    }
    tables.moves += 1;
    tables.location = Some(request["metadataLocation"].as_str().unwrap().to_owned());
    match answer {
        Some(Answer::After(status, kind)) => Err((status, kind)),
        _ => Ok(json!({"name": "t", "tableARN": BUCKET, "namespace": ["db"],
                       "versionToken": format!("v{}", tables.moves), "metadataLocation": tables.location})),
    }
}
