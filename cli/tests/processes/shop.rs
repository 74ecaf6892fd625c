//! A small shop: its sales, its registry, the plans of its runs, and the binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fairway_registry::{ModelLog, Registry, StoreOptions};
use serde_json::{Value, json};

pub const NAMESPACE: &str = "shop";
pub const MODEL: &str = "recs";
const DAY_MS: i64 = 86_400_000;

/// A folder with sales and a registry.
pub struct Shop {
    folder: tempfile::TempDir,
    /// URL of the registry.
    pub registry: String,
    /// Where the sales are.
    pub data: String,
    /// How the test itself reaches the registry.
    pub options: StoreOptions,
    /// How processes do.
    pub environment: Vec<(String, String)>,
}

impl Shop {
    /// On this disk.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sales.jsonl"), sales()).unwrap();
        let registry = format!("file://{}", folder.path().join("registry").display());
        Registry::open(&registry).await.unwrap();
        let data = "sales.jsonl".to_owned();
        Self { folder, registry, data, options: StoreOptions::new(), environment: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub async fn open(&self) -> Registry {
        Registry::open_or_init(&self.registry, &self.options).await.unwrap()
    }

    pub async fn model(&self) -> ModelLog {
        self.open().await.model(NAMESPACE, MODEL).unwrap()
    }

    /// A plan, with these fields in place of the usual ones.
    pub fn plan(&self, run: &str, fields: Value) -> Value {
        let sql = "SELECT \"user\" AS user_id, item AS item_id, time, segment FROM interactions";
        let mut plan = json!({
            "model": MODEL, "run": run, "reason": "a test", "seed": 1, "asOf": "1970-04-01T00:00:00Z",
            "data": {"interactions": {"url": self.data, "sql": sql}},
            "family": "ease", "parameters": {"regularization": "10"}, "holdout": "336h",
        });
        let fields = fields.as_object().unwrap().clone();
        plan.as_object_mut().unwrap().extend(fields);
        plan
    }

    pub async fn put_plan(&self, run: &str, fields: Value) {
        self.model().await.run(run).unwrap().create_plan(&self.plan(run, fields)).await.unwrap();
    }

    /// The binary, in the shop's folder.
    pub fn fairway(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
        command.current_dir(self.folder.path()).args(words).stdin(Stdio::null());
        command.args(["--registry", &self.registry, "--namespace", NAMESPACE]);
        command.envs(self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        command
    }

    pub fn training(&self, run: &str) -> Command {
        self.fairway(&["train", "--model", MODEL, "--run", run])
    }

    /// Trains, and gives the last line of stdout with the exit code.
    pub fn train(&self, run: &str) -> (i32, Value) {
        let output = self.training(run).output().unwrap();
        (output.status.code().unwrap(), last_line(&output))
    }

    /// Trains a run and registers what it has uploaded, as whoever keeps the log does. The digest.
    pub async fn version(&self, run: &str, fields: Value) -> String {
        self.put_plan(run, fields).await;
        let (code, said) = self.train(run);
        assert_eq!(code, 0, "{said}");
        let digest = said["result"]["digest"].as_str().unwrap().to_owned();
        self.register(run, &digest).await;
        digest
    }

    pub async fn register(&self, run: &str, digest: &str) -> u64 {
        let registration = fairway_registry::Registration {
            run: run.to_owned(),
            actor: "operator".to_owned(),
            time: jiff::Timestamp::from_second(1_800_000_000).unwrap(),
            metrics: Default::default(),
            labels: Default::default(),
            provenance: Value::Null,
            kinds: Default::default(),
            alias: None,
            reason: "a test".to_owned(),
        };
        let model = self.model().await;
        model.register_uploaded(&digest.parse().unwrap(), registration).await.unwrap().number
    }

    /// Everything below a folder, by its path in it.
    pub fn files(&self, below: &str) -> Vec<String> {
        let mut found = Vec::new();
        let root = self.path(below);
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    path => found.push(relative(&root, &path)),
                }
            }
        }
        found
    }
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

pub fn last_line(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("{output:?}"))
}

/// JSON lines: 120 users who keep to one of three ranges of 20 items.
pub fn sales() -> String {
    let mut lines = String::new();
    let mut drawn = 17_u32;
    for user in 0..120_u32 {
        for visit in 0..12_i64 {
            let time = (visit * 15 / 2 + i64::from(user % 15) / 2) * DAY_MS;
            drawn = drawn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let item = (user % 3) * 20 + (drawn >> 16) % 20;
            let line = json!({"time": time, "user": format!("u{user}"), "item": format!("i{item:02}"),
                "segment": format!("s{}", user % 2)});
            lines.push_str(&format!("{line}\n"));
        }
    }
    lines
}
