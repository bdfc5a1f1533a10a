//! The table cache.

use serde_json::json;
use snowpack_domain::CacheState;
use snowpack_service::ports::JobStore;
use snowpack_testkit::time;

use crate::world::{World, both, entry};

async fn fill(world: &World) {
    let entries = [
        entry("a.b.nested", Some("false")),
        entry("offers.items", Some("true")),
        entry("offers.prices", None),
        entry("offers.zones", Some("true")),
    ];
    world.store.put_cache_entries(&entries).await.unwrap();
}

fn names(body: &serde_json::Value) -> Vec<&str> {
    body.as_array()
        .unwrap()
        .iter()
        .map(|table| table["table_name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn lists_with_filters_and_pages() {
    both(async |world| {
        assert_eq!(world.get("/tables").await.json(), json!([]));
        fill(&world).await;
        let all = world.get("/tables").await.json();
        assert_eq!(names(&all), ["nested", "items", "prices", "zones"]);
        assert_eq!(
            all[0],
            json!({"database": "a.b", "table_name": "nested", "maintenance_enabled": false, "in_maintenance_allowlist": false})
        );
        assert_eq!(
            all[2],
            json!({"database": "offers", "table_name": "prices", "maintenance_enabled": null, "in_maintenance_allowlist": true})
        );
        assert_eq!(names(&world.get("/tables?database=offers").await.json()), ["items", "prices", "zones"]);
        assert_eq!(names(&world.get("/tables?maintenance_enabled=false").await.json()), ["nested"]);
        let first = world.get("/tables?maintenance_enabled=true&limit=1").await;
        assert_eq!(names(&first.json()), ["items"], "a filtered page is filled from as many as it takes");
        let link = first.header("link").unwrap().to_owned();
        let path = link.strip_prefix('<').unwrap().split('>').next().unwrap();
        assert!(path.starts_with("/tables?maintenance_enabled=true&limit=1&cursor="), "{path}");
        assert_eq!(names(&world.get(path).await.json()), ["zones"]);
    })
    .await;
}

#[tokio::test]
async fn refuses_bad_queries() {
    both(async |world| {
        for (query, status, field) in [
            ("maintenance_enabled=yes", 400, "maintenance_enabled"),
            ("enabled=true", 400, "enabled"),
            ("cursor=%F0%9F%92%A9", 400, "cursor"),
            ("limit=1000", 400, "limit"),
            ("database=a%20b", 422, "database"),
        ] {
            let answer = world.get(&format!("/tables?{query}")).await;
            assert_eq!(
                (answer.error().0, answer.error().2.as_deref()),
                (status, Some(field)),
                "{query}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn one_table() {
    both(async |world| {
        let expected = json!({
            "database": "offers", "table_name": "items", "maintenance_enabled": null, "in_maintenance_allowlist": true,
            "location": "s3://bucket/offers.items", "metadata_location": "s3://bucket/offers.items/metadata/1.json",
            "format_version": 2, "properties": {}
        });
        assert_eq!(world.get("/tables/offers/items").await.json(), expected, "read through to the catalog");
        assert_eq!(names(&world.get("/tables").await.json()), ["items"]);
        assert_eq!(world.get("/tables/offers/none").await.error().1, "table_not_found");
        assert_eq!(world.get("/tables/offers/a.b").await.error().1, "invalid_name");
        assert_eq!(world.get("/tables/offers/%ff").await.error().1, "invalid_name");
        assert_eq!(world.get("/tables/offers/items?fresh=1").await.error().0, 400);
        world.tables.broken.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(world.get("/tables/offers/other").await.error().1, "unavailable");
    })
    .await;
}

#[tokio::test]
async fn cache_status() {
    both(async |world| {
        let status = world.get("/tables/cache-status").await.json();
        assert_eq!(status, json!({"last_synced": null, "table_count": 0}));
        let state = CacheState {
            generation: 1,
            last_synced: Some(time(0)),
            table_count: 4,
            position: None,
        };
        world.store.set_cache_state(&state).await.unwrap();
        let status = world.get("/tables/cache-status").await.json();
        assert_eq!(
            status,
            json!({"last_synced": "2026-04-25T14:30:00+00:00", "table_count": 4})
        );
    })
    .await;
}
