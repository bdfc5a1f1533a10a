//! Poll, cancel, lists, history and purge.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use snowpack_domain::{Action, ActionResult, Duration, Metric, Progress, Verdict};

use crate::faulty_store::Fault;
use crate::world::{Answer, World, both};

fn expect(answer: &Answer, status: u16, code: &str, field: Option<&str>) {
    assert_eq!(
        answer.error(),
        (status, code.to_owned(), field.map(str::to_owned)),
        "{answer:?}"
    );
}

async fn cancel(world: &World, id: &str) -> Answer {
    world
        .call(Method::POST, &format!("/jobs/{id}/cancel"), &[], b"")
        .await
}

fn compacted() -> ActionResult {
    ActionResult {
        action: Action::RewriteDataFiles,
        outcome: Ok("Compacted 847 files into 52 files".into()),
        elapsed_seconds: 124.8,
        metrics: BTreeMap::from([("files_in".to_owned(), Metric::Count(847))]),
        predicted: BTreeMap::new(),
        preview: None,
    }
}

/// Submits, claims and ends a job.
async fn ended(world: &World, verdict: Verdict) -> String {
    let id = world.submitted().await;
    let held = world.claim(&id).await.fence;
    world.clock.advance(Duration::from_millis(124_800));
    world.finish(&id, held, verdict).await;
    id
}

#[tokio::test]
async fn poll_follows_a_job_to_its_end() {
    both(async |world| {
        let id = world.submitted().await;
        let path = format!("/jobs/{id}");
        let pending = world.get(&path).await;
        assert_eq!((pending.status.as_u16(), pending.header("retry-after")), (200, Some("30")));
        let held = world.claim(&id).await.fence;
        world
            .change(&id, |mut pair| {
                let progress =
                    Progress { action: Action::RewriteDataFiles, done: 1, total: 4, unit: "file_groups".into() };
                pair.job.progress = Some(progress);
                pair
            })
            .await;
        let running = world.get(&path).await;
        assert_eq!(running.header("retry-after"), Some("30"));
        let body = running.json();
        assert_eq!((&body["status"], &body["results"]), (&json!("running"), &Value::Null));
        assert_eq!(body["progress"], json!({"action": "rewrite_data_files", "done": 1, "total": 4, "unit": "file_groups"}));
        world
            .change(&id, |mut pair| {
                pair.job.results.push(compacted());
                pair
            })
            .await;
        world.clock.advance(Duration::from_millis(1));
        world.finish(&id, held, Verdict::Completed).await;
        let completed = world.get(&path).await;
        assert_eq!(completed.header("retry-after"), None);
        let body = completed.json();
        assert_eq!((&body["status"], &body["error"], &body["progress"]), (&json!("completed"), &Value::Null, &Value::Null));
        assert_eq!(body["completed_at"], "2026-04-25T14:30:00.001000+00:00");
        assert_eq!(
            body["results"],
            json!([{"action": "rewrite_data_files", "success": true, "message": "Compacted 847 files into 52 files",
                "error": null, "elapsed_seconds": 124.8, "metrics": {"files_in": 847}}])
        );
    })
    .await;
}

#[tokio::test]
async fn poll_404() {
    both(async |world| {
        let unknown = "0".repeat(32);
        for id in [
            unknown.as_str(),
            "1",
            "..",
            "%2e%2e",
            "%ff",
            "UPPER",
            &"A".repeat(32),
            &"x".repeat(5000),
        ] {
            expect(
                &world.get(&format!("/jobs/{id}")).await,
                404,
                "job_not_found",
                None,
            );
        }
        expect(
            &world.get(&format!("/jobs/{unknown}?verbose=1")).await,
            400,
            "invalid_request",
            Some("verbose"),
        );
    })
    .await;
}

#[tokio::test]
async fn cancel_200_and_409() {
    both(async |world| {
        let pending = world.submitted().await;
        let body = cancel(&world, &pending).await.json();
        assert_eq!(
            (&body["status"], &body["results"], &body["error"]),
            (&json!("cancelled"), &json!([]), &Value::Null)
        );
        let running = world.submitted().await;
        world.claim(&running).await;
        assert_eq!(cancel(&world, &running).await.json()["status"], "cancelled");
        let completed = ended(&world, Verdict::Completed).await;
        let failed = ended(&world, Verdict::Failed("data file s3://b/x is missing".into())).await;
        assert_eq!(
            world.get(&format!("/jobs/{failed}")).await.json()["error"],
            "data file s3://b/x is missing"
        );
        for (id, status) in [
            (&pending, "cancelled"),
            (&completed, "completed"),
            (&failed, "failed"),
        ] {
            let answer = cancel(&world, id).await;
            expect(&answer, 409, "job_terminal", None);
            assert_eq!(answer.json()["status"], status);
        }
    })
    .await;
}

#[tokio::test]
async fn cancel_404() {
    both(async |world| {
        for id in [&"0".repeat(32), "history", "x"] {
            expect(&cancel(&world, id).await, 404, "job_not_found", None);
        }
        expect(
            &world
                .post(&format!("/jobs/{}/cancel?force=1", "0".repeat(32)), "")
                .await,
            400,
            "invalid_request",
            Some("force"),
        );
    })
    .await;
}

