//! Files in S3 through iceberg's `FileIO`, small and in parts, present and missing.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use aws_sdk_s3::Client;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use iceberg::io::{FileIO, FileIOBuilder, StorageConfig};
use snowpack_aws::S3StorageFactory;
use snowpack_catalog::ObjectStorage;

/// Just above two parts of the writer, so that the third is a short one.
const LARGE: usize = 33 * 1024 * 1024;

struct Bucket {
    client: Client,
    name: String,
    files: FileIO,
}

async fn bucket() -> Bucket {
    let config = aws_sdk_s3::config::Builder::from(&crate::emulator().await).force_path_style(true);
    let client = Client::from_conf(config.build());
    let name = crate::unique("lake");
    client.create_bucket().bucket(&name).send().await.unwrap();
    let files = FileIOBuilder::new(Arc::new(S3StorageFactory::new(client.clone()))).build();
    Bucket { client, name, files }
}

impl Bucket {
    fn path(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    async fn uploads_under_way(&self) -> usize {
        let listed = self
            .client
            .list_multipart_uploads()
            .bucket(&self.name)
            .send()
            .await
            .unwrap();
        listed.uploads.unwrap_or_default().len()
    }
}

fn io_kind(error: &iceberg::Error) -> Option<io::ErrorKind> {
    error.source()?.downcast_ref::<io::Error>().map(io::Error::kind)
}

#[tokio::test]
async fn small_files_are_written_read_and_deleted() {
    let bucket = bucket().await;
    let path = bucket.path("db/t/data/day=2026-04-25/a b+c%20d.parquet");
    let body = Bytes::from_static(b"0123456789");
    bucket
        .files
        .new_output(&path)
        .unwrap()
        .write(body.clone())
        .await
        .unwrap();
    let hadoop = path.replacen("s3:", "s3a:", 1);
    let input = bucket.files.new_input(&hadoop).unwrap();
    assert!(input.exists().await.unwrap());
    assert_eq!(input.metadata().await.unwrap().size, 10);
    assert_eq!(input.read().await.unwrap(), body);
    let reader = input.reader().await.unwrap();
    assert_eq!(reader.read(3..7).await.unwrap(), &body[3..7]);
    assert_eq!(reader.read(10..10).await.unwrap(), Bytes::new());
    for beyond in [8..12, 20..22] {
        let error = reader.read(beyond).await.unwrap_err();
        assert_eq!(io_kind(&error), Some(io::ErrorKind::UnexpectedEof), "{error}");
        assert!(error.to_string().contains(&hadoop), "{error}");
    }
    bucket.files.delete(&path).await.unwrap();
    bucket.files.delete(&path).await.unwrap();
    assert!(!input.exists().await.unwrap());
}

#[tokio::test]
async fn missing_files_are_named_and_told_apart() {
    let bucket = bucket().await;
    let path = bucket.path("db/t/data/missing.parquet");
    let input = bucket.files.new_input(&path).unwrap();
    assert!(!input.exists().await.unwrap());
    let reader = input.reader().await.unwrap();
    let stat = input.metadata().await.err().expect("there is no such file");
    for error in [
        stat,
        input.read().await.unwrap_err(),
        reader.read(0..4).await.unwrap_err(),
    ] {
        assert_eq!(io_kind(&error), Some(io::ErrorKind::NotFound), "{error}");
        assert!(error.to_string().contains(&path) && !error.retryable(), "{error}");
    }
    let nowhere = bucket.files.new_input("s3://no-such-bucket-anywhere/a").unwrap();
    let error = nowhere.read().await.unwrap_err();
    assert_eq!(io_kind(&error), Some(io::ErrorKind::Other), "{error}");
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
}

#[tokio::test]
async fn large_files_arrive_in_parts_and_whole() {
    let bucket = bucket().await;
    let path = bucket.path("large.parquet");
    let body: Vec<u8> = (0..LARGE)
        .map(|at| u8::try_from((at / 7 + at / 65_537) % 251).unwrap())
        .collect();
    let mut writer = bucket.files.new_output(&path).unwrap().writer().await.unwrap();
    for piece in body.chunks(5 * 1024 * 1024 + 1) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        assert!(
            !bucket.files.exists(&path).await.unwrap(),
            "not before it is closed"
        );
    }
    writer.close().await.unwrap();
    assert!(writer.close().await.is_err(), "closed is closed");
    assert!(writer.write(Bytes::from_static(b"x")).await.is_err());
    assert_eq!(bucket.files.new_input(&path).unwrap().read().await.unwrap(), body);
    assert_eq!(bucket.uploads_under_way().await, 0);
}

