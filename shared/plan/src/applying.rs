//! The delete files that apply to a data file, without a pointer for every pair of files.
//!
//! Delete files of one scope are kept in one list, which the data files of that scope share: 20,000 delete
//! files that apply to 20,000 data files take memory for 40,000 files, not for 400 million pairs.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::deletes::referenced_data_file;
use crate::types::LiveFile;

/// How far the delete files of a list reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteReach {
    /// Every partition of every spec.
    Table,
    /// One partition.
    Partition,
    /// One data file.
    File,
}

/// Delete files of one scope, oldest first.
#[derive(Debug)]
pub struct DeleteList {
    pub(crate) files: Vec<Arc<LiveFile>>,
    pub(crate) reach: DeleteReach,
}

/// The delete files that apply to one data file, oldest first within each scope.
#[derive(Clone, Debug, Default)]
pub struct Deletes(Vec<Part>);

/// Some delete files of a list.
#[derive(Clone, Debug)]
struct Part {
    list: Arc<DeleteList>,
    chosen: Chosen,
}

/// Which delete files of a list apply, by their place in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Chosen {
    /// This one and all newer ones.
    From(usize),
    /// Those that statistics do not rule out.
    These(Arc<RoaringBitmap>),
}

impl Chosen {
    fn contains(&self, place: usize) -> bool {
        match self {
            Self::From(start) => place >= *start,
            Self::These(places) => u32::try_from(place).is_ok_and(|place| places.contains(place)),
        }
    }

    fn count(&self, list: &DeleteList) -> usize {
        match self {
            Self::From(start) => list.files.len().saturating_sub(*start),
            Self::These(places) => places.len() as usize,
        }
    }

    fn unite(&mut self, other: &Self, list: &DeleteList) {
        match (&mut *self, other) {
            (Self::From(one), Self::From(other)) => *one = *other.min(one),
            (Self::These(one), Self::These(other)) => *Arc::make_mut(one) |= other.as_ref(),
            (one, other) => *self = Self::These(Arc::new(one.places(list) | other.places(list))),
        }
    }

    fn places(&self, list: &DeleteList) -> RoaringBitmap {
        match self {
            Self::From(start) => place(*start)..place(list.files.len()),
            Self::These(places) => return places.as_ref().clone(),
        }
        .collect()
    }

    fn iter<'a>(&'a self, list: &'a DeleteList) -> Box<dyn Iterator<Item = usize> + Send + 'a> {
        match self {
            Self::From(start) => Box::new(*start..list.files.len()),
            Self::These(places) => Box::new(places.iter().map(|place| place as usize)),
        }
    }
}

/// A place in a list as bitmaps hold it.
pub(crate) fn place(index: usize) -> u32 {
    u32::try_from(index).expect("a table has fewer than 4 billion delete files")
}

impl Deletes {
    /// Adds one delete file.
    pub fn push(&mut self, delete: Arc<LiveFile>) {
        let reach = match referenced_data_file(&delete.file) {
            Some(_) => DeleteReach::File,
            None => DeleteReach::Partition,
        };
        let files = vec![delete];
        self.add(&Arc::new(DeleteList { files, reach }), Chosen::From(0));
    }

