//! Checks AWS Signature Version 4 on a request as it arrived, from AWS's description of it: the canonical
//! request is put together here, only the keyed hashes come from the signer's crate.

use std::time::{Duration, SystemTime};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use axum::http::{HeaderMap, Method, Uri};
use chrono::NaiveDateTime;
use sha2::{Digest, Sha256};

pub(crate) struct Received<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

impl Received<'_> {
    /// Whether the signature is the one of key `AKID` and secret `hush`.
    pub(crate) fn is_signed_for(&self, service: &str, region: &str) -> bool {
        let (authorization, time) = (self.header("authorization"), self.header("x-amz-date"));
        let Some(date) = time.get(..8) else {
            return false;
        };
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let start = format!("AWS4-HMAC-SHA256 Credential=AKID/{scope}, SignedHeaders=");
        let Some((signed, signature)) = authorization
            .strip_prefix(&start)
            .and_then(|rest| rest.split_once(", Signature="))
        else {
            return false;
        };
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
            digest(self.canonical(signed).as_bytes())
        );
        let key = generate_signing_key("hush", at(&time), region, service);
        let required = ["host", "x-amz-content-sha256", "x-amz-date"];
        required
            .iter()
            .all(|name| signed.split(';').any(|header| header == *name))
            && calculate_signature(key, to_sign.as_bytes()) == signature
    }

    fn canonical(&self, signed: &str) -> String {
        // Every service but S3 encodes the path once more.
        let path = self.uri.path().replace('%', "%25");
        let mut query: Vec<_> = self.uri.query().unwrap_or_default().split('&').collect();
        query.sort_unstable();
        let headers: String = signed
            .split(';')
            .map(|name| format!("{name}:{}\n", self.header(name)))
            .collect();
        let (method, query) = (self.method, query.join("&"));
        format!(
            "{method}\n{path}\n{query}\n{headers}\n{signed}\n{}",
            digest(self.body)
        )
    }

    fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    }
}

fn at(time: &str) -> SystemTime {
    let time = NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.and_utc().timestamp().unsigned_abs())
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
