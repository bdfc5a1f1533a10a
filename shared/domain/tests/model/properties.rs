//! The invariants as the checker looks for them in every state.

use stateright::Property;

use crate::fair::FairEnd;
use crate::invariants::check_locks;
use crate::protocol::Protocol;
use crate::state::State;

/// Properties that hold unless a step broke the invariant of that name. Conditions capture nothing, so each name
/// is spelled out.
macro_rules! never_broken {
    ($($name:literal),*) => {
        [$(Property::always($name, |_: &Protocol, state: &State| !state.broken.has($name))),*]
    };
}

/// Every invariant.
pub(crate) fn invariants() -> Vec<Property<Protocol>> {
    let broken_by_steps = never_broken![
        "LK-1", "FN-1", "FN-2", "FN-3", "FN-4", "FN-5", "TB-1", "TB-2", "TB-3", "JB-1", "JB-2", "JB-3",
        "JB-4", "JB-5", "JB-6", "SB-1", "SB-2", "DR-1"
    ];
    let of_states = [
        Property::always("LK-2", |_, state: &State| check_locks(state)),
        Property::always("PR-1", |protocol: &Protocol, state: &State| {
            !state.broken.is_empty() || protocol.fair_end(state) != FairEnd::Stuck
        }),
        Property::always("PR-2", |protocol: &Protocol, state: &State| {
            !state.broken.is_empty() || protocol.fair_end(state) != FairEnd::LeftBehind
        }),
    ];
    broken_by_steps.into_iter().chain(of_states).collect()
}
