//! What the storage makes of S3's less frequent answers.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use iceberg::io::{FileIO, FileIOBuilder, StorageConfig};
use snowpack_aws::S3StorageFactory;
use snowpack_catalog::{ListedFile, ObjectStorage};
use snowpack_domain::Timestamp;

use crate::script::{Answer, Request, Script};

const PATH: &str = "s3://lake/db/t/data/a.parquet";
/// Above one part of the writer.
const LARGE: usize = 17 * 1024 * 1024;

fn files(script: &Script) -> FileIO {
    FileIOBuilder::new(Arc::new(S3StorageFactory::new(script.s3()))).build()
}

fn error(status: u16, code: &str) -> Answer {
    Answer::Reply(
        status,
        format!("<Error><Code>{code}</Code><Message>why</Message></Error>"),
    )
}

/// What a request is about, of those an upload makes.
fn step(request: &Request) -> &'static str {
    match (request.method.as_str(), request.uri.contains("uploadId=")) {
        ("POST", false) => "start",
        ("PUT", true) => "part",
        ("POST", true) => "complete",
        ("DELETE", true) => "abort",
        ("HEAD", _) => "size",
        _ => "other",
    }
}

fn started() -> Answer {
    Answer::ok("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
}

fn steps(script: &Script) -> Vec<&'static str> {
    script.asked().iter().map(step).collect()
}

async fn write_large(script: &Script) -> iceberg::Result<()> {
    let mut writer = files(script).new_output(PATH)?.writer().await?;
    writer.write(Bytes::from(vec![1; LARGE])).await?;
    writer.close().await
}

#[tokio::test]
async fn an_upload_completed_without_our_hearing_of_it_is_complete() {
    for (size, complete) in [(LARGE as u64, true), (5, false)] {
        let mut completions = 0;
        let script = Script::new(move |request| match step(request) {
            "start" => started(),
            "complete" => {
                completions += 1;
                if completions == 1 {
                    Answer::Lost
                } else {
                    error(404, "NoSuchUpload")
                }
            }
            "size" => Answer::Size(size),
            _ => Answer::ok(""),
        });
        let written = write_large(&script).await;
        assert_eq!(written.is_ok(), complete, "{written:?}");
        assert_eq!(steps(&script).contains(&"abort"), !complete);
    }
}

#[tokio::test]
async fn a_part_that_is_refused_gives_up_the_upload_and_names_the_file() {
    let script = Script::new(|request| match step(request) {
        "start" => started(),
        "part" => error(403, "AccessDenied"),
        _ => Answer::Reply(204, String::new()),
    });
    let refused = write_large(&script).await.unwrap_err();
    assert!(
        refused.to_string().contains(PATH) && refused.to_string().contains("AccessDenied"),
        "{refused}"
    );
    let kind = refused
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    assert_eq!(kind, Some(io::ErrorKind::PermissionDenied));
    assert_eq!(steps(&script).last(), Some(&"abort"));
    assert!(!steps(&script).contains(&"complete"));
}

#[tokio::test]
async fn slow_down_is_tried_again_and_then_said() {
    let script = Script::of(vec![error(503, "SlowDown"), Answer::ok("0123")]);
    let input = files(&script).new_input(PATH).unwrap();
    assert_eq!(input.reader().await.unwrap().read(0..4).await.unwrap(), "0123");

    let script = Script::new(|_| error(503, "SlowDown"));
    let gave_up = files(&script).new_input(PATH).unwrap().read().await.unwrap_err();
    assert!(
        gave_up.retryable() && gave_up.to_string().contains("SlowDown"),
        "{gave_up}"
    );
}

#[tokio::test]
async fn the_end_of_a_session_is_worth_another_attempt_of_the_job() {
    let answers: [fn() -> Answer; 4] = [
        || error(400, "ExpiredToken"),
        || error(403, "ExpiredTokenException"),
        || error(400, "RequestExpired"),
        || Answer::Reply(400, String::new()),
    ];
    for answer in answers {
        let script = Script::new(move |_| answer());
        let input = files(&script).new_input(PATH).unwrap();
        let folder = S3StorageFactory::new(script.s3()).list(&StorageConfig::new(), "s3://lake/db/t");
        let errors = [
            input.read().await.unwrap_err(),
            input.metadata().await.err().unwrap(),
            write_large(&script).await.unwrap_err(),
            folder.try_collect::<Vec<_>>().await.unwrap_err(),
        ];
        for error in errors {
            assert!(error.retryable(), "{error}");
        }
    }
    let script = Script::new(|_| error(400, "InvalidArgument"));
    let wrong = files(&script).new_input(PATH).unwrap().read().await.unwrap_err();
    assert!(!wrong.retryable(), "{wrong}");
}

