//! Registrations and alias reads beside MLflow's registry: Python, SQLite, no server between, which is its quickest way.
//!
//! Both store the same three files of about 10 KiB, make them a version and move `champion` to it. Ours also hashes the
//! files and syncs every write to the disk; MLflow syncs its database and not its artifacts, and is measured once more
//! with a sync of those. Both keep their files in the same folder, take turns, and are asked by one caller at a time.

use fairway_bench_registry::measure::Rounds;
use fairway_bench_registry::{Outcome, folder, measures, report, setting, tree};
use fairway_registry::{Access, ModelLog, Reference, Registration, Registry, StoreOptions, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const FILES: u64 = 3;
const FILE_BYTES: u64 = 10 << 10;
/// How often ours must be as quick as the peer.
const RATIO_MIN: f64 = 5.0;
/// What the peer is made of.
const PACKAGES: [&str; 3] = ["mlflow-skinny==3.17.2", "SQLAlchemy==2.1.9", "alembic==1.20.1"];

fn main() -> Outcome<()> {
    if !measures() {
        return Ok(());
    }
    let rounds = setting("FAIRWAY_BENCH_ROUNDS", 5)?;
    let (versions, reads) = (setting("FAIRWAY_BENCH_VERSIONS", 100)?, setting("FAIRWAY_BENCH_READS", 500)?);
    let place = folder()?;
    let trees = place.path().join("trees");
    std::fs::create_dir(&trees)?;
    for index in 0..rounds * versions {
        tree::write(&trees.join(index.to_string()), FILES, FILE_BYTES, index)?;
    }
    let mut peer = Peer::start(place.path(), &trees)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ours = runtime.block_on(Ours::open(place.path(), trees))?;
    println!("\nmlflow, {rounds} rounds of {versions} registrations and {reads} reads; peer: {}\n", peer.name);
    let mut works = Works::default();
    for round in 0..rounds {
        settle();
        works.registered.add(runtime.block_on(ours.register(round * versions, versions))?);
        settle();
        works.peer_registered.add(peer.tell(&format!("register {} {versions}", round * versions))?);
        works.peer_synced.add(peer.tell(&format!("synced {} {versions}", round * versions))?);
        works.warm.add(runtime.block_on(ours.read(reads, false))?);
        works.cold.add(runtime.block_on(ours.read(reads, true))?);
        works.peer_read.add(peer.tell(&format!("read {reads}"))?);
    }
    works.print(versions, reads, rounds * versions);
    Ok(())
}

/// Waits until nobody pays for the files that the other one has deleted: ext4 looks past each inode that was deleted within
/// five seconds whenever it makes a file.
fn settle() {
    std::thread::sleep(Duration::from_secs(6));
}

/// The registry, in a directory.
struct Ours {
    url: String,
    trees: PathBuf,
    model: ModelLog,
}

impl Ours {
    async fn open(place: &Path, trees: PathBuf) -> Outcome<Ours> {
        let url = format!("file://{}", place.join("registry").display());
        let model = Registry::open(&url).await?.model("bench", "model")?;
        Ok(Ours { url, trees, model })
    }

    async fn register(&self, first: u64, count: u64) -> Outcome<Duration> {
        let started = Instant::now();
        for index in first..first + count {
            let registration = Registration {
                run: format!("run-{index}"),
                actor: "bench".to_owned(),
                time: Timestamp::from_second(1_800_000_000)?,
                metrics: BTreeMap::new(),
                labels: BTreeMap::new(),
                provenance: serde_json::json!({"bench": "mlflow"}),
                kinds: BTreeSet::new(),
                alias: Some("champion".to_owned()),
                reason: "measured".to_owned(),
            };
            self.model.register(&self.trees.join(index.to_string()), registration).await?;
        }
        Ok(started.elapsed())
    }

    /// Asks which version `champion` is; when cold, by a registry that was just opened and has seen nothing.
    async fn read(&self, count: u64, cold: bool) -> Outcome<Duration> {
        let champion: Reference = "@champion".parse()?;
        let started = Instant::now();
        for _ in 0..count {
            if cold {
                let registry = Registry::open_with(&self.url, &StoreOptions::new(), Access::Read).await?;
                registry.model("bench", "model")?.resolve(&champion).await?;
            } else {
                self.model.resolve(&champion).await?;
            }
        }
        Ok(started.elapsed())
    }
}

/// A process of MLflow.
struct Peer {
    name: String,
    process: Child,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl Peer {
    fn start(place: &Path, trees: &Path) -> Outcome<Peer> {
        let python = python()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("mlflow_peer.py");
        let uri = std::env::var("FAIRWAY_MLFLOW_URI");
        let uri = uri.unwrap_or_else(|_| format!("sqlite:///{}", place.join("mlflow.db").display()));
        let mut command = Command::new(&python);
        command.arg(script).arg(uri).arg(place.join("artifacts")).arg(trees).current_dir(place);
        command.env("MLFLOW_DISABLE_TELEMETRY", "true").stdin(Stdio::piped()).stdout(Stdio::piped());
        // It tells at length how it makes its database.
        command.stderr(std::fs::File::create(place.join("mlflow.err"))?);
        let mut process = command.spawn().map_err(|error| format!("{}: {error}", python.display()))?;
        let (Some(hears), Some(says)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the peer has no standard input and output".into());
        };
        let mut peer = Peer { name: String::new(), process, says: BufReader::new(says), hears };
        peer.name = peer.answer().map_err(|error| format!("{error}{}", complaint(place)))?;
        Ok(peer)
    }

    fn tell(&mut self, line: &str) -> Outcome<Duration> {
        writeln!(self.hears, "{line}")?;
        Ok(Duration::try_from_secs_f64(self.answer()?.parse()?)?)
    }

    fn answer(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.says.read_line(&mut line)? == 0 {
            return Err("MLflow ended; FAIRWAY_MLFLOW_PYTHON names a Python that has it".into());
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has ended already, or is not needed any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The last line that the peer wrote for people.
fn complaint(place: &Path) -> String {
    let text = std::fs::read_to_string(place.join("mlflow.err")).unwrap_or_default();
    text.lines().last().map(|line| format!(" ({line})")).unwrap_or_default()
}

/// A Python that has MLflow: the one that was named, or one of a virtual environment that is made once.
fn python() -> Outcome<PathBuf> {
    if let Some(python) = std::env::var_os("FAIRWAY_MLFLOW_PYTHON") {
        return Ok(python.into());
    }
    let venv = std::env::temp_dir().join(format!("fairway-bench-{}", PACKAGES[0]));
    let (python, done) = (venv.join("bin/python"), venv.join("complete"));
    if !done.exists() {
        println!("making a virtual environment with {} in {}", PACKAGES.join(", "), venv.display());
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
        std::fs::write(done, "")?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Outcome<()> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}

/// What was measured.
#[derive(Default)]
struct Works {
    registered: Rounds,
    peer_registered: Rounds,
    peer_synced: Rounds,
    warm: Rounds,
    cold: Rounds,
    peer_read: Rounds,
}

impl Works {
    fn print(&self, versions: u64, reads: u64, live: u64) {
        let row = |name: &str, rounds: &Rounds, peer: &Rounds, count: u64| {
            let rate = |seconds: f64| format!("{:.0}", count as f64 / seconds);
            let ratio = format!("{:.1}", peer.median() / rounds.median());
            vec![name.to_owned(), rate(rounds.median()), rate(rounds.best()), rate(rounds.worst()), ratio]
        };
        report::print_table(
            &[&format!("up to {live} versions live"), "median /s", "best", "worst", "times peer"],
            &[
                row("register with an alias, hashed and synced", &self.registered, &self.peer_registered, versions),
                row("peer: log_artifacts, version, alias", &self.peer_registered, &self.peer_registered, versions),
                row("      the same, artifacts synced too", &self.peer_synced, &self.peer_registered, versions),
                row("resolve @champion", &self.warm, &self.peer_read, reads),
                row("resolve @champion, registry opened each time", &self.cold, &self.peer_read, reads),
                row("peer: get_model_version_by_alias", &self.peer_read, &self.peer_read, reads),
            ],
        );
        println!();
        let bar = |what: &str, rounds: &Rounds, peer: &Rounds| {
            let ratio = peer.median() / rounds.median();
            report::print_bar(
                &format!("{what}: at least {RATIO_MIN} times the peer"),
                &format!("{ratio:.1}"),
                ratio >= RATIO_MIN,
            );
        };
        bar("registrations", &self.registered, &self.peer_registered);
        bar("registrations, artifacts synced by both", &self.registered, &self.peer_synced);
        bar("alias reads", &self.warm, &self.peer_read);
        bar("alias reads by a registry opened each time", &self.cold, &self.peer_read);
    }
}
