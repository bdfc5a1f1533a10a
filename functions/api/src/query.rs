//! Query strings: read strictly, and written back for the link to the next page.

use http::{HeaderValue, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use snowpack_domain::JobStatus;
use snowpack_service::ports::PageRequest;

use crate::problem::Problem;

/// Items of a page unless `limit` says otherwise (api.md, Conventions).
const DEFAULT_LIMIT: usize = 100;
/// Most items of a page.
const MAX_LIMIT: usize = 500;
/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The parameters of a request, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// 400 naming a parameter that is not in `known`, given twice, empty, or not UTF-8 once decoded.
    pub(crate) fn read(uri: &Uri, known: &[&'static str]) -> Result<Self, Problem> {
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        for pair in uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).unwrap_or_else(|| name.to_owned());
            let Some(known) = known.iter().find(|known| **known == name) else {
                return Err(unknown(&name, known));
            };
            let refuse =
                |what: &str| Problem::bad_request(Some(known), format!("query parameter {known} {what}"));
            if parameters.iter().any(|(earlier, _)| earlier == known) {
                return Err(refuse("is given twice"));
            }
            let value = decode(value).ok_or_else(|| refuse("is not UTF-8 once percent-decoded"))?;
            if value.is_empty() {
                return Err(refuse("has no value: give one or leave it out"));
            }
            parameters.push((known, value));
        }
        Ok(Self(parameters))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value.as_str())
    }

    /// `limit` and `cursor`.
    ///
    /// # Errors
    /// 400 when `limit` is no whole number from 1 to 500.
    pub(crate) fn page(&self) -> Result<PageRequest, Problem> {
        let limit = match self.get("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => whole_number(text)
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| {
                    Problem::bad_request(
                        Some("limit"),
                        format!("limit must be a whole number from 1 to {MAX_LIMIT}"),
                    )
                })?,
        };
        Ok(PageRequest {
            limit,
            cursor: self.get("cursor").map(str::to_owned),
        })
    }

    /// `status`.
    ///
    /// # Errors
    /// 400 when it is no job status.
    pub(crate) fn status(&self) -> Result<Option<JobStatus>, Problem> {
        let parse = |text: &str| {
            JobStatus::parse(text).ok_or_else(|| {
                let known = JobStatus::ALL.map(JobStatus::as_str).join(", ");
                Problem::bad_request(Some("status"), format!("status must be one of {known}"))
            })
        };
        self.get("status").map(parse).transpose()
    }

    /// The `Link` header for the page that starts at `cursor`, every other parameter kept.
    pub(crate) fn link_to(&self, uri: &Uri, cursor: &str) -> HeaderValue {
        let encode = |(name, value): (&str, &str)| format!("{name}={}", utf8_percent_encode(value, ENCODED));
        let kept = self
            .0
            .iter()
            .filter(|(name, _)| *name != "cursor")
            .map(|(name, value)| (*name, value.as_str()));
        let parameters: Vec<_> = kept.chain([("cursor", cursor)]).map(encode).collect();
        let link = format!("<{}?{}>; rel=\"next\"", uri.path(), parameters.join("&"));
        HeaderValue::try_from(link).expect("paths of routes and encoded parameters are ASCII")
    }
}

/// A whole number in plain digits.
pub(crate) fn whole_number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// As browsers and `curl --data-urlencode` encode it: a plus is a space.
fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let name: String = name.chars().take(80).collect();
    let known = if known.is_empty() {
        "this path takes none".to_owned()
    } else {
        format!("use {}", known.join(", "))
    };
    Problem::bad_request(Some(&name), format!("unknown query parameter {name:?}: {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: [&str; 3] = ["status", "limit", "cursor"];

    fn read(query: &str) -> Result<Query, Problem> {
        Query::read(&format!("/jobs?{query}").parse().unwrap(), &KNOWN)
    }

    #[test]
    fn reads_and_links() {
        let query = read("status=failed&cursor=a%2Fb&limit=7").unwrap();
        assert_eq!(query.status().unwrap(), Some(JobStatus::Failed));
        assert_eq!(
            query.page().unwrap(),
            PageRequest {
                limit: 7,
                cursor: Some("a/b".to_owned())
            }
        );
        let link = query.link_to(&"/jobs?x".parse().unwrap(), "c=&>é");
        assert_eq!(
            link,
            "</jobs?status=failed&limit=7&cursor=c%3D%26%3E%C3%A9>; rel=\"next\""
        );
    }

    #[test]
    fn refuses_the_rest() {
        for bad in [
            "state=failed",
            "status",
            "status=",
            "status=failed&status=failed",
            "limit=%ff",
            "Status=failed",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for bad in ["0", "501", "-1", "1.0", "+7", "١", "99999999999999999999999"] {
            let query = Query(vec![("limit", bad.to_owned())]);
            assert!(query.page().is_err(), "{bad}");
        }
        assert!(read("status=done").unwrap().status().is_err());
        assert_eq!(read("&&").unwrap().page().unwrap().limit, 100);
    }

    proptest! {
        #[test]
        fn a_link_leads_where_it_says(cursor in "\\PC{1,40}", status in "[a-z ]{1,9}") {
            let query = Query(vec![("status", status.clone())]);
            let link = query.link_to(&"/jobs".parse().unwrap(), &cursor);
            let uri = link.to_str().unwrap().strip_prefix('<').unwrap().split('>').next().unwrap().parse().unwrap();
            let read = Query::read(&uri, &KNOWN).unwrap();
            prop_assert_eq!(read.get("cursor"), Some(cursor.as_str()));
            prop_assert_eq!(read.get("status"), Some(status.as_str()));
        }
    }
}