fn ids(answer: &Answer) -> Vec<String> {
    let jobs = answer.json();
    jobs.as_array()
        .unwrap()
        .iter()
        .map(|job| job["job_id"].as_str().unwrap().to_owned())
        .collect()
}

/// The address of the next page.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    Some(
        link.strip_prefix('<')
            .unwrap()
            .strip_suffix(">; rel=\"next\"")
            .unwrap()
            .to_owned(),
    )
}

/// Follows the links from a path to the end.
async fn all_pages(world: &World, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut path = Some(path.to_owned());
    while let Some(current) = path {
        let answer = world.get(&current).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        found.extend(ids(&answer));
        path = next(&answer);
    }
    found
}

#[tokio::test]
async fn lists_filter_and_page() {
    both(async |world| {
        let mut newest_first = Vec::new();
        for _ in 0..5 {
            newest_first.insert(0, ended(&world, Verdict::Completed).await);
        }
        let active = world.submitted().await;
        assert_eq!(all_pages(&world, "/jobs/history?limit=2").await, newest_first);
        let first_page = world
            .get("/jobs/history?table=offers.items&limit=2&status=completed")
            .await;
        assert!(
            next(&first_page)
                .unwrap()
                .starts_with("/jobs/history?table=offers.items&limit=2&status=completed&cursor=")
        );
        assert_eq!(
            all_pages(
                &world,
                "/jobs/history?table=offers.items&status=completed&limit=1"
            )
            .await,
            newest_first
        );
        assert_eq!(
            ids(&world.get("/jobs/history?table=offers.prices").await),
            [""; 0]
        );
        newest_first.insert(0, active.clone());
        assert_eq!(all_pages(&world, "/jobs?limit=4").await, newest_first);
        assert_eq!(
            ids(&world
                .get("/jobs?status=pending&database=offers&table=items")
                .await),
            [active]
        );
        assert_eq!(ids(&world.get("/jobs?database=other").await), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn lists_refuse_bad_queries() {
    both(async |world| {
        let cases = [
            ("/jobs?state=pending", 400, "state"),
            ("/jobs?status=done", 400, "status"),
            ("/jobs?status=pending&status=failed", 400, "status"),
            ("/jobs?limit=0", 400, "limit"),
            ("/jobs?limit=501", 400, "limit"),
            ("/jobs?limit=ten", 400, "limit"),
            ("/jobs?limit=", 400, "limit"),
            ("/jobs?cursor=nonsense", 400, "cursor"),
            ("/jobs?cursor=%00", 400, "cursor"),
            ("/jobs?database=%ff", 400, "database"),
            ("/jobs?database=a%2Fb", 422, "database"),
            ("/jobs?table=a.b", 422, "table"),
            ("/jobs/history?table=items", 422, "table"),
            ("/jobs/history?table=a%20b.items", 422, "table"),
            ("/jobs/history?database=offers", 400, "database"),
            ("/jobs/history?cursor=x", 400, "cursor"),
        ];
        for (path, status, field) in cases {
            let code = if status == 422 {
                "invalid_name"
            } else {
                "invalid_request"
            };
            expect(&world.get(path).await, status, code, Some(field));
        }
    })
    .await;
}

#[tokio::test]
async fn purge_deletes_what_ended_long_ago() {
    both(async |world| {
        let old = ended(&world, Verdict::Completed).await;
        world.clock.advance(Duration::from_days(2));
        let new = ended(&world, Verdict::Completed).await;
        let purge = async |query: &str| {
            world
                .call(Method::DELETE, &format!("/jobs/history{query}"), &[], b"")
                .await
        };
        for bad in ["0", "-1", "1.5", "x", "99999999999999999999"] {
            expect(
                &purge(&format!("?retention_days={bad}")).await,
                400,
                "invalid_request",
                Some("retention_days"),
            );
        }
        expect(&purge("?days=1").await, 400, "invalid_request", Some("days"));
        assert_eq!(
            purge("").await.json(),
            json!({"deleted": 0}),
            "90 days unless told"
        );
        assert_eq!(purge("?retention_days=1").await.json(), json!({"deleted": 1}));
        expect(
            &world.get(&format!("/jobs/{old}")).await,
            404,
            "job_not_found",
            None,
        );
        assert_eq!(world.get(&format!("/jobs/{new}")).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn failures_of_the_store() {
    both(async |world| {
        let id = world.submitted().await;
        for (fault, status, code) in [
            (Fault::Unavailable, 503, "unavailable"),
            (Fault::Refused, 500, "internal"),
            (Fault::Panic, 500, "internal"),
        ] {
            world.store.fail(fault);
            for path in ["/jobs", "/jobs/history", &format!("/jobs/{id}")] {
                expect(&world.get(path).await, status, code, None);
            }
            expect(&cancel(&world, &id).await, status, code, None);
            expect(
                &world.call(Method::DELETE, "/jobs/history", &[], b"").await,
                status,
                code,
                None,
            );
        }
    })
    .await;
}
