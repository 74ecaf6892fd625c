//! Every command that the pages, the chart and the pipelines name is there, with every option that they give it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|it| it == "md")).collect();
    let others = [
        "README.md",
        "ARCHITECTURE.md",
        "charts/fairway/README.md",
        "charts/fairway/templates/prometheusrule.yaml",
        "configs/ci/train",
        "configs/ci/github/train.yml",
        "configs/ci/gitlab/train.yml",
    ];
    pages.extend(others.map(|name| root().join(name)));
    pages
}

/// The commands in a page: lines of code that begin with one, and what stands between backticks.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut prose = String::new();
    let mut is_code = false;
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            continue;
        }
        let bare = line.trim_start().trim_start_matches("- run:").trim_start_matches("- ").trim_start();
        if let Some(command) = bare.strip_prefix("fairway ") {
            found.push(command.split(['#', '>', ';', '|']).next().unwrap().trim().to_owned());
        } else if !is_code {
            prose.push_str(line);
            prose.push(' ');
        }
    }
    let spans = prose.split('`').skip(1).step_by(2);
    found.extend(spans.filter_map(|span| span.strip_prefix("fairway ")).map(str::to_owned));
    found
}

/// The words by which a command is called, before what it is about; and its long options.
fn parts(command: &str) -> (Vec<&str>, BTreeSet<&str>) {
    let tokens: Vec<&str> = command.split_whitespace().collect();
    let is_word = |token: &&&str| token.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !token.starts_with('-');
    let words = tokens.iter().take(3).take_while(is_word).copied().collect();
    let options = tokens.iter().map(|token| token.trim_start_matches(['[', '(']));
    let options = options.filter(|token| token.starts_with("--") && token.len() > 2);
    (words, options.map(|it| it.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap()).collect())
}

/// What a command says of itself; nothing where it is not there.
fn help(words: &[&str]) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_fairway")).args(words).arg("--help").output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_command_in_the_pages_is_there() {
    let mut known: BTreeMap<Vec<String>, Option<String>> = BTreeMap::new();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for command in commands(&text) {
            let (words, options) = parts(&command);
            let key = words.iter().map(|&word| word.to_owned()).collect();
            match known.entry(key).or_insert_with(|| help(&words)) {
                None => wrong.push(format!("{}: fairway {command}", page.display())),
                Some(help) => {
                    let missing = options.iter().filter(|&&option| {
                        let is_it =
                            |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '-') == option;
                        !help.split_whitespace().any(is_it)
                    });
                    wrong.extend(missing.map(|option| format!("{}: {option} of fairway {command}", page.display())));
                }
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 150, "only {seen} commands were found");
}

#[test]
fn a_command_that_is_not_there_is_found() {
    assert_eq!(
        commands("Do `fairway status` now.\n\n    fairway run start --wait  # x\n"),
        ["run start --wait", "status"]
    );
    assert_eq!(parts("rollout undo [--to 3] -n shop"), (vec!["rollout", "undo"], BTreeSet::from(["--to"])));
    assert!(help(&["rollout", "status"]).is_some() && help(&["rollout", "begin"]).is_none());
}
