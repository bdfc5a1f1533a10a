//! Looks at everything that will be live after a commit, to find the delete files that apply to none of it.

use std::collections::HashSet;

use futures::TryStreamExt;
use iceberg::spec::ManifestFile;
use snowpack_catalog::{LoadedTable, normalize_location};

use super::dangling::{LiveData, Sequence};
use super::manifests::with_live_files;
use super::replace::{DeleteKey, LiveDelete, Replacement, RewriteBase, Rewritten};
use super::scope::{Reach, ScopeKey};
use crate::file_error::FileError;

/// A commit about to replace the data files of `groups` on top of `base`.
pub(super) struct Survey<'a> {
    pub(super) rewrite: &'a RewriteBase,
    pub(super) base: &'a LoadedTable,
    pub(super) groups: &'a [&'a Replacement],
}

/// Paths of the data files that `groups` replace.
pub(super) fn replaced_paths<'a>(groups: &[&'a Replacement]) -> HashSet<&'a str> {
    let replaced = groups.iter().flat_map(|group| &group.replaced);
    replaced.map(|file| file.file.file_path()).collect()
}

impl Survey<'_> {
    /// The delete files that apply to nothing once the groups are replaced, among those to be looked at.
    pub(super) async fn dangling<'d>(
        &self,
        data: &[ManifestFile],
        deletes: &'d [LiveDelete],
    ) -> Result<HashSet<&'d DeleteKey>, FileError> {
        if deletes.is_empty() {
            return Ok(HashSet::new());
        }
        let live = self.live_data(data, deletes).await?;
        let gone: HashSet<_> = replaced_paths(self.groups)
            .into_iter()
            .map(normalize_location)
            .collect();
        let replaced = self.groups.iter().flat_map(|group| &group.replaced);
        let scopes: HashSet<_> = replaced
            .map(|file| ScopeKey::new(file.spec_id, file.file.partition()))
            .collect();
        let touched = |reach: &Reach| match reach {
            Reach::File(path) => gone.contains(path.as_str()),
            Reach::PartitionPositions(scope) | Reach::PartitionRows(scope) => scopes.contains(scope),
            Reach::AllRows => true,
        };
        let doomed = deletes.iter().filter(|delete| {
            let looked_at = self.rewrite.remove_dangling || touched(&delete.reach);
            (looked_at && live.leaves_dangling(&delete.reach, delete.sequence))
                || live.all_newer_than(delete.sequence)
        });
        Ok(doomed.map(|delete| &delete.key).collect())
    }

    /// The data files that will be live: those of the newest snapshot without the replaced, and the new ones.
    async fn live_data(&self, data: &[ManifestFile], deletes: &[LiveDelete]) -> Result<LiveData, FileError> {
        let named: HashSet<&str> = deletes
            .iter()
            .filter_map(|delete| match &delete.reach {
                Reach::File(path) => Some(path.as_str()),
                _ => None,
            })
            .collect();
        let gone = replaced_paths(self.groups);
        let mut live = LiveData::default();
        let mut stream = std::pin::pin!(self.rewrite.cache.stream(&self.base.io, with_live_files(data)));
        while let Some((file, manifest)) = stream.try_next().await? {
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let path = entry.file_path();
                if !gone.contains(path) {
                    let sequence = Sequence {
                        data: entry.sequence_number().unwrap_or(0),
                        file: entry.file_sequence_number,
                    };
                    let scope = ScopeKey::new(file.partition_spec_id, entry.data_file().partition());
                    let path = normalize_location(path);
                    live.add(&path, named.contains(path.as_ref()), scope, sequence);
                }
            }
        }
        self.add_new(&mut live);
        Ok(live)
    }

    fn add_new(&self, live: &mut LiveData) {
        let Rewritten::Data {
            output_spec,
            keep_sequence_number,
        } = &self.rewrite.files
        else {
            return;
        };
        let commit = self.base.metadata.next_sequence_number();
        let sequence = Sequence {
            data: if *keep_sequence_number {
                self.rewrite.sequence_number
            } else {
                commit
            },
            file: Some(commit),
        };
        for file in self.groups.iter().flat_map(|group| &group.added) {
            let scope = ScopeKey::new(output_spec.spec_id(), file.partition());
            live.add(file.file_path(), false, scope, sequence);
        }
    }
}
