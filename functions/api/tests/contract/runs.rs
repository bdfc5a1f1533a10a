//! Records of orchestrator runs.

use serde_json::{Value, json};

use crate::faulty_store::Fault;
use crate::world::{World, both};

fn record(hour: u32) -> Value {
    json!({"started_at": format!("2026-04-25T{hour:02}:00:00+00:00"), "status": "completed", "tables_assessed": hour})
}

async fn posted(world: &World, record: &Value) -> Value {
    let answer = world.post("/orchestrator/runs", &record.to_string()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let run = answer.json();
    let path = format!("/orchestrator/runs/{}", run["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), Some(path.as_str()));
    assert_eq!(world.get(&path).await.json(), run);
    run
}

#[tokio::test]
async fn records_are_kept_listed_and_found() {
    both(async |world| {
        assert_eq!(world.get("/orchestrator/runs").await.json(), json!([]));
        let run = posted(&world, &record(9)).await;
        let expected = json!({
            "id": run["id"], "started_at": "2026-04-25T09:00:00+00:00", "completed_at": null, "status": "completed",
            "tables_assessed": 9, "tables_skipped": 0, "tables_healthy": 0, "jobs_submitted": 0, "jobs_completed": 0,
            "jobs_failed": 0, "dry_run": false, "error": null, "skip_reasons": {}
        });
        assert_eq!(run, expected);
        let newest = posted(&world, &record(11)).await;
        let middle = posted(&world, &record(10)).await;
        let first = world.get("/orchestrator/runs?limit=2").await;
        assert_eq!(first.json(), json!([newest, middle]));
        let link = first.header("link").unwrap();
        let rest = world
            .get(link.strip_prefix('<').unwrap().split('>').next().unwrap())
            .await;
        assert_eq!(rest.json(), json!([run]));
    })
    .await;
}

#[tokio::test]
async fn a_record_sent_again_replaces_itself_only() {
    both(async |world| {
        let mut mine = record(9);
        mine["id"] = json!("0".repeat(31) + "7");
        posted(&world, &mine).await;
        mine["jobs_submitted"] = json!(3);
        mine["skip_reasons"] = json!({"cadence": 2});
        let again = posted(&world, &mine).await;
        assert_eq!(world.get("/orchestrator/runs").await.json(), json!([again]));
        mine["started_at"] = json!("2026-04-25T10:00:00+00:00");
        let refused = world.post("/orchestrator/runs", &mine.to_string()).await;
        assert_eq!(
            refused.error(),
            (409, "run_exists".to_owned(), Some("id".to_owned()))
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    both(async |world| {
        for (member, value) in [
            ("status", json!("running")),
            ("started_at", json!("now")),
            ("jobs_failed", json!(-1)),
            ("open_jobs", json!([])),
            ("id", json!("RUN-1")),
        ] {
            let mut bad = record(9);
            bad[member] = value;
            let refused = world.post("/orchestrator/runs", &bad.to_string()).await;
            assert_eq!(
                refused.error(),
                (400, "invalid_request".to_owned(), Some(member.to_owned()))
            );
        }
        assert_eq!(world.post("/orchestrator/runs", "").await.status, 400);
        let unknown = format!("/orchestrator/runs/{}", "0".repeat(32));
        for path in [unknown.as_str(), "/orchestrator/runs/x", "/orchestrator/runs/%ff"] {
            assert_eq!(world.get(path).await.error().1, "run_not_found");
        }
        assert_eq!(world.get("/orchestrator/runs?limit=0").await.status, 400);
        assert_eq!(world.get("/orchestrator/runs?cursor=x").await.status, 400);
        assert_eq!(world.get("/orchestrator/runs?status=failed").await.status, 400);
        world.store.fail(Fault::Unavailable);
        assert_eq!(world.get("/orchestrator/runs").await.error().1, "unavailable");
        assert_eq!(
            world
                .post("/orchestrator/runs", &record(9).to_string())
                .await
                .error()
                .1,
            "unavailable"
        );
    })
    .await;
}
