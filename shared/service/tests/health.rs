//! Health over the embedded store: when it is read, when what was kept will do, and what a dry run makes of it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use snowpack_domain::{
    Action, CacheEntry, Duration, FileStats, JobOptions, Policy, Preview, PreviewSource, TableHealth,
    TableId, settings_hash,
};
use snowpack_embedded::SqliteStore;
use snowpack_service::ports::{CatalogUnavailable, Clock, HealthUnreadable, ListedTable, NoPreview, Tables};
use snowpack_service::{Failure, HealthBook, TableCache};
use snowpack_testkit::{ManualClock, table, time};

/// One table, whose health names the read it comes from.
#[derive(Clone)]
struct OneTable {
    clock: ManualClock,
    reads: Arc<AtomicI64>,
    dropped: Arc<AtomicBool>,
    damaged: Arc<AtomicBool>,
    preview: Arc<Mutex<Result<Preview, NoPreview>>>,
}

fn at(version: i64) -> String {
    format!("file:///t/metadata/{version}.json")
}

fn entry(version: i64) -> CacheEntry {
    CacheEntry {
        table: table("db.t"),
        location: None,
        metadata_location: Some(at(version)),
        format_version: None,
        properties: BTreeMap::new(),
        generation: 1,
    }
}

fn preview(files_in: u64) -> Preview {
    Preview {
        source: PreviewSource::Live,
        numbers: BTreeMap::from([("files_in".to_owned(), Some(files_in))]),
        note: None,
    }
}

impl Tables for OneTable {
    async fn find(&self, name: &TableId) -> Result<Option<CacheEntry>, CatalogUnavailable> {
        Ok((*name == table("db.t")).then(|| entry(1)))
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogUnavailable> {
        Ok(Vec::new())
    }

    async fn list(&self, _: &str) -> Result<Vec<ListedTable>, CatalogUnavailable> {
        Ok(Vec::new())
    }

    async fn health(&self, table: &TableId) -> Result<Option<TableHealth>, HealthUnreadable> {
        if self.damaged.load(Ordering::SeqCst) {
            return Err(HealthUnreadable::Broken("m.avro is cut off".to_owned()));
        }
        let read = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        let refused = Preview::from(NoPreview::Refused("it is encrypted".to_owned()));
        Ok((!self.dropped.load(Ordering::SeqCst)).then(|| TableHealth {
            table: table.clone(),
            location: "file:///t".to_owned(),
            metadata_location: at(1),
            format_version: 2,
            snapshot_id: Some(read),
            files: FileStats::default(),
            snapshot_count: 1,
            oldest_snapshot_at: None,
            manifest_count: 1,
            total_records: 0,
            deleted_records: 0,
            outlook: BTreeMap::from([
                (Action::RewriteDataFiles, preview(6)),
                (Action::RewriteManifests, refused),
            ]),
            settings_hash: Some(settings_hash(&Policy::default().deployment)),
            collected_at: self.clock.now(),
        }))
    }

    async fn preview(
        &self,
        _: &TableId,
        actions: &[Action],
        _: &JobOptions,
    ) -> Vec<Result<Preview, NoPreview>> {
        let preview = self.preview.lock().unwrap().clone();
        vec![preview; actions.len()]
    }
}

struct World {
    tables: OneTable,
    cache: Arc<TableCache<SqliteStore, OneTable, ManualClock>>,
    book: HealthBook<SqliteStore, OneTable, ManualClock>,
    _folder: tempfile::TempDir,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("state.db")).unwrap());
    let clock = ManualClock::new(time(0));
    let tables = OneTable {
        clock: clock.clone(),
        reads: Arc::default(),
        dropped: Arc::default(),
        damaged: Arc::default(),
        preview: Arc::new(Mutex::new(Ok(preview(1)))),
    };
    let cache = Arc::new(TableCache::new(store, tables.clone(), clock));
    World {
        book: HealthBook::new(Arc::clone(&cache), Policy::default()),
        tables,
        cache,
        _folder: folder,
    }
}

