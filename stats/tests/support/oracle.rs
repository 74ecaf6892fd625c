//! Runs the scripts in `oracles/` with the Python that `FAIRWAY_ORACLES` names. Where it names none a test says SKIPPED,
//! or fails if `FAIRWAY_REQUIRE_TOOLS=1`.

use std::process::{Command, Output};

use serde_json::Value;

/// Says why a test cannot run here.
pub fn skip(why: &str) {
    assert_ne!(std::env::var("FAIRWAY_REQUIRE_TOOLS").as_deref(), Ok("1"), "{why}");
    println!("SKIPPED: {why}");
}

/// What a script said; `None` without a Python.
pub fn run(script: &str, arguments: &[String]) -> Option<Output> {
    let Some(python) = std::env::var_os("FAIRWAY_ORACLES") else {
        skip("FAIRWAY_ORACLES names no Python with oracles/requirements.txt and requirements-ope.txt");
        return None;
    };
    let script = format!("{}/oracles/{script}", env!("CARGO_MANIFEST_DIR"));
    Some(Command::new(python).arg(script).args(arguments).output().unwrap())
}

/// The lines of a script that must have succeeded.
pub fn parse(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}
