//! The house's walls: which crate may know which, and who may have the heavy parts. ARCHITECTURE.md draws them; this
//! test holds them.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Each crate with the crates of the house that it may use. Whoever is not listed may not exist.
const ALLOWED: &[(&str, &[&str])] = &[
    ("fairway-stats", &[]),
    ("fairway-registry", &[]),
    ("fairway-wire", &["fairway-stats"]),
    ("fairway-model", &["fairway-stats", "fairway-wire"]),
    ("fairway-core", &["fairway-stats", "fairway-wire"]),
    ("fairway-api", &["fairway-core", "fairway-wire"]),
    ("fairway-controller", &["fairway-api", "fairway-core", "fairway-registry", "fairway-wire"]),
    ("fairway-sim", &["fairway-core", "fairway-stats", "fairway-wire"]),
    ("fairway-trainer", &["fairway-model", "fairway-registry", "fairway-stats", "fairway-wire"]),
    ("fairway-server", &["fairway-model", "fairway-registry", "fairway-stats", "fairway-wire"]),
    ("fairway-simulator", &["fairway-wire"]),
    (
        "fairway",
        &[
            "fairway-stats",
            "fairway-wire",
            "fairway-registry",
            "fairway-model",
            "fairway-trainer",
            "fairway-server",
            "fairway-core",
            "fairway-api",
            "fairway-controller",
            "fairway-sim",
            "fairway-simulator",
        ],
    ),
    (
        "fairway-bench-decisions",
        &["fairway-bench-stats", "fairway-core", "fairway-sim", "fairway-stats", "fairway-wire"],
    ),
    ("fairway-bench-registry", &["fairway-registry"]),
    ("fairway-bench-stats", &["fairway-stats"]),
    ("fairway-bench", &["fairway-model", "fairway-server", "fairway-trainer", "fairway-wire", "fairway-stats"]),
];

/// Heavy or impure parts, and the only crates that may name them.
const ONLY: &[(&str, &[&str])] = &[
    ("burn", &["fairway-model", "fairway-trainer"]),
    ("datafusion", &["fairway-trainer"]),
    ("tch", &["fairway-trainer"]),
    ("axum", &["fairway-server", "fairway-controller", "fairway"]),
    ("kube", &["fairway-api", "fairway-controller"]),
];

/// Crates without IO, clock or randomness of their own, and what they therefore may not name.
const PURE: &[&str] = &["fairway-stats", "fairway-wire", "fairway-core"];
const IMPURE: &[&str] = &["tokio", "object_store", "rand", "reqwest", "hyper", "axum", "tracing", "kube", "tempfile"];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata runs");
    let members = metadata.packages.into_iter().map(|package| {
        let normal = package.dependencies.into_iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        (package.name.to_string(), normal.map(|dependency| dependency.name).collect())
    });
    members.collect()
}

fn violations(found: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut violations = Vec::new();
    for (name, dependencies) in found {
        let Some(may) = allowed.get(name.as_str()) else {
            violations.push(format!("{name} is not in the plan of the house"));
            continue;
        };
        for dependency in dependencies {
            if found.contains_key(dependency) && !may.contains(&dependency.as_str()) {
                violations.push(format!("{name} may not know {dependency}"));
            }
            if let Some((part, owners)) = ONLY.iter().find(|(part, _)| part == dependency)
                && !owners.contains(&name.as_str())
            {
                violations.push(format!("{name} may not use {part}; only {owners:?} may"));
            }
            if PURE.contains(&name.as_str()) && IMPURE.contains(&dependency.as_str()) {
                violations.push(format!("{name} is pure and may not use {dependency}"));
            }
        }
    }
    violations
}

#[test]
fn the_walls_hold() {
    assert_eq!(violations(&dependencies()), Vec::<String>::new());
}

#[test]
fn a_forbidden_dependency_is_found() {
    let mut found = dependencies();
    let planted = [
        ("fairway-stats", "fairway-wire", "fairway-stats may not know fairway-wire"),
        ("fairway-core", "tokio", "fairway-core is pure and may not use tokio"),
        ("fairway-server", "datafusion", "fairway-server may not use datafusion"),
    ];
    for (name, dependency, expected) in planted {
        found.get_mut(name).expect("a member").insert(dependency.to_owned());
        assert!(violations(&found).iter().any(|violation| violation.starts_with(expected)), "{expected}");
    }
}

#[test]
fn there_is_one_binary_so_that_cargo_run_finds_it() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata runs");
    let targets = metadata.packages.iter().flat_map(|package| &package.targets);
    let binaries: Vec<&str> = targets.filter(|target| target.is_bin()).map(|target| target.name.as_str()).collect();
    assert_eq!(binaries, ["fairway"]);
}
