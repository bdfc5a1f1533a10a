//! Requests as Lambda delivers them: API Gateway's request id, and the path as the caller wrote it.

use axum::Router;
use http::Uri;
use lambda_http::RequestExt;
use lambda_http::request::RequestContext;
use snowpack_api::RequestId;
use tower::util::MapRequest;

/// The router, with each request put right before it is routed.
pub(crate) fn service(
    router: Router,
) -> MapRequest<Router, fn(lambda_http::Request) -> lambda_http::Request> {
    MapRequest::new(router, put_right)
}

fn put_right(mut request: lambda_http::Request) -> lambda_http::Request {
    if let Some(uri) = written_uri(&request) {
        *request.uri_mut() = uri;
    }
    if let Some(id) = request_id(&request) {
        request.extensions_mut().insert(id);
    }
    request
}

/// API Gateway's id of the request, which its access log has too; else the invocation's.
fn request_id(request: &lambda_http::Request) -> Option<RequestId> {
    let gateway = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref().and_then(RequestId::new),
        _ => None,
    };
    gateway.or_else(|| RequestId::new(&request.lambda_context_ref()?.request_id))
}

/// `lambda_http` builds its address by the rules of browsers, which resolve `..` and `%2e%2e`; the contract
/// wants such names refused, so the path is taken as it came. `None` when that is no path.
fn written_uri(request: &lambda_http::Request) -> Option<Uri> {
    let path = request.raw_http_path();
    let written = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    path.starts_with('/').then(|| written.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(path: &str, query: &str) -> lambda_http::Request {
        let event = serde_json::json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": {"host": "abc.execute-api.eu-west-1.amazonaws.com"},
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "abc",
                "requestId": "JKJaXmPLvHcESHA=",
                "stage": "$default",
                "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x"}
            },
            "isBase64Encoded": false
        });
        lambda_http::request::from_str(&event.to_string()).unwrap()
    }

    #[test]
    fn paths_stay_as_written() {
        for path in [
            "/tables/%2e%2e/items",
            "/tables/../items",
            "/tables/a%2Fb/items",
            "/jobs/%ff",
            "/",
        ] {
            let request = put_right(event(path, "limit=1&cursor=a%2Fb"));
            assert_eq!(request.uri().path(), path);
            assert_eq!(request.uri().query(), Some("limit=1&cursor=a%2Fb"));
        }
        let decoded_by_the_gateway = put_right(event("/tables/a b/items", ""));
        assert_eq!(decoded_by_the_gateway.uri().path(), "/tables/a%20b/items");
    }

    #[test]
    fn the_gateways_request_id_is_used() {
        let request = put_right(event("/jobs", ""));
        assert_eq!(
            request.extensions().get(),
            RequestId::new("JKJaXmPLvHcESHA=").as_ref()
        );
    }
}
