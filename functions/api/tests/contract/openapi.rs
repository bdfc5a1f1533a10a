//! The OpenAPI document and the router keep in step, both ways.

use http::{Method, header};
use serde_json::{Map, Value};

use crate::world::{Answer, Transport, World};

fn paths() -> Map<String, Value> {
    let document: Value = serde_json::from_str(snowpack_api::OPENAPI).unwrap();
    document["paths"].as_object().unwrap().clone()
}

/// The described path that a request's path belongs to; literal segments win over parameters.
fn template_of(path: &str) -> Option<(String, Value)> {
    let path = path.split('?').next().unwrap_or_default();
    let given: Vec<_> = path.split('/').collect();
    let fits = |template: &str| {
        let wanted: Vec<_> = template.split('/').collect();
        let fits_one = |(given, wanted): (&&str, &&str)| given == wanted || wanted.starts_with('{');
        given.len() == wanted.len() && given.last() != Some(&"") && given.iter().zip(&wanted).all(fits_one)
    };
    let mut fitting: Vec<_> = paths()
        .into_iter()
        .filter(|(template, _)| fits(template))
        .collect();
    fitting.sort_by_key(|(template, _)| template.matches('{').count());
    fitting.into_iter().next()
}

/// Asserts that the document describes this answer.
pub(crate) fn documented(method: &Method, path: &str, answer: &Answer) {
    let status = answer.status.as_u16();
    let Some((template, item)) = template_of(path) else {
        assert_eq!(answer.status, 404, "{method} {path} is not described");
        return;
    };
    let name = if method == Method::HEAD {
        "get".to_owned()
    } else {
        method.as_str().to_lowercase()
    };
    let Some(operation) = item.get(&name) else {
        assert_eq!(answer.status, 405, "{method} {template} is not described");
        assert_eq!(allowed(answer), described_methods(&item), "{template}");
        return;
    };
    let responses = operation["responses"].as_object().unwrap();
    assert!(
        responses.contains_key(&status.to_string()),
        "{method} {template} answers {status}, not described"
    );
    for expected in ["location", "retry-after", "link"] {
        let described = response(operation, status)["headers"]
            .as_object()
            .is_some_and(|headers| headers.keys().any(|name| name.eq_ignore_ascii_case(expected)));
        assert!(
            described || !answer.headers.contains_key(expected),
            "{method} {template} {status}: {expected}"
        );
    }
}

fn response(operation: &Value, status: u16) -> Value {
    let response = &operation["responses"][status.to_string()];
    let document: Value = serde_json::from_str(snowpack_api::OPENAPI).unwrap();
    match response["$ref"].as_str() {
        Some(reference) => document
            .pointer(reference.trim_start_matches('#'))
            .expect("references lead somewhere")
            .clone(),
        None => response.clone(),
    }
}

fn allowed(answer: &Answer) -> Vec<String> {
    let allow = answer.header(header::ALLOW).expect("405 carries Allow");
    let mut methods: Vec<_> = allow
        .split(',')
        .map(|method| method.trim().to_lowercase())
        .collect();
    methods.sort();
    methods
}

/// The methods of a described path, with the HEAD that every GET brings.
fn described_methods(item: &Value) -> Vec<String> {
    let mut methods: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
    if methods.iter().any(|method| method == "get") {
        methods.push("head".to_owned());
    }
    methods.sort();
    methods
}

#[tokio::test]
async fn the_router_serves_exactly_the_described_methods() {
    let world = World::new(Transport::Direct);
    let methods = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE",
    ];
    for (template, item) in paths() {
        let path = template
            .replace("{database}", "offers")
            .replace("{table}", "items")
            .replace("{job_id}", "x")
            .replace("{run_id}", "x");
        let described = described_methods(&item);
        for method in methods {
            // The conventions' check holds a described method to its statuses, any other to 405 and Allow.
            let answer = world.call(method.parse().unwrap(), &path, &[], b"").await;
            let served = answer.status != 405;
            assert_eq!(
                served,
                described.contains(&method.to_lowercase()),
                "{method} {template}"
            );
        }
    }
}

#[test]
fn every_route_of_the_router_is_described() {
    let source = include_str!("../../src/router.rs");
    let path_of = |rest: &str| {
        rest.split('"')
            .nth(1)
            .expect("a route starts with its path")
            .to_owned()
    };
    let mut routed: Vec<_> = source.split(".route(").skip(1).map(path_of).collect();
    let mut described: Vec<_> = paths().keys().cloned().collect();
    described.sort();
    routed.sort();
    assert_eq!(described, routed);
}

#[test]
fn every_reference_leads_somewhere_and_everything_shared_is_used() {
    let document: Value = serde_json::from_str(snowpack_api::OPENAPI).unwrap();
    let mut used = Vec::new();
    collect_references(&document, &mut used);
    for reference in &used {
        assert!(
            document.pointer(reference.trim_start_matches('#')).is_some(),
            "{reference}"
        );
    }
    for (kind, shared) in document["components"].as_object().unwrap() {
        for name in shared.as_object().unwrap().keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(used.contains(&reference), "{reference} is not used");
        }
    }
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members
                .values()
                .for_each(|member| collect_references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

/// Asserts that the document lists this error code.
pub(crate) fn documented_code(code: &str) {
    assert!(
        codes().iter().any(|known| known == code),
        "{code} is not described"
    );
}

fn codes() -> Vec<String> {
    let document: Value = serde_json::from_str(snowpack_api::OPENAPI).unwrap();
    let codes = document
        .pointer("/components/schemas/Error/properties/error/enum")
        .unwrap();
    serde_json::from_value(codes.clone()).unwrap()
}

#[test]
fn no_error_code_is_described_that_is_never_answered() {
    let source = include_str!("../../src/problem.rs");
    for code in codes() {
        assert!(source.contains(&format!("\"{code}\"")), "{code}");
    }
}
