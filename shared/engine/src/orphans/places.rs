//! Where orphans are looked for: the table's location, and the other places its files are written to when they
//! are its alone.

use iceberg::spec::TableMetadata;
use snowpack_catalog::LoadedTable;
use snowpack_domain::OrphanRemoval;

use super::error::OrphanError;
use super::identity::{FileUri, Names};

/// Properties that send new files elsewhere.
const PATH_PROPERTIES: [&str; 4] = [
    "write.data.path",
    "write.metadata.path",
    "write.object-storage.path",
    "write.folder-storage.path",
];

/// A folder to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// As the table or the caller spells it, without a slash at its end.
    pub(crate) spelled: String,
    pub(crate) uri: FileUri,
}

impl Place {
    fn new(spelled: &str, names: &Names) -> Self {
        Self {
            spelled: spelled.trim_end_matches('/').to_owned(),
            uri: names.place(spelled),
        }
    }
}

/// Where the files of other tables of the catalog are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Neighbours {
    /// A table and one of its locations.
    pub(crate) places: Vec<(String, FileUri)>,
    /// Tables may be missing from `places`.
    pub(crate) some_unknown: bool,
}

impl Neighbours {
    /// A table with files in a place.
    fn inside(&self, place: &FileUri) -> Option<&str> {
        let found = self.places.iter().find(|(_, other)| place.contains(other));
        found.map(|(table, _)| table.as_str())
    }

    /// Whether a place outside of a table's own location is certainly nobody else's.
    fn leave_alone(&self, place: &FileUri) -> bool {
        let overlaps = |other: &FileUri| place.contains(other) || other.contains(place);
        !self.some_unknown && !self.places.iter().any(|(_, other)| overlaps(other))
    }
}

/// Every location a table's properties name, its own first.
pub(crate) fn places_of(metadata: &TableMetadata, names: &Names) -> Vec<Place> {
    let elsewhere = PATH_PROPERTIES
        .iter()
        .filter_map(|name| metadata.properties().get(*name))
        .map(String::as_str);
    std::iter::once(metadata.location())
        .chain(elsewhere)
        .map(|location| Place::new(location, names))
        .collect()
}

/// Decides which folders are listed.
///
/// # Errors
/// [`OrphanError`] when the table's location or the one asked for is a root, contains files of another table, or
/// does not belong to the table. Other places of the table that are any of that are left out.
pub(crate) fn choose(
    table: &LoadedTable,
    settings: &OrphanRemoval,
    neighbours: &Neighbours,
    names: &Names,
) -> Result<Vec<Place>, OrphanError> {
    let own = own_places(places_of(&table.metadata, names), neighbours);
    let chosen = match &settings.location {
        None => own,
        Some(location) => {
            let asked = Place::new(location, names);
            if !asked.uri.is_root() && !own.iter().any(|place| place.uri.contains(&asked.uri)) {
                let own: Vec<_> = own.into_iter().map(|place| place.spelled).collect();
                return Err(OrphanError::Outside {
                    table: table.id.to_string(),
                    location: asked.spelled,
                    own: own.join(", "),
                });
            }
            vec![asked]
        }
    };
    for place in &chosen {
        check(table, place, neighbours)?;
    }
    Ok(chosen)
}

fn check(table: &LoadedTable, place: &Place, neighbours: &Neighbours) -> Result<(), OrphanError> {
    if place.uri.is_root() {
        return Err(OrphanError::Root {
            table: table.id.to_string(),
            location: place.uri.prefix.to_string(),
        });
    }
    match neighbours.inside(&place.uri) {
        Some(other) => Err(OrphanError::Foreign {
            table: table.id.to_string(),
            location: place.spelled.clone(),
            other: other.to_owned(),
        }),
        None => Ok(()),
    }
}

/// The table's location and those of its other places that neither overlap one already taken nor belong to
/// anybody else.
fn own_places(all: Vec<Place>, neighbours: &Neighbours) -> Vec<Place> {
    let mut own: Vec<Place> = Vec::new();
    for place in all {
        let is_location = own.is_empty();
        let overlaps = own
            .iter()
            .any(|taken| taken.uri.contains(&place.uri) || place.uri.contains(&taken.uri));
        let is_safe = !place.uri.is_root() && !overlaps && neighbours.leave_alone(&place.uri);
        if is_location || is_safe {
            own.push(place);
        } else if !overlaps {
            tracing::warn!(
                location = place.spelled,
                "not looked at for orphans: it may hold files of other tables"
            );
        }
    }
    own
}
