//! A store in memory that answers like S3, and listings of it.

use std::collections::BTreeSet;

use super::super::{Page, Range, Ranges};

/// Of the keys below the folder.
pub(super) const PREFIX: &str = "t/";

/// What S3 does, in pages of few keys.
pub(super) struct Store {
    pub(super) keys: BTreeSet<String>,
    page: usize,
}

/// A range, and the last key of the page before.
type Open = (Range, Option<String>);

/// What a whole listing found and took.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) keys: Vec<String>,
    pub(super) pages: usize,
    pub(super) probes: usize,
    pub(super) most_at_a_time: usize,
}

impl Store {
    pub(super) fn of(keys: impl IntoIterator<Item = String>, page: usize) -> Self {
        let keys = keys.into_iter().collect();
        Self { keys, page }
    }

    fn after(&self, key: Option<&str>) -> impl Iterator<Item = &str> {
        let start = key.unwrap_or(PREFIX).to_owned();
        let included = key.is_none();
        let keys = self.keys.range(start.clone()..).map(String::as_str);
        keys.filter(move |key| included || *key != start)
            .take_while(|key| key.starts_with(PREFIX))
    }

    /// Takes a step of `range`, and lists what it found.
    fn step(&self, ranges: &mut Ranges, (range, token): Open, listed: &mut Listed) -> Vec<Open> {
        let beyond = range
            .probe
            .clone()
            .and_then(|probe| self.after(Some(&probe)).next());
        listed.pages += 1;
        listed.probes += usize::from(range.probe.is_some());
        let start = token.or_else(|| range.after.clone());
        let mut keys: Vec<_> = self.after(start.as_deref()).take(self.page + 1).collect();
        let goes_on = keys.len() > self.page;
        keys.truncate(self.page);
        let page = Page {
            keys: &keys,
            goes_on,
            beyond,
        };
        let step = ranges.step(range, page).unwrap();
        let kept = keys[..step.kept].iter().map(|key| (*key).to_owned());
        listed.keys.extend(kept);
        let token = keys.last().map(|key| (*key).to_owned());
        let rest = step.rest.map(|rest| (rest, token));
        let beside = step.beside.map(|beside| (beside, None));
        rest.into_iter().chain(beside).collect()
    }
}

/// Lists `store`; `next` says which of so many open ranges takes its step, and may change the store.
pub(super) fn list(store: &mut Store, mut next: impl FnMut(usize, &mut Store) -> usize) -> Listed {
    let (mut ranges, all) = Ranges::below(PREFIX, true);
    let mut open = vec![(all, None)];
    let mut listed = Listed::default();
    while !open.is_empty() {
        let probes = open.iter().filter(|(range, _)| range.probe.is_some()).count();
        listed.most_at_a_time = listed.most_at_a_time.max(open.len() + probes);
        let taken = open.swap_remove(next(open.len(), store));
        open.extend(store.step(&mut ranges, taken, &mut listed));
    }
    listed.keys.sort_unstable();
    listed
}

/// How many requests follow one another when all that can be under way take the same time.
pub(super) fn longest_chain(store: &Store) -> (usize, Listed) {
    let (mut ranges, all) = Ranges::below(PREFIX, true);
    let mut open = vec![(all, None)];
    let (mut chain, mut listed) = (0, Listed::default());
    while !open.is_empty() {
        chain += 1;
        let steps = std::mem::take(&mut open).into_iter();
        open = steps
            .flat_map(|taken| store.step(&mut ranges, taken, &mut listed))
            .collect();
    }
    (chain, listed)
}
