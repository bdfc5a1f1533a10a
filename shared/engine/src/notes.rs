//! What an action notes for its next slice or attempt, as the supervisor keeps it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use snowpack_domain::Action;
use snowpack_service::ports::Supervisor;
use uuid::Uuid;

/// A note, and the table it is about.
#[derive(Serialize, Deserialize)]
struct About<T> {
    table: String,
    state: T,
}

/// Notes where an action stands.
pub(crate) fn note<S: Supervisor, T: Serialize>(supervisor: &S, action: Action, table: Uuid, state: &T) {
    let table = table.to_string();
    match serde_json::to_string(&About { table, state }) {
        Ok(text) => supervisor.note(action, text),
        Err(error) => tracing::warn!(%action, %error, "what was done cannot be noted"),
    }
}

/// Where the action stood. What another table's action noted, or another version of this program in other words, is
/// nobody's.
pub(crate) fn noted<S: Supervisor, T: DeserializeOwned>(
    supervisor: &S,
    action: Action,
    table: Uuid,
) -> Option<T> {
    let text = supervisor.noted(action)?;
    match serde_json::from_str::<About<T>>(&text) {
        Ok(about) => (about.table == table.to_string()).then_some(about.state),
        Err(error) => {
            tracing::warn!(%action, %error, "what was noted cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeSupervisor;

    #[test]
    fn notes_are_for_the_same_table_and_in_the_same_words() {
        let (supervisor, action) = (FakeSupervisor::default(), Action::ExpireSnapshots);
        let (table, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(noted::<_, u64>(&supervisor, action, table), None);
        note(&supervisor, action, table, &7_u64);
        assert_eq!(noted(&supervisor, action, table), Some(7_u64));
        assert_eq!(noted::<_, u64>(&supervisor, action, other), None);
        assert_eq!(noted::<_, String>(&supervisor, action, table), None);
    }
}
