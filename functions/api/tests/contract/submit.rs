//! Every row of the submit tables: what is accepted, what is refused, and in which order.

use http::Method;
use serde_json::{Value, json};
use snowpack_domain::Drain;
use snowpack_service::ports::JobStore;

use crate::faulty_store::Fault;
use crate::world::{Answer, World, both};

const PATH: &str = "/tables/offers/items/maintenance";
const BODY: &str = r#"{"actions": ["expire_snapshots", "rewrite_data_files", "expire_snapshots"]}"#;
const DRY_RUN: &str = r#"{"actions": ["rewrite_data_files", "expire_snapshots"], "dry_run": true}"#;

fn expect(answer: &Answer, status: u16, code: &str, field: Option<&str>) {
    assert_eq!(
        answer.error(),
        (status, code.to_owned(), field.map(str::to_owned)),
        "{answer:?}"
    );
}

async fn drain(world: &World, enabled: bool) {
    world
        .store
        .set_drain(&Drain {
            enabled,
            reason: enabled.then(|| "moving house".to_owned()),
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn accepted_202() {
    both(async |world| {
        let answer = world.post(PATH, BODY).await;
        assert_eq!(answer.status, 202);
        assert_eq!(
            answer.header("location").unwrap(),
            format!("/jobs/{}", answer.job_id())
        );
        assert_eq!(answer.header("retry-after"), Some("30"));
        let expected = json!({
            "job_id": "00000000000000000000000000000001", "database": "offers", "table_name": "items",
            "actions": ["rewrite_data_files", "expire_snapshots"], "dry_run": false, "status": "pending",
            "submitted_at": "2026-04-25T14:30:00+00:00", "started_at": null, "completed_at": null,
            "results": null, "error": null, "options": {}, "attempt": 0, "progress": null
        });
        assert_eq!(answer.json(), expected);
        assert_eq!(
            world.get(answer.header("location").unwrap()).await.json(),
            expected
        );
    })
    .await;
}

#[tokio::test]
async fn options_come_back_as_understood() {
    both(async |world| {
        let body =
            r#"{"actions": ["expire_snapshots"], "options": {"expire_snapshots": {"retain_last": "2"}}}"#;
        let job = world.post("/tables/a%2Eb/nested/maintenance", body).await.json();
        assert_eq!(
            (&job["database"], &job["options"]),
            (&json!("a.b"), &json!({"expire_snapshots": {"retain_last": 2}}))
        );
    })
    .await;
}

#[tokio::test]
async fn dry_run_is_complete_at_once_and_takes_no_lock() {
    both(async |world| {
        let locked = world.submitted().await;
        let answer = world.post(PATH, DRY_RUN).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (202, None));
        let job = answer.json();
        assert_eq!((&job["status"], &job["dry_run"], &job["error"]), (&json!("completed"), &json!(true), &Value::Null));
        let result = |action: &str| {
            json!({"action": action, "success": true, "message": "dry run", "error": null, "elapsed_seconds": 0.0,
                "metrics": {}, "preview": {"source": "live", "files_in": 847, "unknown": null}})
        };
        assert_eq!(job["results"], json!([result("rewrite_data_files"), result("expire_snapshots")]));
        assert_eq!(world.get(&format!("/jobs/{}", answer.job_id())).await.json(), job);
        assert_eq!(world.get(&format!("/jobs/{locked}")).await.json()["status"], "pending");
    })
    .await;
}

#[tokio::test]
async fn bad_body_400() {
    both(async |world| {
        let cases = [
            ("", None),
            ("{", None),
            ("[]", None),
            ("null", None),
            ("{}", Some("actions")),
            (r#"{"actions": []}"#, Some("actions")),
            (r#"{"actions": "rewrite_data_files"}"#, Some("actions")),
            (r#"{"actions": ["compact"]}"#, Some("actions[0]")),
            (r#"{"actions": ["expire_snapshots", 7]}"#, Some("actions[1]")),
            (
                r#"{"actions": ["expire_snapshots"], "dry-run": true}"#,
                Some("dry-run"),
            ),
            (
                r#"{"actions": ["expire_snapshots"], "dry_run": 1}"#,
                Some("dry_run"),
            ),
            (
                r#"{"actions": ["expire_snapshots"], "actions": ["rewrite_data_files"]}"#,
                None,
            ),
            (
                r#"{"actions": ["expire_snapshots"], "options": []}"#,
                Some("options"),
            ),
            (
                r#"{"actions": ["expire_snapshots"], "options": {"expire": {}}}"#,
                Some("options.expire"),
            ),
            (
                r#"{"actions": ["expire_snapshots"], "options": {"expire_snapshots": {"keep": 1}}}"#,
                Some("options.expire_snapshots.keep"),
            ),
            (
                r#"{"actions": ["expire_snapshots"], "options": {"expire_snapshots": {"retain_last": 0}}}"#,
                Some("options.expire_snapshots.retain_last"),
            ),
            (r#"{"actions": ["\ud800"]}"#, None),
            (r#"{"actions": [1e999]}"#, None),
        ];
        for (body, field) in cases {
            expect(&world.post(PATH, body).await, 400, "invalid_request", field);
        }
        expect(
            &world.post(&format!("{PATH}?dry_run=true"), BODY).await,
            400,
            "invalid_request",
            Some("dry_run"),
        );
        let deep = format!("{{\"actions\": {}", "[".repeat(30_000));
        expect(&world.post(PATH, &deep).await, 400, "invalid_request", None);
        assert_eq!(
            world.get("/jobs").await.json(),
            json!([]),
            "a refused submit leaves nothing behind"
        );
    })
    .await;
}

#[tokio::test]
async fn unknown_table_404() {
    both(async |world| {
        expect(
            &world.post("/tables/offers/nothing/maintenance", BODY).await,
            404,
            "table_not_found",
            None,
        );
        expect(
            &world.post("/tables/offers/nothing/maintenance", DRY_RUN).await,
            404,
            "table_not_found",
            None,
        );
    })
    .await;
}

#[tokio::test]
async fn busy_table_409() {
    both(async |world| {
        let active = world.submitted().await;
        let answer = world.post(PATH, BODY).await;
        expect(&answer, 409, "job_active", None);
        assert_eq!(answer.json()["active_job_id"], active);
        assert_eq!(
            world.post("/tables/offers/prices/maintenance", BODY).await.status,
            202,
            "another table is free"
        );
        assert_eq!(
            world
                .call(Method::POST, &format!("/jobs/{active}/cancel"), &[], b"")
                .await
                .status,
            200
        );
        assert_eq!(
            world.post(PATH, BODY).await.status,
            202,
            "a cancelled job frees its table"
        );
    })
    .await;
}

#[tokio::test]
async fn bad_name_422() {
    both(async |world| {
        let cases = [
            ("/tables/of%20fers/items/maintenance", "database"),
            ("/tables//items/maintenance", "database"),
            ("/tables/.offers/items/maintenance", "database"),
            ("/tables/offers/it%2Fems/maintenance", "table"),
            ("/tables/offers/it.ems/maintenance", "table"),
            ("/tables/%2e%2e/items/maintenance", "database"),
            ("/tables/../items/maintenance", "database"),
            ("/tables/offers/%252e/maintenance", "table"),
            ("/tables/offers/%ff%fe/maintenance", "table"),
            ("/tables/offers/items%00/maintenance", "table"),
            ("/tables/offers/%zz/maintenance", "table"),
            ("/tables/offers/%/maintenance", "table"),
            ("/tables/offers/%C3%A9/maintenance", "table"),
        ];
        for (path, field) in cases {
            expect(&world.post(path, BODY).await, 422, "invalid_name", Some(field));
        }
        let long = format!("/tables/offers/{}/maintenance", "x".repeat(256));
        expect(&world.post(&long, BODY).await, 422, "invalid_name", Some("table"));
    })
    .await;
}

#[tokio::test]
async fn wrong_content_type_415() {
    both(async |world| {
        for content_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=utf-16",
        ] {
            let answer = world
                .call(
                    Method::POST,
                    PATH,
                    &[("content-type", content_type)],
                    BODY.as_bytes(),
                )
                .await;
            expect(&answer, 415, "unsupported_media_type", None);
        }
        expect(
            &world.call(Method::POST, PATH, &[], BODY.as_bytes()).await,
            415,
            "unsupported_media_type",
            None,
        );
        expect(
            &world.call(Method::POST, PATH, &[], b"").await,
            400,
            "invalid_request",
            None,
        );
        let utf8 = [("content-type", "Application/JSON; charset=\"UTF-8\"")];
        assert_eq!(
            world
                .call(Method::POST, PATH, &utf8, BODY.as_bytes())
                .await
                .status,
            202
        );
    })
    .await;
}

#[tokio::test]
async fn oversize_413() {
    let world = World::new(crate::world::Transport::Direct);
    let at_limit = format!("{}{BODY}", " ".repeat(64 * 1024 - BODY.len()));
    expect(
        &world.post(PATH, &format!(" {at_limit}")).await,
        413,
        "payload_too_large",
        None,
    );
    assert_eq!(world.post(PATH, &at_limit).await.status, 202);
}

#[tokio::test]
async fn drain_503_comes_first() {
    both(async |world| {
        drain(&world, true).await;
        let refused = [
            "/tables/a%20b/items/maintenance",
            "/tables/offers/nothing/maintenance",
            PATH,
        ];
        for (path, body) in refused
            .iter()
            .flat_map(|path| [(path, BODY), (path, "{"), (path, DRY_RUN)])
        {
            let answer = world.post(path, body).await;
            expect(&answer, 503, "drain_mode", None);
            assert!(
                answer.json()["message"]
                    .as_str()
                    .unwrap()
                    .contains("moving house")
            );
        }
        expect(
            &world.call(Method::POST, PATH, &[], BODY.as_bytes()).await,
            503,
            "drain_mode",
            None,
        );
        drain(&world, false).await;
        let active = world.submitted().await;
        drain(&world, true).await;
        expect(&world.post(PATH, BODY).await, 503, "drain_mode", None);
        let cancelled = world
            .call(Method::POST, &format!("/jobs/{active}/cancel"), &[], b"")
            .await;
        assert_eq!(cancelled.status, 200, "drain mode stops no cancel");
    })
    .await;
}

#[tokio::test]
async fn checks_run_in_order() {
    both(async |world| {
        world.submitted().await;
        expect(
            &world.post("/tables/a%20b/nothing/maintenance", "{").await,
            422,
            "invalid_name",
            Some("database"),
        );
        expect(
            &world.post("/tables/offers/nothing/maintenance", "{").await,
            400,
            "invalid_request",
            None,
        );
        expect(
            &world.post(PATH, r#"{"actions": []}"#).await,
            400,
            "invalid_request",
            Some("actions"),
        );
    })
    .await;
}

async fn with_key(world: &World, key: &str, body: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    world.call(Method::POST, PATH, &headers, body.as_bytes()).await
}

#[tokio::test]
async fn idempotency_keys() {
    both(async |world| {
        let first = with_key(&world, "a key", BODY).await;
        let same = with_key(
            &world,
            "a key",
            r#"{"actions": ["rewrite_data_files", "expire_snapshots"]}"#,
        )
        .await;
        assert_eq!((same.status.as_u16(), same.job_id()), (202, first.job_id()));
        let other = with_key(&world, "a key", r#"{"actions": ["rewrite_data_files"]}"#).await;
        expect(&other, 422, "idempotency_mismatch", Some("Idempotency-Key"));
        expect(&with_key(&world, "another", BODY).await, 409, "job_active", None);
        for bad in ["", "tab\tin it", &"x".repeat(129)] {
            expect(
                &with_key(&world, bad, BODY).await,
                400,
                "invalid_request",
                Some("Idempotency-Key"),
            );
        }
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", "a"),
            ("idempotency-key", "b"),
        ];
        let twice = world.call(Method::POST, PATH, &headers, BODY.as_bytes()).await;
        expect(&twice, 400, "invalid_request", Some("Idempotency-Key"));
    })
    .await;
}

#[tokio::test]
async fn what_is_behind_fails_503_or_500_without_saying_what() {
    both(async |world| {
        world
            .tables
            .broken
            .store(true, std::sync::atomic::Ordering::SeqCst);
        let answer = world.post(PATH, BODY).await;
        expect(&answer, 503, "unavailable", None);
        assert_eq!(answer.header("retry-after"), Some("5"));
        for (fault, status, code) in [
            (Fault::Unavailable, 503, "unavailable"),
            (Fault::Refused, 500, "internal"),
            (Fault::Panic, 500, "internal"),
        ] {
            world.store.fail(fault);
            expect(&world.post(PATH, BODY).await, status, code, None);
        }
        world.store.fail(Fault::Unavailable);
        expect(
            &world.post("/tables/a%20b/items/maintenance", BODY).await,
            422,
            "invalid_name",
            Some("database"),
        );
    })
    .await;
}
