//! What the log says of requests.

use serde_json::json;
use snowpack_telemetry::Capture;

use crate::faulty_store::{Fault, SECRET};
use crate::world::{Transport, World};

#[tokio::test]
async fn every_event_names_its_request() {
    let (world, capture) = (World::new(Transport::Direct), Capture::start());
    let id = world.submitted().await;
    world.post(&format!("/jobs/{id}/cancel"), "").await;
    world.put("/drain", r#"{"enabled": true}"#).await;
    world.store.fail(Fault::Refused);
    let failed = world.get("/jobs").await;
    capture.check().unwrap();
    let events = [
        "job_submitted",
        "http_request",
        "job_cancelled",
        "http_request",
        "drain_set",
        "http_request",
        "request_failed",
        "http_request",
    ];
    assert_eq!(capture.names(), events);
    let requests: Vec<_> = capture
        .events()
        .iter()
        .map(|event| event.get("request_id").cloned().unwrap())
        .collect();
    for of_one_request in requests.chunks(2) {
        assert_eq!(of_one_request[0], of_one_request[1]);
    }
    assert_eq!(requests[7], failed.json()["request_id"]);
    let cause = capture.named("request_failed")[0].get("cause").cloned().unwrap();
    assert!(
        cause.as_str().unwrap().contains(SECRET),
        "the caller does not read it, the operator does"
    );
    assert_eq!(capture.named("http_request")[3].get("status"), Some(&json!(500)));
}