#[tokio::test]
async fn a_writer_dropped_before_its_end_leaves_nothing() {
    let bucket = bucket().await;
    let path = bucket.path("dropped.parquet");
    let mut writer = bucket.files.new_output(&path).unwrap().writer().await.unwrap();
    writer.write(Bytes::from(vec![7; LARGE])).await.unwrap();
    assert_eq!(bucket.uploads_under_way().await, 1);
    drop(writer);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while bucket.uploads_under_way().await > 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "the upload is never given up"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(!bucket.files.exists(&path).await.unwrap());
}

#[tokio::test]
async fn thousands_of_files_are_deleted_in_batches() {
    let bucket = bucket().await;
    let paths: Vec<String> = (0..1_010)
        .map(|number| bucket.path(&format!("data/{number}.parquet")))
        .collect();
    for path in paths.iter().step_by(100) {
        bucket
            .files
            .new_output(path)
            .unwrap()
            .write(Bytes::from_static(b"x"))
            .await
            .unwrap();
    }
    bucket
        .files
        .delete_stream(futures::stream::iter(paths))
        .await
        .unwrap();
    let left = bucket
        .client
        .list_objects_v2()
        .bucket(&bucket.name)
        .send()
        .await
        .unwrap();
    assert_eq!(left.key_count, Some(0));
    let refused = bucket
        .files
        .delete_prefix(bucket.path("data/"))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("refusing"), "{refused}");
}

#[tokio::test]
async fn what_is_below_a_folder_is_listed_over_several_pages() {
    let bucket = bucket().await;
    // So many pages that they are listed in ranges: after the fifth of them others are found far beyond.
    let folders = ["a b", "a b", "a b", "a b", "r+s", "x%20y", "~é"];
    let paths =
        (0..7_003).map(|number| bucket.path(&format!("t/data/{}/{number}.parquet", folders[number % 7])));
    let expected: std::collections::BTreeSet<_> = paths.collect();
    let files = &bucket.files;
    let written = futures::stream::iter(&expected).map(|path| async move {
        let file = files.new_output(path)?;
        file.write(Bytes::from_static(b"xy")).await
    });
    written.buffer_unordered(8).try_collect::<()>().await.unwrap();
    let beside = bucket.files.new_output(bucket.path("t/data2/x")).unwrap();
    beside.write(Bytes::from_static(b"x")).await.unwrap();
    let factory = S3StorageFactory::new(bucket.client.clone());
    let listing = factory.list(&StorageConfig::new(), &bucket.path("t/data"));
    let pages: Vec<_> = listing.try_collect().await.unwrap();
    assert!(pages.len() > 1, "{} pages", pages.len());
    let files: Vec<_> = pages.into_iter().flatten().collect();
    assert_eq!(files.len(), expected.len());
    assert!(
        files
            .iter()
            .all(|file| file.bytes == 2 && file.modified.is_some())
    );
    let found: std::collections::BTreeSet<_> = files.into_iter().map(|file| file.location).collect();
    assert_eq!(found, expected);
    let mut nothing = factory.list(&StorageConfig::new(), &bucket.path("t/none"));
    assert_eq!(nothing.try_next().await.unwrap().unwrap_or_default(), []);
}
