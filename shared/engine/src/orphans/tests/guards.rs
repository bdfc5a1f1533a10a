//! What protects files that only look dead.

use std::sync::atomic::Ordering;

use super::*;

fn neighbour(lake: &Lake, name: &str, location: &str, properties: &[(&str, &str)]) {
    let folder = lake.folder.path().display().to_string();
    let owned = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.replace("{}", &folder)));
    let other = FakeTable::at(location, disk(), FormatVersion::V2, owned.collect());
    let id = TableId::new("db", name).unwrap();
    let mut neighbours = lake.table.catalog.neighbours.lock().unwrap();
    neighbours.insert(id, Some(other.now()));
}

fn unknown_neighbour(lake: &Lake) {
    let id = TableId::new("db", "broken").unwrap();
    lake.table.catalog.neighbours.lock().unwrap().insert(id, None);
}

impl Lake {
    /// A location inside the folder, as metadata spells it.
    fn location(&self, name: &str) -> String {
        format!("file://{}/{name}", self.folder.path().display())
    }
}

#[tokio::test]
async fn the_brake_holds_until_it_is_loosened() {
    let mut lake = Lake::new().await;
    lake.settings.max_orphan_ratio = 0.5;
    let size = |name: &String| fs::metadata(lake.path(name)).unwrap().len();
    let total: u64 = lake.files().iter().map(size).sum();
    let total = usize::try_from(total).unwrap();
    fs::write(lake.path("t/data/big"), vec![0; total]).unwrap();
    let half = lake.message().await;
    assert!(half.starts_with("Removed 1 "), "half is not more than half");
    fs::write(lake.path("t/data/big"), vec![0; total + 1]).unwrap();
    for dry_run in [true, false] {
        lake.settings.dry_run = dry_run;
        let refused = lake.refusal().await;
        assert!(refused.contains("max_orphan_ratio 0.5"), "{refused}");
    }
    lake.settings.max_orphan_ratio = 0.6;
    assert!(lake.message().await.starts_with("Removed 1 "));
}

#[tokio::test]
async fn only_locations_of_the_table_are_looked_at() {
    let mut lake = Lake::new().await;
    for name in ["t/a", "t/data/b", "t2/c", "d"] {
        lake.write(name);
    }
    for outside in ["t2", "", "t/../t2", "t/data/../../t2"] {
        lake.settings.location = Some(lake.location(outside));
        let refused = lake.refusal().await;
        assert!(refused.contains("does not lie within"), "{refused}");
        assert!(check(&lake.table.now(), &lake.settings).is_err());
    }
    for root in ["/", "file:///", "file:/x/.."] {
        lake.settings.location = Some(root.to_owned());
        let refused = lake.refusal().await;
        assert!(refused.contains("whole bucket or file system"), "{refused}");
    }
    lake.settings.location = Some(lake.location("t/data/"));
    assert_eq!(lake.message().await, "Removed 1 orphan file (10 B)");
    assert!(lake.path("t/a").exists());
    lake.settings.location = None;
    assert_eq!(lake.message().await, "Removed 1 orphan file (10 B)");
    assert!(lake.path("t2/c").exists() && lake.path("d").exists());
}

#[tokio::test]
async fn a_table_in_a_bucket_root_is_refused() {
    let mut settings = Lake::new().await.settings;
    for location in ["s3://bucket", "s3://bucket/", "file:/"] {
        let table = FakeTable::at(location, disk(), FormatVersion::V2, HashMap::new());
        settings.location = None;
        let refused = check(&table.now(), &settings).unwrap_err().to_string();
        assert!(refused.contains("whole bucket or file system"), "{refused}");
        settings.location = Some("s3://bucket/data".to_owned());
        let is_within = location.starts_with("s3");
        assert_eq!(check(&table.now(), &settings).is_ok(), is_within);
    }
}

