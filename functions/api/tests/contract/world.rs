//! One API over an embedded store and a made-up catalog, called through the router or through a socket.
//! Every answer is held to the conventions and to the OpenAPI document.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::Value;
use snowpack_api::{Api, Ports, router};
use snowpack_domain::{
    Action, CacheEntry, DatabaseName, Fence, FileStats, Job, JobOptions, Policy, Preview, PreviewSource,
    TableHealth, TableId, Verdict, settings_hash,
};
use snowpack_embedded::SqliteStore;
use snowpack_service::ports::{
    CatalogUnavailable, Clock, HealthUnreadable, JobStore, ListedTable, NoPreview, Tables, Versioned, Write,
    Written,
};
use snowpack_testkit::{ManualClock, SequentialIds, table, time};
use tower::ServiceExt;

use crate::faulty_store::FaultyStore;
use crate::openapi::{documented, documented_code};
use crate::raw_http;

/// A catalog with the tables `offers.items`, `offers.prices` and `a.b.nested`.
#[derive(Clone)]
pub(crate) struct MadeUpTables {
    /// The catalog does not answer.
    pub(crate) broken: Arc<AtomicBool>,
    /// Metadata cannot be understood.
    pub(crate) damaged: Arc<AtomicBool>,
    /// Times health was read; the snapshot id of the report read then.
    pub(crate) reads: Arc<AtomicI64>,
    clock: ManualClock,
}

impl MadeUpTables {
    fn new(clock: ManualClock) -> Self {
        Self {
            broken: Arc::default(),
            damaged: Arc::default(),
            reads: Arc::default(),
            clock,
        }
    }
}

/// Seven small files of which compaction takes six.
fn made_up_health(table: &TableId, snapshot_id: i64, clock: &ManualClock) -> TableHealth {
    let name = table.to_string();
    let entry = entry(&name, None);
    let preview = |numbers: &[(&str, u64)]| Preview {
        source: PreviewSource::Live,
        numbers: numbers
            .iter()
            .map(|(name, number)| ((*name).to_owned(), Some(*number)))
            .collect(),
        note: None,
    };
    let rewrite = preview(&[("files_in", 6), ("files_out", 1)]);
    let mut outlook = BTreeMap::from(Action::ALL.map(|action| (action, preview(&[]))));
    outlook.insert(Action::RewriteDataFiles, rewrite);
    TableHealth {
        table: table.clone(),
        location: entry.location.unwrap(),
        metadata_location: entry.metadata_location.unwrap(),
        format_version: 2,
        snapshot_id: Some(snapshot_id),
        files: FileStats {
            data_files: 7,
            small_files: 7,
            total_size_bytes: 700,
            ..FileStats::default()
        },
        snapshot_count: 2,
        oldest_snapshot_at: Some(time(0)),
        manifest_count: 3,
        total_records: 70,
        deleted_records: 0,
        outlook,
        settings_hash: Some(settings_hash(&HashMap::new())),
        collected_at: clock.now(),
    }
}

pub(crate) fn entry(full_name: &str, enabled: Option<&str>) -> CacheEntry {
    let property = |value: &str| ("snowpack.maintenance_enabled".to_owned(), value.to_owned());
    CacheEntry {
        table: table(full_name),
        location: Some(format!("s3://bucket/{full_name}")),
        metadata_location: Some(format!("s3://bucket/{full_name}/metadata/1.json")),
        format_version: Some(2),
        properties: enabled.map(property).into_iter().collect(),
        generation: 1,
    }
}

impl Tables for MadeUpTables {
    async fn find(&self, table: &TableId) -> Result<Option<CacheEntry>, CatalogUnavailable> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(CatalogUnavailable(crate::faulty_store::SECRET.into()));
        }
        let name = table.to_string();
        let known = ["offers.items", "offers.prices", "a.b.nested"].contains(&name.as_str());
        Ok(known.then(|| entry(&name, None)))
    }
    async fn databases(&self) -> Result<Vec<String>, CatalogUnavailable> {
        Ok(Vec::new())
    }
    async fn list(&self, _database: &str) -> Result<Vec<ListedTable>, CatalogUnavailable> {
        Ok(Vec::new())
    }
    async fn health(&self, table: &TableId) -> Result<Option<TableHealth>, HealthUnreadable> {
        if self.damaged.load(Ordering::SeqCst) {
            return Err(HealthUnreadable::Broken(format!(
                "{table}: manifest m.avro is cut off"
            )));
        }
        let known = self.find(table).await?.is_some();
        let read = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(known.then(|| made_up_health(table, read, &self.clock)))
    }
    async fn preview(
        &self,
        _table: &TableId,
        actions: &[Action],
        _options: &JobOptions,
    ) -> Vec<Result<Preview, NoPreview>> {
        if self.broken.load(Ordering::SeqCst) {
            return vec![Err(NoPreview::Unread("down".to_owned())); actions.len()];
        }
        let numbers = BTreeMap::from([("files_in".to_owned(), Some(847)), ("unknown".to_owned(), None)]);
        let preview = Preview {
            source: PreviewSource::Live,
            numbers,
            note: None,
        };
        vec![Ok(preview); actions.len()]
    }
}

/// How requests reach the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Direct,
    Socket,
}

pub(crate) struct World {
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) clock: ManualClock,
    pub(crate) tables: MadeUpTables,
    pub(crate) router: Router,
    transport: Transport,
    _folder: tempfile::TempDir,
}

