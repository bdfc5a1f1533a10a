//! Every list is served by an index: none reads all jobs to find or to sort its page.

use snowpack_domain::JobStatus;

use super::*;
use crate::schema::prepare;

fn plan(sql: &str, values: Vec<Value>) -> String {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    prepare(&mut connection, std::path::Path::new(":memory:")).unwrap();
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = statement
        .query_map(params_from_iter(values), |row| row.get::<_, String>(3))
        .unwrap();
    steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
}

#[test]
fn no_list_scans_the_table() {
    let position = || Some((Timestamp::from_micros(5), JobId::from_u128(5)));
    for status in [None, Some(JobStatus::Failed)] {
        for database in [None, Some("a".to_owned())] {
            for table in [None, Some("t".to_owned())] {
                for finished_only in [false, true] {
                    let filter = JobFilter {
                        status,
                        database: database.clone(),
                        table: table.clone(),
                        finished_only,
                    };
                    let (sql, values) = query(&filter, position(), 100);
                    let plan = plan(&sql, values);
                    assert!(
                        plan.contains("USING INDEX") && !plan.contains("SCAN"),
                        "{filter:?}: {plan}"
                    );
                }
            }
        }
    }
}
