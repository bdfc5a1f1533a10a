//! Lists whose answers come in pieces, or would take too long.

use std::collections::BTreeSet;

use snowpack_aws::DynamoStore;
use snowpack_domain::CacheEntry;
use snowpack_service::ports::{JobFilter, JobStore, PageRequest};
use snowpack_testkit::table;

use crate::script::{Answer, Request, Script};

/// More days than one page may visit.
const DAYS: i64 = 150;

fn day(number: i64) -> String {
    let start = chrono::NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    (start + chrono::TimeDelta::days(number)).to_string()
}

fn queried_day(request: &Request) -> Option<String> {
    let (_, rest) = request.body.split_once(r#"":hash":{"S":""#)?;
    Some(rest[..10].to_owned())
}

#[tokio::test]
async fn a_list_that_finds_nothing_for_long_goes_on_in_the_next_page() {
    let script = Script::new(|request| match request.operation.as_str() {
        "GetItem" => {
            let days: Vec<_> = (0..DAYS).map(|number| format!("{:?}", day(number))).collect();
            Answer::ok(format!(r#"{{"Item":{{"days":{{"SS":[{}]}}}}}}"#, days.join(",")))
        }
        "Query" => Answer::ok(r#"{"Items":[],"Count":0}"#),
        other => panic!("unexpected {other}"),
    });
    let store = DynamoStore::new(script.dynamodb(), "state");
    let filter = JobFilter {
        finished_only: true,
        ..JobFilter::default()
    };
    let (mut cursor, mut pages) = (None, 0);
    loop {
        let page = store
            .jobs(&filter, &PageRequest { limit: 10, cursor })
            .await
            .unwrap();
        assert!(page.items.is_empty());
        pages += 1;
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let visited: BTreeSet<_> = script.asked().iter().filter_map(queried_day).collect();
    assert_eq!(visited, (0..DAYS).map(day).collect());
    assert_eq!(pages, 2, "two pages of at most 100 queries");
}

#[tokio::test]
async fn what_a_batch_leaves_out_is_sent_again() {
    let left = r#"{"UnprocessedItems":{"state":[{"PutRequest":{"Item":{"pk":{"S":"left"}}}}]}}"#;
    let script = Script::of(vec![Answer::ok(left), Answer::ok("{}")]);
    let store = DynamoStore::new(script.dynamodb(), "state");
    let entry = CacheEntry {
        table: table("db.t"),
        location: None,
        metadata_location: None,
        format_version: None,
        properties: [].into(),
        generation: 1,
    };
    store.put_cache_entries(&[entry.clone(), entry]).await.unwrap();
    let asked = script.asked();
    assert_eq!(asked[0].body.matches("PutRequest").count(), 1, "one put a table");
    assert!(asked[1].body.contains(r#"{"S":"left"}"#), "{}", asked[1].body);
}
