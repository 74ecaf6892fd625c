//! `spec.signing` and `fairway up --signing-key`: what nobody signed is not served, whatever trained it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A first version is trained, registered and loaded within this, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a pair of keys, and a manifest that serves only what they signed.
struct Shop {
    folder: tempfile::TempDir,
}

/// `fairway up`; killed when the test ends, however it ends.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Shop {
    fn new() -> Self {
        let shop = Self { folder: tempfile::tempdir().unwrap() };
        shop.done("registry keygen --out release");
        let key = std::fs::read_to_string(shop.path("release.pub.pem")).unwrap();
        let key: String = key.lines().map(|line| format!("      {line}\n")).collect();
        let signing = format!("  signing:\n    publicKeys:\n    - |\n{key}");
        // The crash test's shop, but for that: and one training is enough here.
        let manifest = include_str!("crash/shop.yaml")
            .replacen("  reward:", &format!("{signing}  reward:"), 1)
            .replace("maxAge: 12h", "maxAge: 300d")
            .replace("cooldown: 6h", "cooldown: 300d");
        assert!(manifest.contains("publicKeys") && manifest.contains("cooldown: 300d"));
        std::fs::create_dir(shop.path("manifests")).unwrap();
        std::fs::write(shop.path("manifests/shop.yaml"), manifest).unwrap();
        shop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fairway(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
        command.current_dir(self.folder.path()).args(words.split(' ')).stdin(Stdio::null());
        command
    }

    fn said(&self, words: &str) -> Output {
        self.fairway(words).output().unwrap()
    }

    fn done(&self, words: &str) -> String {
        let said = self.said(words);
        assert!(said.status.success(), "{words}: {said:?}");
        String::from_utf8(said.stdout).unwrap()
    }

    fn up(&self, more: &str) -> Up {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let words = format!("up manifests --state state --listen 127.0.0.1:0 --admin 127.0.0.1:0{more}");
        Up(self.fairway(&words).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Waits until the status says so.
    fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let said = self.said("status --state state --output json");
            let report: Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
            if holds(&report) {
                return report;
            }
            let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "{what} did not come: {report:#}\n{}", log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn serves_the_first(report: &Value) -> bool {
    report["stable"]["version"] == json!(1)
}

/// Why the endpoint is ready, or is not.
fn ready(report: &Value) -> &Value {
    let conditions = report["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|it| it["of"] == "endpoint" && it["type"] == "Ready").unwrap_or(&Value::Null)
}

fn refused(report: &Value) -> bool {
    let code = &ready(report)["reason"]["code"];
    code == "Barred" || code == "BlockedByFailedLoad"
}

#[test]
fn what_it_trains_is_signed_and_served() {
    let shop = Shop::new();
    let up = shop.up(" --signing-key release.pem");
    shop.until("the first version", serves_the_first);
    let verified = shop.done("registry verify models:/recs/1 --key release.pub.pem --registry state/registry");
    assert!(verified.contains("the signature holds"), "{verified}");
    drop(up);
}

#[test]
fn unsigned_is_not_served_until_somebody_signs() {
    let shop = Shop::new();
    let _up = shop.up("");
    let report = shop.until("the refusal", refused);
    assert_eq!(report["stable"], Value::Null, "{report:#}");
    let why = ready(&report).to_string();
    assert!(why.contains("spec.signing") && why.contains("fairway registry sign"), "{why}");

    let sign = "registry sign models:/recs/1 --registry state/registry --key";
    // Not just anybody.
    shop.done("registry keygen --out stranger");
    shop.done(&format!("{sign} stranger.pem"));
    shop.done("rollout retry --state state");
    let report = shop.until("another refusal", |report| {
        refused(report) && ready(report).to_string().contains("none of the 1 trusted")
    });
    assert_eq!(report["stable"], Value::Null, "{report:#}");

    shop.done(&format!("{sign} release.pem"));
    shop.done("rollout retry --state state");
    shop.until("the first version", serves_the_first);
}

#[test]
fn a_key_that_is_none_is_told_before_anything_happens() {
    let shop = Shop::new();
    std::fs::write(shop.path("none.pem"), "-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n").unwrap();
    for key in ["none.pem", "release.pub.pem"] {
        let said = shop.said(&format!("up manifests --state state --signing-key {key}"));
        let error = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(2), "{error}");
        assert!(error.contains("--signing-key") && error.contains(key), "{error}");
    }
    assert!(!Path::new(&shop.path("state/registry")).exists(), "nothing was made");
}
