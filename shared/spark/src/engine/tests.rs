//! Who does what, from the first look to the last, over one table and doubles of both engines.

use std::sync::Mutex;

use iceberg::io::FileIO;
use serde_json::{Value, json};
use snowpack_catalog::{CommitError, TableChange};
use snowpack_domain::{JobId, ListedTable, Metric, OptionValue, Timestamp};
use snowpack_service::ports::RunOrder;

use super::*;

const REWRITE: Action = Action::RewriteDataFiles;

fn table_id() -> TableId {
    TableId::new("db", "t").unwrap()
}

/// A catalog of one table without a snapshot, with these properties.
struct OneTable(Value);

impl OneTable {
    fn with(properties: &Value) -> Self {
        Self(json!({
            "format-version": 2, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1", "location": "memory:///t",
            "last-sequence-number": 0, "last-updated-ms": 1_700_000_000_000_i64, "last-column-id": 1,
            "current-schema-id": 0,
            "schemas": [{"type": "struct", "schema-id": 0,
                "fields": [{"id": 1, "name": "id", "required": true, "type": "long"}]}],
            "default-spec-id": 0, "partition-specs": [{"spec-id": 0, "fields": []}], "last-partition-id": 999,
            "default-sort-order-id": 0, "sort-orders": [{"order-id": 0, "fields": []}],
            "properties": properties, "snapshots": [], "refs": {}
        }))
    }
}

impl Catalog for OneTable {
    async fn load(&self, _: &TableId) -> Result<LoadedTable, CatalogError> {
        let metadata = Arc::new(serde_json::from_value(self.0.clone()).unwrap());
        let io = FileIO::new_with_memory();
        Ok(LoadedTable::new(
            table_id(),
            metadata,
            "memory:///t/v1.json".into(),
            io,
        ))
    }

    async fn commit(&self, _: &LoadedTable, _: TableChange) -> Result<LoadedTable, CommitError> {
        unreachable!("nobody commits here")
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogError> {
        Ok(vec![])
    }

    async fn tables(&self, _: &str) -> Result<Vec<ListedTable>, CatalogError> {
        Ok(vec![])
    }
}

/// Remembers what it was asked to run.
#[derive(Clone, Debug, Default)]
struct Native(Arc<Mutex<Vec<Action>>>);

impl Engine for Native {
    async fn preflight(&self, _: &TableId, _: &[Action], _: &JobOptions) -> Result<(), ActionStop> {
        Ok(())
    }

    async fn run<S: Supervisor>(
        &self,
        _: &TableId,
        action: Action,
        _: &JobOptions,
        _: &Provenance,
        _: Arc<S>,
    ) -> Result<ActionResult, ActionStop> {
        self.0.lock().unwrap().push(action);
        Ok(snowpack_domain::dry_run_result(action, None))
    }
}

#[derive(Clone, Debug, Default)]
struct Runs(Arc<Mutex<Spark>>);

#[derive(Debug, Default)]
struct Spark {
    orders: Vec<RunOrder>,
    status: Option<RunStatus>,
    output: Option<String>,
    cancelled: Vec<String>,
    is_away: bool,
}

impl SparkRuns for Runs {
    async fn start(&self, order: &RunOrder) -> Result<String, RemoteError> {
        let mut spark = self.0.lock().unwrap();
        if spark.is_away {
            return Err(RemoteError::Unavailable("throttled".into()));
        }
        spark.orders.push(order.clone());
        Ok("00f1".into())
    }

    async fn status(&self, run: &str) -> Result<RunStatus, RemoteError> {
        assert_eq!(run, "00f1");
        let spark = self.0.lock().unwrap();
        if spark.is_away {
            return Err(RemoteError::Unavailable("throttled".into()));
        }
        Ok(spark.status.clone().unwrap_or(RunStatus::Going))
    }

    async fn output(&self, token: &str) -> Result<Option<String>, RemoteError> {
        let spark = self.0.lock().unwrap();
        assert_eq!(token, spark.orders[0].token);
        Ok(spark.output.clone())
    }

