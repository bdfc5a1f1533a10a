//! Requests to the API and what its answers mean to a caller.

use std::time::Duration;

use anyhow::{Context as _, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderMap;
use reqwest::{Body, Method, Request, Response, StatusCode};
use serde_json::Value;

use super::access::Access;
use super::submit_body;
use crate::args::ApiArgs;
use crate::catalog::Work;
use crate::output::{note, print_json};

/// How long one request may take: API Gateway gives up after 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(35);
/// Pause between polls when the API asks for none.
const DEFAULT_POLL: Duration = Duration::from_secs(30);
/// Pause between polls of a server on this machine, which nobody else pays for.
const LOCAL_POLL: Duration = Duration::from_millis(500);

/// The API at one base URL.
#[derive(Debug)]
pub(crate) struct Api {
    client: reqwest::Client,
    base: reqwest::Url,
    access: Access,
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Value,
}

/// A name as one path segment.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn parse(address: &str) -> anyhow::Result<reqwest::Url> {
    reqwest::Url::parse(address).with_context(|| format!("--api {address:?} is not a URL"))
}

impl Api {
    /// A client for the API that the flags or environment name.
    pub(crate) async fn new(args: &ApiArgs) -> anyhow::Result<Self> {
        let base = parse(&args.api)?;
        let access = Access::of(args, &base).await?;
        Self::at(base, access)
    }

    fn at(base: reqwest::Url, access: Access) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).build()?;
        Ok(Self { client, base, access })
    }

    /// A client for the API at this address, let in like this.
    #[cfg(test)]
    pub(crate) fn with(address: &str, access: Access) -> anyhow::Result<Self> {
        Self::at(parse(address)?, access)
    }

    /// Whether the server is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.base
            .host_str()
            .is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]")
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, query, None, None).await
    }

    /// POST.
    pub(crate) async fn post(&self, path: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, &[], body, None).await
    }

    /// PUT.
    pub(crate) async fn put(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.send(Method::PUT, path, &[], Some(body), None).await
    }

    /// POST of a maintenance job.
    pub(crate) async fn submit(
        &self,
        work: &Work,
        options: &[String],
        key: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let table = &work.table;
        let path = format!(
            "/tables/{}/{}/maintenance",
            segment(table.database.as_str()),
            segment(table.table.as_str())
        );
        self.send(Method::POST, &path, &[], Some(submit_body(work, options)), key)
            .await
    }

    /// Whatever a page asks for, answered as the API answers.
    pub(crate) async fn pass_on(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> anyhow::Result<Response> {
        let request = self.client.request(method, self.url(path));
        self.execute(request.headers(headers).body(body).build()?).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    async fn execute(&self, mut request: Request) -> anyhow::Result<Response> {
        self.access.admit(&mut request).await?;
        self.client
            .execute(request)
            .await
            .with_context(|| format!("no answer from {}", self.base))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Value>,
        idempotency_key: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let url = self.url(path);
        let mut request = self.client.request(method, &url).query(query);
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = self.execute(request.build()?).await?;
        let status = response.status();
        let seconds = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let text = response
            .text()
            .await
            .with_context(|| format!("the answer of {url} broke off"))?;
        let body = serde_json::from_str(&text).with_context(|| {
            format!("{url} answered {status} with something other than JSON: is it a Snowpack API?")
        })?;
        Ok(Answer {
            status,
            retry_after: seconds.map(Duration::from_secs),
            body,
        })
    }
}

impl Answer {
    /// The body of a success; `None` after saying why when the API refused (4xx, drain mode).
    ///
    /// # Errors
    /// When the API itself failed.
    pub(crate) fn accepted(self, args: &ApiArgs) -> anyhow::Result<Option<Value>> {
        if self.status.is_success() {
            return Ok(Some(self.body));
        }
        if self.status.is_server_error() && self.body["error"] != "drain_mode" {
            return self.body_or_error().map(Some);
        }
        if args.json {
            print_json(&self.body)?;
        }
        let message = self.body["message"].as_str().unwrap_or("no reason given");
        let hint = self.body["active_job_id"]
            .as_str()
            .map(|id| format!(" (active job {id})"))
            .unwrap_or_default();
        note(&format!("snowpack: refused: {message}{hint}"));
        Ok(None)
    }

    /// The body of a success.
    ///
    /// # Errors
    /// Anything else, with the API's message.
    pub(crate) fn body_or_error(self) -> anyhow::Result<Value> {
        if !self.status.is_success() {
            bail!(
                "the API answered {}: {}",
                self.status,
                self.body["message"].as_str().unwrap_or("no reason given")
            );
        }
        Ok(self.body)
    }

    /// How long to wait before the next poll.
    pub(crate) fn retry_after(&self, local: bool) -> Duration {
        if local {
            LOCAL_POLL
        } else {
            self.retry_after.unwrap_or(DEFAULT_POLL)
        }
    }
}