impl World {
    /// Which read the health at hand comes from, when the cache was synced just now.
    async fn fresh(&self, entry: &CacheEntry) -> Option<i64> {
        let kept = self.book.kept(&entry.table).await.unwrap();
        let now = self.tables.clock.now();
        let health = match kept.filter(|kept| self.book.is_fresh(entry, kept, Some(now))) {
            Some(health) => Some(health),
            None => self.book.live(&entry.table).await.unwrap(),
        };
        health?.snapshot_id
    }

    async fn previews(&self, actions: &[Action]) -> Vec<Preview> {
        let options = JobOptions::default();
        self.cache.preview(&table("db.t"), actions, &options).await
    }
}

#[tokio::test]
async fn kept_health_will_do_while_it_describes_the_table() {
    let world = world();
    assert_eq!(world.fresh(&entry(1)).await, Some(1), "nothing was kept");
    world.tables.clock.advance(Duration::from_seconds(15 * 60));
    assert_eq!(world.fresh(&entry(2)).await, Some(1), "young enough");
    world.tables.clock.advance(Duration::from_seconds(1));
    assert_eq!(
        world.fresh(&entry(1)).await,
        Some(1),
        "old, of unchanged metadata"
    );
    assert_eq!(world.fresh(&entry(2)).await, Some(2), "old, of other metadata");
    assert_eq!(
        world
            .book
            .kept(&table("db.t"))
            .await
            .unwrap()
            .unwrap()
            .snapshot_id,
        Some(2)
    );
}

#[tokio::test]
async fn a_table_that_is_gone_or_damaged_keeps_nothing() {
    let world = world();
    world.tables.damaged.store(true, Ordering::SeqCst);
    let failed = world.book.live(&table("db.t")).await.unwrap_err();
    assert!(matches!(failed, Failure::Unreadable(why) if why.contains("m.avro")));
    world.tables.damaged.store(false, Ordering::SeqCst);
    world.tables.dropped.store(true, Ordering::SeqCst);
    assert_eq!(world.book.live(&table("db.t")).await.unwrap(), None);
    assert_eq!(world.book.kept(&table("db.t")).await.unwrap(), None);
    assert_eq!(world.book.known(&table("db.none")).await.unwrap(), None);
    let known = world.book.known(&table("db.t")).await.unwrap().unwrap();
    assert_eq!((known.lock.holder, known.drain.enabled), (None, false));
}

#[tokio::test]
async fn a_dry_run_falls_back_to_kept_health_for_lack_of_time_only() {
    let world = world();
    let actions = [
        Action::RewriteDataFiles,
        Action::RewriteManifests,
        Action::ExpireSnapshots,
    ];
    let set = |preview| *world.tables.preview.lock().unwrap() = preview;
    set(Err(NoPreview::Unread("too slow".to_owned())));
    let none = world.previews(&actions[..1]).await;
    assert_eq!(
        none,
        [NoPreview::Unread("too slow".to_owned()).into()],
        "nothing was kept"
    );

    world.book.live(&table("db.t")).await.unwrap();
    world.tables.clock.advance(Duration::from_seconds(185));
    let previews = world.previews(&actions).await;
    let sources: Vec<_> = previews.iter().map(|preview| preview.source).collect();
    let expected = [PreviewSource::Cached, PreviewSource::None, PreviewSource::None];
    assert_eq!(
        sources, expected,
        "what was refused then, and what was not told, is not made up"
    );
    assert_eq!(previews[0].numbers["files_in"], Some(6));
    assert!(previews[0].note.as_ref().unwrap().contains("3 minutes ago"));
    assert_eq!(previews[1].note.as_deref(), Some("too slow"));

    set(Err(NoPreview::Refused("it is encrypted".to_owned())));
    let refused = world.previews(&actions[..1]).await;
    assert_eq!(refused[0].note.as_deref(), Some("it is encrypted"));
    assert_eq!(refused[0].source, PreviewSource::None);
    set(Ok(preview(1)));
    assert_eq!(world.previews(&actions[..1]).await, [preview(1)]);
}
