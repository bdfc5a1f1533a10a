//! Health of tables, live, kept and past, and what is recommended for it.

use std::sync::atomic::Ordering;

use http::Method;
use serde_json::{Value, json};
use snowpack_domain::{Duration, Verdict};

use crate::faulty_store::Fault;
use crate::world::{World, both};

const HEALTH: &str = "/tables/offers/items/health";
const CACHED: &str = "/tables/offers/items/health/cached";
const HISTORY: &str = "/tables/offers/items/health/history";
const RECOMMENDATION: &str = "/tables/offers/items/maintenance/recommendation";

fn snapshot(report: &Value) -> &Value {
    &report["table"]["snapshot_id"]
}

#[tokio::test]
async fn a_live_report_is_whole_and_kept() {
    both(async |world| {
        assert_eq!(world.get(CACHED).await.error().1, "health_not_found");
        let live = world.get(HEALTH).await;
        assert_eq!(live.status, 200, "{live:?}");
        let mut report = live.json();
        let expected = json!({
            "table": {"database": "offers", "table_name": "items", "location": "s3://bucket/offers.items",
                "format_version": 2, "snapshot_id": 1},
            "file_stats": {"total_data_files": 7, "total_delete_files": 0, "position_delete_files": 0,
                "equality_delete_files": 0, "deletion_vectors": 0, "total_size_bytes": 700,
                "avg_file_size_bytes": 100, "small_file_count": 7, "small_file_pct": 100.0},
            "snapshot_count": 2, "oldest_snapshot_at": "2026-04-25T14:30:00+00:00", "manifest_count": 3,
            "total_records": 70, "deleted_records": 0,
            "issues": [{"code": "many_small_files", "severity": "warning", "message": "7 data files are small",
                "evidence": {"found": 7, "threshold": 5}}],
            "recommended_actions": ["rewrite_data_files", "remove_orphan_files"], "needs_maintenance": true,
            "collected_at": "2026-04-25T14:30:00+00:00", "source": "live"
        });
        assert_eq!(report, expected);
        report["source"] = json!("cached");
        assert_eq!(world.get(CACHED).await.json(), report);
        assert_eq!(world.tables.reads.load(Ordering::SeqCst), 1, "kept health is not read again");
    })
    .await;
}

#[tokio::test]
async fn history_is_paged_newest_first() {
    both(async |world| {
        for _ in 0..3 {
            assert_eq!(world.get(HEALTH).await.status, 200);
            world.clock.advance(Duration::from_seconds(60));
        }
        let first = world.get(&format!("{HISTORY}?limit=2")).await;
        let reports = first.json();
        assert_eq!(
            (snapshot(&reports[0]), snapshot(&reports[1])),
            (&json!(3), &json!(2))
        );
        assert_eq!(reports[0]["source"], "cached");
        let link = first.header("link").unwrap();
        let path = link.strip_prefix('<').unwrap().split('>').next().unwrap();
        let rest = world.get(path).await;
        assert_eq!(
            (snapshot(&rest.json()[0]), rest.header("link")),
            (&json!(1), None)
        );
        assert_eq!(
            world.get("/tables/offers/prices/health/history").await.json(),
            json!([])
        );
        for (query, field) in [
            ("limit=0", "limit"),
            ("cursor=nonsense", "cursor"),
            ("since=1", "since"),
        ] {
            let refused = world.get(&format!("{HISTORY}?{query}")).await;
            assert_eq!(
                (refused.error().0, refused.error().2.as_deref()),
                (400, Some(field))
            );
        }
    })
    .await;
}

async fn advice(world: &World) -> (Value, Value, Value) {
    let answer = world.get(RECOMMENDATION).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    let due = body["actions"].as_array().unwrap().iter();
    let due = due.filter(|entry| entry["recommended"] == json!(true));
    let due = due.map(|entry| entry["action"].clone()).collect();
    (
        body["skip_reason"].clone(),
        body["source"].clone(),
        Value::Array(due),
    )
}

