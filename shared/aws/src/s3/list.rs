//! Listing objects, a page of S3's at a time.

use std::io;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::Object;
use futures::StreamExt;
use iceberg::Result;
use snowpack_catalog::{ListedFile, Listing};
use snowpack_domain::Timestamp;

use super::failure::{describe, failure};
use super::location::Location;
use super::settings::ClientSettings;

/// Lists what is below `folder`. Its scheme is kept, so that what is listed is spelled like the folder.
pub(super) fn below(settings: ClientSettings, folder: &str) -> Listing {
    let folder = folder.trim_end_matches('/').to_owned();
    let pages = Pages {
        settings,
        folder,
        next: Next::First,
    };
    futures::stream::try_unfold(pages, Pages::step).boxed()
}

/// Which page comes next.
enum Next {
    First,
    After(String),
    None,
}

struct Pages {
    settings: ClientSettings,
    folder: String,
    next: Next,
}

impl Pages {
    async fn step(mut self) -> Result<Option<(Vec<ListedFile>, Self)>> {
        let token = match std::mem::replace(&mut self.next, Next::None) {
            Next::First => None,
            Next::After(token) => Some(token),
            Next::None => return Ok(None),
        };
        let folder = Location::parse(&self.folder)?;
        let answer = request(self.settings.client().await, &folder, token).await?;
        if answer.is_truncated() == Some(true) {
            let token = answer.next_continuation_token().ok_or_else(|| {
                let cause = io::Error::other("S3 said there is more and not where it continues");
                describe("list", &self.folder, cause)
            })?;
            self.next = Next::After(token.to_owned());
        }
        // The scheme and bucket as the folder spells them.
        let root = &folder.path[..folder.path.len() - folder.key.len()];
        let objects = answer.contents.unwrap_or_default();
        let files = objects.into_iter().filter_map(|object| file(root, object));
        Ok(Some((files.collect(), self)))
    }
}

async fn request(client: &Client, folder: &Location, token: Option<String>) -> Result<ListObjectsV2Output> {
    client
        .list_objects_v2()
        .bucket(&folder.bucket)
        .prefix(format!("{}/", folder.key))
        .set_continuation_token(token)
        .send()
        .await
        .map_err(|error| failure("list", &folder.path, &error))
}

/// `None` for the empty objects that tools leave as stand-ins for folders.
fn file(root: &str, object: Object) -> Option<ListedFile> {
    let modified = object.last_modified.and_then(|time| {
        let micros = time.as_nanos() / 1000;
        i64::try_from(micros).ok().map(Timestamp::from_micros)
    });
    let key = object.key.filter(|key| !key.ends_with('/'))?;
    Some(ListedFile {
        location: format!("{root}{key}"),
        bytes: object
            .size
            .and_then(|bytes| u64::try_from(bytes).ok())
            .unwrap_or(0),
        modified,
    })
}
