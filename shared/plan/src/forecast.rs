//! What a plan expects an action to come to, in numbers named as the metrics of its result.

use std::collections::{BTreeMap, HashSet};

use crate::applying::SharedDeletes;
use crate::expire::ExpiryPlan;
use crate::manifests::ManifestShelf;
use crate::position_deletes::{DeleteFileGroup, DeletePlan};
use crate::types::{RewritePlan, SkipReason};
use crate::vectors::VectorGroup;

/// Numbers by name; `None` where only running the action could tell.
pub type Numbers = BTreeMap<String, Option<u64>>;

/// The numbers that could be told.
pub fn told(numbers: Numbers) -> BTreeMap<String, u64> {
    let told = numbers
        .into_iter()
        .filter_map(|(name, number)| Some((name, number?)));
    told.collect()
}

/// A plan that says what it expects.
pub trait Forecast {
    /// The numbers.
    fn forecast(&self) -> Numbers;
}

impl Forecast for RewritePlan {
    fn forecast(&self) -> Numbers {
        let files = || self.groups.iter().flat_map(|group| &group.files);
        let deletes =
            SharedDeletes::of(files().flat_map(|file| [&file.position_deletes, &file.equality_deletes]));
        let deletes: usize = deletes.iter().map(|shared| shared.files().count()).sum();
        let bytes_in = self.groups.iter().map(|group| group.input_bytes).sum();
        let rows_in = files().map(|file| file.data.file.record_count()).sum();
        let files_out = self.groups.iter().map(|group| group.output_files as u64).sum();
        let mut numbers = numbers([
            ("files_considered", Some(self.files_considered)),
            ("files_in", Some(files().count() as u64)),
            ("bytes_in", Some(bytes_in)),
            ("rows_in", Some(rows_in)),
            ("files_out", Some(files_out)),
            ("file_groups", Some(self.groups.len() as u64)),
            ("delete_files_applied", Some(deletes as u64)),
        ]);
        numbers.extend(skipped(&self.skipped));
        numbers
    }
}

impl Forecast for DeletePlan<DeleteFileGroup> {
    fn forecast(&self) -> Numbers {
        let files = || self.groups.iter().flat_map(|group| &group.files);
        let bytes_in = self.groups.iter().map(|group| group.input_bytes).sum();
        let rows_in = files().map(|file| file.file.record_count()).sum();
        let mut numbers = numbers([
            ("files_considered", Some(self.files_considered)),
            ("files_in", Some(files().count() as u64)),
            ("bytes_in", Some(bytes_in)),
            ("rows_in", Some(rows_in)),
            // Which positions still apply is known only once the files were read.
            ("files_out", None),
            ("file_groups", Some(self.groups.len() as u64)),
        ]);
        numbers.extend(skipped(&self.skipped));
        numbers
    }
}

impl Forecast for DeletePlan<VectorGroup> {
    fn forecast(&self) -> Numbers {
        let files = || self.groups.iter().flat_map(VectorGroup::files);
        // Vectors share Puffin files.
        let paths: HashSet<_> = files().map(|file| file.file.file_path()).collect();
        let rows_in = files().map(|file| file.file.record_count()).sum();
        let mut numbers = numbers([
            ("files_considered", Some(self.files_considered)),
            ("files_in", Some(paths.len() as u64)),
            ("rows_in", Some(rows_in)),
            ("files_out", None),
            ("file_groups", Some(self.groups.len() as u64)),
        ]);
        numbers.extend(skipped(&self.skipped));
        numbers
    }
}

impl Forecast for ExpiryPlan {
    fn forecast(&self) -> Numbers {
        // Which files go is known only once the manifests of every snapshot were read.
        numbers([
            ("snapshots", Some(self.snapshots.len() as u64)),
            ("refs", Some(self.refs.len() as u64)),
            ("data_files", None),
        ])
    }
}

/// Manifests that a rewrite would replace, and about how many it would leave in their place.
impl Forecast for [ManifestShelf] {
    fn forecast(&self) -> Numbers {
        let replaced = self.iter().map(|shelf| shelf.replaced().count() as u64).sum();
        let expected = self.iter().map(|shelf| shelf.expected).sum();
        numbers([
            ("manifests_in", Some(replaced)),
            ("manifests_out", Some(expected)),
        ])
    }
}

fn numbers<const N: usize>(pairs: [(&str, Option<u64>); N]) -> Numbers {
    pairs.map(|(name, number)| (name.to_owned(), number)).into()
}

fn skipped(skipped: &BTreeMap<SkipReason, u64>) -> impl Iterator<Item = (String, Option<u64>)> {
    skipped
        .iter()
        .map(|(reason, files)| (format!("skipped.{}", reason.as_str()), Some(*files)))
}
