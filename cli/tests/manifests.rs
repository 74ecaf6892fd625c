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
    let is_ours = |file: &Path| std::fs::read_to_string(file).unwrap().contains("apiVersion: fairway.dev/");
    let ours = manifests.iter().filter(|file| is_ours(file)).filter_map(|file| file.parent());
    let ours: BTreeSet<&Path> = ours.collect();
    assert!(ours.len() >= 2, "{ours:?}");
    ours.iter().for_each(|folder| validate(folder));
    for others in manifests.iter().filter(|file| !ours.contains(file.parent().unwrap())) {
        let output = fairway(&["validate", others.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains("there is no manifest of Fairway"), "{said}");
    }
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

#[test]
fn a_folder_of_others_documents_is_not_valid() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    let ours = "apiVersion: fairway.dev/v1alpha1\nkind: Model\nmetadata: {name: m}\nspec:\n  data: {interactions: {url: a.csv, \
                sql: SELECT 1}}\n  reward: {event: click, within: 1h}\n  trainer: {builtin: {family: popularity}}\n";
    let secret = "apiVersion: v1\nkind: Secret\n";
    std::fs::write(&file, format!("{secret}---\n{}", ours.replace("fairway.dev", "fairway.io"))).unwrap();
    let output = fairway(&["validate", folder.path().to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expected = [
        "shop.yaml:1: Secret (v1)\n",
        "shop.yaml:4: Model (fairway.io/v1alpha1): did you mean apiVersion: fairway.dev/v1alpha1?",
    ];
    assert!(expected.iter().all(|part| said.contains(part)), "{said}");

    std::fs::write(&file, format!("{secret}---\n{ours}")).unwrap();
    let output = fairway(&["validate", folder.path().to_str().unwrap(), "--output", "json"]);
    let checked: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &checked["models"]), (Some(0), &serde_json::json!(["default/m"])));
    assert!(checked["passedOver"][0].as_str().unwrap().ends_with("shop.yaml:1: Secret (v1)"), "{checked}");
    assert!(checked["experiments"].is_array() && checked["approvals"].is_array(), "{checked}");
}

#[test]
fn init_refuses_what_it_can_guess_nothing_from() {
    let folder = tempfile::tempdir().unwrap();
    let init = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let output = fairway(&["init", "--data", file.to_str().unwrap(), "--name", "shop"]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    for (name, text, said) in [
        ("strange.csv", "colour,size\nred,7\n", "`colour`, `size`"),
        ("header.csv", "user_id,item_id,time\n", "no row"),
        ("empty.csv", "", ""),
        ("sales.tsv", "user_id\titem_id\ttime\n1\t2\t2025-01-01\n", "separated by tabs"),
        ("sales.csv.gz", "whatever", "unpacked"),
    ] {
        let (code, error, printed) = init(name, text);
        assert!(code == Some(2) && error.contains(said) && printed.is_empty(), "{name}: {code:?} {error} {printed}");
    }
    let (code, error, printed) = init("sales.csv", "customer,sku,sold\n1,2,01/02/2025 10:00\n1,3,31/12/2025 10:00\n");
    assert!(code == Some(0) && printed.contains("to_timestamp(sold, '%d/%m/%Y %H:%M')"), "{error} {printed}");
    let (code, error, printed) = init("half.csv", "customer,colour\n1,red\n");
    assert!(code == Some(0) && error.contains("no column looks like an item") && !printed.is_empty(), "{error}");
}

#[test]
fn completions_may_be_cut_off() {
    use std::io::Read;
    use std::process::Stdio;

    let mut child = Command::new(env!("CARGO_BIN_EXE_fairway"))
        .args(["completions", "fish"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success() && said.is_empty(), "{said}");
}
