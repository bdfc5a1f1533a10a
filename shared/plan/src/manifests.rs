//! Decides which manifests rewrite_manifests replaces, from the manifest list alone.
//!
//! Manifests of one spec and one content are planned together. Java's `RewriteManifestsSparkAction` rewrites
//! them whenever there is more than one; here they must be out of shape ([`shape`]).

mod key;
mod shape;

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::{ManifestContentType, ManifestFile, SchemaRef, StructType, TableMetadata};
use snowpack_catalog::LoadedTable;
use snowpack_domain::ManifestRewrite;

use key::Footprint;
pub use key::PartitionKey;
use shape::Candidate;
pub use shape::small_bytes;

use crate::error::PlanError;

/// What to do with the manifests of one spec and content.
#[derive(Clone, Debug)]
pub struct ManifestShelf {
    /// Their spec.
    pub spec_id: i32,
    /// What they list.
    pub content: ManifestContentType,
    /// Manifests without live entries, to leave out.
    pub dropped: Vec<ManifestFile>,
    /// Runs of manifests to rewrite, in the order of their partitions. None overlaps another.
    pub runs: Vec<ManifestRun>,
    /// About how many manifests the rewrite leaves in the place of those it has to replace.
    pub expected: u64,
}

/// Manifests whose entries are to be sorted together.
#[derive(Clone, Debug)]
pub struct ManifestRun {
    /// The manifests.
    pub manifests: Vec<ManifestFile>,
    /// It is one manifest of good size, which may as well stay.
    pub is_keepable: bool,
}

impl ManifestShelf {
    /// Manifests that the rewrite has to replace; it may replace keepable ones too.
    pub fn replaced(&self) -> impl Iterator<Item = &ManifestFile> {
        let rewritten = self.runs.iter().filter(|run| !run.is_keepable);
        rewritten.flat_map(|run| &run.manifests).chain(&self.dropped)
    }
}

/// Plans the rewrite of a snapshot's manifests, whose counts are filled in. Shelves in shape are not part of
/// the plan, nor are those of a spec that no schema of the table explains.
pub fn plan_manifests(
    metadata: &TableMetadata,
    manifests: &[ManifestFile],
    settings: &ManifestRewrite,
) -> Vec<ManifestShelf> {
    let mut shelves: BTreeMap<(i32, bool), Vec<&ManifestFile>> = BTreeMap::new();
    for manifest in manifests {
        let is_deletes = manifest.content == ManifestContentType::Deletes;
        let shelf = (manifest.partition_spec_id, is_deletes);
        if settings.spec_id.is_none_or(|id| id == manifest.partition_spec_id) {
            shelves.entry(shelf).or_default().push(manifest);
        }
    }
    let plan = |((spec_id, _), manifests): (_, Vec<&ManifestFile>)| {
        let (_, partition_type) = partition_schema(metadata, spec_id)?;
        plan_shelf(&manifests, &partition_type, settings.target_bytes)
    };
    shelves.into_iter().filter_map(plan).collect()
}

/// The newest schema that has the source columns of a spec, and the spec's partition type under it. The
/// table's own, unless a source column was dropped.
pub fn partition_schema(metadata: &TableMetadata, spec_id: i32) -> Option<(SchemaRef, StructType)> {
    let spec = metadata.partition_spec_by_id(spec_id)?;
    let mut schemas: Vec<_> = metadata.schemas_iter().collect();
    schemas.sort_by_key(|schema| {
        let is_current = schema.schema_id() == metadata.current_schema_id();
        std::cmp::Reverse((is_current, schema.schema_id()))
    });
    schemas.into_iter().find_map(|schema| {
        let partition_type = spec.partition_type(schema).ok()?;
        Some((Arc::clone(schema), partition_type))
    })
}

/// Checks options of rewrite_manifests against the table.
///
/// # Errors
/// [`PlanError::Option`] for a spec the table does not have.
pub fn check_manifest_settings(table: &LoadedTable, settings: &ManifestRewrite) -> Result<(), PlanError> {
    match settings.spec_id {
        Some(id) if table.metadata.partition_spec_by_id(id).is_none() => Err(PlanError::Option {
            table: table.id.to_string(),
            option: "spec_id",
            reason: format!("the table has no partition spec {id}"),
        }),
        _ => Ok(()),
    }
}

fn plan_shelf(
    manifests: &[&ManifestFile],
    partition_type: &StructType,
    target_bytes: u64,
) -> Option<ManifestShelf> {
    let first = manifests.first()?;
    let (live, dropped): (Vec<_>, Vec<_>) = manifests
        .iter()
        .copied()
        .cloned()
        .partition(|manifest| manifest.has_added_files() || manifest.has_existing_files());
    let mut candidates: Vec<_> = live
        .into_iter()
        .map(|file| {
            let footprint = Footprint::of(file.partitions.as_deref(), partition_type);
            Candidate::new(file, footprint)
        })
        .collect();
    shape::sort(&mut candidates);
    let is_in_shape = shape::is_in_shape(&candidates, target_bytes);
    if is_in_shape && dropped.is_empty() {
        return None;
    }
    let mut shelf = ManifestShelf {
        spec_id: first.partition_spec_id,
        content: first.content,
        dropped,
        runs: Vec::new(),
        expected: 0,
    };
    if !is_in_shape {
        let mut rewritten_bytes = 0;
        for run in shape::runs(candidates) {
            let is_keepable = run.len() == 1 && run[0].is_keepable(target_bytes);
            if !is_keepable {
                rewritten_bytes += run.iter().map(Candidate::live_bytes).sum::<u64>();
            }
            let manifests = run.into_iter().map(|candidate| candidate.file).collect();
            shelf.runs.push(ManifestRun {
                manifests,
                is_keepable,
            });
        }
        shelf.expected = rewritten_bytes.div_ceil(target_bytes);
    }
    Some(shelf)
}
