//! GET /metrics, read as Prometheus reads it.

use std::collections::BTreeMap;

use http::{Method, header};
use snowpack_domain::{CacheState, Duration, Verdict};
use snowpack_service::ports::JobStore;
use snowpack_testkit::time;

use crate::faulty_store::Fault;
use crate::world::both;

/// The series of a text in Prometheus's format, strictly: each family is announced once by HELP and TYPE, its
/// series follow it, names and labels are well-formed, and the last line is ended.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    let mut family = String::new();
    let mut families = Vec::new();
    let mut lines = text.strip_suffix('\n').expect("the last line is ended").lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a name and a text");
            assert!(!help.is_empty() && !help.contains('\\'), "{line}");
            assert_eq!(lines.next(), Some(format!("# TYPE {name} gauge").as_str()));
            assert!(!families.contains(&name.to_owned()), "{name} comes twice");
            families.push(name.to_owned());
            family = name.to_owned();
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a series and its value");
        let (metric, labels) = name.split_once('{').unwrap_or((name, "}"));
        assert_eq!(metric, family, "{line} stands in its family");
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(plain(metric), "{line}");
        let labels = labels.strip_suffix('}').expect("closed");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').expect("a label and its value");
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            assert!(plain(label) && plain(value.expect("quoted")), "{line}");
        }
        let value = value.parse().expect("a number");
        assert_eq!(series.insert(name.to_owned(), value), None, "{name} comes twice");
    }
    series
}

#[tokio::test]
async fn the_deployment_in_numbers() {
    both(async |world| {
        let answer = world.get("/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header(header::CONTENT_TYPE),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        let fresh = parse(&answer.text);
        assert_eq!(fresh.len(), 8, "{fresh:?}");
        assert!(fresh.values().all(|value| *value == 0.0), "{fresh:?}");

        let state = CacheState {
            generation: 1,
            last_synced: Some(time(0)),
            table_count: 4,
            position: None,
        };
        world.store.set_cache_state(&state).await.unwrap();
        let ended = world.submitted().await;
        let running = world.claim(&ended).await;
        world
            .finish(&ended, running.fence, Verdict::Failed("disk".into()))
            .await;
        world.clock.advance(Duration::from_seconds(60));
        let pending = world.submitted().await;
        let series = parse(&world.get("/metrics").await.text);
        let expected = [
            ("snowpack_active_workers", 0.0),
            ("snowpack_jobs{status=\"cancelled\"}", 0.0),
            ("snowpack_jobs{status=\"completed\"}", 0.0),
            ("snowpack_jobs{status=\"failed\"}", 1.0),
            ("snowpack_jobs{status=\"pending\"}", 1.0),
            ("snowpack_jobs{status=\"running\"}", 0.0),
            ("snowpack_queue_depth", 2.0),
            ("snowpack_table_cache_age_seconds", 60.0),
            ("snowpack_tables_known", 4.0),
        ];
        assert_eq!(
            series,
            expected.map(|(name, value)| (name.to_owned(), value)).into()
        );

        world.clock.advance(Duration::from_seconds(3600));
        world.claim(&pending).await;
        let series = parse(&world.get("/metrics").await.text);
        assert_eq!(
            series["snowpack_jobs{status=\"failed\"}"], 0.0,
            "ended over an hour ago"
        );
        assert_eq!(series["snowpack_jobs{status=\"running\"}"], 1.0);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_counted_is_an_error() {
    both(async |world| {
        assert_eq!(world.get("/metrics?format=json").await.status, 400);
        assert_eq!(world.call(Method::HEAD, "/metrics", &[], b"").await.status, 200);
        world.store.fail(Fault::Unavailable);
        assert_eq!(world.get("/metrics").await.status, 503);
    })
    .await;
}
