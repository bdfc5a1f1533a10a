//! The contract of a job store: scenarios over the port alone, each on a fresh store.

mod cache;
mod lists;
mod locks;
mod protocol;
mod races;
mod steps;

use snowpack_service::ports::JobStore;

/// Runs every scenario, each on a store that `fresh` made empty.
///
/// # Panics
/// When the store breaks its contract.
pub async fn job_store_contract<S: JobStore>(fresh: impl AsyncFn() -> S) {
    protocol::a_job_runs_in_slices_to_its_end(&fresh().await).await;
    protocol::a_cancelled_job_frees_its_table(&fresh().await).await;
    protocol::a_dry_run_needs_no_lock(&fresh().await).await;
    protocol::a_big_job_comes_back_whole(&fresh().await).await;
    races::stale_versions_store_nothing(&fresh().await).await;
    races::one_of_200_submitters_wins(fresh().await).await;
    races::one_of_many_claimers_wins(fresh().await).await;
    races::drain_stops_a_submit_decided_before(&fresh().await).await;
    races::a_forgotten_table_stops_a_submit_decided_before(&fresh().await).await;
    races::idempotency_keys_are_kept_until_they_expire(&fresh().await).await;
    lists::pages_agree_with_the_naive_model(&fresh).await;
    lists::a_list_that_changes_repeats_nothing(&fresh().await).await;
    lists::foreign_cursors_are_refused(&fresh().await).await;
    lists::jobs_needing_a_message_are_found(&fresh).await;
    locks::held_locks_are_listed_by_name(&fresh().await).await;
    lists::jobs_are_counted(&fresh).await;
    lists::a_purge_takes_only_old_finished_jobs(&fresh().await).await;
    cache::entries_are_listed_by_name(&fresh().await).await;
    locks::many_are_read_at_once_with_what_was_done_last(&fresh().await).await;
    cache::a_sync_removes_what_it_did_not_see(&fresh().await).await;
    cache::its_state_is_remembered(&fresh().await).await;
}
