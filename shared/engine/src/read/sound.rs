//! Decoders of other crates may panic on bytes that no writer wrote. Here that is an error naming the file.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;

use crate::file_error::FileError;

/// Awaits what decodes the file at `path`.
///
/// # Errors
/// Those of `decoding`; [`FileError::Corrupt`] when it panics.
pub(crate) async fn sound<T, E: From<FileError>>(
    path: &str,
    decoding: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let decoded = AssertUnwindSafe(decoding).catch_unwind().await;
    decoded.unwrap_or_else(|panic| Err(gave_up(path, panic.as_ref()).into()))
}

/// Runs what decodes the file at `path`.
///
/// # Errors
/// As [`sound`].
pub(crate) fn sound_now<T>(
    path: &str,
    decoding: impl FnOnce() -> Result<T, FileError>,
) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(decoding)).unwrap_or_else(|panic| Err(gave_up(path, panic.as_ref())))
}

fn gave_up(path: &str, panic: &(dyn Any + Send)) -> FileError {
    FileError::corrupt(path, format!("its decoder gave up: {}", panic_text(panic)))
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a check failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_that_names_the_file() {
        let error = sound::<(), FileError>("s3://b/f", async { panic!("no such page") }).await;
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("s3://b/f") && error.contains("no such page"),
            "{error}"
        );
        assert!(sound_now::<()>("s3://b/f", || panic!("no such page")).is_err());
    }
}