#[tokio::test]
async fn another_known_table_inside_is_refused() {
    for (location, properties) in [
        ("t", &[][..]),
        ("t/nested", &[]),
        ("u", &[("write.data.path", "{}/t/data/u")]),
        ("v", &[("write.metadata.path", "{}/t")]),
    ] {
        let lake = Lake::new().await;
        lake.write("t/metadata/a");
        neighbour(&lake, "other", &lake.location(location), properties);
        let refused = lake.refusal().await;
        assert!(refused.contains("db.other"), "{refused}");
    }
    let mut lake = Lake::new().await;
    lake.write("t/metadata/a");
    neighbour(&lake, "other", &lake.location("t/nested"), &[]);
    lake.settings.location = Some(lake.location("t/metadata"));
    assert_eq!(lake.message().await, "Removed 1 orphan file (10 B)");
}

#[tokio::test]
async fn tables_beside_above_or_unknown_do_no_harm() {
    let lake = Lake::new().await;
    lake.write("t/a");
    neighbour(&lake, "beside", &lake.location("t2"), &[]);
    neighbour(&lake, "above", &lake.location(""), &[]);
    unknown_neighbour(&lake);
    assert_eq!(lake.message().await, "Removed 1 orphan file (10 B)");
}

#[tokio::test]
async fn a_table_no_catalog_knows_is_recognised_by_its_metadata() {
    let mut lake = Lake::new().await;
    lake.settings.max_orphan_ratio = 0.5;
    lake.write("t/x");
    let nested = [
        "00000-a.metadata.json",
        "v3.metadata.json",
        "v3.metadata.json.gz",
        "version-hint.text",
    ];
    for (index, name) in nested.iter().enumerate() {
        lake.write(&format!("t/archive/{index}/metadata/{name}"));
        let data = lake.write(&format!("t/archive/{index}/data/p=1/f"));
        fs::write(data, vec![0; 100_000]).unwrap();
    }
    let mut left = lake.files();
    assert_eq!(lake.message().await, "Removed 1 orphan file (10 B)");
    left.remove("t/x");
    assert_eq!(lake.files(), left);
}

#[tokio::test]
async fn leftovers_among_the_tables_own_metadata_files_go() {
    let lake = Lake::with(&[("write.metadata.path", "{}/t/other/metadata")]).await;
    for name in [
        "t/metadata/00009-x.metadata.json",
        "t/other/metadata/00009-x.metadata.json",
    ] {
        lake.write(name);
    }
    assert_eq!(lake.message().await, "Removed 2 orphan files (20 B)");
}

#[tokio::test]
async fn places_elsewhere_are_looked_at_only_when_they_are_this_tables_alone() {
    let elsewhere = [("write.data.path", "{}/files"), ("write.metadata.path", "{}/t/m")];
    let alone = Lake::with(&elsewhere).await;
    neighbour(&alone, "other", &alone.location("files2"), &[]);
    alone.write("files/p=1/a");
    alone.write("t/m/b");
    assert_eq!(alone.message().await, "Removed 2 orphan files (20 B)");
    for others in [
        [("write.data.path", "{}/files")],
        [("write.object-storage.path", "{}")],
    ] {
        let mut shared = Lake::with(&elsewhere).await;
        neighbour(&shared, "other", &shared.location("o"), &others);
        shared.write("files/p=1/a");
        assert_nothing_done(&shared, "/files was not looked at: it may hold files of db.other").await;
        shared.settings.location = Some(shared.location("files"));
        assert!(shared.refusal().await.contains("does not lie within"));
    }
    let unsure = Lake::with(&elsewhere).await;
    unknown_neighbour(&unsure);
    unsure.write("files/p=1/a");
    assert_nothing_done(&unsure, ", which cannot be loaded").await;
    let denied = Lake::with(&elsewhere).await;
    denied.table.catalog.lists_denied.store(true, Ordering::SeqCst);
    denied.write("files/p=1/a");
    denied.write("t/b");
    let message = denied.message().await;
    assert!(message.starts_with("Removed 1 orphan file (10 B); "), "{message}");
    assert!(message.ends_with(", which may not be listed") || message.ends_with(" that may not be listed"));
    assert!(denied.path("files/p=1/a").exists());
    for (above, reason) in [
        ("{}", "was not looked at: it contains "),
        ("/", "; / was not looked at: it is a whole bucket or file system"),
        (
            "s3://bucket",
            "was not looked at: it is a whole bucket or file system",
        ),
    ] {
        let lake = Lake::with(&[("write.data.path", above)]).await;
        lake.write("x/a");
        assert_nothing_done(&lake, reason).await;
    }
}

