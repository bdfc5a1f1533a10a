//! Bearer tokens for a REST catalog: a fixed one, or one bought with OAuth2 client credentials.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::Mutex;

use super::failure::{Failure, read_error};
use crate::config::{CatalogConfig, configuration, parse_http};
use crate::port::CatalogError;

/// A token is renewed this long before it ends, so that none ends under way.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// What a token lasts when the server does not say (Java's default).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
/// A token is bought anew this often, whatever the server says of its end.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The scope Java asks for.
const DEFAULT_SCOPE: &str = "catalog";
/// Properties that go into the request for a token under their own names, as Java sends them.
const OPTIONAL_FIELDS: [&str; 2] = ["audience", "resource"];

/// How requests are authorised.
pub(super) enum Auth {
    /// Not at all.
    None,
    /// By this token.
    Token(String),
    /// By a token that these credentials buy.
    Client(ClientCredentials),
}

pub(super) struct ClientCredentials {
    id: Option<String>,
    secret: String,
    scope: String,
    /// Further fields of the request: what some servers want besides.
    optional: Vec<(&'static str, String)>,
    endpoint: String,
    current: Mutex<Option<Token>>,
}

struct Token {
    text: String,
    renew_at: Instant,
}

/// RFC 6749, section 5.1.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default, rename = "expires_in", deserialize_with = "lifetime")]
    lifetime: Option<Duration>,
}

/// Seconds, which some servers write as text. What cannot be read counts as not said.
fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let seconds = seconds.map(|seconds: f64| seconds.clamp(0.0, LONGEST_LIFETIME.as_secs_f64()));
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

impl Auth {
    pub(super) fn new(config: &CatalogConfig, base: &str) -> Result<Self, CatalogError> {
        if let Some(credential) = config.property("credential") {
            let (id, secret) = match credential.split_once(':') {
                Some((id, secret)) => (Some(id.to_owned()), secret),
                None => (None, credential),
            };
            let endpoint = match config.property("oauth2-server-uri") {
                Some(uri) => parse_http("oauth2-server-uri", uri)?.to_string(),
                None => format!("{}/v1/oauth/tokens", base.trim_end_matches('/')),
            };
            let optional = OPTIONAL_FIELDS
                .iter()
                .filter_map(|name| Some((*name, config.property(name)?.to_owned())));
            return Ok(Self::Client(ClientCredentials {
                id,
                secret: secret.to_owned(),
                scope: config.property("scope").unwrap_or(DEFAULT_SCOPE).to_owned(),
                optional: optional.collect(),
                endpoint,
                current: Mutex::new(None),
            }));
        }
        match config.property("token") {
            Some(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self::Token(token.to_owned()))
            }
            Some(_) => Err(configuration(
                "the property token has characters no token may have".to_owned(),
            )),
            None => Ok(Self::None),
        }
    }

    /// The token to send now, bought first if need be.
    pub(super) async fn token(&self, http: &reqwest::Client) -> Result<Option<String>, CatalogError> {
        match self {
            Self::None => Ok(None),
            Self::Token(token) => Ok(Some(token.clone())),
            Self::Client(client) => client.token(http).await.map(Some),
        }
    }

    /// Drops a token that the server no longer takes; whether a new one can be had.
    pub(super) async fn forget(&self) -> bool {
        match self {
            Self::Client(client) => client.current.lock().await.take().is_some(),
            Self::None | Self::Token(_) => false,
        }
    }
}

impl ClientCredentials {
    /// The lock is held while buying, so that many tasks buy one token.
    async fn token(&self, http: &reqwest::Client) -> Result<String, CatalogError> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref().filter(|token| token.renew_at > Instant::now()) {
            return Ok(token.text.clone());
        }
        let bought = self.buy(http).await.map_err(|failure| self.describe(failure))?;
        let lifetime = bought.lifetime.unwrap_or(DEFAULT_LIFETIME);
        let token = Token {
            text: bought.access_token,
            renew_at: Instant::now() + lifetime.saturating_sub(RENEW_BEFORE),
        };
        Ok(current.insert(token).text.clone())
    }

    async fn buy(&self, http: &reqwest::Client) -> Result<TokenAnswer, Failure> {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_secret", self.secret.as_str()),
            ("scope", self.scope.as_str()),
        ];
        form.extend(self.optional.iter().map(|(name, value)| (*name, value.as_str())));
        if let Some(id) = &self.id {
            form.push(("client_id", id));
        }
        let response = http
            .post(&self.endpoint)
            .form(&form)
            .send()
            .await
            .map_err(Failure::from_transport)?;
        let status = response.status();
        let body = response.bytes().await.map_err(Failure::from_transport)?;
        if !status.is_success() {
            return Err(Failure::from_answer(status.as_u16(), &body));
        }
        serde_json::from_slice(&body).map_err(|error| Failure::Unreadable(error.to_string()))
    }

    /// RFC 6749 answers 400 to credentials it does not know.
    fn describe(&self, failure: Failure) -> CatalogError {
        match failure {
            Failure::Refused {
                status: status @ 400..=499,
                message,
            } if status != 429 => {
                let message = message.replace(&self.secret, "***");
                CatalogError::AccessDenied(format!(
                    "no token for these credentials: status {status}: {message}"
                ))
            }
            other => read_error(other, "token"),
        }
    }
}

/// Never shows a token or secret.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::Client(_) => "Client",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_read_in_every_form_and_never_runs_over_the_clock() {
        let read = |expires_in: &str| {
            let text = format!(r#"{{"access_token": "t"{expires_in}}}"#);
            let answer: TokenAnswer = serde_json::from_str(&text).unwrap();
            answer.lifetime.map(|lifetime| lifetime.as_secs())
        };
        for (said, means) in [
            ("3600", Some(3600)),
            ("\"3600\"", Some(3600)),
            ("3600.0", Some(3600)),
            ("-1", Some(0)),
            ("18446744073709551615", Some(LONGEST_LIFETIME.as_secs())),
            ("\"1e300\"", Some(LONGEST_LIFETIME.as_secs())),
            ("\"soon\"", None),
            ("\"NaN\"", None),
            ("null", None),
        ] {
            assert_eq!(read(&format!(r#", "expires_in": {said}"#)), means, "{said}");
        }
        assert_eq!(read(""), None);
    }
}
