//! An HTTP client that answers as a test says and remembers what was asked.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) uri: String,
    /// The operation of a JSON protocol, for example `TransactWriteItems`.
    pub(crate) operation: String,
    pub(crate) body: String,
}

/// What to answer.
pub(crate) enum Answer {
    /// A status and a body.
    Reply(u16, String),
    /// An empty answer to HEAD, for an object of this many bytes.
    Size(u64),
    /// The connection breaks after the request was taken.
    Lost,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::Reply(200, body.into())
    }
}

type Respond = Box<dyn FnMut(&Request) -> Answer + Send>;

/// Answers requests one after the other.
#[derive(Clone)]
pub(crate) struct Script {
    respond: Arc<Mutex<Respond>>,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(crate) fn new(respond: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        Self {
            respond: Arc::new(Mutex::new(Box::new(respond))),
            asked: Arc::default(),
        }
    }

    /// Answers in this order and no more.
    pub(crate) fn of(answers: Vec<Answer>) -> Self {
        let mut answers = answers.into_iter();
        Self::new(move |request| {
            answers
                .next()
                .unwrap_or_else(|| panic!("unexpected: {request:?}"))
        })
    }

    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .retry_config(quick_retries())
            .http_client(self.clone())
            .build();
        aws_sdk_dynamodb::Client::from_conf(config)
    }

    pub(crate) fn emr_serverless(&self) -> aws_sdk_emrserverless::Client {
        let config = aws_sdk_emrserverless::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .retry_config(quick_retries())
            .http_client(self.clone())
            .build();
        aws_sdk_emrserverless::Client::from_conf(config)
    }

    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .retry_config(quick_retries())
            .http_client(self.clone())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }
}

/// The SDK tries three times, hardly waiting.
fn quick_retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(1))
}

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let request = Request {
            method: request.method().to_owned(),
            uri: request.uri().to_owned(),
            operation: target.rsplit('.').next().unwrap_or_default().to_owned(),
            body: String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned(),
        };
        let answer = (self.respond.lock().unwrap())(&request);
        self.asked.lock().unwrap().push(request);
        HttpConnectorFuture::ready(match answer {
            Answer::Reply(status, body) => Ok(response(status, body)),
            Answer::Size(bytes) => {
                let mut head = response(200, String::new());
                head.headers_mut().insert("content-length", bytes.to_string());
                Ok(head)
            }
            Answer::Lost => Err(ConnectorError::io("the connection broke".into())),
        })
    }
}

fn response(status: u16, body: String) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))
}

impl HttpClient for Script {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