async fn assert_nothing_done(lake: &Lake, reason: &str) {
    let message = lake.message().await;
    assert!(message.starts_with("Nothing to do"), "{message}");
    assert!(message.contains(reason), "{message}");
}

#[tokio::test]
async fn partition_folders_that_look_hidden_are_not() {
    let lake = Lake::new().await;
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "_part", Transform::Identity)
        .unwrap()
        .build();
    lake.table.update(vec![TableUpdate::AddSpec { spec }]);
    for name in [
        "t/data/_part=1/a",
        "t/data/_part/b",
        "t/data/_part=1/_c",
        "t/data/_other=1/d",
    ] {
        lake.write(name);
    }
    assert_eq!(lake.message().await, "Removed 1 orphan file (10 B)");
    assert!(!lake.path("t/data/_part=1/a").exists());
}

/// A table whose metadata references a listed file by another scheme and authority.
async fn mismatched() -> Lake {
    let lake = Lake::new().await;
    let path = lake.write("t/data/moved").display().to_string();
    lake.table.reference(BY_PART, &format!("hdfs://nn{path}")).await;
    lake
}

#[tokio::test]
async fn prefixes_that_differ_are_an_error_unless_told() {
    let map = |from: &str, to: &str| BTreeMap::from([(from.to_owned(), to.to_owned())]);
    let mut lake = mismatched().await;
    let refused = lake.refusal().await;
    assert!(refused.contains("hdfs://nn file://"), "{refused}");
    assert!(refused.contains("equal_schemes"), "{refused}");
    lake.settings.equal_schemes = map("hdfs", "file");
    let refused = lake.refusal().await;
    assert!(
        refused.contains("file://nn file://"),
        "the authority still differs: {refused}"
    );
    lake.settings.equal_authorities = map("nn", "localhost");
    assert!(lake.message().await.starts_with("Nothing to do"));
    lake.settings.equal_schemes.clear();
    lake.settings.prefix_mismatch = PrefixMismatch::Ignore;
    assert!(lake.message().await.starts_with("Nothing to do"));
    lake.settings.prefix_mismatch = PrefixMismatch::Delete;
    assert_eq!(lake.message().await, "Removed 1 orphan file (10 B)");
}

#[tokio::test]
async fn an_exact_reference_wins_over_one_that_differs() {
    let mut lake = mismatched().await;
    let path = lake.path("t/data/moved").display().to_string();
    lake.table.reference(BY_PART, &path).await;
    for mode in [
        PrefixMismatch::Error,
        PrefixMismatch::Ignore,
        PrefixMismatch::Delete,
    ] {
        lake.settings.prefix_mismatch = mode;
        assert!(lake.message().await.starts_with("Nothing to do"), "{mode:?}");
    }
}

#[tokio::test]
async fn more_orphans_than_one_run_holds_are_left_for_the_next() {
    let lake = Lake::new().await;
    for index in 0..7 {
        lake.write(&format!("t/data/{index}"));
    }
    let (table, names) = (lake.table.now(), Names::of(&lake.settings));
    let places = places::choose(&table, &lake.settings, &Neighbours::default(), &names)
        .unwrap()
        .places;
    let mut reach = Reachability::new(names);
    reach.add(&table).await.unwrap();
    let mut sieve = Sieve::new(&table, &places[0], &lake.settings, &reach).holding(5);
    let pages: Vec<_> = table.list(&places[0].spelled).try_collect().await.unwrap();
    for page in pages {
        sieve.take(page, &reach).unwrap();
    }
    let sifted = sieve.finish(&reach).unwrap();
    assert_eq!((sifted.orphans.len(), sifted.overflowed), (5, true));
    let outcome = Outcome::Removed(Removed::default()).report(sifted.listed, sifted.overflowed, &[]);
    assert!(
        outcome.message.ends_with("there are more, run it again"),
        "{}",
        outcome.message
    );
}
