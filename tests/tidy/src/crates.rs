//! The graph of crates, as cargo resolved it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// A crate of this workspace.
#[derive(Debug)]
pub struct Package {
    /// Its folder below the root.
    pub folder: String,
    /// Names of what it links, tests left out.
    pub dependencies: BTreeSet<String>,
    /// Names of what only its tests link.
    pub dev_dependencies: BTreeSet<String>,
}

/// The crates of this workspace by name.
#[derive(Debug)]
pub struct Graph(pub BTreeMap<String, Package>);

impl Graph {
    /// Asks cargo.
    ///
    /// # Panics
    /// When cargo fails or answers something else than metadata.
    pub fn load() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
            .current_dir(crate::root())
            .output()
            .expect("cargo, which runs this test, can be started");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
        let root = format!("{}/", text(&metadata, "workspace_root"));
        let packages = array(&metadata, "packages")
            .map(|package| (text(package, "name").to_owned(), read(package, &root)));
        Self(packages.collect())
    }

    /// The crate of that name.
    ///
    /// # Panics
    /// When there is none.
    pub fn package(&self, name: &str) -> &Package {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("there is no crate {name}"))
    }

    /// The crates of this workspace that `name` links, directly or not, itself included.
    pub fn reach(&self, name: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(name) = open.pop() {
            if let Some(package) = self.0.get(&name)
                && reached.insert(name)
            {
                open.extend(package.dependencies.iter().cloned());
            }
        }
        reached
    }
}

fn read(package: &Value, root: &str) -> Package {
    let manifest = text(package, "manifest_path");
    let folder = manifest
        .strip_prefix(root)
        .and_then(|path| path.strip_suffix("/Cargo.toml"));
    let named = |dev: bool| {
        array(package, "dependencies")
            .filter(|dependency| (dependency["kind"] == "dev") == dev)
            .map(|dependency| text(dependency, "name").to_owned())
            .collect()
    };
    Package {
        folder: folder
            .expect("a member's manifest lies below the root")
            .to_owned(),
        dependencies: named(false),
        dev_dependencies: named(true),
    }
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member]
        .as_str()
        .unwrap_or_else(|| panic!("cargo metadata has {member}"))
}

fn array<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> {
    value[member].as_array().into_iter().flatten()
}
