//! `fairway up`, killed at random moments and started again: it goes on where it was, what the registry shows is whole,
//! and no run is started twice. FAIRWAY_SEED repeats a run of this test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fairway_registry::{ModelLog, Registry};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const KILLS: usize = 24;
/// From the first instants to the middle of a rollout, by orders of magnitude.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(4);
/// The undisturbed process at the end promotes within this.
const CALM: Duration = Duration::from_secs(90);

#[tokio::test]
async fn killed_at_any_moment_it_goes_on() {
    let seed = std::env::var("FAIRWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("FAIRWAY_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut seen = Seen::default();
    for kill in 0..KILLS {
        let mut process = up(&state);
        let moment = LONGEST.mul_f64((SHORTEST.as_secs_f64() / LONGEST.as_secs_f64()).powf(rng.random::<f64>()));
        // The same name again and again, as a CI job that is retried does.
        std::thread::sleep(moment / 2);
        if rng.random_bool(0.5) {
            asked(&state, kill / 6);
        }
        std::thread::sleep(moment / 2);
        assert!(process.try_wait().unwrap().is_none(), "it ended by itself, after kill {kill}");
        process.kill().unwrap();
        process.wait().unwrap();
        seen.look(&state, folder.path()).await;
    }
    eprintln!("{seen:?}");

    let mut process = up(&state);
    let promoted = seen.promoted;
    let begun = Instant::now();
    while promotions(&report(&state)) <= promoted {
        assert!(begun.elapsed() < CALM, "undisturbed, nothing was promoted: {:#}", report(&state));
        std::thread::sleep(Duration::from_millis(300));
    }
    let stopped = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    assert!(process.wait().unwrap().success(), "asked to stop, it stops in order");
    seen.look(&state, folder.path()).await;
    assert!(seen.outcomes.len() >= 2, "{seen:?}");

    // Whatever was lost with a process, no stored plan was decided by anything that is not in the bucket.
    let registry = state.join("registry");
    let mut verify = fairway(&state);
    verify.args(["backtest", "--verify", "--endpoint", "shop", "--registry"]).arg(&registry);
    let verified = verify.output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "{said}{}", String::from_utf8_lossy(&verified.stderr));
    assert!(said.contains("plans follow from what they were decided by"), "{said}");
}

fn up(state: &Path) -> Child {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash");
    let log = std::fs::OpenOptions::new().create(true).append(true).open(state.with_extension("log")).unwrap();
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

/// Asks for a run; whether the process is there to hear it is up to chance.
fn asked(state: &Path, number: usize) {
    let name = format!("ci-{number}");
    let mut command = fairway(state);
    command.args(["run", "start", "--force", "--name", &name, "--state"]).arg(state);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
}

fn report(state: &Path) -> Value {
    let output = fairway(state).args(["status", "--output", "json", "--state"]).arg(state).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn promotions(report: &Value) -> usize {
    let history = report["history"].as_array();
    history.map_or(0, |history| history.iter().filter(|ended| ended["result"] == json!("promoted")).count())
}

/// What was seen of the bucket, which later looks may add to and never take back.
#[derive(Debug, Default)]
struct Seen {
    outcomes: BTreeMap<String, Value>,
    versions: BTreeMap<u64, String>,
    last_plan: u64,
    promoted: usize,
    had_stable: bool,
}

impl Seen {
    async fn look(&mut self, state: &Path, folder: &Path) {
        let bucket = state.join("registry");
        if !bucket.exists() {
            return;
        }
        let registry = Registry::open(&format!("file://{}", bucket.display())).await.unwrap();
        let model = registry.model("default", "recs").unwrap();
        self.versions_are_whole(&model, &folder.join("verified")).await;
        self.runs_happen_once(&model).await;
        let endpoint = registry.endpoint("default", "shop").unwrap();
        if let Some((number, plan)) = endpoint.latest_plan::<Value>().await.unwrap() {
            let status = &plan["plan"]["status"];
            let has_stable = !status["stable"].is_null();
            let promoted = promotions(status);
            assert!(number >= self.last_plan && promoted >= self.promoted, "it went back: {status:#}");
            assert!(has_stable || !self.had_stable, "it forgot what serves: {status:#}");
            (self.last_plan, self.promoted, self.had_stable) = (number, promoted, has_stable);
        }
    }

    async fn versions_are_whole(&mut self, model: &ModelLog, cache: &Path) {
        let Some(entry) = model.head().await.unwrap() else { return };
        let mut runs = BTreeSet::new();
        for version in entry.state.versions.values() {
            assert!(runs.insert(&version.run), "run {} registered two versions", version.run);
            let digest = self.versions.entry(version.number).or_insert_with(|| version.digest.to_string());
            assert_eq!(*digest, version.digest.to_string(), "a version changed");
            let files = model.fetch(&version.digest, cache).await.expect("a version that is listed is whole");
            fairway_model::Bundle::load(&files).expect("a version that is listed answers as when it was made");
        }
        let known: BTreeSet<u64> = self.versions.keys().copied().collect();
        assert_eq!(known, entry.state.versions.keys().copied().collect(), "a version vanished");
    }

    async fn runs_happen_once(&mut self, model: &ModelLog) {
        let mut started = BTreeSet::new();
        for (_, plan) in model.plans::<Value>(10_000).await.unwrap() {
            for effect in plan["plan"]["effects"].as_array().into_iter().flatten() {
                if effect["effect"] == json!("startRun") {
                    let name = effect["name"].as_str().unwrap().to_owned();
                    assert!(!name.is_empty() && started.insert(name), "started twice: {effect}");
                }
            }
        }
        for name in model.runs().await.unwrap() {
            let run = model.run(&name).unwrap();
            assert!(started.contains(&name), "run {name} was never decided");
            if let Some(outcome) = run.outcome::<Value>().await.unwrap() {
                let before = self.outcomes.entry(name.clone()).or_insert_with(|| outcome.clone());
                assert_eq!(*before, outcome, "the outcome of {name} changed");
            }
        }
    }
}
