//! How source files look.

use snowpack_tidy::{Source, assert_none, sources};

/// Longer files hold more than one responsibility.
const MOST_LINES: usize = 600;
/// A function's `main.rs` is wiring; what it wires is tested elsewhere.
const MOST_LINES_OF_MAIN: usize = 60;
/// Where objects are deleted: the engine's one module, and the adapters it deletes through. A catalog removes
/// metadata files: those it wrote and could not commit, and those that the table's properties let go.
const DELETERS: [&str; 5] = [
    "shared/engine/src/delete.rs",
    "shared/catalog/src/storage",
    "shared/catalog/src/metadata/write.rs",
    "shared/catalog/src/sql/create.rs",
    "shared/aws/src/",
];
/// Crates that hold a table's files in their hands.
const FILE_HANDLERS: [&str; 6] = [
    "functions/cli/",
    "functions/worker/",
    "shared/aws/",
    "shared/catalog/",
    "shared/engine/",
    "shared/plan/",
];

#[test]
fn every_file_says_first_what_it_is_responsible_for() {
    let silent = sources().into_iter().filter(|source| {
        let purpose = source
            .text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("//! "));
        purpose.is_none_or(|purpose| purpose.trim().len() < 10)
    });
    let silent: Vec<_> = silent.map(|source| source.path).collect();
    assert_none("these do not open with `//!` and a sentence:", &silent);
}

#[test]
fn files_are_short() {
    let long: Vec<_> = sources()
        .iter()
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(source, lines)| format!("{} has {lines} lines", source.path))
        .collect();
    assert_none("split these by responsibility:", &long);
}

#[test]
fn mains_only_wire() {
    let is_main = |path: &str| path.starts_with("functions/") && path.ends_with("/src/main.rs");
    let long: Vec<_> = sources()
        .iter()
        .filter(|source| is_main(&source.path) && source.text.lines().count() >= MOST_LINES_OF_MAIN)
        .map(|source| source.path.clone())
        .collect();
    assert_none("a main.rs stays under 60 lines:", &long);
}

#[test]
fn no_file_is_a_drawer_of_odds_and_ends() {
    let drawers = ["utils.rs", "util.rs", "helpers.rs", "misc.rs", "common.rs"];
    let found = sources().into_iter().map(|source| source.path);
    let found: Vec<_> = found
        .filter(|path| drawers.iter().any(|name| path.ends_with(&format!("/{name}"))))
        .collect();
    assert_none("name these after what they do:", &found);
}

#[test]
fn nothing_is_left_open() {
    // Put together here, so that this file does not break its own rule.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("db", "g!("),
        concat!("#[ign", "ore"),
    ];
    let mut open = Vec::new();
    for source in sources() {
        let lines = (1..).zip(source.text.lines());
        let marked = lines.filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
        open.extend(marked.map(|(number, line)| format!("{}: {}", source.at(number), line.trim())));
    }
    assert_none("finish these or leave them out:", &open);
}

#[test]
fn events_have_the_names_they_are_defined_by() {
    // Put together here, so that this file does not break its own rule.
    let literal = concat!("event ", "= \"");
    let mut loose = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| !source.path.starts_with("shared/telemetry/"))
    {
        let lines = (1..).zip(source.text.lines());
        let named = lines.filter(|(_, line)| line.contains(literal));
        loose.extend(named.map(|(number, line)| format!("{}: {}", source.at(number), line.trim())));
    }
    assert_none("name these by a constant of snowpack_telemetry::events:", &loose);
}

#[test]
fn one_module_deletes_objects() {
    let mut deleting = Vec::new();
    let handlers = sources()
        .into_iter()
        .filter(|source| starts_with_any(&source.path, &FILE_HANDLERS) && !source.is_test());
    for source in handlers.filter(|source| !starts_with_any(&source.path, &DELETERS)) {
        let lines: Vec<_> = source
            .production_lines()
            .filter(|(_, line)| deletes(line))
            .collect();
        deleting.extend(
            lines
                .iter()
                .map(|(number, line)| format!("{}: {}", source.at(*number), line.trim())),
        );
    }
    assert_none(
        "call shared/engine/src/delete.rs instead, it confirms the fence:",
        &deleting,
    );
}

fn deletes(line: &str) -> bool {
    [
        ".delete(",
        ".delete_stream(",
        ".delete_prefix(",
        ".delete_objects(",
        "remove_file(",
    ]
    .iter()
    .any(|call| line.contains(call))
}

fn starts_with_any(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

#[test]
fn test_code_is_told_apart() {
    let source = |path: &str| Source {
        path: path.to_owned(),
        text: "a\n#[cfg(test)]\nb".to_owned(),
    };
    assert!(source("shared/x/src/y/tests.rs").is_test() && source("shared/x/tests/y.rs").is_test());
    assert!(!source("shared/x/src/y.rs").is_test());
    let y = source("shared/x/src/y.rs");
    assert_eq!(y.production_lines().collect::<Vec<_>>(), [(1, "a")]);
}
