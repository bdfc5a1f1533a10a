//! The storage on a real disk.

use std::path::Path;

use iceberg::io::{FileIO, FileIOBuilder};

use super::*;
use crate::storage::{is_denied, is_not_found};

fn io() -> FileIO {
    FileIOBuilder::new(Arc::new(DispatchFactory::default())).build()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn every_spelling_reads_writes_sizes_and_deletes_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = format!("{}/a=b%2Fc/x.bin", dir.path().display());
    let io = io();
    for spelling in [
        path.clone(),
        format!("file:{path}"),
        format!("file://{path}"),
        format!("file://localhost{path}"),
    ] {
        io.new_output(&spelling)
            .unwrap()
            .write(Bytes::from_static(b"0123456789"))
            .await
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"0123456789");
        let input = io.new_input(&spelling).unwrap();
        assert_eq!(input.location(), spelling);
        assert_eq!(input.metadata().await.unwrap().size, 10);
        assert_eq!(
            &input.reader().await.unwrap().read(3..6).await.unwrap()[..],
            b"345"
        );
        io.delete(&spelling).await.unwrap();
        assert!(!io.exists(&spelling).await.unwrap());
        io.delete(&spelling).await.unwrap();
    }
}

#[tokio::test]
async fn a_missing_file_is_told_from_other_errors_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = format!("file:{}/none.parquet", dir.path().display());
    let io = io();
    let input = io.new_input(&path).unwrap();
    let errors = [
        input.read().await.map(drop).unwrap_err(),
        input.metadata().await.map(drop).unwrap_err(),
        input.reader().await.map(drop).unwrap_err(),
    ];
    for error in errors {
        assert!(is_not_found(&error) && !is_denied(&error), "{error}");
        assert!(error.to_string().contains("none.parquet"), "{error}");
    }
}

#[tokio::test]
async fn a_read_past_the_end_is_an_error_that_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("short").display().to_string();
    std::fs::write(&path, b"abc").unwrap();
    let io = io();
    let reader = io.new_input(&path).unwrap().reader().await.unwrap();
    let error = reader.read(1..u64::MAX).await.unwrap_err();
    assert!(
        error.to_string().contains("short") && !is_not_found(&error),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_has_its_name_only_once_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("f");
    let io = io();
    let output = io.new_output(target.display().to_string()).unwrap();
    let mut writer = output.writer().await.unwrap();
    writer.write(Bytes::from_static(b"one")).await.unwrap();
    assert!(!target.exists() && names(dir.path())[0].starts_with('.'));
    writer.write(Bytes::from_static(b"two")).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(
        (std::fs::read(&target).unwrap(), names(dir.path()).len()),
        (b"onetwo".to_vec(), 1)
    );
    assert!(writer.write(Bytes::new()).await.is_err(), "closed");
}

#[tokio::test]
async fn a_writer_dropped_before_its_end_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = io()
        .new_output(dir.path().join("f").display().to_string())
        .unwrap();
    let mut writer = output.writer().await.unwrap();
    writer.write(Bytes::from_static(b"half")).await.unwrap();
    drop(writer);
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn locations_nobody_serves_give_an_error_naming_the_scheme() {
    let error = io().new_input("s3://b/k").unwrap_err().to_string();
    assert!(
        error.contains("s3://b/k") && error.contains("no S3 storage"),
        "{error}"
    );
    let error = io().new_output("gs://b/k").unwrap_err().to_string();
    assert!(error.contains("\"gs\""), "{error}");
    assert!(io().delete_prefix("/tmp").await.is_err());
}

#[tokio::test]
async fn s3_locations_go_to_the_given_factory_as_spelled() {
    let factory = DispatchFactory::new(Some(Arc::new(iceberg::io::MemoryStorageFactory)));
    let io = FileIOBuilder::new(Arc::new(factory)).build();
    let error = io.new_input("s3a://b/k").unwrap().read().await.unwrap_err();
    assert!(error.to_string().contains("b/k"), "{error}");
}
