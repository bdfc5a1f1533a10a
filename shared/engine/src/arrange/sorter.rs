//! Sorts rows by key with DataFusion's external sort: in memory while they fit, else in runs on disk.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::{Schema as ArrowSchema, SchemaRef};
use datafusion_common::DataFusionError;
use datafusion_execution::memory_pool::FairSpillPool;
use datafusion_execution::runtime_env::RuntimeEnvBuilder;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::sorts::sort::SortExec;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::key::{SortKeys, with_key};

/// Memory of one group's sort, in bytes. With two groups at once and what reading and writing takes, a rewrite
/// stays within 1 GiB.
const MEMORY_BYTES: usize = 192 * 1024 * 1024;

/// Scratch space of one group's sort, in bytes: a Lambda function has at most 10 GiB, for two groups at once.
pub(crate) const SCRATCH_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Batches on the way into the sort.
const WAITING_BATCHES: usize = 2;

/// Takes rows in any order. Drop it, or call [`Sorter::finish`], to end the input.
pub(crate) struct Sorter {
    keys: SortKeys,
    keyed: SchemaRef,
    input: Sender<RecordBatch>,
}

/// The rows in order, once the [`Sorter`] has all of them.
pub(crate) struct SortedRows {
    stream: SendableRecordBatchStream,
    columns: Vec<usize>,
}

impl Sorter {
    /// Sorts batches of a schema by `keys`.
    ///
    /// # Errors
    /// The scratch directory (the system's for temporary files) cannot be used.
    pub(crate) fn start(keys: SortKeys, schema: &ArrowSchema) -> Result<(Self, SortedRows), DataFusionError> {
        let keyed = with_key(schema);
        let key = Column::new("key", schema.fields().len());
        let (input, output) = channel(WAITING_BATCHES);
        let source = Input {
            schema: Arc::clone(&keyed),
            batches: Mutex::new(Some(output)),
        };
        let source = StreamingTableExec::try_new(
            Arc::clone(&keyed),
            vec![Arc::new(source)],
            None,
            Vec::<LexOrdering>::new(),
            false,
            None,
        )?;
        let order = LexOrdering::new([PhysicalSortExpr::new_default(Arc::new(key))])
            .expect("an order of one column is not empty");
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES)))
            .with_max_temp_directory_size(SCRATCH_BYTES)
            .build_arc()?;
        let context = TaskContext::default().with_runtime(runtime);
        let stream = SortExec::new(order, Arc::new(source)).execute(0, Arc::new(context))?;
        let sorter = Self { keys, keyed, input };
        let columns = (0..schema.fields().len()).collect();
        Ok((sorter, SortedRows { stream, columns }))
    }

    /// Adds rows; waits while the sort is busy with earlier ones. Rows given to a sort that has failed are
    /// dropped: [`SortedRows::next`] says why it did.
    ///
    /// # Errors
    /// A key cannot be computed.
    pub(crate) async fn push(&self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(self.keys.of(batch)?));
        let keyed = RecordBatch::try_new(Arc::clone(&self.keyed), columns)?;
        let _ = self.input.send(keyed).await;
        Ok(())
    }
}

impl SortedRows {
    /// The next rows; `None` after the last. Answers only after the [`Sorter`] is gone.
    ///
    /// # Errors
    /// Memory or scratch space is used up, or the scratch directory cannot be written.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, DataFusionError> {
        match self.stream.next().await {
            None => Ok(None),
            Some(batch) => Ok(Some(batch?.project(&self.columns)?)),
        }
    }
}

/// The sort's input as DataFusion takes it.
struct Input {
    schema: SchemaRef,
    batches: Mutex<Option<Receiver<RecordBatch>>>,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows to sort")
    }
}

impl PartitionStream for Input {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let taken = self.batches.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut batches = taken.expect("a sort reads its input once");
        let stream = futures::stream::poll_fn(move |context| batches.poll_recv(context)).map(Ok);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use iceberg::spec::{NestedField, PrimitiveType, Schema, Transform, Type};
    use snowpack_plan::{Arrangement, SortTerm};

    use super::*;
    use crate::read::table_arrow_schema;

    fn arrangement(descending: bool, nulls_first: bool) -> (SchemaRef, SortKeys) {
        let field = |id, name: &str, of| Arc::new(NestedField::optional(id, name, Type::Primitive(of)));
        let number = field(1, "n", PrimitiveType::Long);
        let text = field(2, "t", PrimitiveType::String);
        let schema = Schema::builder()
            .with_fields([Arc::clone(&number), text])
            .build()
            .unwrap();
        let schema = table_arrow_schema(&schema).unwrap();
        let term = SortTerm {
            field: number,
            transform: Transform::Identity,
            descending,
            nulls_first,
        };
        let arrangement = Arrangement::Sorted {
            terms: vec![term],
            order_id: 0,
        };
        let keys = SortKeys::new(&arrangement, &schema).unwrap().unwrap();
        (schema, keys)
    }

    async fn sort(
        schema: &SchemaRef,
        keys: SortKeys,
        batches: impl Iterator<Item = Vec<Option<i64>>>,
        text: &str,
    ) -> Vec<Option<i64>> {
        let (sorter, mut sorted) = Sorter::start(keys, schema).unwrap();
        let feed = async move {
            for numbers in batches {
                let texts: ArrayRef = Arc::new(StringArray::from(vec![text; numbers.len()]));
                let columns = vec![Arc::new(Int64Array::from(numbers)) as ArrayRef, texts];
                let batch = RecordBatch::try_new(Arc::clone(schema), columns).unwrap();
                sorter.push(&batch).await.unwrap();
            }
        };
        let read = async {
            let mut found = Vec::new();
            while let Some(batch) = sorted.next().await.unwrap() {
                assert_eq!(batch.num_columns(), 2);
                found.extend(batch.column(0).as_primitive::<Int64Type>().iter());
            }
            found
        };
        futures::join!(feed, read).1
    }

    #[tokio::test]
    async fn nulls_go_where_the_order_says() {
        let numbers = || [vec![Some(2), None], vec![Some(3), Some(1)]].into_iter();
        let (schema, keys) = arrangement(false, true);
        assert_eq!(
            sort(&schema, keys, numbers(), "").await,
            [None, Some(1), Some(2), Some(3)]
        );
        let (schema, keys) = arrangement(true, false);
        assert_eq!(
            sort(&schema, keys, numbers(), "").await,
            [Some(3), Some(2), Some(1), None]
        );
    }

    #[tokio::test]
    async fn more_rows_than_memory_holds_are_sorted_on_disk() {
        let (schema, keys) = arrangement(false, true);
        const ROWS: i64 = 1000;
        const BATCHES: i64 = 300;
        // About 1 KiB a row: half as much again as the sort may hold.
        let text = "x".repeat(1000);
        let batches = (0..BATCHES)
            .rev()
            .map(|batch| (0..ROWS).map(|row| Some(row * BATCHES + batch)).collect());
        let sorted = sort(&schema, keys, batches, &text).await;
        assert!(sorted.into_iter().map(Option::unwrap).eq(0..ROWS * BATCHES));
    }
}
