//! Lists local folders: page by page, however deep or wide they are.

use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use futures::StreamExt;
use iceberg::Result;
use snowpack_domain::Timestamp;

use super::list::{ListedFile, Listing, PAGE};
use super::local::blocking;

/// Lists the folder at `path`, naming files as the caller spelled it.
pub(super) fn list(spelled: &str, path: &str) -> Listing {
    let walk = Walk {
        spelled: spelled.trim_end_matches('/').to_owned(),
        root: PathBuf::from(path),
        pending: vec![PathBuf::from(path)],
        open: None,
    };
    futures::stream::try_unfold(walk, next).boxed()
}

async fn next(mut walk: Walk) -> Result<Option<(Vec<ListedFile>, Walk)>> {
    let root = walk.root.clone();
    let (page, walk) = blocking("list", &root, move |_| Ok((walk.page()?, walk))).await?;
    Ok((!page.is_empty()).then_some((page, walk)))
}

/// A walk under way. Only one folder is open at a time, so depth costs no file handles.
struct Walk {
    spelled: String,
    root: PathBuf,
    /// Folders not yet opened.
    pending: Vec<PathBuf>,
    open: Option<ReadDir>,
}

impl Walk {
    /// The next page; empty only at the end.
    fn page(&mut self) -> io::Result<Vec<ListedFile>> {
        let mut page = Vec::new();
        while page.len() < PAGE {
            match &mut self.open {
                Some(entries) => match entries.next() {
                    Some(entry) => page.extend(self.visit(&entry?)?),
                    None => self.open = None,
                },
                None => match self.pending.pop() {
                    Some(folder) => self.open = unless_gone(fs::read_dir(folder))?,
                    None => break,
                },
            }
        }
        Ok(page)
    }

    fn visit(&mut self, entry: &DirEntry) -> io::Result<Option<ListedFile>> {
        let Some(kind) = unless_gone(entry.file_type())? else {
            return Ok(None);
        };
        if kind.is_dir() {
            self.pending.push(entry.path());
        }
        if !kind.is_file() {
            return Ok(None);
        }
        let path = entry.path();
        // A name that is no text cannot be written into a location, and so is nobody's to maintain.
        let inside = path
            .strip_prefix(&self.root)
            .ok()
            .and_then(|inside| inside.to_str());
        let (Some(inside), Some(metadata)) = (inside, unless_gone(entry.metadata())?) else {
            return Ok(None);
        };
        Ok(Some(ListedFile {
            location: format!("{}/{inside}", self.spelled),
            bytes: metadata.len(),
            modified: metadata.modified().ok().and_then(timestamp),
        }))
    }
}

/// What vanishes while the walk goes on is not there.
fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `None` for times before 1970, which no writer of tables has seen.
fn timestamp(time: SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok().map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use futures::TryStreamExt;

    use super::*;

    async fn pages(spelled: &str, path: &Path) -> Vec<Vec<ListedFile>> {
        list(spelled, path.to_str().unwrap()).try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn every_file_is_listed_once_under_the_callers_spelling() {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = BTreeSet::new();
        for index in 0..2 * PAGE + 1 {
            let name = format!("a={}/b%2F/{index}.parquet", index % 7);
            let path = folder.path().join(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; index % 3]).unwrap();
            expected.insert((format!("file:/w/{name}"), index as u64 % 3));
        }
        fs::create_dir(folder.path().join("empty")).unwrap();
        let pages = pages("file:/w/", folder.path()).await;
        assert!(pages.iter().all(|page| page.len() <= PAGE));
        let files: Vec<_> = pages.into_iter().flatten().collect();
        let now = timestamp(SystemTime::now()).unwrap();
        assert!(
            files
                .iter()
                .all(|file| file.modified.is_some_and(|time| time <= now))
        );
        assert_eq!(files.len(), expected.len());
        let found: BTreeSet<_> = files
            .into_iter()
            .map(|file| (file.location, file.bytes))
            .collect();
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn links_are_left_alone_and_missing_folders_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "x").unwrap();
        symlink(outside.path(), folder.path().join("folder")).unwrap();
        symlink(outside.path().join("f"), folder.path().join("file")).unwrap();
        symlink(folder.path(), folder.path().join("round")).unwrap();
        assert!(pages("x", folder.path()).await.is_empty());
        assert!(pages("x", &folder.path().join("none")).await.is_empty());
        fs::write(folder.path().join("real"), "x").unwrap();
        assert_eq!(pages("x", folder.path()).await[0][0].location, "x/real");
    }

    #[tokio::test]
    async fn depth_has_no_limit_but_the_file_systems() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d/".repeat(900));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f"), "x").unwrap();
        let found = pages("x", folder.path()).await;
        assert_eq!(found[0][0].location, format!("x/{}f", "d/".repeat(900)));
    }
}
