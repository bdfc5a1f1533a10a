//! Health, readiness, drain, and the conventions that belong to no single route.

use axum::body::Body;
use http::{Method, Request};
use serde_json::json;
use snowpack_api::RequestId;
use snowpack_domain::{CacheState, Duration};
use snowpack_service::ports::JobStore;
use snowpack_testkit::time;
use tower::ServiceExt;

use crate::faulty_store::Fault;
use crate::world::{Transport, World, both};

#[tokio::test]
async fn health_and_readiness() {
    both(async |world| {
        assert_eq!(world.get("/healthz").await.json(), json!({"status": "ok"}));
        assert_eq!(world.get("/readyz").await.error().1, "not_ready");
        let state = CacheState {
            generation: 1,
            last_synced: Some(time(0)),
            table_count: 4,
            position: None,
        };
        world.store.set_cache_state(&state).await.unwrap();
        world.clock.advance(Duration::from_seconds(900));
        assert_eq!(world.get("/readyz").await.json(), json!({"status": "ready"}));
        world.clock.advance(Duration::from_seconds(1));
        let stale = world.get("/readyz").await;
        assert_eq!(stale.status, 503);
        assert!(
            stale.json()["message"]
                .as_str()
                .unwrap()
                .contains("15 minutes ago")
        );
        world.store.fail(Fault::Unavailable);
        assert!(
            world.get("/readyz").await.json()["message"]
                .as_str()
                .unwrap()
                .contains("job store")
        );
        assert_eq!(world.get("/healthz").await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn drain_is_a_switch() {
    both(async |world| {
        assert_eq!(
            world.get("/drain").await.json(),
            json!({"enabled": false, "reason": null})
        );
        let on = world
            .put("/drain", r#"{"enabled": true, "reason": "migration"}"#)
            .await;
        assert_eq!(on.json(), json!({"enabled": true, "reason": "migration"}));
        assert_eq!(world.get("/drain").await.json(), on.json());
        for (body, field) in [
            ("{}", "enabled"),
            (r#"{"enabled": "on"}"#, "enabled"),
            (r#"{"enabled": true, "x": 1}"#, "x"),
        ] {
            let answer = world.put("/drain", body).await;
            assert_eq!(
                (answer.status.as_u16(), answer.error().2.as_deref()),
                (400, Some(field))
            );
        }
        assert_eq!(world.put("/drain", "").await.status, 400);
        assert_eq!(world.call(Method::PUT, "/drain", &[], b"{}").await.status, 415);
        assert_eq!(
            world.put("/drain", r#"{"enabled": false}"#).await.json(),
            json!({"enabled": false, "reason": null})
        );
    })
    .await;
    let world = World::new(Transport::Direct);
    assert_eq!(world.put("/drain", &" ".repeat(70_000)).await.status, 413);
}

#[tokio::test]
async fn unknown_paths_404() {
    both(async |world| {
        let paths = [
            "/",
            "/nothing",
            "/jobs/",
            "/tables/",
            "/tables/offers",
            "/tables/offers/",
            "/tables/offers/items/",
            "/tables/offers/items/maintenance/",
            "/tables/offers/items/health/",
            "/tables/offers/items/health/newest",
            "/orchestrator",
            "/orchestrator/runs/",
            "/ui/",
            "//jobs",
            "/jobs/history/",
            "/Jobs",
            "/jobs/a/b",
            "/%6Aobs",
            "/openapi.json/",
            "/..%2Fjobs",
        ];
        for path in paths {
            for method in [Method::GET, Method::POST, Method::HEAD] {
                let answer = world.call(method.clone(), path, &[], b"").await;
                assert_eq!(answer.status, 404, "{method} {path}");
                if method != Method::HEAD {
                    assert_eq!(answer.error().1, "not_found", "{path}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn wrong_methods_405() {
    both(async |world| {
        let cases = [
            (Method::GET, "/tables/offers/items/maintenance", "POST"),
            (Method::DELETE, "/jobs", "GET,HEAD"),
            (Method::PUT, "/jobs/history", "GET,HEAD,DELETE"),
            (Method::POST, "/drain", "GET,HEAD,PUT"),
            (Method::OPTIONS, "/jobs/x/cancel", "POST"),
            (Method::POST, "/tables/offers/items/health", "GET,HEAD"),
            (Method::PUT, "/orchestrator/runs", "GET,HEAD,POST"),
            (Method::POST, "/ui", "GET,HEAD"),
        ];
        for (method, path, allow) in cases {
            let answer = world.call(method, path, &[], b"").await;
            assert_eq!(
                (answer.error().1.as_str(), answer.header("allow")),
                ("method_not_allowed", Some(allow)),
                "{path}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn head_works_where_get_does() {
    both(async |world| {
        let id = world.submitted().await;
        for path in [
            "/jobs",
            "/jobs/history",
            "/tables",
            "/tables/offers/items",
            "/healthz",
            "/drain",
            "/openapi.json",
            "/ui",
            "/orchestrator/runs",
            "/nothing",
            "/readyz",
        ] {
            let get = world.get(path).await;
            let head = world.call(Method::HEAD, path, &[], b"").await;
            assert_eq!(get.status, head.status, "{path}");
            assert_eq!(
                get.header("content-length"),
                head.header("content-length"),
                "{path}"
            );
        }
        let head = world.call(Method::HEAD, &format!("/jobs/{id}"), &[], b"").await;
        assert_eq!(
            (head.status.as_u16(), head.header("retry-after")),
            (200, Some("30"))
        );
    })
    .await;
}

#[tokio::test]
async fn the_embedders_request_id_is_used() {
    let world = World::new(Transport::Direct);
    let id = RequestId::new("JKJaXmPLvHcESHA=").unwrap();
    let request = Request::get("/nothing")
        .extension(id)
        .body(Body::empty())
        .unwrap();
    let answer = world.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "JKJaXmPLvHcESHA=");
}

#[tokio::test]
async fn the_contract_is_served() {
    both(async |world| {
        assert_eq!(world.get("/openapi.json").await.json()["openapi"], "3.1.0");
    })
    .await;
}
