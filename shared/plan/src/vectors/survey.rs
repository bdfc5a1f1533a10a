//! Sorts the position deletes of a version 3 table: what each may be about, and what is about nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{DataContentType, DataFileFormat, Struct, TableMetadata};
use snowpack_catalog::normalize_location;

use super::Conversion;
use crate::deletes::referenced_data_file;
use crate::partition::PartitionTypes;
use crate::state::TableState;
use crate::types::LiveFile;

/// A Puffin file with the vectors in it that are about live data files.
pub(super) struct PuffinFile {
    pub(super) bytes: u64,
    pub(super) live: Vec<Arc<LiveFile>>,
}

/// The position deletes of a state.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) conversions: Vec<Conversion>,
    pub(super) puffin_files: Vec<PuffinFile>,
    pub(super) dangling: Vec<Arc<LiveFile>>,
    pub(super) files_considered: u64,
}

type PartitionKey = (i32, Struct);

/// Delete files by what they may be about.
#[derive(Default)]
struct Deletes {
    /// Vectors by the data file they are about, and what delete files about one data file name.
    vectors: HashMap<String, Arc<LiveFile>>,
    of_one_file: Vec<(String, Arc<LiveFile>)>,
    of_partitions: Vec<(PartitionKey, Arc<LiveFile>)>,
}

/// Live data files that matter to them.
#[derive(Default)]
struct Data {
    named: HashMap<String, Arc<LiveFile>>,
    by_partition: HashMap<PartitionKey, Vec<Arc<LiveFile>>>,
}

impl Survey {
    /// # Errors
    /// As [`plan`](super::plan).
    pub(super) fn of(state: &TableState, metadata: &TableMetadata) -> Result<Self, String> {
        let types = PartitionTypes::of(metadata);
        let deletes = Deletes::of(state, &types)?;
        let data = Data::of(state, &types, &deletes);
        let mut survey = Self::default();
        survey.sort_vectors(state, &data);
        survey.sort_delete_files(deletes, data, &types);
        Ok(survey)
    }

    /// Puffin files in the order of their first vectors.
    fn sort_vectors(&mut self, state: &TableState, data: &Data) {
        let mut places: HashMap<&str, usize> = HashMap::new();
        for vector in state.deletes.iter().filter(|file| is_vector(file)) {
            let path = vector.file.file_path();
            let place = *places.entry(path).or_insert_with(|| {
                self.puffin_files.push(PuffinFile {
                    bytes: vector.file.file_size_in_bytes(),
                    live: Vec::new(),
                });
                self.puffin_files.len() - 1
            });
            match named_file(vector).is_some_and(|named| data.named.contains_key(&named)) {
                true => self.puffin_files[place].live.push(Arc::clone(vector)),
                false => self.dangling.push(Arc::clone(vector)),
            }
        }
        self.files_considered += places.len() as u64;
        self.puffin_files.retain(|file| !file.live.is_empty());
    }

    /// Conversions of whole partitions first, then those of single data files.
    fn sort_delete_files(&mut self, deletes: Deletes, mut data: Data, types: &PartitionTypes) {
        self.files_considered += (deletes.of_one_file.len() + deletes.of_partitions.len()) as u64;
        let mut whole: Vec<Conversion> = Vec::new();
        let mut places: HashMap<PartitionKey, usize> = HashMap::new();
        for (key, delete) in deletes.of_partitions {
            let place = *places.entry(key).or_insert_with_key(|key| {
                whole.push(Conversion {
                    targets: data.by_partition.remove(key).unwrap_or_default(),
                    deletes: Vec::new(),
                });
                whole.len() - 1
            });
            let mut targets = whole[place].targets.iter();
            match targets.any(|target| target.sequence_number <= delete.sequence_number) {
                true => whole[place].deletes.push(delete),
                false => self.dangling.push(delete),
            }
        }
        let mut single: BTreeMap<String, Conversion> = BTreeMap::new();
        for (named, delete) in deletes.of_one_file {
            let target = data.named.get(&named).filter(|target| {
                target.sequence_number <= delete.sequence_number && !deletes.vectors.contains_key(&named)
            });
            let Some(target) = target else {
                self.dangling.push(delete);
                continue;
            };
            let conversion = match places.get(&key(types, target)) {
                Some(place) => &mut whole[*place],
                None => single.entry(named).or_insert_with(|| Conversion {
                    deletes: Vec::new(),
                    targets: vec![Arc::clone(target)],
                }),
            };
            conversion.deletes.push(delete);
        }
        let conversions = whole.into_iter().chain(single.into_values());
        let is_needed = |conversion: &Conversion| !conversion.deletes.is_empty();
        self.conversions.extend(conversions.filter(is_needed));
    }
}

impl Deletes {
    fn of(state: &TableState, types: &PartitionTypes) -> Result<Self, String> {
        let mut deletes = Self::default();
        let is_position_delete =
            |file: &&Arc<LiveFile>| file.file.content_type() == DataContentType::PositionDeletes;
        for file in state.deletes.iter().filter(is_position_delete) {
            match (named_file(file), is_vector(file)) {
                (Some(named), true) => {
                    if let Some(other) = deletes.vectors.insert(named.clone(), Arc::clone(file)) {
                        return Err(format!(
                            "{named} has two deletion vectors, in {} and {}",
                            other.file.file_path(),
                            file.file.file_path()
                        ));
                    }
                }
                (None, true) => {
                    let path = file.file.file_path();
                    return Err(format!(
                        "a deletion vector in {path} does not say which data file it is about"
                    ));
                }
                (Some(named), false) => deletes.of_one_file.push((named, Arc::clone(file))),
                (None, false) => deletes.of_partitions.push((key(types, file), Arc::clone(file))),
            }
        }
        Ok(deletes)
    }
}

impl Data {
    fn of(state: &TableState, types: &PartitionTypes, deletes: &Deletes) -> Self {
        let named: HashSet<&str> = deletes
            .vectors
            .keys()
            .chain(deletes.of_one_file.iter().map(|(named, _)| named))
            .map(String::as_str)
            .collect();
        let partitions: HashSet<&PartitionKey> = deletes.of_partitions.iter().map(|(key, _)| key).collect();
        let mut data = Self::default();
        for file in &state.data {
            let path = normalize_location(file.file.file_path());
            if !partitions.is_empty() && !deletes.vectors.contains_key(path.as_ref()) {
                let key = key(types, file);
                if partitions.contains(&key) {
                    data.by_partition.entry(key).or_default().push(Arc::clone(file));
                }
            }
            if named.contains(path.as_ref()) {
                data.named.insert(path.into_owned(), Arc::clone(file));
            }
        }
        data
    }
}

fn key(types: &PartitionTypes, file: &LiveFile) -> PartitionKey {
    let partition = types.current(file.spec_id, file.file.partition());
    (file.spec_id, partition.into_owned())
}

fn is_vector(file: &LiveFile) -> bool {
    file.file.file_format() == DataFileFormat::Puffin
}

/// The one data file that a delete file is about, normalised.
fn named_file(file: &LiveFile) -> Option<String> {
    let path = referenced_data_file(&file.file)?;
    Some(normalize_location(&path).into_owned())
}
