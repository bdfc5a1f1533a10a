//! Files that are somebody else's, or that cannot be deleted, stay and are told of.

use super::*;
use crate::fake::stubborn::stubborn;

/// A table that once listed a file at this location, and does not any more.
async fn imported(location: &str, properties: &[(&str, &str)]) -> FakeTable {
    let owned = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let table = FakeTable::with_properties(FormatVersion::V2, owned.collect());
    table.append(BY_PART, 1, vec![(1, 1)]).await;
    let first = table.now().metadata.current_snapshot_id().unwrap();
    let file = table.now().io.new_output(location).unwrap();
    file.write("hive".into()).await.unwrap();
    table.reference(BY_PART, location).await;
    table.roll_back(first);
    table.append(BY_PART, 1, vec![(2, 2)]).await;
    table
}

#[tokio::test]
async fn files_outside_of_the_tables_own_places_stay() {
    let elsewhere = [("write.data.path", "memory:///elsewhere")];
    for (location, properties, goes) in [
        ("memory:///t/data/x", &[][..], true),
        ("memory:///hive/part-0", &[], false),
        ("memory:///t2/x", &[], false),
        ("memory:///elsewhere/x", &[], false),
        ("memory:///elsewhere/x", &elsewhere, true),
    ] {
        let table = imported(location, properties).await;
        let report = expire(&table, &all_but(&table, 1)).await.unwrap();
        let expected = match goes {
            true => "Expired 2 snapshots".to_owned(),
            false => format!(
                "Expired 2 snapshots; left 1 file outside of the table's own locations, such as {location}"
            ),
        };
        assert_eq!(report.message, expected);
        assert_eq!(count(&report, "data_files"), u64::from(goes));
        assert_eq!(table.now().io.exists(location).await.unwrap(), !goes);
        assert_eq!(
            count(&report, "manifests"),
            1,
            "the manifest that lists it is the table's"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_deleted_does_not_count() {
    let (io, storage) = stubborn();
    let table = grown(FakeTable::at(
        "memory:///t",
        io,
        FormatVersion::V2,
        HashMap::new(),
    ))
    .await;
    let lost = table.live_now().await.0;
    let before = reached_by_any(&table.now()).await;
    let kept: BTreeSet<_> = lost.iter().map(|live| live.file.file_path().to_owned()).collect();
    let stays = before
        .iter()
        .find(|path| path.contains("/data/") && !kept.contains(*path));
    storage.refuse(stays.unwrap());
    let report = expire(&table, &all_but(&table, 1)).await.unwrap();
    assert_eq!(report.message, "Expired 4 snapshots; 1 file could not be deleted");
    let files = count(&report, "data_files") + count(&report, "delete_files");
    assert_eq!(files, 1, "the other one");
    let manifests = count(&report, "manifests");
    assert_eq!((manifests, count(&report, "manifest_lists")), (2, 4));
}
