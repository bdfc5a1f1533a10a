//! An HTTP client between the SDK and the emulator that throttles, reports transaction conflicts and loses answers.

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Passes,
    /// The service refuses it for now.
    Throttled,
    /// Another transaction is in the way; only for transactions.
    Conflict,
    /// The service carries it out and its answer never arrives.
    AnswerLost,
}

/// Passes most requests on.
#[derive(Clone, Debug)]
pub(crate) struct FaultyHttp {
    inner: SharedHttpClient,
    dice: Arc<Mutex<StdRng>>,
}

impl FaultyHttp {
    pub(crate) fn new(inner: SharedHttpClient, seed: u64) -> Self {
        let dice = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        Self { inner, dice }
    }
}

impl HttpClient for FaultyHttp {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(FaultyConnector {
            inner: self.inner.http_connector(settings, components),
            dice: Arc::clone(&self.dice),
        })
    }
}

#[derive(Debug)]
struct FaultyConnector {
    inner: SharedHttpConnector,
    dice: Arc<Mutex<StdRng>>,
}

impl FaultyConnector {
    fn fate(&self, request: &HttpRequest) -> Fate {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let is_transaction = target.ends_with(".TransactWriteItems");
        match self.dice.lock().unwrap().random_range(0..100) {
            0..6 => Fate::Throttled,
            6..12 if is_transaction => Fate::Conflict,
            12..16 => Fate::AnswerLost,
            _ => Fate::Passes,
        }
    }
}

impl HttpConnector for FaultyConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        match self.fate(&request) {
            Fate::Passes => self.inner.call(request),
            Fate::Throttled => refusal("ThrottlingException", ""),
            Fate::Conflict => refusal(
                "TransactionCanceledException",
                r#","CancellationReasons":[{"Code":"TransactionConflict","Message":"in the way"}]"#,
            ),
            Fate::AnswerLost => {
                let answer = self.inner.call(request);
                HttpConnectorFuture::new(async move {
                    answer.await?;
                    Err(ConnectorError::io("the answer was lost".into()))
                })
            }
        }
    }
}

fn refusal(code: &str, members: &str) -> HttpConnectorFuture {
    let body =
        format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"injected"{members}}}"#);
    let status = 400.try_into().unwrap();
    HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
}
