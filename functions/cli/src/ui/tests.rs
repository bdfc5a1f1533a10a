//! What reaches an API from the commands and from the page: signed, with a token, or with neither.

#[path = "../../../../shared/catalog/tests/contract/signature.rs"]
mod signature;

use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::http::{Method, Uri};
use reqwest::header::AUTHORIZATION;
use serde_json::Value;
use snowpack_catalog::Signer;

use super::*;
use crate::args::ApiArgs;
use crate::client::Access;
use signature::Received;

/// A request as it arrived.
struct Arrived {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Arrived {
    fn is_signed(&self) -> bool {
        let Self {
            method,
            uri,
            headers,
            body,
        } = self;
        let received = Received {
            method,
            uri,
            headers,
            body,
        };
        received.is_signed_for("execute-api", "eu-west-1")
    }
}

type Requests = Arc<Mutex<Vec<Arrived>>>;

/// An API that remembers what it was asked and answers a job; its address.
async fn api() -> (String, Requests) {
    let requests = Requests::default();
    let kept = Arc::clone(&requests);
    let router = Router::new().fallback(move |request: Request| {
        let kept = Arc::clone(&kept);
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap().to_vec();
            kept.lock().unwrap().push(Arrived {
                method: parts.method,
                uri: parts.uri,
                headers: parts.headers,
                body,
            });
            let headers = [("content-type", "application/json"), ("location", "/jobs/7")];
            (StatusCode::ACCEPTED, headers, r#"{"job_id": "7"}"#)
        }
    });
    (serve(router).await, requests)
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

fn args(api: &str, token: Option<&str>) -> ApiArgs {
    ApiArgs {
        api: api.to_owned(),
        api_region: None,
        token: token.map(str::to_owned),
        json: false,
    }
}

fn signing() -> Access {
    let keys = Credentials::new("AKID", "hush", None, None, "test");
    let settings = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build();
    Access::Signature(Signer::new("execute-api", &settings).unwrap())
}

#[tokio::test]
async fn commands_sign_what_they_send() {
    let (url, requests) = api().await;
    let api = Api::with(&url, signing()).unwrap();
    let query = [("status", "failed".to_owned()), ("limit", "5".to_owned())];
    api.get("/jobs", &query).await.unwrap();
    api.put("/drain", json!({"enabled": true})).await.unwrap();
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(Arrived::is_signed));
    assert_eq!(requests[1].body, br#"{"enabled":true}"#);
    assert!(!format!("{api:?}").contains("hush"));
}

#[tokio::test]
async fn a_token_is_sent_as_it_is_and_nothing_without_one() {
    let (url, requests) = api().await;
    for token in [Some("sesame"), None] {
        let api = Api::new(&args(&url, token)).await.unwrap();
        api.get("/jobs", &[]).await.unwrap();
        assert!(!format!("{api:?}").contains("sesame"));
    }
    let requests = requests.lock().unwrap();
    let sent = requests.iter().map(|request| request.headers.get(AUTHORIZATION));
    let sent: Vec<_> = sent
        .map(|value| value.map(|value| value.to_str().unwrap()))
        .collect();
    assert_eq!(sent, [Some("Bearer sesame"), None]);
}

#[tokio::test]
async fn the_page_s_requests_are_signed_below_a_path_that_nobody_guesses() {
    let (url, requests) = api().await;
    let front = Front::new(Api::with(&url, signing()).unwrap());
    let other = Front::new(Api::with(&url, signing()).unwrap());
    assert_ne!(front.prefix, other.prefix);
    let prefix = front.prefix.clone();
    let page = serve(front.router()).await;
    let browser = reqwest::Client::new();
    for path in [
        "/ui".to_owned(),
        "/".to_owned(),
        prefix.clone(),
        format!("{prefix}0/ui"),
        format!("{}/ui", other.prefix),
    ] {
        let answer = browser.get(format!("{page}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    assert!(requests.lock().unwrap().is_empty());

    let address = format!("{page}{prefix}/tables/a%2Fb/t/maintenance?x=1");
    let submit = browser
        .post(address)
        .header("authorization", "Bearer of the browser");
    let answer = submit.json(&json!({"actions": []})).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["location"], "/jobs/7");
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"job_id": "7"}));
    let requests = requests.lock().unwrap();
    let [request] = &requests[..] else {
        panic!("{} requests", requests.len())
    };
    assert!(request.is_signed());
    assert_eq!(request.uri, "/tables/a%2Fb/t/maintenance?x=1");
    assert_eq!(request.headers[CONTENT_TYPE], "application/json");
    assert_eq!(request.body, br#"{"actions":[]}"#);
}

#[tokio::test]
async fn an_api_that_does_not_answer_is_said_in_its_form() {
    // Nothing listens at the address of a listener that is gone.
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let front = Front::new(Api::with(&format!("http://{gone}"), signing()).unwrap());
    let prefix = front.prefix.clone();
    let page = serve(front.router()).await;
    let answer = reqwest::get(format!("{page}{prefix}/jobs")).await.unwrap();
    assert_eq!(answer.status(), 502);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"], "unavailable");
    assert!(body["message"].as_str().unwrap().contains("no answer"), "{body}");
}

#[tokio::test]
async fn it_listens_on_this_machine_alone() {
    let args = UiArgs {
        listen: "0.0.0.0:0".parse().unwrap(),
        api: args("http://127.0.0.1:1", None),
    };
    let error = ui(args).await.unwrap_err();
    assert!(error.is::<UsageError>(), "{error:#}");
}
