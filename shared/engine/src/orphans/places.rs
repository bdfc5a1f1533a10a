//! Where orphans are looked for: the table's location, and the other places its files are written to when they
//! are its alone.

use iceberg::spec::TableMetadata;
use snowpack_catalog::{LoadedTable, write_locations};
use snowpack_domain::OrphanRemoval;

use super::error::OrphanError;
use super::identity::{FileUri, Names};

/// A folder to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// As the table or the caller spells it, without a slash at its end unless it is a root.
    pub(crate) spelled: String,
    pub(crate) uri: FileUri,
}

impl Place {
    fn new(spelled: &str, names: &Names) -> Self {
        let uri = names.place(spelled);
        let shown = if uri.is_root() {
            spelled
        } else {
            spelled.trim_end_matches('/')
        };
        Self {
            spelled: shown.to_owned(),
            uri,
        }
    }
}

/// The folders of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// To be listed.
    pub(crate) places: Vec<Place>,
    /// Places of the table that are not, each with the reason, in words.
    pub(crate) left_out: Vec<String>,
}

/// Where the files of other tables of the catalog are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Neighbours {
    /// A table and one of its locations.
    pub(crate) places: Vec<(String, FileUri)>,
    /// The first tables that may be missing from `places`, in words.
    pub(crate) unknown: Option<String>,
}

impl Neighbours {
    /// A table with files in a place.
    fn inside(&self, place: &FileUri) -> Option<&str> {
        let found = self.places.iter().find(|(_, other)| place.contains(other));
        found.map(|(table, _)| table.as_str())
    }

    /// Whose files may be in a place outside of a table's own location; `None` when certainly nobody else's.
    fn sharer(&self, place: &FileUri) -> Option<&str> {
        let overlaps = |other: &FileUri| place.contains(other) || other.contains(place);
        let known = self.places.iter().find(|(_, other)| overlaps(other));
        known.map(|(table, _)| table.as_str()).or(self.unknown.as_deref())
    }
}

/// Every location a table's properties name, its own first.
pub(crate) fn places_of(metadata: &TableMetadata, names: &Names) -> Vec<Place> {
    let locations = write_locations(metadata);
    locations.map(|location| Place::new(location, names)).collect()
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
) -> Result<Chosen, OrphanError> {
    let own = own_places(places_of(&table.metadata, names), neighbours);
    let chosen = match &settings.location {
        None => own,
        Some(location) => {
            let asked = Place::new(location, names);
            if !asked.uri.is_root() && !own.places.iter().any(|place| place.uri.contains(&asked.uri)) {
                let own: Vec<_> = own.places.into_iter().map(|place| place.spelled).collect();
                return Err(OrphanError::Outside {
                    table: table.id.to_string(),
                    location: asked.spelled,
                    own: own.join(", "),
                });
            }
            Chosen {
                places: vec![asked],
                left_out: Vec::new(),
            }
        }
    };
    for place in &chosen.places {
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
fn own_places(all: Vec<Place>, neighbours: &Neighbours) -> Chosen {
    let mut own = Chosen::default();
    for place in all {
        let is_listed = own.places.iter().any(|taken| taken.uri.contains(&place.uri));
        let wider_than = own.places.iter().find(|taken| place.uri.contains(&taken.uri));
        let doubt = if own.places.is_empty() || is_listed {
            None
        } else if place.uri.is_root() {
            Some("is a whole bucket or file system".to_owned())
        } else if let Some(sharer) = neighbours.sharer(&place.uri) {
            Some(format!("may hold files of {sharer}"))
        } else {
            wider_than.map(|taken| format!("contains {}", taken.spelled))
        };
        match doubt {
            Some(doubt) => {
                let reason = format!("{} was not looked at: it {doubt}", place.spelled);
                own.left_out.push(reason);
            }
            None if is_listed => {}
            None => own.places.push(place),
        }
    }
    own
}
