//! Which index serves a list of jobs, and which of its partitions: a pure choice.

use snowpack_domain::TableId;
use snowpack_service::ports::JobFilter;

use super::keys::table_key;
use super::schema::{ACTIVE, BY_COMPLETION, BY_SUBMISSION, BY_TABLE, BY_TABLE_COMPLETION, Index};

/// Where the jobs of a list are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListPlan {
    pub(super) index: Index,
    pub(super) partitions: Partitions,
}

/// The hash keys to visit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Partitions {
    /// Only this one.
    One(String),
    /// One for each day, the newest first.
    EveryDay,
    /// None: no job can match.
    Nowhere,
}

/// The narrowest index whose order is the list's.
pub(super) fn plan(filter: &JobFilter) -> ListPlan {
    let at = |index, partitions| ListPlan { index, partitions };
    let table = match (&filter.database, &filter.table) {
        (Some(database), Some(table)) => match TableId::new(database, table) {
            Ok(table) => Some(table_key(&table)),
            Err(_) => return at(BY_TABLE, Partitions::Nowhere),
        },
        _ => None,
    };
    let active = filter.status.filter(|status| !status.is_terminal());
    match (filter.finished_only, active, table) {
        (true, Some(_), _) => at(BY_COMPLETION, Partitions::Nowhere),
        (true, None, Some(table)) => at(BY_TABLE_COMPLETION, Partitions::One(table)),
        (true, None, None) => at(BY_COMPLETION, Partitions::EveryDay),
        (false, _, Some(table)) => at(BY_TABLE, Partitions::One(table)),
        (false, Some(status), None) => at(ACTIVE, Partitions::One(status.as_str().to_owned())),
        (false, None, None) => at(BY_SUBMISSION, Partitions::EveryDay),
    }
}

#[cfg(test)]
mod tests {
    use snowpack_domain::JobStatus;

    use super::*;

    fn filter(status: Option<JobStatus>, database: &str, table: &str, finished_only: bool) -> JobFilter {
        let given = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        JobFilter {
            status,
            database: given(database),
            table: given(table),
            finished_only,
        }
    }

    #[test]
    fn each_list_takes_the_narrowest_index_in_its_order() {
        let one = |hash: &str| Partitions::One(hash.to_owned());
        let (failed, running) = (Some(JobStatus::Failed), Some(JobStatus::Running));
        for (filter, index, partitions) in [
            (filter(None, "", "", false), BY_SUBMISSION, Partitions::EveryDay),
            (
                filter(failed, "a", "", false),
                BY_SUBMISSION,
                Partitions::EveryDay,
            ),
            (filter(running, "a", "", false), ACTIVE, one("running")),
            (filter(running, "a", "t", false), BY_TABLE, one("a/t")),
            (filter(failed, "a", "t", true), BY_TABLE_COMPLETION, one("a/t")),
            (filter(failed, "", "t", true), BY_COMPLETION, Partitions::EveryDay),
            (filter(running, "", "", true), BY_COMPLETION, Partitions::Nowhere),
            (filter(None, "a/b", "t", false), BY_TABLE, Partitions::Nowhere),
        ] {
            assert_eq!(plan(&filter), ListPlan { index, partitions }, "{filter:?}");
        }
    }
}
