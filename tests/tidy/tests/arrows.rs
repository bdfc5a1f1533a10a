//! Which crate may link which: the arrows of the architecture.

use snowpack_tidy::{Graph, assert_none};

/// What the domain may use: it does no input or output, reads no clock and knows no wire format.
const PURE: [&str; 2] = ["chrono", "thiserror"];
const ENGINE: &str = "snowpack-engine";
const AWS: &str = "snowpack-aws";
/// The only binaries that rewrite tables; the others start faster for not linking the engine.
const ENGINE_USERS: [&str; 2] = ["snowpack-worker", "snowpack-cli"];
/// The SDKs that only one crate names. Glue belongs to the catalogs.
const AWS_SDKS: [&str; 4] = [
    "aws-sdk-dynamodb",
    "aws-sdk-emrserverless",
    "aws-sdk-sqs",
    "aws-sdk-s3",
];

#[test]
fn the_domain_is_pure() {
    let graph = Graph::load();
    let linked = graph.package("snowpack-domain").dependencies.iter();
    let impure: Vec<_> = linked
        .filter(|name| !PURE.contains(&name.as_str()))
        .cloned()
        .collect();
    assert_none("shared/domain depends on more than pure crates:", &impure);
}

#[test]
fn only_the_worker_and_the_command_line_reach_the_engine() {
    let graph = Graph::load();
    let allowed = |name: &str, folder: &str| {
        name == ENGINE || ENGINE_USERS.contains(&name) || folder.starts_with("tests/")
    };
    let reaching: Vec<_> = graph
        .0
        .iter()
        .filter(|(name, package)| !allowed(name, &package.folder) && graph.reach(name).contains(ENGINE))
        .map(|(name, _)| name.clone())
        .collect();
    assert_none("these link the engine, directly or through others:", &reaching);
}

#[test]
fn aws_and_the_engine_do_not_know_each_other() {
    let graph = Graph::load();
    assert!(!graph.reach(AWS).contains(ENGINE), "{AWS} reaches {ENGINE}");
    assert!(
        !graph.reach(ENGINE).contains(AWS),
        "{ENGINE} reaches {AWS}: files come through the catalog's storage"
    );
}

#[test]
fn one_crate_names_the_sdks_of_store_queue_and_files() {
    let graph = Graph::load();
    let mut offenders = Vec::new();
    for (name, package) in graph.0.iter().filter(|(name, _)| *name != AWS) {
        let named = AWS_SDKS.iter().filter(|sdk| package.dependencies.contains(**sdk));
        offenders.extend(named.map(|sdk| format!("{name} -> {sdk}")));
    }
    assert_none("only snowpack-aws names these SDKs:", &offenders);
}

#[test]
fn shared_crates_do_not_depend_on_functions() {
    let graph = Graph::load();
    let is_function = |name: &str| {
        graph
            .0
            .get(name)
            .is_some_and(|package| package.folder.starts_with("functions/"))
    };
    let mut offenders = Vec::new();
    for (name, package) in graph
        .0
        .iter()
        .filter(|(_, package)| package.folder.starts_with("shared/"))
    {
        let functions = package
            .dependencies
            .iter()
            .filter(|dependency| is_function(dependency));
        offenders.extend(functions.map(|function| format!("{name} -> {function}")));
    }
    assert_none("arrows lead from functions to shared:", &offenders);
}

#[test]
fn nothing_ships_the_testkit() {
    let graph = Graph::load();
    let shipping = graph.0.iter().filter(|(_, package)| {
        package.dependencies.contains("snowpack-testkit") && !package.folder.starts_with("tests/")
    });
    let shipping: Vec<_> = shipping.map(|(name, _)| name.clone()).collect();
    assert_none("snowpack-testkit is a dev-dependency:", &shipping);
}
