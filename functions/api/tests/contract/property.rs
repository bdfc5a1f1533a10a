//! Whatever is sent, the answer is JSON and never a 5xx.

use http::Method;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::world::{Transport, World};

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("tables".to_owned()),
        Just("jobs".to_owned()),
        Just("offers".to_owned()),
        Just("items".to_owned()),
        Just("maintenance".to_owned()),
        Just("history".to_owned()),
        Just("health".to_owned()),
        Just("orchestrator".to_owned()),
        Just("runs".to_owned()),
        Just("%2e%2e".to_owned()),
        "(%[0-9a-fA-F]{2}){1,4}",
        "[!-\"$-.0->@-~]{0,12}",
    ]
}

fn query() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("limit"),
        Just("cursor"),
        Just("status"),
        Just("table"),
        Just("retention_days"),
        Just("x")
    ];
    let value = prop_oneof![
        "(%[0-9a-f]{2}){0,6}",
        "[ -~&&[^# <>\"]]{0,20}",
        Just("failed".to_owned())
    ];
    proptest::collection::vec((name, value), 0..3).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&")
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let member = prop_oneof![
        Just("actions"),
        Just("dry_run"),
        Just("options"),
        Just("enabled"),
        Just("started_at"),
        Just("status"),
        Just("skip_reasons"),
        Just("x")
    ];
    let scalar = prop_oneof![
        Just("true".to_owned()),
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        Just(r#""rewrite_data_files""#.to_owned()),
        Just(r#""\ud800""#.to_owned()),
        Just(r#""2026-04-25T14:30:00+00:00""#.to_owned()),
        Just(r#""failed""#.to_owned()),
        Just(r#"{"expire_snapshots": {"older_than": -9223372036854775808, "retain_last": 9223372036854775807}}"#.to_owned()),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    let value = prop_oneof![
        scalar.clone(),
        proptest::collection::vec(scalar, 0..4).prop_map(|items| format!("[{}]", items.join(",")))
    ];
    let object = proptest::collection::vec((member, value), 0..4).prop_map(|members| {
        let members: Vec<_> = members
            .into_iter()
            .map(|(name, value)| format!("\"{name}\": {value}"))
            .collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    });
    prop_oneof![object, proptest::collection::vec(any::<u8>(), 0..100)]
}

#[test]
fn any_request_gets_a_json_answer_below_500() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = World::new(Transport::Direct);
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
    let requests = (
        proptest::sample::select(methods.to_vec()),
        proptest::collection::vec(segment(), 0..5),
        query(),
        body(),
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(1000));
    let checked = runner.run(&requests, |(method, segments, query, body)| {
        let path = format!("/{}?{query}", segments.join("/"));
        prop_assume!(path.parse::<http::Uri>().is_ok());
        runtime.block_on(send(&world, method.parse().unwrap(), &path, &body));
        Ok(())
    });
    checked.unwrap();
}

/// Sends it to its path and to those that read bodies; `call` checks that each answer is JSON in the
/// contract's form.
async fn send(world: &World, method: Method, path: &str, body: &[u8]) {
    let json = [("content-type", "application/json")];
    for path in [
        path,
        "/tables/offers/items/maintenance",
        "/orchestrator/runs",
        "/drain",
    ] {
        let answer = world.call(method.clone(), path, &json, body).await;
        // Bodies may turn drain mode on, and no one has synced the cache.
        let expected = matches!(answer.status.as_u16(), 503)
            && ["/tables", "/readyz"].iter().any(|start| path.starts_with(start));
        assert!(
            !answer.status.is_server_error() || expected,
            "{method} {path}: {answer:?}"
        );
    }
}
