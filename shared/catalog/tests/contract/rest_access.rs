//! Access to files that a REST server hands out with a table: who is asked, for what, and when again.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures::{FutureExt, StreamExt};
use iceberg::Result;
use iceberg::io::{MemoryStorage, Storage, StorageConfig, StorageFactory};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use snowpack_catalog::{AnyCatalog, Catalog, ListedFile, Listing, LoadedTable, ObjectStorage, open};

use crate::rest::{Rest, rest};
use crate::suite::{Harness, append};

/// Object storage whose every file `who` says with which key it is read.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Keyed {
    #[serde(skip)]
    seen: Arc<Mutex<Vec<StorageConfig>>>,
}

/// What it has seen are credentials.
impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed")
    }
}

const FILES: [&str; 3] = ["s3://lake/t/who", "s3://lake/t/data/who", "s3://other/who"];

#[typetag::serde]
impl StorageFactory for Keyed {
    fn build(&self, config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        let storage = MemoryStorage::new();
        for file in FILES {
            storage.write(file, key(config).into()).now_or_never().unwrap()?;
        }
        self.seen.lock().unwrap().push(config.clone());
        Ok(Arc::new(storage))
    }
}

impl ObjectStorage for Keyed {
    fn list(&self, config: &StorageConfig, _folder: &str) -> Listing {
        let file = ListedFile {
            location: key(config),
            bytes: 0,
            modified: None,
        };
        futures::stream::iter([Ok(vec![file])]).boxed()
    }
}

fn key(config: &StorageConfig) -> String {
    config
        .get("s3.access-key-id")
        .cloned()
        .unwrap_or("ours".to_owned())
}

/// The key that a file is read with, and its folder listed.
async fn keys(table: &LoadedTable, file: &str) -> (String, String) {
    let read = table.io.new_input(file).unwrap().read().await.unwrap();
    let listed = table
        .list(file.trim_end_matches("/who"))
        .next()
        .await
        .unwrap()
        .unwrap();
    (
        String::from_utf8(read.to_vec()).unwrap(),
        listed[0].location.clone(),
    )
}

async fn key_of(table: &LoadedTable, file: &str) -> String {
    let (read, listed) = keys(table, file).await;
    assert_eq!(read, listed, "{file}");
    read
}

async fn opened(rest: &Rest, properties: &[(&str, &str)]) -> (AnyCatalog, Keyed) {
    let objects = Keyed::default();
    let catalog = open(&rest.config(properties), Some(Arc::new(objects.clone()))).await;
    (catalog.unwrap(), objects)
}

