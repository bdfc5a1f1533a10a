//! Listings in ranges, of stores in memory, against the stores' own keys.

mod divisions;
mod layouts;
mod store;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use store::{PREFIX, Store, list};

/// Keys that begin alike, of characters that sort at the edges, some of them no file's.
fn key() -> impl Strategy<Value = String> {
    let long = "x".repeat(200);
    let parts = [
        "a", "b", "0", "9", "-", "/", " ", "~", "\u{7f}", "\u{1}", "é", "上", "\u{ffff}", "😀", &long,
    ];
    let parts: Vec<_> = parts.into_iter().map(str::to_owned).collect();
    prop::collection::vec(prop::sample::select(parts), 0..6).prop_map(|parts| format!("t/{}", parts.concat()))
}

/// Thousands of names in one folder.
fn flat() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(0u16..0x1000, 0..3000).prop_map(|names| {
        let name = |name: &u16| format!("t/data/00-{name:03x}.parquet");
        names.iter().map(name).collect()
    })
}

fn mixed() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(key(), 0..400)
}

fn keys() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        mixed(),
        flat(),
        (mixed(), flat()).prop_map(|(a, b)| [a, b].concat())
    ]
}

/// Keys that only sort beside those of the folder.
fn beside() -> Vec<String> {
    ["", "s/z", "t", "t!", "t-/a", "t.", "t0", "t0/a", "tt/a", "u"]
        .map(str::to_owned)
        .to_vec()
}

/// Where a store is changed, and which range goes on, step for step.
fn choices() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However ranges overtake each other, every key is listed once.
    #[test]
    fn all_ranges_together_are_the_folder(keys in keys(), page in 1usize..8, choices in choices()) {
        let below: BTreeSet<_> = keys.into_iter().collect();
        let mut store = Store::of(below.iter().cloned().chain(beside()), page);
        let mut choices = choices.iter().cycle();
        let listed = list(&mut store, |open, _| choices.next().map_or(0, |choice| choice.index(open)));
        prop_assert!(listed.keys.iter().eq(&below));
        prop_assert!(listed.most_at_a_time <= CONCURRENCY);
        let one_by_one = below.len().div_ceil(page).max(1);
        prop_assert!(listed.probes <= one_by_one + one_by_one / PAGES_BEFORE_PROBE);
        prop_assert!(listed.pages <= 1 + one_by_one + one_by_one / PAGES_BEFORE_PROBE);
        if one_by_one <= PAGES_BEFORE_PROBE {
            prop_assert_eq!((listed.pages, listed.probes), (one_by_one, 0));
        }
    }

    /// Files come and go while others are listed: none is listed twice, and those that stay are listed.
    #[test]
    fn files_that_stay_are_listed_whatever_else_changes(
        keys in keys(),
        others in mixed(),
        page in 1usize..8,
        choices in choices(),
    ) {
        let stay: BTreeSet<_> = keys.into_iter().collect();
        let others: Vec<_> = others.into_iter().filter(|key| !stay.contains(key)).collect();
        let mut store = Store::of(stay.iter().cloned().chain(beside()), page);
        let mut choices = choices.iter().cycle();
        let listed = list(&mut store, |open, store| {
            let choice = choices.next().unwrap();
            if !others.is_empty() {
                let other = choice.get(&others);
                if !store.keys.remove(other) {
                    store.keys.insert(other.clone());
                }
            }
            choice.index(open)
        });
        prop_assert!(listed.keys.windows(2).all(|keys| keys[0] != keys[1]), "one is listed twice");
        let listed: BTreeSet<_> = listed.keys.into_iter().collect();
        prop_assert!(stay.is_subset(&listed));
        prop_assert!(listed.iter().all(|key| stay.contains(key) || others.contains(key)));
    }

    /// A store that says it has no order is listed as it comes.
    #[test]
    fn what_is_unordered_from_the_start_is_one_range(keys in keys(), page in 1usize..8, promised: bool) {
        let mut keys: Vec<_> = keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        // Shown by the first page, if there are two keys.
        keys.reverse();
        let (mut ranges, all) = Ranges::below(PREFIX, promised && page > 1);
        let (mut range, mut listed) = (Some(all), Vec::new());
        let mut pages = keys.chunks(page).peekable();
        while let Some(open) = range.take() {
            let keys: Vec<_> = pages.next().unwrap_or_default().iter().map(String::as_str).collect();
            prop_assert_eq!(&open.probe, &None);
            let page = Page { keys: &keys, goes_on: pages.peek().is_some(), beyond: None };
            let step = ranges.step(open, page).unwrap();
            listed.extend(keys[..step.kept].iter().map(|key| (*key).to_owned()));
            prop_assert!(step.beside.is_none());
            range = step.rest;
        }
        prop_assert_eq!(listed, keys);
    }
}
