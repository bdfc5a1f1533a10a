//! A small engine over the table model, which asks its supervisor where the real one does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use snowpack_domain::{Action, ActionResult, Fence, JobId, JobOptions, Progress, RemoteRun, TableId};
use snowpack_service::ports::{ActionStop, Engine, Provenance, RemoteError, Supervisor};

use crate::config::{Fault, Sabotage};
use crate::process::Process;
use crate::remote;
use crate::supervisor::Watched;
use crate::table::{Change, FileId, Table};
use crate::world::World;

/// Files up to this many rows are compacted.
const SMALL_ROWS: usize = 5;
const FILES_PER_GROUP: usize = 3;
/// Many, so that a run without a commit takes longer than a worker may take to notice a cancel.
const GROUPS_PER_COMMIT: usize = 8;
const FILES_PER_DELETE: usize = 3;
const COMMIT_TRIES: u32 = 4;
/// No group is started with less time.
const GROUP_SECONDS: f64 = 5.0;

/// The engine in one process.
pub(crate) struct SimulatedEngine(pub(crate) Arc<Process>);

/// Files read together and the file written in their place.
struct Group {
    read: Vec<FileId>,
    written: FileId,
}

/// One action on one table for one holder of the job.
struct Run<S> {
    process: Arc<Process>,
    table: TableId,
    job: JobId,
    fence: Fence,
    supervisor: Watched<S>,
}

fn may_pass(cause: &str) -> ActionStop {
    ActionStop::Failed {
        cause: cause.to_owned(),
        retry: true,
    }
}

impl Engine for SimulatedEngine {
    async fn preflight(&self, _: &TableId, _: &[Action], _: &JobOptions) -> Result<(), ActionStop> {
        self.0.point("preflight").await;
        if self.0.dice.happens(Fault::ActionRefused) {
            return Err(ActionStop::Failed {
                cause: "the action is refused".to_owned(),
                retry: false,
            });
        }
        Ok(())
    }

    async fn run<S: Supervisor>(
        &self,
        table: &TableId,
        action: Action,
        _: &JobOptions,
        provenance: &Provenance,
        supervisor: Arc<S>,
    ) -> Result<ActionResult, ActionStop> {
        let Self(process) = self;
        let world = &process.world;
        let job = provenance.job.clone().expect("workers run jobs");
        let fence = Fence::new(provenance.fence);
        world
            .checks
            .action_starts(world.store.state().job(&job), action, fence);
        let run = Run {
            process: Arc::clone(process),
            table: table.clone(),
            job: job.clone(),
            fence,
            supervisor: Watched {
                world: Arc::clone(world),
                job: job.clone(),
                fence,
                inner: supervisor,
            },
        };
        world.trace.note("action", || {
            format!("{action} of {job} on {table} by {} under {fence}", process.name)
        });
        let ended = match run.supervisor.remote_run(action) {
            Some(remembered) => remote::look(process, remembered).await,
            None if action == Action::RewriteDataFiles && process.dice.happens(Fault::HandedOver) => {
                Err(remote::hand_over(process, &job, table, action, &run.supervisor).await)
            }
            None => run.act(action).await,
        };
        match &ended {
            Ok(()) => world.checks.action_succeeded(&job, action),
            Err(stop) => world
                .trace
                .note("action stopped", || format!("{action} of {job}: {stop:?}")),
        }
        ended.map(|()| ActionResult {
            action,
            outcome: Ok("done".to_owned()),
            elapsed_seconds: 1.0,
            metrics: BTreeMap::new(),
            predicted: BTreeMap::new(),
            preview: None,
        })
    }

    async fn abandon(&self, run: &RemoteRun) -> Result<(), RemoteError> {
        remote::abandon(&self.0, run).await
    }
}

impl<S: Supervisor> Run<S> {
    fn world(&self) -> &Arc<World> {
        &self.process.world
    }

