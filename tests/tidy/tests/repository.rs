//! What holds for the repository as a whole: its map, its pinned versions, its independence of any machine.

use std::collections::BTreeSet;
use std::fs;

use snowpack_tidy::{Graph, assert_none, files, root};

const CODE_MAP: &str = "## Code map";

#[test]
fn the_readme_maps_every_crate_and_nothing_else() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README.md");
    let mapped = mapped_folders(&readme);
    let graph = Graph::load();
    // Crates of tests come under the one entry of their folder.
    let folder = |folder: &str| {
        if folder.starts_with("tests/") {
            "tests".to_owned()
        } else {
            folder.to_owned()
        }
    };
    let crates: BTreeSet<_> = graph.0.values().map(|package| folder(&package.folder)).collect();
    let missing = crates
        .difference(&mapped)
        .map(|folder| format!("{folder} is a crate and not on the map"));
    let gone = mapped.iter().filter(|folder| !root().join(folder).is_dir());
    let gone = gone.map(|folder| format!("{folder} is on the map and does not exist"));
    let wrong: Vec<_> = missing.chain(gone).collect();
    assert_none(
        "README.md, section `## Code map`, names folders as `shared/domain`:",
        &wrong,
    );
}

/// The folders named between backticks in the section of the code map.
fn mapped_folders(readme: &str) -> BTreeSet<String> {
    let (_, after) = readme
        .split_once(CODE_MAP)
        .expect("README.md has a section `## Code map`");
    let section = after.split("\n## ").next().unwrap_or(after);
    let quoted = section.split('`').skip(1).step_by(2);
    let folders = quoted.map(|name| name.trim_end_matches('/'));
    let folders = folders
        .filter(|name| *name == "tests" || name.starts_with("functions/") || name.starts_with("shared/"));
    folders.map(str::to_owned).collect()
}

#[test]
fn python_packages_are_pinned() {
    let mut loose = Vec::new();
    for file in files(&["txt"])
        .iter()
        .filter(|file| file.path.starts_with("tests/requirements/"))
    {
        let packages = file
            .text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        loose.extend(
            packages
                .filter(|line| !line.contains("=="))
                .map(|line| format!("{}: {line}", file.path)),
        );
    }
    assert_none("give these one version with `==`:", &loose);
}

#[test]
fn crates_take_versions_from_the_workspace_table() {
    let mut own = Vec::new();
    for manifest in files(&["toml"])
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
    {
        let mut in_dependencies = false;
        for line in manifest.text.lines().map(str::trim) {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            } else if in_dependencies && line.contains('=') && !line.contains("workspace = true") {
                own.push(format!("{}: {line}", manifest.path));
            }
        }
    }
    assert_none(
        "put these versions into the root Cargo.toml, with the reason:",
        &own,
    );
}

#[test]
fn nothing_names_a_place_on_one_machine() {
    // Put together here, so that this file does not break its own rule.
    let places = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
    ];
    let mut naming = Vec::new();
    for file in files(&[
        "rs", "toml", "md", "yaml", "yml", "json", "py", "sh", "java", "txt", "ini",
    ]) {
        let lines = (1..).zip(file.text.lines());
        let lines = lines.filter(|(_, line)| places.iter().any(|place| line.contains(place)));
        naming.extend(lines.map(|(number, line)| format!("{}: {}", file.at(number), line.trim())));
    }
    assert_none("these work on one machine only:", &naming);
}

#[test]
fn the_map_is_read_from_its_section_only() {
    let readme = "`shared/early`\n## Code map\n| `shared/domain` | pure |\n| `tests` | x |\n| `docs` | y |\n## Later\n`shared/late`";
    let expected = ["shared/domain".to_owned(), "tests".to_owned()];
    assert_eq!(mapped_folders(readme), BTreeSet::from(expected));
}
