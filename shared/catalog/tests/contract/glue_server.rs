//! A Glue endpoint in memory that enforces `VersionId`, and fails when told to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Value, json};

/// What the next `UpdateTable` answers.
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
pub(crate) struct Glue {
    /// The one table, as `GetTable` answers.
    pub(crate) table: Option<Value>,
    pub(crate) next_update: Option<Answer>,
    /// The newest `UpdateTable` request.
    pub(crate) update: Value,
    pub(crate) updates: usize,
    /// Answers every request as one without rights.
    pub(crate) denied: bool,
}

pub(crate) type Shared = Arc<Mutex<Glue>>;

type Reply = Result<Value, (u16, &'static str)>;

/// Starts an endpoint holding `db.t` at that metadata location, beside a table of another kind.
pub(crate) async fn start(metadata_location: &str) -> (String, Shared) {
    let table = json!({
        "Name": "t", "DatabaseName": "db", "VersionId": "7", "TableType": "EXTERNAL_TABLE",
        "Owner": "ann", "Description": "a table", "Retention": 3, "ViewOriginalText": "text",
        "PartitionKeys": [{"Name": "p", "Type": "string"}],
        "StorageDescriptor": {"Location": "file:///t", "Columns": [{"Name": "id", "Type": "bigint", "Comment": "c"}]},
        "Parameters": {"table_type": "iceberg", "metadata_location": metadata_location, "mine": "kept"},
    });
    let shared: Shared = Arc::new(Mutex::new(Glue {
        table: Some(table),
        ..Glue::default()
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(handle).with_state(Arc::clone(&shared));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, shared)
}

async fn handle(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let mut glue = shared.lock().unwrap();
    let request: Value = serde_json::from_slice(&body).unwrap();
    let target = headers["x-amz-target"].to_str().unwrap();
    let reply = match target {
        _ if glue.denied => Err((400, "AccessDeniedException")),
        "AWSGlue.GetTable" => get_table(&glue, &request),
        "AWSGlue.GetTables" => get_tables(&glue, &request),
        "AWSGlue.GetDatabases" => Ok(get_databases(&request)),
        "AWSGlue.UpdateTable" => update_table(&mut glue, request),
        other => panic!("{other}"),
    };
    match reply {
        Ok(answer) => (StatusCode::OK, answer.to_string()),
        Err((status, kind)) => {
            let error = json!({"__type": kind, "Message": format!("injected {kind}")});
            (StatusCode::from_u16(status).unwrap(), error.to_string())
        }
    }
}

fn hive_table() -> Value {
    json!({"Name": "hive", "DatabaseName": "db", "VersionId": "1", "Parameters": {"EXTERNAL": "TRUE"}})
}

fn get_table(glue: &Glue, request: &Value) -> Reply {
    if request["Name"] == "hive" {
        return Ok(json!({"Table": hive_table()}));
    }
    if request["Name"] == "view" {
        return Ok(json!({"Table": {"Name": "view", "DatabaseName": "db", "TableType": "VIRTUAL_VIEW"}}));
    }
    if request["Name"] == "forbidden" {
        return Err((400, "AccessDeniedException"));
    }
    let known = request["DatabaseName"] == "db" && request["Name"] == "t";
    let table = glue
        .table
        .as_ref()
        .filter(|_| known)
        .ok_or((400, "EntityNotFoundException"))?;
    Ok(json!({"Table": table}))
}

fn get_tables(glue: &Glue, request: &Value) -> Reply {
    if request["DatabaseName"] != "db" {
        return Err((400, "EntityNotFoundException"));
    }
    match request.get("NextToken") {
        None => Ok(json!({"TableList": [hive_table()], "NextToken": "2"})),
        Some(_) => Ok(json!({"TableList": glue.table.iter().collect::<Vec<_>>()})),
    }
}

fn get_databases(request: &Value) -> Value {
    match request.get("NextToken") {
        None => json!({"DatabaseList": [{"Name": "db"}], "NextToken": "2"}),
        Some(_) => json!({"DatabaseList": [{"Name": "other"}]}),
    }
}

fn update_table(glue: &mut Glue, request: Value) -> Reply {
    glue.updates += 1;
    let answer = glue.next_update.take();
    if let Some(Answer::Before(status, kind)) = answer {
        return Err((status, kind));
    }
    let table = glue.table.as_mut().ok_or((400, "EntityNotFoundException"))?;
    if matches!(answer, Some(Answer::Raced)) {
        moved(table, 2);
    }
    if request["VersionId"] != table["VersionId"] {
        return Err((400, "ConcurrentModificationException"));
    }
    let version = table["VersionId"].clone();
    *table = request["TableInput"].clone();
    table["VersionId"] = version;
    moved(table, 1);
    glue.update = request;
    match answer {
        Some(Answer::After(status, kind)) => Err((status, kind)),
        _ => Ok(json!({})),
    }
}

/// Counts changes of the table.
fn moved(table: &mut Value, times: u32) {
    let version = table["VersionId"].as_str().unwrap().parse::<u32>().unwrap();
    table["VersionId"] = json!((version + times).to_string());
}