/// An answer's parts.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
    /// Status, code and field of an error.
    pub(crate) fn error(&self) -> (u16, String, Option<String>) {
        let body = self.json();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        (
            self.status.as_u16(),
            text("error").expect("errors have a code"),
            text("field"),
        )
    }
    pub(crate) fn job_id(&self) -> String {
        self.json()["job_id"]
            .as_str()
            .expect("jobs have an id")
            .to_owned()
    }
}

impl World {
    pub(crate) fn new(transport: Transport) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("state.db")).unwrap();
        let clock = ManualClock::new(time(0));
        let queue = Arc::new(store.queue(clock.clone()));
        let store = Arc::new(FaultyStore::new(store));
        let tables = MadeUpTables::new(clock.clone());
        let ports = Ports {
            store: Arc::clone(&store),
            queue,
            tables: tables.clone(),
            clock: clock.clone(),
            ids: SequentialIds::default(),
        };
        let policy = Policy {
            databases: [DatabaseName::new("offers").unwrap()].into(),
            ..Policy::default()
        };
        let router = router(Api::new(ports, policy));
        Self {
            store,
            clock,
            tables,
            router,
            transport,
            _folder: folder,
        }
    }

    /// Sends a request and checks the conventions of its answer.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let answer = match self.transport {
            Transport::Direct => self.call_directly(&method, path, headers, body).await,
            Transport::Socket => {
                let address = raw_http::serve(self.router.clone()).await;
                let head = raw_http::head(&method, path, headers, body.len());
                raw_http::exchange(address, &[head.as_bytes(), body])
                    .await
                    .expect("an answer")
            }
        };
        check_conventions(&method, path, &answer);
        answer
    }

    async fn call_directly(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_vec())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 10_000_000).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], b"").await
    }
    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.call(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
        .await
    }
    pub(crate) async fn put(&self, path: &str, body: &str) -> Answer {
        self.call(
            Method::PUT,
            path,
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
        .await
    }

    /// Submits compaction of `offers.items` and returns the job's id.
    pub(crate) async fn submitted(&self) -> String {
        let answer = self
            .post(
                "/tables/offers/items/maintenance",
                r#"{"actions": ["rewrite_data_files"]}"#,
            )
            .await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.job_id()
    }

    /// Claims a job as a worker would.
    pub(crate) async fn claim(&self, id: &str) -> Job {
        let now = self.clock.now();
        self.change(id, |pair| {
            snowpack_domain::claim(pair, &snowpack_domain::Drain::default(), "w", now).unwrap()
        })
        .await
    }

    /// Ends a claimed job.
    pub(crate) async fn finish(&self, id: &str, held: Fence, verdict: Verdict) -> Job {
        let now = self.clock.now();
        self.change(id, |pair| {
            snowpack_domain::finish(pair, held, verdict, now).unwrap()
        })
        .await
    }

    /// Changes a job and its table's lock in one write.
    pub(crate) async fn change(
        &self,
        id: &str,
        decide: impl FnOnce(snowpack_domain::Pair) -> snowpack_domain::Pair,
    ) -> Job {
        let id = snowpack_domain::JobId::parse(id).unwrap();
        let job = self.store.job(&id).await.unwrap().unwrap();
        let lock = self.store.lock(&job.value.table).await.unwrap();
        let table = job.value.table.clone();
        let after = decide(snowpack_domain::Pair {
            job: job.value,
            lock: lock.value,
        });
        let write = Write {
            job: Some(Versioned {
                value: after.job.clone(),
                version: job.version,
            }),
            lock: Some((
                table,
                Versioned {
                    value: after.lock,
                    version: lock.version,
                },
            )),
            ..Write::default()
        };
        assert_eq!(self.store.write(&write).await.unwrap(), Written::Applied);
        after.job
    }
}

/// What holds of every answer (api.md, Conventions).
pub(crate) fn check_conventions(method: &Method, path: &str, answer: &Answer) {
    let is_text = match path.split('?').next() {
        Some("/metrics" | "/ui") => answer.status.is_success(),
        _ => false,
    };
    let content_type = match path {
        _ if !is_text => "application/json",
        path if path.starts_with("/metrics") => "text/plain; version=0.0.4; charset=utf-8",
        _ => "text/html; charset=utf-8",
    };
    assert_eq!(
        answer.header(header::CONTENT_TYPE),
        Some(content_type),
        "{method} {path}: {answer:?}"
    );
    let request_id = answer
        .header("x-request-id")
        .expect("every answer has its request's id");
    documented(method, path, answer);
    if method == Method::HEAD {
        assert_eq!(answer.text, "", "{path}");
        return;
    }
    if is_text {
        return;
    }
    let body = answer.json();
    if answer.status.is_client_error() || answer.status.is_server_error() {
        assert_eq!(body["request_id"], request_id, "{path}: {body}");
        assert!(
            body["error"].is_string() && !body["message"].as_str().unwrap().is_empty(),
            "{path}: {body}"
        );
        documented_code(&answer.error().1);
        assert!(!answer.text.contains(crate::faulty_store::SECRET), "{body}");
    }
}

/// Runs a test over the router, and again over a socket.
pub(crate) async fn both(test: impl AsyncFn(World)) {
    test(World::new(Transport::Direct)).await;
    test(World::new(Transport::Socket)).await;
}
