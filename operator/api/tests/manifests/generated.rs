//! What is generated from the types and kept in files: they are equal, or `FAIRWAY_UPDATE=1 cargo test -p fairway-api` makes
//! them so.

use std::fs;
use std::path::{Path, PathBuf};

use fairway_api::{crds, reference_markdown};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn is_equal(path: &str, text: &str) {
    let file = repository(path);
    if std::env::var_os("FAIRWAY_UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "{path} is not what the types say: FAIRWAY_UPDATE=1 cargo test -p fairway-api rewrites it");
}

#[test]
fn the_reference() {
    is_equal("docs/reference.md", &reference_markdown());
}

#[test]
fn the_definitions_of_the_chart() {
    let folder = "charts/fairway/files/crds";
    let mut names = Vec::new();
    for mut crd in crds() {
        // Helm would delete them on uninstall, and with them every object of their kinds.
        crd["metadata"]["annotations"] = serde_json::json!({ "helm.sh/resource-policy": "keep" });
        let name = format!("{}.yaml", crd["metadata"]["name"].as_str().unwrap());
        let yaml = serde_saphyr::to_string(&crd).unwrap();
        let text =
            format!("# Generated from operator/api. FAIRWAY_UPDATE=1 cargo test -p fairway-api rewrites it.\n{yaml}");
        let again: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(again, crd, "{name} means the same as YAML");
        is_equal(&format!("{folder}/{name}"), &text);
        names.push(name);
    }
    names.sort();
    let mut found: Vec<_> = fs::read_dir(repository(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names, "nothing else lies there");
}
