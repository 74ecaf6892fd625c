//! `fairway up` with an experiment beside it: users are split, an arm that sells less is closed, the record is kept, and what
//! was decided can be decided again from the bucket.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Some seconds on an idle machine.
const WITHIN: Duration = Duration::from_secs(120);

#[test]
fn what_the_model_is_worth_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut process = Stopped(up(&state));
    let experiment = ended(&state);
    // People of ten tastes buy more of what is meant for them than of what is popular: the arm without a model is closed.
    assert_eq!(experiment["result"], json!("NoArmLeft"), "{experiment:#}");
    assert_eq!(experiment["facts"][0]["type"], json!("Complete"));
    let arms = experiment["arms"].as_array().unwrap();
    assert_eq!(arms.iter().map(|arm| arm["name"].as_str().unwrap()).collect::<Vec<_>>(), ["model", "popular"]);
    assert!(arms.iter().all(|arm| arm["users"].as_u64().unwrap() >= 20), "{arms:#?}");
    assert!(arms[1]["verdict"].as_str().unwrap().contains("arm popular is closed"), "{arms:#?}");
    let shown =
        String::from_utf8(fairway(&state).args(["status", "--state"]).arg(&state).output().unwrap().stdout).unwrap();
    assert!(shown.contains("NoArmLeft") && shown.contains("popular"), "{shown}");

    let stopped = Command::new("kill").args(["-TERM", &process.0.id().to_string()]).status().unwrap();
    assert!(stopped.success() && process.0.wait().unwrap().success());
    let kept = state.join("registry/default/endpoints/shop/experiments");
    let records: Vec<_> = std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(records.len(), 1, "{records:?}");
    let record: Value = serde_json::from_slice(&std::fs::read(&records[0]).unwrap()).unwrap();
    assert_eq!(record["result"], json!("noArmLeft"));

    let mut verify = fairway(&state);
    verify.args(["backtest", "--verify", "--endpoint", "shop", "--registry"]).arg(state.join("registry"));
    let verified = verify.output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "{said}{}", String::from_utf8_lossy(&verified.stderr));
}

/// A process that does not outlive its test.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended in order before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn up(state: &Path) -> Child {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiment");
    let log = std::fs::File::create(state.with_extension("log")).unwrap();
    fairway(state)
        .args(["up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state"])
        .arg(state)
        .arg(manifests)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn fairway(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command.current_dir(state.parent().unwrap()).stdin(Stdio::null());
    command
}

fn ended(state: &Path) -> Value {
    let begun = Instant::now();
    loop {
        let output = fairway(state).args(["status", "--output", "json", "--state"]).arg(state).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let experiment = &report["experiments"][0];
        if experiment["result"].is_string() {
            return experiment.clone();
        }
        let log = || std::fs::read_to_string(state.with_extension("log")).unwrap_or_default();
        assert!(begun.elapsed() < WITHIN, "not ended: {report:#}\n{}", log());
        std::thread::sleep(Duration::from_millis(300));
    }
}