fn credential(prefix: &str, key: &str, ends_in: Duration) -> Value {
    let ends = SystemTime::now() + ends_in;
    let millis = ends.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    json!({"prefix": prefix, "config": {
        "s3.access-key-id": key, "s3.secret-access-key": "hush", "s3.session-token": "hush",
        "s3.session-token-expires-at-ms": millis.to_string(),
    }})
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn the_longest_prefix_wins_and_our_settings_stay_below() {
    let rest = rest().await;
    rest.server.lock().unwrap().handout = json!({
        "config": {"s3.access-key-id": "legacy", "s3.endpoint": "http://store"},
        "storage-credentials": [
            credential("s3://lake/t", "table", HOUR),
            credential("s3a://lake/t/data", "data", HOUR),
        ],
    });
    let (catalog, objects) = opened(&rest, &[("s3.region", "r1"), ("s3.endpoint", "http://ours")]).await;
    let table = catalog.load(&rest.table()).await.unwrap();
    let mut read = Vec::new();
    for file in FILES {
        read.push(key_of(&table, file).await);
    }
    assert_eq!(read, ["table", "data", "legacy"]);
    for config in objects.seen.lock().unwrap().iter() {
        let setting = |name: &str| config.get(name).map(String::as_str);
        assert_eq!(
            (setting("s3.region"), setting("s3.endpoint")),
            (Some("r1"), Some("http://store"))
        );
    }
    let asked = rest.server.lock().unwrap().headers["x-iceberg-access-delegation"].clone();
    assert_eq!(asked, "vended-credentials");
    assert!(!format!("{table:?}{:?}{catalog:?}", table.io).contains("hush"));
}

#[tokio::test]
async fn the_access_goes_on_after_a_commit() {
    let rest = rest().await;
    rest.server.lock().unwrap().handout =
        json!({"config": {"s3.access-key-id": "id", "s3.secret-access-key": "hush"}});
    let (catalog, _) = opened(&rest, &[]).await;
    let base = catalog.load(&rest.table()).await.unwrap();
    let committed = catalog.commit(&base, append(&base).1).await.unwrap();
    assert_eq!(key_of(&committed, FILES[0]).await, "id");
}

#[tokio::test]
async fn access_that_ends_is_renewed_by_loading_the_table() {
    let rest = rest().await;
    let hand_out = |key: &str, ends_in: Duration| {
        let credentials = [credential("s3://", key, ends_in)];
        rest.server.lock().unwrap().handout = json!({"config": {}, "storage-credentials": credentials});
    };
    hand_out("first", Duration::ZERO);
    let (catalog, _) = opened(&rest, &[]).await;
    let table = catalog.load(&rest.table()).await.unwrap();
    hand_out("second", HOUR);
    assert_eq!(key_of(&table, FILES[0]).await, "second");
    hand_out("third", HOUR);
    assert_eq!(key_of(&table, FILES[0]).await, "second", "it has not ended");
    assert_eq!(rest.server.lock().unwrap().loads, (2, 0));
}

#[tokio::test]
async fn the_servers_own_place_for_new_credentials_is_asked() {
    let rest = rest().await;
    let path = "v1/namespaces/db%1Fnested/tables/t/credentials";
    {
        let mut server = rest.server.lock().unwrap();
        server.handout = json!({
            "config": {"client.refresh-credentials-endpoint": path, "s3.region": "r1"},
            "storage-credentials": [credential("s3://", "first", Duration::ZERO)],
        });
        server.credentials = json!({"storage-credentials": [credential("s3://", "second", HOUR)]});
    }
    let (catalog, objects) = opened(&rest, &[]).await;
    let table = catalog.load(&rest.table()).await.unwrap();
    assert_eq!(key_of(&table, FILES[0]).await, "second");
    assert_eq!(rest.server.lock().unwrap().loads, (1, 1));
    let newest = objects.seen.lock().unwrap().last().cloned().unwrap();
    assert_eq!(newest.get("s3.region").map(String::as_str), Some("r1"));
}

#[tokio::test]
async fn credentials_without_a_prefix_are_renewed_by_loading_the_table() {
    let rest = rest().await;
    let hand_out = |key: &str, ends_in: Duration| {
        let credential = credential("s3://lake/t", key, ends_in);
        let mut config = credential["config"].clone();
        config["client.refresh-credentials-endpoint"] = json!("v1/nobody/asks/here");
        rest.server.lock().unwrap().handout = json!({"config": config, "storage-credentials": [credential]});
    };
    hand_out("first", Duration::ZERO);
    let (catalog, _) = opened(&rest, &[]).await;
    let table = catalog.load(&rest.table()).await.unwrap();
    hand_out("second", HOUR);
    for file in FILES {
        assert_eq!(key_of(&table, file).await, "second", "{file}");
    }
    assert_eq!(rest.server.lock().unwrap().loads, (2, 0), "once for all files");
}

#[tokio::test]
async fn access_at_hand_is_used_while_none_can_be_had() {
    let rest = rest().await;
    rest.server.lock().unwrap().handout =
        json!({"config": {}, "storage-credentials": [credential("s3://", "first", Duration::ZERO)]});
    let (catalog, _) = opened(&rest, &[]).await;
    let table = catalog.load(&rest.table()).await.unwrap();
    rest.server.lock().unwrap().handout = json!({"config": {}});
    assert_eq!(key_of(&table, FILES[0]).await, "first");
    assert_eq!(
        rest.server.lock().unwrap().loads.0,
        2,
        "not asked again for every file"
    );
}

#[tokio::test]
async fn without_credentials_ours_are_used_and_none_need_be_asked_for() {
    let rest = rest().await;
    rest.server.lock().unwrap().handout = json!({"config": {"s3.region": "r1"}});
    let (catalog, _) = opened(&rest, &[("header.X-Iceberg-Access-Delegation", "")]).await;
    let table = catalog.load(&rest.table()).await.unwrap();
    assert_eq!(key_of(&table, FILES[0]).await, "ours");
    assert_eq!(table.io.config().get("s3.region").map(String::as_str), Some("r1"));
    let headers = rest.server.lock().unwrap().headers.clone();
    assert!(!headers.contains_key("x-iceberg-access-delegation"));
}
