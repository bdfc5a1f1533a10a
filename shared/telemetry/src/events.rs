//! Every event Snowpack logs: its name, its fields and when it happens. `docs/observability.md` lists the same.

/// What a log line tells of. Code names it as `event = JOB_STARTED.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The value of the line's member `event`.
    pub name: &'static str,
    /// Its members, those of its spans included; one that ends in `?` is left out when it is not known.
    pub fields: &'static [&'static str],
    /// When it happens, in one sentence.
    pub meaning: &'static str,
}

/// A member that every event of a request or an invocation may carry.
pub const REQUEST_ID: &str = "request_id";

impl Event {
    /// Says how the members of a line differ from what the event promises: a test's question.
    ///
    /// # Errors
    /// A sentence that names the members missing and those too many.
    pub fn check<'a>(&self, members: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        let members: Vec<_> = members.into_iter().collect();
        let required = self.fields.iter().filter(|field| !field.ends_with('?'));
        let missing: Vec<_> = required.filter(|field| !members.contains(*field)).collect();
        let known = |member: &str| {
            self.fields
                .iter()
                .any(|field| field.trim_end_matches('?') == member)
        };
        let beside = ["event", "message", REQUEST_ID];
        let unknown: Vec<_> = members
            .into_iter()
            .filter(|member| !known(member) && !beside.contains(member))
            .collect();
        if missing.is_empty() && unknown.is_empty() {
            return Ok(());
        }
        Err(format!("{}: missing {missing:?}, unknown {unknown:?}", self.name))
    }
}

macro_rules! events {
    ($($constant:ident = $name:literal, [$($field:literal),*], $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $constant: Event = Event { name: $name, fields: &[$($field),*], meaning: $meaning };
        )*
        /// Every event, in the order of the documentation.
        pub static EVENTS: &[Event] = &[$($constant),*];
    };
}