#[tokio::test]
async fn a_recommendation_says_what_is_due_and_why_it_has_to_wait() {
    both(async |world| {
        let both_due = json!(["rewrite_data_files", "remove_orphan_files"]);
        assert_eq!(
            advice(&world).await,
            (Value::Null, json!("live"), both_due.clone())
        );
        assert_eq!(
            advice(&world).await,
            (Value::Null, json!("cached"), both_due.clone())
        );
        let body = world.get(RECOMMENDATION).await.json();
        let rewrite = &body["actions"][0];
        assert_eq!(rewrite["reason"], "6 of 7 data files become 1");
        assert_eq!(rewrite["evidence"]["files_in"], 6);
        assert_eq!(body["actions"].as_array().unwrap().len(), 5);

        let id = world.submitted().await;
        assert_eq!(advice(&world).await.0, "active_job");
        let held = world.claim(&id).await.fence;
        world.finish(&id, held, Verdict::Completed).await;
        assert_eq!(advice(&world).await.0, "cadence");
        world.put("/drain", r#"{"enabled": true}"#).await;
        assert_eq!(advice(&world).await.0, "draining");
        let elsewhere = world
            .get("/tables/a.b/nested/maintenance/recommendation")
            .await
            .json();
        assert_eq!(elsewhere["skip_reason"], "not_in_allowlist");
        assert_eq!(elsewhere["actions"][0]["recommended"], true);

        world.clock.advance(Duration::from_seconds(7 * 3600));
        let reads = world.tables.reads.load(Ordering::SeqCst);
        assert_eq!(advice(&world).await.1, "live", "old health is read again");
        assert_eq!(world.tables.reads.load(Ordering::SeqCst), reads + 1);
    })
    .await;
}

#[tokio::test]
async fn what_goes_wrong_is_told_apart() {
    both(async |world| {
        for path in [HEALTH, CACHED, HISTORY, RECOMMENDATION] {
            let unknown = path.replace("items", "none");
            assert_eq!(world.get(&unknown).await.error().1, "table_not_found");
            let bad_name = path.replace("items", "a.b");
            assert_eq!(
                world.get(&bad_name).await.error(),
                (422, "invalid_name".into(), Some("table".into()))
            );
            assert_eq!(
                world.get(&format!("{path}?fresh=1")).await.error().2.as_deref(),
                Some("fresh")
            );
            let head = world.call(Method::HEAD, path, &[], b"").await;
            assert!(
                head.status == 200 || path == CACHED || head.status == 404,
                "{head:?}"
            );
        }
        world.tables.damaged.store(true, Ordering::SeqCst);
        let damaged = world.get(HEALTH).await;
        assert_eq!(damaged.error().0, 422);
        assert_eq!(damaged.error().1, "table_unreadable");
        assert!(
            damaged.json()["message"]
                .as_str()
                .unwrap()
                .contains("m.avro is cut off")
        );
        world.tables.damaged.store(false, Ordering::SeqCst);
        world.tables.broken.store(true, Ordering::SeqCst);
        assert_eq!(world.get(HEALTH).await.error().1, "unavailable");
        assert_eq!(
            world.get(HISTORY).await.status,
            200,
            "what was kept needs no catalog"
        );
        world.store.fail(Fault::Unavailable);
        for path in [HEALTH, CACHED, HISTORY, RECOMMENDATION] {
            assert_eq!(world.get(path).await.error().1, "unavailable");
        }
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_without_a_catalog_answers_by_kept_health() {
    both(async |world| {
        assert_eq!(world.get(HEALTH).await.status, 200);
        world.clock.advance(Duration::from_seconds(12 * 60));
        world.tables.broken.store(true, Ordering::SeqCst);
        let body = r#"{"actions": ["rewrite_data_files"], "dry_run": true}"#;
        let job = world.post("/tables/offers/items/maintenance", body).await.json();
        let preview = &job["results"][0]["preview"];
        assert_eq!(
            (&preview["source"], &preview["files_in"]),
            (&json!("cached"), &json!(6))
        );
        assert!(
            preview["note"].as_str().unwrap().contains("12 minutes ago"),
            "{preview}"
        );
    })
    .await;
}
