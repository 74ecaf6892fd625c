//! `fairway backtest` on a small registry in a folder: tables, JSON, HTML, what is refused, and plans decided again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use fairway_core::endpoint::{EndpointInputs, EndpointStatus, decide};
use fairway_core::policy::EndpointPolicy;
use fairway_registry::{EndpointLog, Registry};
use fairway_wire::{Arm, ArmKey, ErrorKind, Target, Track, Window};
use jiff::Timestamp;
use serde_json::{Value, json};

const START: i64 = 1_790_000_000;
const MINUTES: i64 = 240;

/// A working directory with a registry, two folders of manifests, and the endpoint's log.
struct Desk {
    folder: tempfile::TempDir,
    log: EndpointLog,
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn manifests(holds: [&str; 2]) -> String {
    format!(
        "apiVersion: fairway.dev/v1alpha1\nkind: Model\nmetadata: {{name: recs, namespace: shop}}\nspec:\n  \
         data: {{interactions: {{url: \"${{data}}\", sql: \"SELECT user_id, item_id, time FROM interactions\"}}}}\n  \
         reward: {{event: purchase, within: 10m, cap: 10}}\n  trainer: {{builtin: {{family: ease}}}}\n---\n\
         apiVersion: fairway.dev/v1alpha1\nkind: ModelEndpoint\nmetadata: {{name: front, namespace: shop}}\nspec:\n  \
         model: recs\n  rollout:\n    steps:\n    - {{weight: 10, hold: {}}}\n    - {{weight: 50, hold: {}}}\n    \
         minRequests: 50\n    gates:\n    - {{metric: errors, tolerance: 10%}}\n    - {{metric: reward, tolerance: 2%}}\n    \
         bake: 10m\n",
        holds[0], holds[1]
    )
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(START + 60 * minute).unwrap()
}

/// A minute of a shop whose hundreds of requests fail now and then; every third of what is shown is bought.
fn window(minute: i64) -> Window {
    let mut window = Window::new("router-a", minute as u64 + 1, at(minute), at(minute + 1));
    let cells: Vec<Value> =
        (0..100).map(|i| json!([(i * 37 + minute * 11) % 256, 1, i64::from(i % 3 == 0) * 1_000_000])).collect();
    let mut arm = Arm { requests: 200, ..Arm::default() };
    arm.errors.insert(ErrorKind::Error, 2 + minute as u64 % 3);
    arm.reward.insert(1, serde_json::from_value(json!(cells)).unwrap());
    window.arms.insert(
        ArmKey { digest: "sha256:s".to_owned(), track: Track::Stable, segment: String::new(), arm: String::new() },
        arm,
    );
    window
}

fn key(window: &Window) -> String {
    format!("{:013}-{}-{:08}", window.start.as_millisecond(), window.replica, window.seq)
}

impl Desk {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path().join("registry").to_str().unwrap()).await.unwrap();
        let log = registry.endpoint("shop", "front").unwrap();
        let desk = Self { folder, log };
        for (name, holds) in [("careful", ["30m", "30m"]), ("hasty", ["1m", "1m"])] {
            std::fs::create_dir(desk.path(name)).unwrap();
            std::fs::write(desk.path(name).join("shop.yaml"), manifests(holds)).unwrap();
        }
        desk
    }

    async fn with_windows() -> Self {
        let desk = Self::new().await;
        for window in (0..MINUTES).map(window) {
            desk.log.put_window(&key(&window), serde_json::to_vec(&window).unwrap().into()).await.unwrap();
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `fairway backtest` with these words.
    fn run(&self, words: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
        command.current_dir(self.folder.path()).args(["backtest", "--registry", "registry"]);
        let output = command.args(words.split_whitespace()).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn done(&self, words: &str) -> String {
        let said = self.run(words);
        assert_eq!(said.code, 0, "{words}: {}", said.err);
        said.out
    }

    fn policy(&self) -> EndpointPolicy {
        let variables = BTreeMap::from([("data".to_owned(), "/data.parquet".to_owned())]);
        let manifests = fairway_api::load_dir_with(&self.path("careful"), &variables).unwrap();
        let endpoint = manifests.endpoints.values().next().unwrap();
        endpoint.value.spec.policy(Duration::from_secs(600)).unwrap()
    }

    /// Three plans as `up` keeps them: a rollout begins, then takes in two windows, one plan each. `change` is made to the
    /// last one before it is kept.
    async fn keep_plans(&self, change: impl Fn(&mut Value)) {
        let policy = self.policy();
        let [stable, candidate] = [1, 2].map(|version| Target { version, digest: format!("sha256:{version:064}") });
        let inputs = |acked| EndpointInputs {
            wanted: Some(if acked == 0 { stable.clone() } else { candidate.clone() }),
            ready: [&stable, &candidate].map(|target| target.digest.clone()).into(),
            broken: BTreeMap::new(),
            unapproved: BTreeMap::new(),
            champion: Some(1),
            acked,
            servers: None,
            requests: Vec::new(),
            serve_baseline: false,
            lease: Duration::from_secs(30),
            experiments: Vec::new(),
        };
        let mut status = EndpointStatus::default();
        for (seq, windows) in [(1, vec![]), (2, vec![window(0)]), (3, vec![window(1), window(2)])] {
            let (inputs, time) = (inputs(seq - 1), at(seq as i64 * 3));
            let plan = decide(&policy, &inputs.with(&status, &windows), time);
            status = plan.status.clone();
            let read: Vec<String> = windows.iter().map(key).collect();
            let mut stored =
                json!({"time": time, "read": read, "decidedBy": {"policy": policy, "inputs": inputs}, "plan": plan});
            if seq == 3 {
                change(&mut stored);
            }
            self.log.append_plan(seq, &stored).await.unwrap();
        }
    }
}

#[tokio::test]
async fn policies_are_compared_as_table_json_and_html() {
    let desk = Desk::with_windows().await;
    let words = "--manifests careful --manifests hasty --inject errors=x9 --rollouts 12";
    let table = desk.done(words);
    for part in [
        "CAREFUL",
        "HASTY",
        "a good candidate",
        "a candidate with errors=x9",
        "declared, at most",
        "time to rollback, median",
        "seed 1",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }

    let json =
        |more: &str| -> Value { serde_json::from_str(&desk.done(&format!("{words} {more} --output json"))).unwrap() };
    let report = json("--html report.html");
    assert_eq!(report["record"]["windows"], json!(MINUTES));
    assert_eq!(report["record"]["requests"], json!(200 * MINUTES));
    assert_eq!(report["record"]["periodSeconds"], json!(60.0));
    let [careful, hasty] = [&report["policies"][0], &report["policies"][1]];
    assert_eq!((&careful["name"], &hasty["name"]), (&json!("careful"), &json!("hasty")));
    assert_eq!((&careful["cases"][0]["harm"], &careful["cases"][1]["harm"]), (&json!("none"), &json!("errors=x9")));
    assert!(careful["cases"][0]["promoted"].as_u64().unwrap() >= 10, "{careful}");
    assert_eq!(careful["cases"][1]["detected"], json!(12), "{careful}");
    assert_eq!(json(""), report, "the same seed gives the same report");
    assert_ne!(json("--seed 2")["policies"], report["policies"]);

    let page = std::fs::read_to_string(desk.path("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg") && !page.contains("<script"));

    let part = json(&format!("--from {} --until {}", at(60), at(120)));
    assert_eq!(part["record"]["windows"], json!(60));
    assert_eq!(json("--windows 30")["record"]["windows"], json!(30), "the newest");
}

#[tokio::test]
async fn what_cannot_be_played_is_refused_with_the_cure() {
    let desk = Desk::new().await;
    let table = [
        ("--manifests careful --inject errors=3", "`3` is neither x3 nor +2%"),
        ("--manifests careful --inject latency=x3", "degrade=reward:-20%"),
        ("--manifests careful --from yesterday", "2026-11-01"),
        ("--manifests careful --rollouts 0", "--rollouts"),
        ("--manifests nowhere", "nowhere"),
        ("--manifests careful --plans 5", "--verify"),
        ("--manifests careful --verify --html x.html", "--html"),
        ("--manifests careful", "there are no windows in the record"),
        ("", "--endpoint NAME"),
        ("--endpoint front --namespace shop", "--manifests DIR"),
        ("--endpoint front --namespace shop --verify", "no plan that can be decided again"),
    ];
    for (words, why) in table {
        let said = desk.run(words);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{words}: {}", said.err);
        assert!(said.err.contains(why), "{words}: {}", said.err);
    }
}

#[tokio::test]
async fn recorded_plans_follow_from_what_they_were_decided_by() {
    let desk = Desk::with_windows().await;
    desk.keep_plans(|_| ()).await;
    let said = desk.done("--manifests careful --verify");
    assert!(said.contains("shop/front: 3 of 3 plans follow"), "{said}");
    let verified: Value =
        serde_json::from_str(&desk.done("--namespace shop --endpoint front --verify --plans 1 --output json")).unwrap();
    assert_eq!((&verified["decided"], &verified["identical"], &verified["oldest"]), (&json!(1), &json!(1), &json!(3)));
    // Without manifests, the policy of the newest plan is played.
    let played = desk.done("--namespace shop --endpoint front --rollouts 2");
    assert!(played.contains("RECORDED"), "{played}");
}

#[tokio::test]
async fn a_plan_that_was_changed_is_found_with_the_field() {
    let desk = Desk::with_windows().await;
    desk.keep_plans(|stored| stored["plan"]["status"]["rollouts"] = json!(7)).await;
    let said = desk.run("--manifests careful --verify");
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("2 of 3 plans follow") && said.out.contains("status.rollouts"), "{}", said.out);
}

#[tokio::test]
async fn a_plan_whose_window_is_gone_is_not_taken_on_trust() {
    let desk = Desk::with_windows().await;
    desk.keep_plans(|_| ()).await;
    let gone = key(&window(1));
    std::fs::remove_file(desk.path("registry/shop/endpoints/front/windows").join(format!("{gone}.json"))).unwrap();
    let said = desk.run("--manifests careful --verify --output json");
    assert_eq!(said.code, 1, "{}", said.err);
    let verified: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&verified["identical"], &verified["differing"][0]["plan"]), (&json!(2), &json!(3)));
    assert!(verified["differing"][0]["problem"].as_str().unwrap().contains(&gone), "{verified}");
}