/// An answer to `DeleteObjects` that refuses keys.
fn refusing(keys: &[(&str, &str)]) -> Answer {
    let errors: String = keys
        .iter()
        .map(|(key, code)| {
            format!("<Error><Key>{key}</Key><Code>{code}</Code><Message>why</Message></Error>")
        })
        .collect();
    Answer::ok(format!("<DeleteResult>{errors}</DeleteResult>"))
}

async fn delete(script: &Script, keys: &[&str]) -> iceberg::Result<()> {
    let paths: Vec<_> = keys.iter().map(|key| format!("s3://lake/{key}")).collect();
    files(script).delete_stream(futures::stream::iter(paths)).await
}

#[tokio::test]
async fn keys_s3_was_too_busy_for_are_deleted_later() {
    let script = Script::of(vec![
        refusing(&[("b", "SlowDown"), ("c", "NoSuchKey")]),
        refusing(&[]),
    ]);
    delete(&script, &["a", "b", "c"]).await.unwrap();
    let asked = script.asked();
    assert!(asked[1].body.contains("<Key>b</Key>") && !asked[1].body.contains("<Key>a</Key>"));
}

#[tokio::test]
async fn keys_that_stay_are_named() {
    let script = Script::of(vec![refusing(&[("b", "AccessDenied"), ("d", "AccessDenied")])]);
    let refused = delete(&script, &["a", "b", "c", "d"])
        .await
        .unwrap_err()
        .to_string();
    for part in ["s3://lake/b, s3://lake/d", "AccessDenied: why"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(!refused.contains("s3://lake/a"), "{refused}");
}

/// A page of a listing.
fn listed(objects: &[(&str, u64, &str)], next: Option<&str>) -> Answer {
    let objects: String = objects
        .iter()
        .map(|(key, bytes, modified)| {
            format!("<Contents><Key>{key}</Key><Size>{bytes}</Size>{modified}</Contents>")
        })
        .collect();
    let next = next.map_or_else(String::new, |token| {
        format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")
    });
    Answer::ok(format!("<ListBucketResult>{next}{objects}</ListBucketResult>"))
}

async fn list(script: &Script, folder: &str) -> iceberg::Result<Vec<ListedFile>> {
    let pages = S3StorageFactory::new(script.s3()).list(&StorageConfig::new(), folder);
    let pages: Vec<_> = pages.try_collect().await?;
    Ok(pages.into_iter().flatten().collect())
}

#[tokio::test]
async fn listings_are_read_to_their_last_page() {
    let time = "<LastModified>2026-04-25T14:30:00.000Z</LastModified>";
    let script = Script::of(vec![
        listed(&[("t/a b%20c", 7, time), ("t/data/", 0, time)], Some("more+1")),
        listed(&[], Some("more2")),
        listed(&[("t/z", 1, "")], None),
    ]);
    let files = list(&script, "s3a://lake/t/").await.unwrap();
    let file = |name: &str, bytes, micros: Option<i64>| ListedFile {
        location: format!("s3a://lake/t/{name}"),
        bytes,
        modified: micros.map(Timestamp::from_micros),
    };
    let expected = [
        file("a b%20c", 7, Some(1_777_127_400_000_000)),
        file("z", 1, None),
    ];
    assert_eq!(files, expected);
    let asked = script.asked();
    assert!(
        asked
            .iter()
            .all(|request| request.uri.contains("prefix=t%2F&") || request.uri.ends_with("prefix=t%2F"))
    );
    assert!(
        asked[1].uri.contains("continuation-token=more%2B1"),
        "{}",
        asked[1].uri
    );
}

#[tokio::test]
async fn a_listing_that_cannot_be_whole_is_an_error() {
    let endless = Answer::ok("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>");
    let broken = [endless, error(403, "AccessDenied")];
    for answer in broken {
        let script = Script::of(vec![listed(&[("t/a", 1, "")], Some("x")), answer]);
        let failed = list(&script, "s3://lake/t").await.unwrap_err();
        assert!(failed.to_string().contains("cannot list s3://lake/t"), "{failed}");
    }
    let root = list(&Script::of(Vec::new()), "s3://lake/").await.unwrap_err();
    assert!(root.to_string().contains("s3://lake"), "{root}");
}
