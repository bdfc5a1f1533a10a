//! Folders of so many objects that they are listed in ranges of keys.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};
use iceberg::io::StorageConfig;
use percent_encoding::percent_decode_str;
use snowpack_aws::S3StorageFactory;
use snowpack_catalog::{Listing, ObjectStorage};

use crate::script::{Answer, Request, Script};

const PAGE: usize = 5;

fn keys() -> BTreeSet<String> {
    (0..400)
        .map(|number| format!("t/data/day={}/{:03} é~.parquet", number % 7, number * 37 % 400))
        .collect()
}

fn query(request: &Request) -> BTreeMap<String, String> {
    let (_, query) = request.uri.split_once('?').unwrap();
    let decode = |text| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// What S3 answers that has `keys`. A token is the last key before.
fn answer(request: &Request, keys: &BTreeSet<String>) -> Answer {
    let query = query(request);
    let after = query.get("continuation-token").or(query.get("start-after"));
    let most = query.get("max-keys").map_or(PAGE, |most| most.parse().unwrap());
    let mut left = keys
        .iter()
        .filter(|key| key.starts_with(&query["prefix"]) && after.is_none_or(|after| *key > after));
    let page: Vec<_> = left.by_ref().take(most).collect();
    let next = left.next().map_or_else(String::new, |_| {
        let token = page[page.len() - 1];
        format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")
    });
    let contents: String = page
        .iter()
        .map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>"))
        .collect();
    Answer::ok(format!("<ListBucketResult>{next}{contents}</ListBucketResult>"))
}

fn list(script: &Script, bucket: &str) -> Listing {
    let folder = format!("s3://{bucket}/t");
    S3StorageFactory::new(script.s3()).list(&StorageConfig::new(), &folder)
}

async fn names(script: &Script, bucket: &str) -> Vec<String> {
    let pages: Vec<_> = list(script, bucket).try_collect().await.unwrap();
    let locations = pages.into_iter().flatten().map(|file| file.location);
    let root = format!("s3://{bucket}/");
    let mut names: Vec<_> = locations
        .map(|location| location.strip_prefix(&root).unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Pages of ranges other than the first, and probes.
fn divided(script: &Script) -> (usize, usize) {
    let queries: Vec<_> = script.asked().iter().map(query).collect();
    let starts = queries.iter().filter(|query| query.contains_key("start-after"));
    let (probes, pages): (Vec<_>, Vec<_>) = starts.partition(|query| query.contains_key("max-keys"));
    (pages.len(), probes.len())
}

#[tokio::test]
async fn every_object_is_listed_once() {
    let script = Script::new(|request| answer(request, &keys()));
    assert!(names(&script, "lake").await.into_iter().eq(keys()));
    let (ranges, probes) = divided(&script);
    assert!(ranges > 3 && probes >= ranges, "{ranges} ranges, {probes} probes");
    let one_by_one = keys().len() / PAGE;
    assert!(script.asked().len() < 2 * one_by_one);
}

#[tokio::test]
async fn directory_buckets_are_listed_from_their_start_only() {
    let session = "<CreateSessionResult><Credentials><AccessKeyId>id</AccessKeyId>\
        <SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
        <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>";
    let script = Script::new(move |request| {
        if request.uri.contains("?session") {
            Answer::ok(session)
        } else {
            answer(request, &keys())
        }
    });
    assert!(
        names(&script, "lake--use1-az4--x-s3")
            .await
            .into_iter()
            .eq(keys())
    );
    assert_eq!(divided(&script), (0, 0));
}

#[tokio::test]
async fn a_range_that_begins_elsewhere_than_asked_is_an_error() {
    let script = Script::new(|request| {
        let query = query(request);
        let begins = query.contains_key("start-after") && !query.contains_key("max-keys");
        if begins {
            let first =
                "<ListBucketResult><Contents><Key>t/data/day=0/000</Key></Contents></ListBucketResult>";
            return Answer::ok(first);
        }
        answer(request, &keys())
    });
    let failed: Result<Vec<_>, _> = list(&script, "lake").try_collect().await;
    let failed = failed.unwrap_err().to_string();
    assert!(
        failed.contains("cannot list s3://lake/t") && failed.contains("out of order"),
        "{failed}"
    );
}

#[tokio::test]
async fn nothing_is_asked_for_after_the_first_error() {
    let script = Script::new(|request| {
        let begins = query(request).contains_key("start-after");
        if begins && !request.uri.contains("max-keys") {
            let denied = "<Error><Code>AccessDenied</Code><Message>why</Message></Error>";
            return Answer::Reply(403, denied.to_owned());
        }
        answer(request, &keys())
    });
    let mut pages = list(&script, "lake");
    let failed = loop {
        if let Err(failed) = pages.next().await.unwrap() {
            break failed;
        }
    };
    assert!(failed.to_string().contains("AccessDenied"), "{failed}");
    let asked = script.asked().len();
    assert!(pages.next().await.is_none());
    assert_eq!(script.asked().len(), asked);
}