    fn with_table<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        self.world().with_table(&self.table, act)
    }

    async fn act(&self, action: Action) -> Result<(), ActionStop> {
        if self.process.dice.happens(Fault::ActionFails) {
            self.process
                .pause("before an action fails", self.process.dice.seconds(0..3))
                .await;
            return Err(may_pass("disk on fire"));
        }
        match action {
            Action::RewriteDataFiles => self.rewrite().await,
            Action::ExpireSnapshots => self.expire().await,
            _ => self.commit(|_| Change::default()).await,
        }
    }

    async fn rewrite(&self) -> Result<(), ActionStop> {
        let mut finished = Vec::new();
        let mut ended = self.rewrite_groups(&mut finished).await;
        if matches!(ended, Ok(()) | Err(ActionStop::OutOfTime)) {
            // What is finished is committed, also when time is up.
            if let Err(stop) = self.commit_groups(&mut finished).await {
                ended = Err(stop);
            }
        }
        self.process.point("before files are cleaned up").await;
        for group in finished {
            self.delete(group.written);
        }
        ended
    }

    async fn rewrite_groups(&self, finished: &mut Vec<Group>) -> Result<(), ActionStop> {
        let planned = self.with_table(|table| {
            let small = table.live.iter().filter(|file| table.size(**file) <= SMALL_ROWS);
            small.copied().collect::<Vec<FileId>>()
        });
        let total = planned.len().div_ceil(FILES_PER_GROUP) as u64;
        for (done, read) in (0..).zip(planned.chunks(FILES_PER_GROUP)) {
            if read.len() == 1 {
                continue;
            }
            self.supervisor.progress(Progress {
                action: Action::RewriteDataFiles,
                done,
                total,
                unit: "file_groups".to_owned(),
            });
            if self
                .supervisor
                .seconds_left()
                .is_some_and(|left| left < GROUP_SECONDS)
            {
                return Err(ActionStop::OutOfTime);
            }
            finished.extend(self.rewrite_group(read.to_vec()).await?);
            if finished.len() == GROUPS_PER_COMMIT {
                self.commit_groups(finished).await?;
            }
        }
        Ok(())
    }

    /// `None` when a file is gone: another writer was here.
    async fn rewrite_group(&self, read: Vec<FileId>) -> Result<Option<Group>, ActionStop> {
        let dice = &self.process.dice;
        self.supervisor.poll()?;
        let mut rows = Vec::new();
        for file in &read {
            self.process.pause("while reading", dice.millis(100..1000)).await;
            match self.with_table(|table| table.read(*file)) {
                Some(more) => rows.extend(more),
                None => return Ok(None),
            }
        }
        self.supervisor.poll()?;
        self.process.pause("while writing", dice.millis(100..2000)).await;
        let written = self.with_table(|table| table.write(rows));
        self.process.point("after a file was written").await;
        Ok(Some(Group { read, written }))
    }

    /// Commits the groups whose files are still live. Those that may be committed are taken out of `finished`.
    async fn commit_groups(&self, finished: &mut Vec<Group>) -> Result<(), ActionStop> {
        if finished.is_empty() {
            return Ok(());
        }
        let unchecked = self.world().sabotaged(Sabotage::EngineSkipsValidation);
        let live = |table: &Table, group: &Group| group.read.iter().all(|file| table.live.contains(file));
        let change = |table: &Table| {
            let groups = finished.iter().filter(|group| unchecked || live(table, group));
            let (removed, added): (Vec<_>, BTreeSet<_>) =
                groups.map(|group| (group.read.clone(), group.written)).unzip();
            Change {
                removed: removed.into_iter().flatten().collect(),
                added,
                ..Change::default()
            }
        };
        let ended = self.commit(change).await;
        let committed = |table: &Table, file: FileId| table.live.contains(&file) || table.old.contains(&file);
        match &ended {
            Ok(()) => {
                let lost = self.with_table(|table| {
                    finished.retain(|group| {
                        !committed(table, group.written) && !table.expired.contains(&group.written)
                    });
                    std::mem::take(finished)
                });
                for group in lost {
                    self.delete(group.written);
                }
            }
            // They may be committed yet.
            Err(ActionStop::Failed { cause, .. }) if cause == UNKNOWN => finished.clear(),
            Err(_) => {}
        }
        ended
    }

    async fn expire(&self) -> Result<(), ActionStop> {
        self.supervisor.poll()?;
        let expired = self.with_table(|table| table.old.clone());
        self.process
            .pause("while planning", self.process.dice.millis(10..1500))
            .await;
        let change = |table: &Table| Change {
            expired: expired.intersection(&table.old).copied().collect(),
            ..Change::default()
        };
        self.commit(change).await?;
        let mut files: Vec<FileId> = expired.into_iter().collect();
        if self.world().sabotaged(Sabotage::EngineDeletesLiveFiles) {
            files.extend(self.with_table(|table| table.live.first().copied()));
        }
        for batch in files.chunks(FILES_PER_DELETE) {
            self.supervisor.poll()?;
            self.supervisor.checkpoint().await?;
            self.process
                .pause(
                    "between checkpoint and delete",
                    self.process.dice.millis(10..1000),
                )
                .await;
            self.changes_the_table("deleted after the fence was lost");
            for file in batch {
                self.delete(*file);
                self.process.point("between deletes").await;
            }
        }
        Ok(())
    }

    fn delete(&self, file: FileId) {
        let deleted = self.with_table(|table| table.delete(file));
        self.world().checks.take(deleted);
    }

    /// Plans on the newest version and commits over it, again when another commit was first.
    async fn commit(&self, plan: impl Fn(&Table) -> Change) -> Result<(), ActionStop> {
        let dice = &self.process.dice;
        for _ in 0..COMMIT_TRIES {
            self.supervisor.checkpoint().await?;
            let (base, mut change) = self.with_table(|table| (table.version, plan(table)));
            change.snapshot = self.world().next_snapshot();
            self.process
                .pause("between checkpoint and commit", dice.millis(10..400))
                .await;
            self.changes_the_table("committed after the fence was lost");
            if dice.happens(Fault::CommitUnknown) {
                return self.commit_without_an_answer(base, change).await;
            }
            let committed = self.world().commit(&self.table, base, &change);
            self.process.point("after a commit").await;
            if committed {
                return Ok(());
            }
            self.process
                .pause("before a commit is tried again", dice.millis(10..1000))
                .await;
        }
        Err(may_pass("other writers were always first"))
    }

    /// The table, read back, says whether the commit was applied; when it was not, it may still be.
    async fn commit_without_an_answer(&self, base: u64, change: Change) -> Result<(), ActionStop> {
        let dice = &self.process.dice;
        let snapshot = change.snapshot;
        self.world()
            .trace
            .note("commit unknown", || format!("snapshot {snapshot}"));
        match dice.below(3) {
            0 => _ = self.world().commit(&self.table, base, &change),
            1 => {
                let (world, table, delay) =
                    (Arc::clone(self.world()), self.table.clone(), dice.seconds(0..20));
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    world.commit(&table, base, &change);
                });
            }
            _ => {}
        }
        self.process
            .pause("before the table is read back", dice.millis(100..2000))
            .await;
        if self.with_table(|table| table.snapshots.contains(&snapshot)) {
            Ok(())
        } else {
            Err(may_pass(UNKNOWN))
        }
    }

    /// The one window that is left: the fence may be lost between a checkpoint and what it permits.
    fn changes_the_table(&self, event: &'static str) {
        let world = self.world();
        world.checks.commits(&self.job, self.fence);
        if world.store.state().lock(&self.table).value.fence != self.fence {
            world.trace.note(event, || {
                format!("{} under {} by {}", self.job, self.fence, self.process.name)
            });
        }
    }
}

/// The cause when a commit may or may not have been applied.
const UNKNOWN: &str = "the outcome of the commit is unknown";
