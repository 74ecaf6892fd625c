//! Every manifest that people are shown is valid: those under configs/, and those printed in the documentation. The
//! reference is the one that the types give.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn fairway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairway")).args(arguments).output().unwrap()
}

fn validate(path: &Path) {
    let output = fairway(&["validate", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_examples_are_valid() {
    // Not each folder holds manifests: some hold programs.
    let manifests = files(&root().join("configs"), "yaml");
    let folders: BTreeSet<&Path> = manifests.iter().filter_map(|file| file.parent()).collect();
    assert!(folders.len() >= 2, "{folders:?}");
    folders.into_iter().for_each(validate);
    files(&root().join("cli/tests"), "yaml").iter().for_each(|file| validate(file));
}

#[test]
fn the_manifests_in_the_documentation_are_valid() {
    let mut pages = files(&root().join("docs"), "md");
    pages.extend(["README.md", "ARCHITECTURE.md"].map(|name| root().join(name)));
    let folder = tempfile::tempdir().unwrap();
    let mut blocks = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for (i, fence) in text.split("```yaml\n").skip(1).enumerate() {
            let block = fence.split("```").next().unwrap_or_default();
            if !block.contains("apiVersion:") {
                continue;
            }
            let name = format!("{}-{i}.yaml", page.file_stem().unwrap().to_str().unwrap());
            let file = folder.path().join(name);
            std::fs::write(&file, block).unwrap();
            validate(&file);
            blocks += 1;
        }
    }
    assert!(blocks >= 2, "only {blocks} manifests in the documentation");
}

#[test]
fn the_reference_is_that_of_the_types() {
    let output = fairway(&["reference"]);
    let written = std::fs::read_to_string(root().join("docs/reference.md")).unwrap();
    assert!(
        written == String::from_utf8(output.stdout).unwrap(),
        "docs/reference.md is out of date: cargo run -- reference > docs/reference.md"
    );
}