events! {
    JOB_SUBMITTED = "job_submitted", ["job_id", "table", "attempt", "fence"],
        "A job was accepted and its table locked.";
    JOB_STARTED = "job_started", ["job_id", "table", "attempt", "slice", "fence", "queue_seconds"],
        "A worker claimed a job, after `queue_seconds` in the queue.";
    ACTION_STARTED = "action_started", ["job_id", "table", "attempt", "slice", "fence", "action"],
        "A worker begins an action, or goes on with it in a further slice.";
    ACTION_COMPLETED = "action_completed",
        ["job_id", "table", "attempt", "slice", "fence", "action", "status", "elapsed_seconds", "files_in?", "files_out?",
         "bytes_in?", "bytes_out?", "bytes_reclaimed?", "cause?"],
        "An action ended: `status` is `completed` or `failed`. The numbers are those of its result.";
    JOB_COMPLETED = "job_completed", ["job_id", "table", "attempt", "slice", "fence", "status", "elapsed_seconds?"],
        "All actions of a job are done.";
    JOB_FAILED = "job_failed", ["job_id", "table", "attempt", "slice", "fence", "status", "elapsed_seconds?", "cause?"],
        "A job failed for `cause`: an action did, or it was given up.";
    JOB_CANCELLED = "job_cancelled", ["job_id", "table", "attempt", "slice", "fence", "status", "elapsed_seconds?"],
        "A job was cancelled.";
    JOB_YIELDED = "job_yielded", ["job_id", "table", "attempt", "slice", "fence", "cause?"],
        "A job waits for a further slice: its time was up, or a fault, `cause`, may pass.";
    JOB_RECOVERED = "job_recovered", ["job_id", "table", "attempt", "slice", "fence"],
        "The sweeper sent the message of a job that nothing else would have woken.";
    FENCE_LOST = "fence_lost", ["job_id", "table", "attempt", "slice", "fence", "action?"],
        "A worker found its job cancelled or taken over, and stops without committing.";
    TABLE_COMMITTED = "table_committed", ["job_id?", "table", "attempt?", "slice?", "fence?", "action?"],
        "A commit to a table was applied.";
    COMMIT_CONFLICT = "commit_conflict",
        ["job_id?", "table", "attempt?", "slice?", "fence?", "action?", "cause", "group?"],
        "Another writer came first: a commit is tried again, or the file group `group` is left as it was.";
    LOCK_FREED = "lock_freed", ["job_id", "table", "fence"],
        "The sweeper freed a table whose job had ended or was gone.";
    REMOTE_RUN_STARTED = "remote_run_started", ["job_id?", "table", "attempt?", "slice?", "fence?", "action", "run", "token", "cause"],
        "An action was handed to Spark for `cause`; `token` makes the hand-over happen once.";
    REMOTE_RUN_ENDED = "remote_run_ended", ["job_id?", "table", "attempt?", "slice?", "fence?", "action", "run", "status"],
        "Spark has ended what was handed to it, or forgotten it.";
    REMOTE_RUN_STOPPED = "remote_run_stopped", ["job_id", "table?", "attempt?", "slice?", "fence?", "action", "run"],
        "Spark was told to stop, because the job has ended.";
    REMOTE_RUN_NOT_STOPPED = "remote_run_not_stopped", ["job_id", "table?", "attempt?", "slice?", "fence?", "action", "run", "cause"],
        "Spark refused to be told to stop; the run ends by its own time limit.";
    REMOTE_RUN_LEFT = "remote_run_left", ["job_id", "table", "attempt", "slice", "fence"],
        "The sweeper sent the message of an ended job whose run on Spark may go on.";
    TABLE_CACHE_SYNCED = "table_cache_synced", ["tables", "written", "removed", "unreadable", "finished"],
        "The table cache was compared with the catalog, to the end if `finished`; otherwise the next sync goes on.";
    TABLE_HEALTH = "table_health",
        ["table", "data_files", "small_files", "delete_files", "snapshots", "manifests", "bytes"],
        "A table's health was collected; logged at level debug.";
    HEALTH_SYNC_COMPLETED = "health_sync_completed", ["collected", "fresh", "failed", "left", "needing_maintenance"],
        "Health was collected of tables that have changed, and could not be of `failed`; for `left` there was no time.";
    ORCHESTRATOR_RUN_COMPLETED = "orchestrator_run_completed",
        ["run_id", "status", "tables_assessed", "tables_skipped", "tables_healthy", "jobs_submitted", "dry_run", "cause?"],
        "The orchestrator looked at every table once; `status` is `completed`, `partial` or `failed`.";
    SWEEP_COMPLETED = "sweep_completed", ["sent", "given_up", "dead_letters", "freed", "table_cache_age_seconds?"],
        "The sweeper did all it had to; the age is that of the table cache.";
    SWEEP_FAILED = "sweep_failed", ["sent", "given_up", "dead_letters", "freed", "table_cache_age_seconds?", "cause"],
        "The sweeper did some of what it had to; the next sweep takes up the rest.";
    DRAIN_SET = "drain_set", ["enabled"],
        "Drain mode was switched.";
    HTTP_REQUEST = "http_request", ["method", "path", "status", "elapsed_seconds"],
        "The API answered a request.";
    REQUEST_FAILED = "request_failed", ["cause"],
        "Why a request was answered with a server error, which the caller is not told.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (position, event) in EVENTS.iter().enumerate() {
            assert!(
                EVENTS[..position]
                    .iter()
                    .all(|earlier| earlier.name != event.name),
                "{}",
                event.name
            );
        }
    }

    #[test]
    fn members_are_held_to_the_definition() {
        assert_eq!(DRAIN_SET.check(["event", "enabled", "request_id"]), Ok(()));
        assert_eq!(
            JOB_CANCELLED.check(
                JOB_CANCELLED
                    .fields
                    .iter()
                    .map(|field| field.trim_end_matches('?'))
            ),
            Ok(())
        );
        let wrong = DRAIN_SET.check(["event", "on"]).unwrap_err();
        assert_eq!(wrong, r#"drain_set: missing ["enabled"], unknown ["on"]"#);
    }
}
