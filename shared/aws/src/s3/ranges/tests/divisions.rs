//! When a range is divided and when it is not, step for step.

use super::super::{Page, Range, Ranges};
use super::store::PREFIX;

/// A listing in pages of one key that goes on with a probe, and its range.
fn probing() -> (Ranges, Range) {
    let (mut ranges, mut range) = Ranges::below(PREFIX, true);
    for key in ["t/1", "t/2", "t/3", "t/4"] {
        range = ranges.step(range, next_page(&[key], None)).unwrap().rest.unwrap();
    }
    assert_eq!(range.probe.as_deref(), Some("t/Z"));
    (ranges, range)
}

fn next_page<'a>(keys: &'a [&'a str], beyond: Option<&'a str>) -> Page<'a> {
    Page {
        keys,
        goes_on: true,
        beyond,
    }
}

#[test]
fn order_that_ends_before_a_division_only_prevents_it() {
    let cases = [
        (["t/5", "t/4"], "t/z"),
        (["t/1", "t/2"], "t/z"),
        (["t/5", "t/6"], "t/B"),
    ];
    for (keys, found) in cases {
        let (mut ranges, range) = probing();
        let step = ranges.step(range, next_page(&keys, Some(found))).unwrap();
        assert!(step.beside.is_none() && step.kept == 2);
        let mut range = step.rest.unwrap();
        for key in ["t/z", "t/y", "t/x", "t/w", "t/v", "t/u"] {
            assert_eq!(range.probe, None);
            range = ranges.step(range, next_page(&[key], None)).unwrap().rest.unwrap();
        }
    }
}

#[test]
fn order_that_ends_after_a_division_is_an_error() {
    let (mut ranges, range) = probing();
    let step = ranges.step(range, next_page(&["t/5"], Some("t/z"))).unwrap();
    let beside = step.beside.unwrap();
    assert_eq!(beside.after.as_deref(), Some("t/Z"));
    // A store that starts elsewhere than asked to, and one that goes back.
    let broken = [(beside, ["t/C", "t/z"]), (step.rest.unwrap(), ["t/6", "t/3"])];
    for (range, keys) in broken {
        let disorder = ranges.step(range, next_page(&keys, None)).unwrap_err();
        assert!(disorder.to_string().contains("out of order"), "{disorder}");
    }
}

#[test]
fn keys_that_are_listed_twice_are_out_of_order() {
    let (mut ranges, range) = probing();
    let step = ranges.step(range, next_page(&["t/4"], Some("t/z"))).unwrap();
    assert!(step.beside.is_none());
}

#[test]
fn what_comes_after_a_probe_that_finds_something_is_listed_beside() {
    let (mut ranges, range) = probing();
    let step = ranges.step(range, next_page(&["t/5"], Some("t/z"))).unwrap();
    let beside = step.beside.unwrap();
    assert_eq!((beside.after.as_deref(), beside.probe), (Some("t/Z"), None));
    let step = ranges.step(step.rest.unwrap(), next_page(&["t/Z", "t/z"], None));
    let step = step.unwrap();
    assert!(step.kept == 1 && step.rest.is_none() && step.beside.is_none());
}

#[test]
fn a_probe_is_moot_once_pages_have_come_that_far() {
    let (mut ranges, range) = probing();
    let step = ranges
        .step(range, next_page(&["t/5", "t/a"], Some("t/z")))
        .unwrap();
    assert!(step.beside.is_none() && step.kept == 2);
    assert_eq!(step.rest.unwrap().probe.as_deref(), Some("t/p"));
}

#[test]
fn where_a_probe_finds_nothing_the_next_is_lower() {
    let (mut ranges, range) = probing();
    let step = ranges.step(range, next_page(&["t/5"], None)).unwrap();
    assert!(step.beside.is_none());
    let step = ranges
        .step(step.rest.unwrap(), next_page(&["t/6"], None))
        .unwrap();
    assert_eq!(step.rest.unwrap().probe.as_deref(), Some("t/?"));
}
