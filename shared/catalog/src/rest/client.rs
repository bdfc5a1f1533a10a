//! Requests to a REST catalog: configuration once, then authorised or signed calls with JSON in and out.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::auth::Auth;
use super::failure::{Failure, read_error, status_of};
use super::paths::{Paths, encode};
use super::sign::{is_for_aws_catalog, signer};
use crate::aws::Signer;
use crate::config::{CatalogConfig, configuration, parse_http};
use crate::port::CatalogError;

/// A server on the same network answers a connect within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Large tables' metadata takes a server seconds to read or write.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer read: the largest metadata document accepted from a file.
const MAX_ANSWER_BYTES: usize = 1 << 30;
/// Properties of this prefix are sent as headers.
const HEADER_PREFIX: &str = "header.";
/// How the server may give access to a table's files: with credentials of their own. A server that gives none
/// leaves the files to ours; `header.X-Iceberg-Access-Delegation` set to nothing does not ask.
const DELEGATION: (&str, &str) = ("x-iceberg-access-delegation", "vended-credentials");

/// A server that may hold several catalogs.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    config: CatalogConfig,
    auth: Auth,
    signer: Option<Signer>,
    session: OnceCell<Session>,
}

/// What the server's configuration makes of ours.
#[derive(Debug)]
pub(super) struct Session {
    base: String,
    pub(super) paths: Paths,
}

/// The specification's `CatalogConfig`.
#[derive(Default, Deserialize)]
struct ConfigAnswer {
    #[serde(default)]
    defaults: BTreeMap<String, String>,
    #[serde(default)]
    overrides: BTreeMap<String, String>,
}

impl Client {
    pub(super) async fn new(config: &CatalogConfig) -> Result<Self, CatalogError> {
        let base = config.http_uri()?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A redirected commit would be sent again without telling anyone.
            .redirect(redirect::Policy::none())
            .default_headers(headers(config)?)
            .build()
            .map_err(|error| configuration(format!("HTTP client: {error}")))?;
        Ok(Self {
            auth: Auth::new(config, base.as_str())?,
            signer: signer(config, base.host_str().unwrap_or_default()).await?,
            http,
            config: config.clone(),
            session: OnceCell::new(),
        })
    }

    /// Whether it is a catalog of AWS itself, where no namespace lies within another.
    pub(super) fn is_aws(&self) -> bool {
        self.signer.as_ref().is_some_and(is_for_aws_catalog)
    }

    /// The server's configuration, asked for once it is needed and kept once it came.
    pub(super) async fn session(&self) -> Result<&Session, CatalogError> {
        self.session.get_or_try_init(|| self.negotiate()).await
    }

    async fn negotiate(&self) -> Result<Session, CatalogError> {
        let base = self.config.http_uri()?.as_str().trim_end_matches('/').to_owned();
        let path = match &self.config.warehouse {
            Some(warehouse) => format!("v1/config?warehouse={}", encode(warehouse)),
            None => "v1/config".to_owned(),
        };
        let answer = self.send(&base, Method::GET, &path, None).await;
        let answer: ConfigAnswer = answer.map_err(|failure| match failure {
            Failure::Refused { status: 404, message } => {
                configuration(format!("the server has no such catalog or warehouse: {message}"))
            }
            other => read_error(other, "configuration"),
        })?;
        // Overrides beat ours, ours beat defaults.
        let get = |name: &str| {
            let ours = || {
                self.config
                    .property(name)
                    .or(answer.defaults.get(name).map(String::as_str))
            };
            answer.overrides.get(name).map(String::as_str).or_else(ours)
        };
        let base = match answer.overrides.get("uri") {
            Some(uri) => parse_http("the address given by the server", uri)?
                .as_str()
                .trim_end_matches('/')
                .to_owned(),
            None => base,
        };
        Ok(Session {
            base,
            paths: Paths::new(get("prefix"), get("namespace-separator")),
        })
    }

    /// Calls the server and reads its JSON answer.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        session: &Session,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        self.send(&session.base, method, path, body).await
    }

    /// Calls a path that the server named: below its address, or that address written out.
    pub(super) async fn call_named<T: DeserializeOwned>(
        &self,
        session: &Session,
        path: &str,
    ) -> Result<T, Failure> {
        let below = path.strip_prefix(&session.base).unwrap_or(path);
        // Another host has no business with our token.
        if below.contains("://") {
            return Err(Failure::Unreadable(format!(
                "{below} is not below the catalog's address"
            )));
        }
        self.send(&session.base, Method::GET, below.trim_start_matches('/'), None)
            .await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        base: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let url = format!("{base}/{path}");
        let first = self.send_once(&method, &url, body).await;
        // A token may be revoked before its time; nothing was done under it, so asking again is safe.
        let answer = match first {
            Err(Failure::Refused {
                status: 401 | 419, ..
            }) if self.forget().await => self.send_once(&method, &url, body).await,
            other => other,
        }?;
        serde_json::from_slice(&answer).map_err(|error| Failure::Unreadable(error.to_string()))
    }

    /// Drops what the server no longer takes; whether something else can be had.
    async fn forget(&self) -> bool {
        let signed = match &self.signer {
            Some(signer) => signer.forget().await,
            None => false,
        };
        self.auth.forget().await || signed
    }

    async fn send_once(&self, method: &Method, url: &str, body: Option<&Value>) -> Result<Vec<u8>, Failure> {
        let mut request = self.http.request(method.clone(), url);
        if let Some(token) = self.auth.token(&self.http).await.map_err(Failure::Auth)? {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut request = request.build().map_err(Failure::from_transport)?;
        if let Some(signer) = &self.signer {
            signer.sign(&mut request).await?;
        }
        let response = self
            .http
            .execute(request)
            .await
            .map_err(Failure::from_transport)?;
        let status = status_of(response.status(), response.headers());
        let answer = read_body(response).await?;
        match status {
            200..=299 => Ok(answer),
            _ => Err(Failure::from_answer(status, &answer)),
        }
    }
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::from_transport)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failure::Unreadable(format!(
                "the answer is longer than {MAX_ANSWER_BYTES} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn headers(config: &CatalogConfig) -> Result<HeaderMap, CatalogError> {
    let mut headers = HeaderMap::new();
    headers.insert(DELEGATION.0, HeaderValue::from_static(DELEGATION.1));
    for (property, value) in &config.properties {
        let Some(name) = property.strip_prefix(HEADER_PREFIX) else {
            continue;
        };
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_str(value);
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err(configuration(format!("{property} is not a valid header")));
        };
        if value.is_empty() {
            headers.remove(name);
            continue;
        }
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}
