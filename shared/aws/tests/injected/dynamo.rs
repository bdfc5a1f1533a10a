//! What the store makes of DynamoDB's less frequent answers.

use snowpack_aws::DynamoStore;
use snowpack_domain::{Fence, Lock};
use snowpack_service::ports::{JobStore, StoreError, Versioned, Write, Written};
use snowpack_testkit::{job_id, table, time};

use crate::script::{Answer, Request, Script};

fn store(script: &Script) -> DynamoStore {
    DynamoStore::new(script.dynamodb(), "state")
}

/// A write of one lock: one action, one condition.
fn a_write() -> Write {
    let lock = Lock {
        holder: Some(job_id(1)),
        fence: Fence::new(2),
        ..Lock::default()
    };
    Write {
        lock: Some((
            table("db.t"),
            Versioned {
                value: lock,
                version: 1,
            },
        )),
        ..Write::default()
    }
}

fn failure(status: u16, code: &str, members: &str) -> Answer {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"why"{members}}}"#);
    Answer::Reply(status, body)
}

/// A cancelled transaction with one reason for each action.
fn cancelled(codes: &[&str]) -> Answer {
    let reasons: Vec<_> = codes
        .iter()
        .map(|code| format!(r#"{{"Code":"{code}","Message":"why"}}"#))
        .collect();
    let reasons = format!(r#","CancellationReasons":[{}]"#, reasons.join(","));
    failure(400, "TransactionCanceledException", &reasons)
}

/// The token of a request, which must be the same in every attempt.
fn token(request: &Request) -> &str {
    let (_, rest) = request
        .body
        .split_once(r#""ClientRequestToken":""#)
        .expect("a token");
    rest.split('"').next().unwrap()
}

fn assert_one_token(script: &Script, requests: usize) {
    let asked = script.asked();
    assert_eq!(asked.len(), requests);
    assert!(
        asked.iter().all(|request| token(request) == token(&asked[0])),
        "{asked:?}"
    );
}

#[tokio::test]
async fn what_is_in_the_way_is_waited_for_under_one_token() {
    let script = Script::of(vec![
        cancelled(&["TransactionConflict"]),
        cancelled(&["None", "ThrottlingError"]),
        cancelled(&["ProvisionedThroughputExceeded", "TransactionConflict"]),
        failure(400, "TransactionInProgressException", ""),
        Answer::ok("{}"),
    ]);
    assert_eq!(store(&script).write(&a_write()).await.unwrap(), Written::Applied);
    assert_one_token(&script, 5);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_not_taken_for_a_lost_race() {
    let script = Script::of(vec![
        Answer::Lost,
        failure(500, "InternalServerError", ""),
        failure(400, "TransactionInProgressException", ""),
        Answer::ok("{}"),
    ]);
    assert_eq!(store(&script).write(&a_write()).await.unwrap(), Written::Applied);
    assert_one_token(&script, 4);
}

#[tokio::test]
async fn a_failed_condition_is_a_lost_race_whatever_else_was_in_the_way() {
    for codes in [
        &["ConditionalCheckFailed"][..],
        &["TransactionConflict", "None", "ConditionalCheckFailed"],
    ] {
        let script = Script::of(vec![cancelled(codes)]);
        assert_eq!(store(&script).write(&a_write()).await.unwrap(), Written::LostRace);
    }
}

#[tokio::test]
async fn two_writes_have_two_tokens() {
    let script = Script::of(vec![Answer::ok("{}"), Answer::ok("{}")]);
    let store = store(&script);
    store.write(&a_write()).await.unwrap();
    store.write(&a_write()).await.unwrap();
    let asked = script.asked();
    assert_ne!(token(&asked[0]), token(&asked[1]));
}

#[tokio::test]
async fn patience_ends() {
    let script = Script::new(|_| cancelled(&["TransactionConflict"]));
    let Err(StoreError::Unavailable(cause)) = store(&script).write(&a_write()).await else {
        panic!("endless conflicts are no success");
    };
    assert!(cause.contains("TransactionConflict"), "{cause}");
    assert_one_token(&script, 10);
}

#[tokio::test]
async fn what_waiting_cannot_cure_is_refused_at_once() {
    let script = Script::of(vec![cancelled(&["ItemCollectionSizeLimitExceeded"])]);
    let refused = store(&script).write(&a_write()).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Refused(cause) if cause.contains("SizeLimit")),
        "{refused}"
    );

    let script = Script::of(vec![failure(400, "AccessDeniedException", "")]);
    let refused = store(&script).write(&a_write()).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Refused(cause) if cause.contains("AccessDenied")),
        "{refused}"
    );
}

#[tokio::test]
async fn throttled_and_broken_reads_are_unavailable_after_the_sdk_gave_up() {
    for answer in [
        || failure(400, "ThrottlingException", ""),
        || failure(500, "InternalServerError", ""),
        || Answer::Lost,
    ] {
        let script = Script::new(move |_| answer());
        let error = store(&script).job(&job_id(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert_eq!(script.asked().len(), 3);
    }
}

#[tokio::test]
async fn a_snapshot_waits_for_writes_in_the_way() {
    let script = Script::of(vec![
        cancelled(&["None", "None", "TransactionConflict"]),
        Answer::ok(r#"{"Responses":[{},{},{}]}"#),
    ]);
    let context = store(&script)
        .submit_context(&table("db.t"), None, time(0))
        .await
        .unwrap();
    assert_eq!((context.drain.version, context.lock.version), (0, 0));
    assert!(context.entry.is_none() && context.idempotency.is_none());
}

#[tokio::test]
async fn unreadable_items_are_corrupt_and_named() {
    for (item, member) in [
        (r#"{"pk":{"S":"JOB#1"},"version":{"N":"1"}}"#, "document"),
        (
            r#"{"pk":{"S":"JOB#1"},"version":{"N":"1"},"document":{"S":"{\"format\":9}"}}"#,
            "format 9",
        ),
        (
            r#"{"pk":{"S":"JOB#1"},"version":{"S":"1"},"document":{"N":"1"}}"#,
            "document",
        ),
    ] {
        let script = Script::of(vec![Answer::ok(format!(r#"{{"Item":{item}}}"#))]);
        let error = store(&script).job(&job_id(1)).await.unwrap_err();
        let StoreError::Corrupt(cause) = error else {
            panic!("{error}");
        };
        assert!(cause.contains("JOB#1") && cause.contains(member), "{cause}");
    }
}
