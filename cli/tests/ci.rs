//! The script that pipelines start runs by (`configs/ci/train`): which key it asks for, and what it ends with.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Stands in for `fairway run watch NAME` and `start --name NAME`: the codes of runs are in files, and what was asked is written down.
const FAIRWAY: &str = r#"#!/bin/sh
verb=$2 name=$3
[ "$verb" != start ] || { while [ "$1" != --name ]; do shift; done; name=$2; }
echo "$verb $name" >>"$RUNS/asked"
[ "$verb" != start ] || [ -f "$RUNS/$name" ] || cp "$RUNS/next" "$RUNS/$name"
[ -f "$RUNS/$name" ] || exit 2
exit "$(cat "$RUNS/$name")"
"#;

struct Pipeline(tempfile::TempDir);

impl Pipeline {
    /// `next`: how a run ends that is started anew.
    fn new(next: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fairway");
        std::fs::write(&path, FAIRWAY).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(folder.path().join("runs")).unwrap();
        let pipeline = Self(folder);
        pipeline.has("next", next);
        pipeline
    }

    /// A run that has ended, or how the next one does.
    fn has(&self, run: &str, code: u8) {
        std::fs::write(self.0.path().join("runs").join(run), code.to_string()).unwrap();
    }

    fn train(&self, variables: &[(&str, &str)]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/ci/train");
        let path = format!("{}:/usr/bin:/bin", self.0.path().display());
        let mut command = Command::new(script);
        command.env_clear().env("PATH", path).env("RUNS", self.0.path().join("runs"));
        command.envs([("ENDPOINT", "shop"), ("NAMESPACE", "shop")]).envs(variables.iter().copied());
        command.current_dir(self.0.path()).output().unwrap()
    }

    fn started(&self) -> Vec<String> {
        let asked = std::fs::read_to_string(self.0.path().join("runs/asked")).unwrap_or_default();
        asked.lines().filter_map(|line| line.strip_prefix("start ")).map(str::to_owned).collect()
    }
}

#[test]
fn the_key_is_the_commit() {
    for (variables, key) in [
        (&[("KEY", "nightly-7")][..], "nightly-7"),
        (&[("CI_COMMIT_SHORT_SHA", "0a1b2c3d")], "ci-0a1b2c3d"),
        (&[("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567")], "ci-0123456789ab"),
    ] {
        let pipeline = Pipeline::new(0);
        assert_eq!(pipeline.train(variables).status.code(), Some(0), "{key}");
        assert_eq!(pipeline.started(), [key]);
    }
    // Neither the pipeline nor git says which commit it is: a key of the day would train another commit of that day never.
    let pipeline = Pipeline::new(0);
    let output = pipeline.train(&[("GIT_CEILING_DIRECTORIES", "/")]);
    assert_eq!((output.status.code(), pipeline.started().len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("GITHUB_SHA"));
}

#[test]
fn what_was_held_back_is_asked_for_anew_and_nothing_else_is() {
    let key = &[("KEY", "k")];
    let pipeline = Pipeline::new(4);
    assert_eq!(pipeline.train(key).status.code(), Some(4), "not trained is no success");
    assert_eq!(pipeline.train(key).status.code(), Some(4));
    pipeline.has("next", 0);
    assert_eq!(pipeline.train(key).status.code(), Some(0));
    assert_eq!(pipeline.started(), ["k", "k-2", "k-3"]);
    // It is trained, and asked for without end.
    assert_eq!(pipeline.train(key).status.code(), Some(0));
    assert_eq!(pipeline.started().last().unwrap(), "k-3");
    for code in [3, 5, 6] {
        let pipeline = Pipeline::new(0);
        pipeline.has("k", code);
        assert_eq!(pipeline.train(key).status.code(), Some(i32::from(code)));
        assert_eq!(pipeline.started(), ["k"], "{code}");
    }
}

#[test]
fn a_key_is_not_tried_for_ever() {
    let pipeline = Pipeline::new(4);
    for _ in 0..4 {
        assert_eq!(pipeline.train(&[("KEY", "k"), ("TRIES", "2")]).status.code(), Some(4));
    }
    assert_eq!(pipeline.started(), ["k", "k-2"]);
}
