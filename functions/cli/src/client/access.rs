//! How requests are let into the API: with a bearer token, with a signature, or with neither.

use anyhow::Context as _;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Request, Url};
use snowpack_aws::AwsClients;
use snowpack_catalog::Signer;

use crate::args::ApiArgs;

/// The service that API Gateway's requests are signed for.
const SERVICE: &str = "execute-api";
/// Where API Gateway's own addresses end.
const GATEWAYS: [&str; 2] = ["amazonaws.com", "amazonaws.com.cn"];

/// What a request carries.
#[derive(Debug)]
pub(crate) enum Access {
    Nothing,
    Token(HeaderValue),
    Signature(Signer),
}

impl Access {
    /// A token, if one is given. Else a signature, if a region is given for it or the API is at an address of API
    /// Gateway's own.
    ///
    /// # Errors
    /// When the token is no header, or there are no credentials to sign with.
    pub(super) async fn of(args: &ApiArgs, base: &Url) -> anyhow::Result<Self> {
        if let Some(token) = &args.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .context("the token has characters that no token has")?;
            value.set_sensitive(true);
            return Ok(Self::Token(value));
        }
        let region = args.api_region.as_deref();
        let Some(region) = region.or_else(|| region_of(base.host_str()?)) else {
            return Ok(Self::Nothing);
        };
        let signer = AwsClients::load().await.signer(SERVICE, region)?;
        Ok(Self::Signature(signer))
    }

    /// Adds to a request that is otherwise complete what it needs to be let in.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(super) async fn admit(&self, request: &mut Request) -> anyhow::Result<()> {
        match self {
            Self::Nothing => {}
            Self::Token(token) => {
                request.headers_mut().insert(AUTHORIZATION, token.clone());
            }
            Self::Signature(signer) => signer.sign(request).await?,
        }
        Ok(())
    }
}

/// The region of an address of API Gateway's own, `ID.execute-api.REGION.amazonaws.com`.
fn region_of(host: &str) -> Option<&str> {
    let (_, place) = host.split_once(".execute-api.")?;
    let (region, domain) = place.split_once('.')?;
    GATEWAYS.contains(&domain).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_api_gateway_name_their_region() {
        for (host, region) in [
            ("abc123.execute-api.eu-west-1.amazonaws.com", Some("eu-west-1")),
            (
                "abc-vpce-1.execute-api.eu-west-1.amazonaws.com",
                Some("eu-west-1"),
            ),
            ("abc.execute-api.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("abc.execute-api.eu-west-1.example.com", None),
            ("abc.execute-api.eu-west-1.amazonaws.com.evil.org", None),
            ("execute-api.eu-west-1.amazonaws.com", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(region_of(host), region, "{host}");
        }
    }
}
