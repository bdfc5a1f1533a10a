//! The five maintenance actions, in the order they always run.

use std::fmt;

/// A maintenance action. The derived order is the order of execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Compacts small data files and applies row-level deletes.
    RewriteDataFiles,
    /// Compacts position-delete files.
    RewritePositionDeleteFiles,
    /// Removes snapshots past their retention.
    ExpireSnapshots,
    /// Merges and clusters manifests.
    RewriteManifests,
    /// Deletes files that no snapshot references.
    RemoveOrphanFiles,
}

/// A name that is none of the five actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAction(pub String);

impl fmt::Display for UnknownAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
        write!(
            f,
            "{:?} is not a maintenance action: use one of {}",
            self.0,
            known.join(", ")
        )
    }
}

impl std::error::Error for UnknownAction {}

impl Action {
    /// All actions in order of execution.
    pub const ALL: [Self; 5] = [
        Self::RewriteDataFiles,
        Self::RewritePositionDeleteFiles,
        Self::ExpireSnapshots,
        Self::RewriteManifests,
        Self::RemoveOrphanFiles,
    ];

    /// The name used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RewriteDataFiles => "rewrite_data_files",
            Self::RewritePositionDeleteFiles => "rewrite_position_delete_files",
            Self::ExpireSnapshots => "expire_snapshots",
            Self::RewriteManifests => "rewrite_manifests",
            Self::RemoveOrphanFiles => "remove_orphan_files",
        }
    }

    /// The action of that name.
    ///
    /// # Errors
    /// [`UnknownAction`], listing the known ones.
    pub fn parse(name: &str) -> Result<Self, UnknownAction> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == name)
            .ok_or_else(|| UnknownAction(name.chars().take(80).collect()))
    }

    /// Sorts into order of execution and drops repeats.
    pub fn in_order(mut actions: Vec<Self>) -> Vec<Self> {
        actions.sort_unstable();
        actions.dedup();
        actions
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_order_is_fixed() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Ok(action));
        }
        let given = vec![
            Action::ExpireSnapshots,
            Action::RewriteDataFiles,
            Action::ExpireSnapshots,
        ];
        assert_eq!(
            Action::in_order(given),
            [Action::RewriteDataFiles, Action::ExpireSnapshots]
        );
        assert!(
            Action::parse("compact")
                .unwrap_err()
                .to_string()
                .contains("rewrite_manifests")
        );
    }
}
