//! Deletes of many files: read once, kept once, and bounded by what they are given.

use iceberg::spec::{NestedField, PrimitiveType, StructType};
use snowpack_plan::{DeleteIndex, TableState};

use super::*;
use crate::fake::FakeSupervisor;
use crate::sample::{SampleTable, Value, live};

/// Data files, and as many delete files of either kind.
const FILES: i64 = 60;
const ROWS: i64 = 5;

struct Many {
    table: SampleTable,
    scans: Vec<ScanFile>,
}

fn fields() -> StructType {
    let id = NestedField::optional(1, "id", PrimitiveType::Long.into());
    StructType::new(vec![id.into()])
}

fn row(id: i64) -> Value {
    Value::Struct(vec![Value::Int(id)])
}

/// Every delete applies to every data file: each equality delete names the first row of one file, each position
/// delete the second row.
async fn many() -> Many {
    let fields = fields();
    let table = SampleTable::new(std::slice::from_ref(&fields), Vec::new(), &[]);
    let mut state = TableState::empty();
    for file in 0..FILES {
        let rows: Vec<_> = (file * ROWS..(file + 1) * ROWS).map(row).collect();
        let data = table.data_file(&format!("in-{file}"), &fields, &rows).await;
        let data = data.build().unwrap();
        let position = table
            .position_deletes(&format!("pos-{file}"), &[(data.file_path().to_owned(), 1)])
            .await;
        let equality = table
            .equality_deletes(&format!("eq-{file}"), &[1], &fields, &[row(file * ROWS)])
            .await;
        state.data.push(live(data, 0, 1));
        state.deletes.push(live(position, 0, 1 + file));
        state.deletes.push(live(equality, 0, 2 + file));
    }
    let index = DeleteIndex::new(&state, &table.metadata);
    let scans = state.data.iter().map(|data| index.scan(data)).collect();
    Many { table, scans }
}

impl Many {
    fn reader(&self) -> DeleteReader {
        DeleteReader::new(self.table.io.clone(), Arc::clone(&self.table.metadata), None)
    }

    async fn load(&self, reader: &DeleteReader, files: &[ScanFile]) -> Result<GroupDeletes, EngineError> {
        GroupDeletes::load(reader, files, &FakeSupervisor::default()).await
    }

    async fn remove(&self, prefix: &str) {
        for delete in self.scans[0].equality_deletes.iter() {
            let path = delete.file.file_path();
            assert!(path.contains(prefix));
            self.table.io.delete(path).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_applies_to_every_file_is_kept_once() {
    let many = many().await;
    let deletes = many
        .scans
        .iter()
        .flat_map(|scan| [&scan.position_deletes, &scan.equality_deletes]);
    assert!(deletes.clone().all(|deletes| deletes.len() as i64 == FILES));
    let lists = SharedDeletes::of(deletes);
    let counts: Vec<_> = lists.iter().map(|list| list.files().count() as i64).collect();
    assert_eq!(counts, [FILES, FILES]);
    let reader = many.reader();
    let loaded = many.load(&reader, &many.scans).await.unwrap();
    assert_eq!(loaded.equality.len(), 1);
    for (index, scan) in many.scans.iter().enumerate() {
        assert_eq!(
            loaded.lookups(scan).len(),
            1,
            "one look-up serves all delete files"
        );
        assert_eq!(loaded.positions(index).iter().collect::<Vec<_>>(), [1]);
    }
}

#[tokio::test]
async fn deletes_of_the_whole_table_are_read_once_for_all_groups() {
    let many = many().await;
    let reader = many.reader().sharing(many.scans.iter());
    let (one, other) = many.scans.split_at(10);
    let first = many.load(&reader, one).await.unwrap();
    many.remove("eq-").await;
    let second = many.load(&reader, other).await.unwrap();
    assert!(Arc::ptr_eq(&first.equality[0], &second.equality[0]));
    let alone = many.load(&many.reader(), other).await.err().unwrap();
    assert!(alone.to_string().contains("eq-"), "{alone}");
}

#[tokio::test]
async fn keys_on_disk_become_positions_for_each_group() {
    let many = many().await;
    let mut reader = many.reader().sharing(many.scans.iter());
    reader.key_bytes = 100;
    for files in many.scans.chunks(25) {
        let loaded = many.load(&reader, files).await.unwrap();
        assert!(loaded.equality.is_empty());
        for index in 0..files.len() {
            assert_eq!(loaded.positions(index).iter().collect::<Vec<_>>(), [0, 1]);
        }
    }
}

#[tokio::test]
async fn too_little_scratch_space_or_memory_is_said() {
    let many = many().await;
    let mut reader = many.reader();
    (reader.key_bytes, reader.scratch_bytes) = (0, 1000);
    let error = many.load(&reader, &many.scans).await.err().unwrap();
    assert!(
        matches!(error, EngineError::Spill(SpillError::Full(1000))),
        "{error}"
    );
    reader.scratch_bytes = SPILL_BYTES;
    reader.budget_bytes = 1000;
    let error = many.load(&reader, &many.scans).await.err().unwrap().to_string();
    assert!(
        error.contains("1000 bytes of memory") && error.contains("max-file-group-size-bytes"),
        "{error}"
    );
}
