//! The Iceberg table beneath, as naive as can be. A commit succeeds exactly if the file it replaces is still the
//! live one; the catalog knows nothing of fences. That is the one window in which a worker that lost its fence can
//! still change the table, and the reason why it must leave the table valid.

use crate::state::{Base, Request, State, Step, UnderWay, Worker};
use crate::worker::check_confirmed;

/// Makes a new file live. Everybody who planned from the one before is too late.
pub(crate) fn commit(next: &mut State, table: usize) {
    next.tables[table].files.replaced = true;
    next.tables[table].files.under_way = None;
    for worker in next
        .workers
        .iter_mut()
        .filter(|worker| usize::from(worker.table) == table)
    {
        worker.step = match worker.step {
            Step::Written(_) => Step::Written(Base::Replaced),
            Step::Cleared(_) => Step::Cleared(Base::Replaced),
            Step::Unanswered(Request::UnderWay) => Step::Unanswered(Request::Failed),
            step => step,
        };
    }
}

/// A worker asks for its commit and hears nothing. The request is on its way, or has failed as it is too late.
pub(crate) fn ask_without_answer(next: &mut State, worker: usize) {
    check_confirmed(next, worker);
    let Worker { step, table, .. } = next.workers[worker];
    let files = &mut next.tables[usize::from(table)].files;
    let request = match step {
        // One request on its way is remembered; a second one is lost.
        Step::Cleared(Base::Live) if files.under_way.is_none() => {
            files.under_way = Some(UnderWay { file_exists: true });
            Request::UnderWay
        }
        _ => Request::Failed,
    };
    next.workers[worker].step = Step::Unanswered(request);
    next.workers[worker].confirmed = false;
}

/// The request on its way reaches the catalog. Its base is live, else it would have been forgotten.
pub(crate) fn land(next: &mut State, table: usize) {
    let Some(UnderWay { file_exists }) = next.tables[table].files.under_way else {
        return;
    };
    next.broken.add_unless(file_exists, "TB-1");
    let waits = |worker: &Worker| {
        usize::from(worker.table) == table && worker.step == Step::Unanswered(Request::UnderWay)
    };
    let asker = next.workers.iter().position(waits);
    commit(next, table);
    if let Some(asker) = asker {
        next.workers[asker].step = Step::Unanswered(Request::Succeeded);
    }
}

/// A worker deletes its file without knowing what came of its commit, which is not done.
pub(crate) fn delete_unanswered(next: &mut State, worker: usize, request: Request) {
    let table = usize::from(next.workers[worker].table);
    match request {
        Request::UnderWay => next.tables[table].files.under_way = Some(UnderWay { file_exists: false }),
        Request::Succeeded => next.broken.add("TB-1"),
        Request::Failed => {}
    }
}

/// Deletes the files that commits replaced. A replaced file never comes back, so it does not matter how old the
/// worker's knowledge is.
pub(crate) fn expire(next: &mut State, table: usize, spares_live_file: bool) {
    next.broken.add_unless(spares_live_file, "TB-1");
    next.tables[table].files.replaced = false;
}