    pub(crate) fn add(&mut self, list: &Arc<DeleteList>, chosen: Chosen) {
        if chosen.count(list) > 0 {
            let list = Arc::clone(list);
            self.0.push(Part { list, chosen });
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|part| part.chosen.count(&part.list)).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LiveFile>> {
        self.0.iter().flat_map(Part::files)
    }

    /// Those that are about the data file only.
    pub(crate) fn of_this_file(&self) -> impl Iterator<Item = &Arc<LiveFile>> {
        let parts = self.0.iter().filter(|part| part.list.reach == DeleteReach::File);
        parts.flat_map(Part::files)
    }

    /// The lists they are in.
    pub fn lists(&self) -> impl Iterator<Item = &Arc<DeleteList>> {
        self.0.iter().map(|part| &part.list)
    }
}

impl Part {
    fn files(&self) -> impl Iterator<Item = &Arc<LiveFile>> {
        let places = self.chosen.iter(&self.list);
        places.map(|place| &self.list.files[place])
    }
}

/// The delete files of one list that apply to some of several data files.
#[derive(Clone, Debug)]
pub struct SharedDeletes {
    list: Arc<DeleteList>,
    chosen: Chosen,
    users: Vec<(usize, Chosen)>,
}

impl SharedDeletes {
    /// The deletes of several data files, by list, each list once and in the order they are first met.
    pub fn of<'a>(deletes: impl IntoIterator<Item = &'a Deletes>) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        let mut slots: HashMap<*const DeleteList, usize> = HashMap::new();
        for (user, deletes) in deletes.into_iter().enumerate() {
            for part in &deletes.0 {
                let slot = *slots.entry(Arc::as_ptr(&part.list)).or_insert_with(|| {
                    found.push(Self {
                        list: Arc::clone(&part.list),
                        chosen: part.chosen.clone(),
                        users: Vec::new(),
                    });
                    found.len() - 1
                });
                found[slot].chosen.unite(&part.chosen, &part.list);
                found[slot].users.push((user, part.chosen.clone()));
            }
        }
        found
    }

    /// The list.
    pub fn list(&self) -> &Arc<DeleteList> {
        &self.list
    }

    /// How far the delete files reach.
    pub fn reach(&self) -> DeleteReach {
        self.list.reach
    }

    /// The data files, as numbered in [`SharedDeletes::of`], that some of the delete files apply to.
    pub fn users(&self) -> impl Iterator<Item = usize> {
        self.users.iter().map(|(user, _)| *user)
    }

    /// Each delete file that applies to some data file, with its place in the list.
    pub fn files(&self) -> impl Iterator<Item = (usize, &Arc<LiveFile>)> {
        let places = self.chosen.iter(&self.list);
        places.map(|place| (place, &self.list.files[place]))
    }

    /// Whether the delete file at a place applies to a data file, by its index in [`SharedDeletes::users`].
    pub fn applies(&self, place: usize, user_index: usize) -> bool {
        self.users[user_index].1.contains(place)
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::DataContentType;

    use super::*;
    use crate::fixture::FileOf;

    fn list(files: usize) -> Arc<DeleteList> {
        let file = |index| {
            let path = format!("d{index}");
            FileOf::deletes(&path, DataContentType::EqualityDeletes).build()
        };
        Arc::new(DeleteList {
            files: (0..files).map(file).collect(),
            reach: DeleteReach::Partition,
        })
    }

    fn of(parts: &[(&Arc<DeleteList>, Chosen)]) -> Deletes {
        let mut deletes = Deletes::default();
        for (list, chosen) in parts {
            deletes.add(list, chosen.clone());
        }
        deletes
    }

    fn these(places: &[u32]) -> Chosen {
        Chosen::These(Arc::new(places.iter().copied().collect()))
    }

    fn paths<'a>(files: impl Iterator<Item = &'a Arc<LiveFile>>) -> Vec<&'a str> {
        files.map(|file| file.file.file_path()).collect()
    }

    #[test]
    fn lists_are_united_over_their_data_files() {
        let (one, other) = (list(5), list(2));
        let deletes = [
            of(&[(&one, Chosen::From(3)), (&other, Chosen::From(2))]),
            of(&[(&one, these(&[0, 4]))]),
            of(&[(&other, Chosen::From(1)), (&one, Chosen::From(4))]),
        ];
        assert_eq!(paths(deletes[0].iter()), ["d3", "d4"]);
        assert_eq!((deletes[0].len(), deletes[1].len(), deletes[2].len()), (2, 2, 2));
        let shared = SharedDeletes::of(&deletes);
        assert_eq!(shared.len(), 2, "a list of which nothing applies is left out");
        assert_eq!(paths(shared[0].files().map(|(_, file)| file)), ["d0", "d3", "d4"]);
        assert_eq!(shared[0].users().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(paths(shared[1].files().map(|(_, file)| file)), ["d1"]);
        assert!(shared[0].applies(0, 1) && !shared[0].applies(3, 1) && shared[0].applies(4, 2));
    }

    #[test]
    fn one_delete_file_may_be_about_one_data_file() {
        let mut deletes = Deletes::default();
        assert!(deletes.is_empty());
        let named = FileOf::deletes("p", DataContentType::PositionDeletes).with(|file| {
            file.referenced_data_file(Some("d".to_owned()));
        });
        deletes.push(named.build());
        deletes.push(FileOf::deletes("q", DataContentType::PositionDeletes).build());
        assert_eq!(paths(deletes.iter()), ["p", "q"]);
        assert_eq!(paths(deletes.of_this_file()), ["p"]);
    }
}
