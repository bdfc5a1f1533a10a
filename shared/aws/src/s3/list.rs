//! Listing objects, a page of S3's at a time of each of several ranges of keys.

use std::io;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::operation::list_objects_v2::builders::ListObjectsV2FluentBuilder;
use aws_sdk_s3::types::Object;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use iceberg::Result;
use snowpack_catalog::{ListedFile, Listing};
use snowpack_domain::Timestamp;

use super::failure::{describe, failure};
use super::location::Location;
use super::ranges::{Page, Range, Ranges};
use super::settings::ClientSettings;

/// How names of directory buckets end, and of access points to them. These list in no order and cannot start
/// after a key.
const WITHOUT_ORDER: [&str; 2] = ["--x-s3", "--xa-s3"];

/// Lists what is below `folder`. Its scheme is kept, so that what is listed is spelled like the folder.
pub(super) fn below(settings: ClientSettings, folder: &str) -> Listing {
    let path = folder.trim_end_matches('/').to_owned();
    let start = async move {
        let location = Location::parse(&path)?;
        let client = settings.client().await.clone();
        let pages = Pages::of(Folder { client, location });
        Ok(futures::stream::try_unfold(pages, Pages::next))
    };
    start.try_flatten_stream().boxed()
}

/// The pages that S3 is asked for, which is no longer once this is dropped.
struct Pages {
    folder: Arc<Folder>,
    ranges: Ranges,
    asked: FuturesUnordered<BoxFuture<'static, Result<Answer>>>,
}

/// A page of a range, and what its probe found.
struct Answer {
    range: Range,
    page: ListObjectsV2Output,
    beyond: Option<String>,
}

impl Pages {
    fn of(folder: Folder) -> Self {
        let bucket = &folder.location.bucket;
        let ordered = !WITHOUT_ORDER.iter().any(|end| bucket.ends_with(end));
        let (ranges, all) = Ranges::below(&folder.prefix(), ordered);
        let pages = Self {
            folder: Arc::new(folder),
            ranges,
            asked: FuturesUnordered::new(),
        };
        pages.ask(all, None);
        pages
    }

    fn ask(&self, range: Range, token: Option<String>) {
        let folder = Arc::clone(&self.folder);
        self.asked
            .push(async move { folder.answer(range, token).await }.boxed());
    }

    async fn next(mut self) -> Result<Option<(Vec<ListedFile>, Self)>> {
        let Some(answer) = self.asked.try_next().await? else {
            return Ok(None);
        };
        let objects = self.take(answer)?;
        let root = self.folder.root();
        let files = objects.into_iter().filter_map(|object| file(root, object));
        let files = files.collect();
        Ok(Some((files, self)))
    }

    /// The objects of a page that are in its range. What is to be listed after them is asked for.
    fn take(&mut self, answer: Answer) -> Result<Vec<Object>> {
        let Answer { range, page, beyond } = answer;
        let goes_on = page.is_truncated() == Some(true);
        let token = page.next_continuation_token;
        if goes_on && token.is_none() {
            let cause = io::Error::other("S3 said there is more and not where it continues");
            return Err(self.folder.unlisted(cause));
        }
        let mut objects = page.contents.unwrap_or_default();
        objects.retain(|object| object.key.is_some());
        let keys: Vec<_> = objects.iter().filter_map(Object::key).collect();
        let page = Page {
            keys: &keys,
            goes_on,
            beyond: beyond.as_deref(),
        };
        let step = self.ranges.step(range, page);
        let step = step.map_err(|disorder| self.folder.unlisted(io::Error::other(disorder)))?;
        if let Some(rest) = step.rest {
            self.ask(rest, token);
        }
        if let Some(beside) = step.beside {
            self.ask(beside, None);
        }
        objects.truncate(step.kept);
        Ok(objects)
    }
}

/// What is listed, and who is asked.
struct Folder {
    client: Client,
    location: Location,
}

impl Folder {
    fn prefix(&self) -> String {
        format!("{}/", self.location.key)
    }

    /// The scheme and bucket as the folder spells them.
    fn root(&self) -> &str {
        let Location { path, key, .. } = &self.location;
        &path[..path.len() - key.len()]
    }

    fn unlisted(&self, cause: io::Error) -> iceberg::Error {
        describe("list", &self.location.path, cause)
    }

    /// The next page, which `token` continues, and beside it what the probe finds.
    async fn answer(&self, range: Range, token: Option<String>) -> Result<Answer> {
        let start = range.after.clone().filter(|_| token.is_none());
        let page = self
            .request()
            .set_start_after(start)
            .set_continuation_token(token);
        let beyond = async {
            match &range.probe {
                Some(middle) => self.first_after(middle).await,
                None => Ok(None),
            }
        };
        let (page, beyond) = futures::try_join!(self.send(page), beyond)?;
        Ok(Answer { range, page, beyond })
    }

    async fn first_after(&self, key: &str) -> Result<Option<String>> {
        let page = self.send(self.request().start_after(key).max_keys(1)).await?;
        let first = page.contents.unwrap_or_default().into_iter().next();
        Ok(first.and_then(|object| object.key))
    }

    fn request(&self) -> ListObjectsV2FluentBuilder {
        let request = self.client.list_objects_v2();
        request.bucket(&self.location.bucket).prefix(self.prefix())
    }

    async fn send(&self, request: ListObjectsV2FluentBuilder) -> Result<ListObjectsV2Output> {
        let answer = request.send().await;
        answer.map_err(|error| failure("list", &self.location.path, &error))
    }
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
