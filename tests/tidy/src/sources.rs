//! The files of the checkout, without what tools leave behind.

use std::fs;
use std::path::Path;

/// Folders with crates and scripts.
const FOLDERS: [&str; 4] = ["functions", "shared", "tests", "infra"];
/// What builds and interpreters leave in them.
const GENERATED: [&str; 3] = ["target", "__pycache__", ".aws-sam"];

/// A text file.
#[derive(Debug)]
pub struct Source {
    /// Its path below the root, with `/` between folders.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl Source {
    /// Whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        let path = &self.path;
        path.starts_with("tests/")
            || path.starts_with("shared/testkit/")
            || path.contains("/tests/")
            || path.contains("/fake/")
            || path.ends_with("tests.rs")
    }

    /// Its lines up to the test module, each with its number.
    pub fn production_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        (1..).zip(lines)
    }

    /// `path:line`, for a complaint.
    pub fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
}

/// Every Rust file.
pub fn sources() -> Vec<Source> {
    files(&["rs"])
}

/// Every file whose name ends in one of `extensions`, with the scripts and settings at the root; sorted.
///
/// # Panics
/// When the checkout cannot be read.
pub fn files(extensions: &[&str]) -> Vec<Source> {
    let root = crate::root();
    let mut found = Vec::new();
    for folder in FOLDERS.iter().chain(&["docs", ".ci"]) {
        walk(&root, &root.join(folder), extensions, &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(root: &Path, folder: &Path, extensions: &[&str], found: &mut Vec<Source>) {
    // A folder that later work brings may not be there yet.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a folder of the checkout can be listed").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !GENERATED.contains(&name.as_str()) {
                walk(root, &path, extensions, found);
            }
            continue;
        }
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        if extensions.contains(&&*extension) {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let below = path.strip_prefix(root).expect("the walk starts at the root");
            found.push(Source {
                path: below.to_string_lossy().replace('\\', "/"),
                text,
            });
        }
    }
}