    async fn cancel(&self, run: &str) -> Result<(), RemoteError> {
        self.0.lock().unwrap().cancelled.push(run.to_owned());
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct At(i64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0 * 1_000_000)
    }
}

/// A job that remembers a run, or none, and may have lost its fence.
#[derive(Debug, Default)]
struct Holder {
    run: Option<RemoteRun>,
    is_revoked: bool,
    progress: Mutex<Option<Progress>>,
}

impl Supervisor for Holder {
    async fn checkpoint(&self) -> Result<(), ActionStop> {
        self.poll()
    }

    fn poll(&self) -> Result<(), ActionStop> {
        if self.is_revoked {
            Err(ActionStop::Revoked)
        } else {
            Ok(())
        }
    }

    fn progress(&self, progress: Progress) {
        *self.progress.lock().unwrap() = Some(progress);
    }

    fn seconds_left(&self) -> Option<f64> {
        None
    }

    fn remote_run(&self, action: Action) -> Option<RemoteRun> {
        self.run.clone().filter(|run| run.action == action)
    }
}

struct Scene {
    engine: HandingOver<Native, OneTable, At, Runs>,
    native: Native,
    runs: Runs,
}

fn scene_at(now: i64, properties: &Value, has_spark: bool) -> Scene {
    let (native, runs) = (Native::default(), Runs::default());
    let engine = HandingOver::new(
        native.clone(),
        Arc::new(OneTable::with(properties)),
        At(now),
        HashMap::new(),
        has_spark.then(|| runs.clone()),
    );
    Scene { engine, native, runs }
}

/// A table that is refused natively, so that nothing but Spark can do it.
fn encrypted(engine: &str) -> Value {
    json!({"encryption.key-id": "k", "snowpack.engine": engine})
}

impl Scene {
    async fn run(&self, action: Action, holder: Holder) -> Result<ActionResult, ActionStop> {
        let provenance = Provenance {
            job: Some(JobId::from_u128(7)),
            fence: 3,
        };
        let options = JobOptions::default();
        self.engine
            .run(&table_id(), action, &options, &provenance, Arc::new(holder))
            .await
    }

    fn native_runs(&self) -> Vec<Action> {
        self.native.0.lock().unwrap().clone()
    }

    fn orders(&self) -> Vec<RunOrder> {
        self.runs.0.lock().unwrap().orders.clone()
    }

