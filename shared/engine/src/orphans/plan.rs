//! What a run will delete, written down before it deletes anything and never added to afterwards.

use sha2::{Digest, Sha256};
use snowpack_domain::Timestamp;

use crate::delete::Unreferenced;

/// A file that nothing references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Orphan {
    /// As it was listed.
    pub(crate) location: String,
    pub(crate) bytes: u64,
    pub(crate) modified: Timestamp,
}

impl Orphan {
    /// As it is deleted.
    pub(crate) fn file(&self) -> Unreferenced {
        Unreferenced {
            path: self.location.clone(),
            bytes: self.bytes,
        }
    }
}

/// The orphans of one run, by location.
#[derive(Debug)]
pub(crate) struct FrozenPlan {
    orphans: Vec<Orphan>,
    digest: String,
}

impl FrozenPlan {
    /// Sorts the orphans and seals them.
    pub(crate) fn freeze(mut orphans: Vec<Orphan>) -> Self {
        orphans.sort_unstable_by(|one, other| one.location.cmp(&other.location));
        orphans.dedup_by(|one, other| one.location == other.location);
        let digest = digest(&orphans);
        Self { orphans, digest }
    }

    pub(crate) fn orphans(&self) -> &[Orphan] {
        &self.orphans
    }

    /// SHA-256 over location, size and modification time of every orphan, in hexadecimal. Two runs that print the
    /// same one delete the same files.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.orphans.iter().map(|orphan| orphan.bytes).sum()
    }
}

fn digest(orphans: &[Orphan]) -> String {
    let mut hasher = Sha256::new();
    for orphan in orphans {
        // No location has a zero byte, so that no two lists give the same bytes.
        hasher.update(orphan.location.as_bytes());
        hasher.update([0]);
        hasher.update(orphan.bytes.to_be_bytes());
        hasher.update(orphan.modified.as_micros().to_be_bytes());
    }
    hex::encode(hasher.finalize())
}

/// `512 B`, `1.2 GiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        // What would be shown as 1024.0 is one of the next unit.
        if size < 1023.95 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    match unit {
        "B" => format!("{bytes} B"),
        unit => format!("{size:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orphan(location: &str, bytes: u64, modified: i64) -> Orphan {
        Orphan {
            location: location.to_owned(),
            bytes,
            modified: Timestamp::from_micros(modified),
        }
    }

    #[test]
    fn the_digest_tells_any_change_and_no_order() {
        let digest = |orphans: &[Orphan]| FrozenPlan::freeze(orphans.to_vec()).digest().to_owned();
        let (a, b) = (orphan("/a", 1, 2), orphan("/b", 3, 4));
        let both = digest(&[a.clone(), b.clone()]);
        assert_eq!(both, digest(&[b, a.clone()]));
        assert_eq!(both.len(), 64);
        for other in [
            vec![a.clone()],
            vec![],
            vec![a.clone(), orphan("/b", 3, 5)],
            vec![a.clone(), orphan("/b", 4, 4)],
            vec![a, orphan("/c", 3, 4)],
        ] {
            assert_ne!(both, digest(&other));
        }
    }

    #[test]
    fn a_file_listed_twice_is_deleted_once() {
        let plan = FrozenPlan::freeze(vec![orphan("/a", 1, 2), orphan("/a", 1, 2)]);
        assert_eq!((plan.orphans().len(), plan.bytes()), (1, 1));
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_288_490_189, "1.2 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human_bytes(bytes), shown);
        }
    }
}