    async fn preflight(&self, action: Action, options: &JobOptions) -> Result<(), String> {
        let checked = self.engine.preflight(&table_id(), &[action], options).await;
        checked.map_err(|stop| cause(&stop))
    }
}

fn cause(stop: &ActionStop) -> String {
    match stop {
        ActionStop::Failed { cause, .. } => cause.clone(),
        other => panic!("{other:?}"),
    }
}

fn remembered(started_at: i64) -> Holder {
    Holder {
        run: Some(RemoteRun {
            action: REWRITE,
            id: "00f1".into(),
            started_at: At(started_at).now(),
            predicted: [("files_in".to_owned(), 7), ("rows_in".to_owned(), 99)].into(),
        }),
        ..Holder::default()
    }
}

#[tokio::test]
async fn native_tables_never_meet_spark() {
    let scene = scene_at(0, &json!({}), true);
    scene.run(REWRITE, Holder::default()).await.unwrap();
    let encrypted = scene_at(0, &encrypted("native"), true);
    encrypted.run(REWRITE, Holder::default()).await.unwrap();
    assert_eq!(
        (scene.native_runs(), encrypted.native_runs()),
        (vec![REWRITE], vec![REWRITE])
    );
    assert!(scene.orders().is_empty() && encrypted.orders().is_empty());
}

#[tokio::test]
async fn what_is_refused_natively_is_started_on_spark_and_the_run_handed_back() {
    let scene = scene_at(50, &encrypted("auto"), true);
    scene.preflight(REWRITE, &JobOptions::default()).await.unwrap();
    let stop = scene.run(REWRITE, Holder::default()).await.unwrap_err();
    let ActionStop::Elsewhere {
        run,
        resume_after_seconds,
    } = stop
    else {
        panic!("{stop:?}");
    };
    assert_eq!(
        (run.id.as_str(), run.action, run.started_at),
        ("00f1", REWRITE, At(50).now())
    );
    assert_eq!(resume_after_seconds, 20);
    let orders = scene.orders();
    assert!(orders[0].document.contains("CALL"), "{orders:?}");
    assert!(scene.native_runs().is_empty());
}

#[tokio::test]
async fn orphans_stay_native_whatever_is_set() {
    let scene = scene_at(0, &encrypted("spark"), true);
    scene
        .run(Action::RemoveOrphanFiles, Holder::default())
        .await
        .unwrap();
    assert_eq!(scene.native_runs(), [Action::RemoveOrphanFiles]);
}

#[tokio::test]
async fn spark_is_not_started_for_nothing() {
    let scene = scene_at(0, &json!({"snowpack.engine": "spark"}), true);
    let result = scene.run(REWRITE, Holder::default()).await.unwrap();
    assert_eq!(
        result.outcome,
        Ok("Nothing to do: none of 0 data files needs a rewrite".into())
    );
    assert_eq!(
        (&result.metrics["files_in"], result.predicted["files_in"]),
        (&Metric::Count(0), 0)
    );
    assert!(scene.orders().is_empty() && scene.native_runs().is_empty());
}

#[tokio::test]
async fn nothing_is_started_without_the_fence() {
    let scene = scene_at(0, &encrypted("spark"), true);
    let revoked = Holder {
        is_revoked: true,
        ..Holder::default()
    };
    let stop = scene.run(REWRITE, revoked).await.unwrap_err();
    assert!(matches!(stop, ActionStop::Revoked));
    assert!(scene.orders().is_empty());
}

#[tokio::test]
async fn a_run_is_looked_at_less_often_as_it_grows_old() {
    for (age, expected) in [(0, 20), (300, 30), (3_600, 120), (40_000, 120)] {
        let scene = scene_at(age, &encrypted("spark"), true);
        let stop = scene.run(REWRITE, remembered(0)).await.unwrap_err();
        let ActionStop::Elsewhere {
            resume_after_seconds, ..
        } = stop
        else {
            panic!("{stop:?}");
        };
        assert_eq!(resume_after_seconds, expected, "{age}");
    }
}

/// What becomes of a run that ended like this.
async fn ended(status: RunStatus, output: Option<&str>) -> Result<ActionResult, ActionStop> {
    let scene = scene_at(100, &encrypted("spark"), true);
    scene.run(REWRITE, Holder::default()).await.unwrap_err();
    {
        let mut spark = scene.runs.0.lock().unwrap();
        spark.status = Some(status);
        spark.output = output.map(str::to_owned);
    }
    scene.run(REWRITE, remembered(10)).await
}

#[tokio::test]
async fn the_end_of_a_run_is_the_actions() {
    let row = json!({"rewritten_data_files_count": 6, "added_data_files_count": 1, "rewritten_bytes_count": 9,
        "failed_data_files_count": 0, "removed_delete_files_count": 0});
    let output = json!({"format": 1, "rows": [row]}).to_string();
    let result = ended(RunStatus::Succeeded, Some(&output)).await.unwrap();
    assert_eq!(result.outcome, Ok("Compacted 6 files into 1 files".into()));
    assert_eq!(
        (result.elapsed_seconds, &result.metrics["files_in"]),
        (90.0, &Metric::Count(6))
    );
    let predicted = [("files_in".to_owned(), 7)].into();
    assert_eq!(result.predicted, predicted, "Spark does not count rows");
}

#[tokio::test]
async fn a_run_remembers_what_the_plan_expected() {
    let scene = scene_at(0, &encrypted("auto"), true);
    let stop = scene
        .run(Action::ExpireSnapshots, Holder::default())
        .await
        .unwrap_err();
    let ActionStop::Elsewhere { run, .. } = stop else {
        panic!("{stop:?}");
    };
    assert_eq!(run.predicted["snapshots"], 0);
    assert!(
        !run.predicted.contains_key("data_files"),
        "nobody can tell before"
    );
}

#[tokio::test]
async fn what_went_wrong_with_a_run_is_said() {
    let said = json!({"format": 1, "error": "AnalysisException: no"}).to_string();
    let cases = [
        (
            RunStatus::Failed("driver exited".into()),
            Some(said.as_str()),
            "AnalysisException",
        ),
        (RunStatus::Failed("driver exited".into()), None, "driver exited"),
        (
            RunStatus::Failed("driver exited".into()),
            Some("garbage"),
            "driver exited",
        ),
        (RunStatus::Succeeded, None, "left no result"),
        (RunStatus::Succeeded, Some("garbage"), "unreadable"),
        (RunStatus::Unknown, None, "not known any more"),
    ];
    for (status, output, expected) in cases {
        let stop = ended(status, output).await.unwrap_err();
        assert!(cause(&stop).contains(expected), "{stop:?}");
        assert!(matches!(stop, ActionStop::Failed { retry: false, .. }));
    }
}

#[tokio::test]
async fn a_service_that_is_away_is_tried_again() {
    let scene = scene_at(0, &encrypted("spark"), true);
    scene.runs.0.lock().unwrap().is_away = true;
    let stop = scene.run(REWRITE, Holder::default()).await.unwrap_err();
    assert!(matches!(stop, ActionStop::Failed { retry: true, .. }), "{stop:?}");
}

#[tokio::test]
async fn looks_in_vain_cost_nothing_until_no_run_can_go_on_any_more() {
    for (hours, is_patient) in [(1, true), (12, true), (13, false)] {
        let scene = scene_at(hours * 3600, &encrypted("spark"), true);
        scene.runs.0.lock().unwrap().is_away = true;
        let stop = scene.run(REWRITE, remembered(0)).await.unwrap_err();
        let waits = matches!(stop, ActionStop::Elsewhere { .. });
        let fails = matches!(stop, ActionStop::Failed { retry: true, .. });
        assert_eq!((waits, fails), (is_patient, !is_patient), "{stop:?}");
    }
}

#[tokio::test]
async fn without_spark_a_table_that_asks_for_it_is_refused_in_words() {
    let scene = scene_at(0, &json!({"snowpack.engine": "spark"}), false);
    let refused = scene
        .preflight(REWRITE, &JobOptions::default())
        .await
        .unwrap_err();
    assert!(refused.contains("SNOWPACK_SPARK_APPLICATION_ID"), "{refused}");
    let stop = scene.run(REWRITE, Holder::default()).await.unwrap_err();
    assert_eq!(cause(&stop), refused);
    scene
        .run(Action::ExpireSnapshots, Holder::default())
        .await
        .unwrap();
    let lost = scene.run(REWRITE, remembered(0)).await.unwrap_err();
    assert!(cause(&lost).contains("SNOWPACK_SPARK_APPLICATION_ID"));
    let run = remembered(0).run.unwrap();
    assert!(matches!(
        scene.engine.abandon(&run).await,
        Err(RemoteError::Refused(_))
    ));
}

#[tokio::test]
async fn what_sparks_procedure_refuses_is_not_handed_to_it() {
    let mut properties = encrypted("auto");
    properties["gc.enabled"] = json!("false");
    let scene = scene_at(0, &properties, true);
    let refused = scene
        .preflight(Action::ExpireSnapshots, &JobOptions::default())
        .await;
    assert!(refused.unwrap_err().contains("gc.enabled"));
}

#[tokio::test]
async fn a_filter_may_do_no_more_than_it_does_natively() {
    let scene = scene_at(0, &encrypted("spark"), true);
    let mut options = JobOptions::default();
    let filter = OptionValue::Text("reflect('java.lang.System', 'exit', 1) = 1".into());
    options.set(REWRITE, "where", filter).unwrap();
    let refused = scene.preflight(REWRITE, &options).await.unwrap_err();
    assert!(refused.contains("where"), "{refused}");
}

#[tokio::test]
async fn an_abandoned_run_is_cancelled() {
    let scene = scene_at(0, &encrypted("spark"), true);
    let run = remembered(0).run.unwrap();
    scene.engine.abandon(&run).await.unwrap();
    assert_eq!(scene.runs.0.lock().unwrap().cancelled, ["00f1"]);
}

#[tokio::test]
async fn progress_shows_that_a_run_goes_on() {
    let scene = scene_at(0, &encrypted("spark"), true);
    let holder = Arc::new(Holder::default());
    let provenance = Provenance {
        job: Some(JobId::from_u128(7)),
        fence: 3,
    };
    let options = JobOptions::default();
    let ran = scene
        .engine
        .run(&table_id(), REWRITE, &options, &provenance, Arc::clone(&holder))
        .await;
    ran.unwrap_err();
    let progress = holder.progress.lock().unwrap().clone().unwrap();
    assert_eq!((progress.total, progress.unit.as_str()), (1, "spark_runs"));
}
