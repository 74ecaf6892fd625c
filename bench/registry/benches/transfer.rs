//! Push and pull of a tree to a registry in a directory, beside `cp -r` and `sha256sum` of the same bytes at the same
//! time: what copying and hashing cost at all.
//!
//! Everything is done by a process of its own, peers and ours alike, and its whole life counts. Files are in the page
//! cache. After each work its files are removed and the file system is synced, so that no work pays for the one before.

use fairway_bench_registry::measure::{self, Rounds};
use fairway_bench_registry::{Outcome, folder, measures, report, setting, tree};
use fairway_registry::{Digest, Registration, Registry, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// What push and pull may take, of the peer.
const RATIO_MAX: f64 = 1.3;
/// What push and pull may have resident.
const MEMORY_MAX: u64 = 200 * MIB;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let texts: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match texts.as_slice() {
        ["push", tree, registry] => child(push(Path::new(tree), registry)),
        ["pull", digest, registry, cache] => child(pull(digest, registry, Path::new(cache))),
        _ if measures() => compare(),
        _ => Ok(()),
    }
}

/// What a child process is for: its work, then a line for its parent.
fn child(work: impl Future<Output = Outcome<String>>) -> Outcome<()> {
    let said = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)?;
    println!("{} {said}", measure::peak_memory()?);
    Ok(())
}

async fn push(tree: &Path, registry: &str) -> Outcome<String> {
    let registration = Registration {
        run: "run".to_owned(),
        actor: "bench".to_owned(),
        time: Timestamp::from_second(1_800_000_000)?,
        metrics: BTreeMap::new(),
        labels: BTreeMap::new(),
        provenance: serde_json::json!({"bench": "transfer"}),
        kinds: BTreeSet::new(),
        alias: Some("champion".to_owned()),
        reason: "measured".to_owned(),
    };
    let model = Registry::open(registry).await?.model("bench", "transfer")?;
    Ok(model.register(tree, registration).await?.digest.to_string())
}

async fn pull(digest: &str, registry: &str, cache: &Path) -> Outcome<String> {
    let digest: Digest = digest.parse()?;
    let model = Registry::open(registry).await?.model("bench", "transfer")?;
    Ok(model.fetch(&digest, cache).await?.display().to_string())
}

/// A tree: its name for people, its files and their size.
struct Shape {
    name: &'static str,
    files: u64,
    bytes: u64,
}

fn compare() -> Outcome<()> {
    let (mib, rounds) = (setting("FAIRWAY_BENCH_MIB", 1024)?, setting("FAIRWAY_BENCH_ROUNDS", 5)?);
    let shapes = [
        Shape { name: "4 files", files: 4, bytes: mib * MIB / 4 },
        Shape { name: "1 file", files: 1, bytes: mib * MIB },
        Shape { name: "400 files", files: 400, bytes: mib * MIB / 400 },
    ];
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    println!("\ntransfer, trees of {mib} MiB, {rounds} rounds, {cpus} CPUs\n");
    let mut met = Vec::new();
    for shape in shapes {
        met.push(measured(&shape, rounds)?);
    }
    for (what, found, met) in met.into_iter().flatten() {
        report::print_bar(&what, &found, met);
    }
    Ok(())
}

/// What was measured of one shape.
#[derive(Default)]
struct Works {
    peer: Rounds,
    synced: Rounds,
    copy: Rounds,
    hash: Rounds,
    push: Rounds,
    pull: Rounds,
    push_memory: u64,
    pull_memory: u64,
}

/// A bar, what was found, and whether it was met.
type Bar = (String, String, bool);

fn measured(shape: &Shape, rounds: u64) -> Outcome<Vec<Bar>> {
    let place = folder()?;
    let bench = Bench {
        // Those that are not built with OpenSSL do without the CPU's SHA instructions: compare with another one.
        hash: std::env::var("FAIRWAY_BENCH_SHA256SUM").unwrap_or_else(|_| "sha256sum".to_owned()),
        bytes: shape.files * shape.bytes,
        tree: place.path().join("tree"),
        copy: place.path().join("copy"),
        registry: place.path().join("registry"),
        cache: place.path().join("cache"),
    };
    tree::write(&bench.tree, shape.files, shape.bytes, shape.files)?;
    let mut works = Works::default();
    for _ in 0..rounds {
        bench.round(&mut works)?;
    }
    Ok(works.print(shape))
}

/// Where everything is, on one file system.
struct Bench {
    hash: String,
    bytes: u64,
    tree: PathBuf,
    copy: PathBuf,
    registry: PathBuf,
    cache: PathBuf,
}

impl Bench {
    fn round(&self, works: &mut Works) -> Outcome<()> {
        self.fill()?;
        works.peer.add(ended(vec![self.copies(""), self.hashes()])?.0);
        self.clear(&self.copy)?;
        self.fill()?;
        let (took, said) = ended(vec![ours(&["push".as_ref(), &self.tree, &self.registry])?])?;
        let (memory, digest) = heard(&said)?;
        works.push.add(took);
        works.push_memory = works.push_memory.max(memory);
        self.fill()?;
        let (took, said) = ended(vec![ours(&["pull".as_ref(), digest.as_ref(), &self.registry, &self.cache])?])?;
        let (memory, folder) = heard(&said)?;
        if std::fs::read_dir(&folder)?.count() < 2 {
            return Err(format!("{folder} does not hold what was pushed").into());
        }
        works.pull.add(took);
        works.pull_memory = works.pull_memory.max(memory);
        self.clear(&self.cache)?;
        self.clear(&self.registry)?;
        self.fill()?;
        works.synced.add(ended(vec![self.copies(" && sync \"$1\"/*"), self.hashes()])?.0);
        self.clear(&self.copy)?;
        self.fill()?;
        works.copy.add(ended(vec![self.copies("")])?.0);
        self.clear(&self.copy)?;
        works.hash.add(ended(vec![self.hashes()])?.0);
        Ok(())
    }

    /// Fills as much of the page cache as a copy will, and frees it: on a virtual machine, memory that was not used for a
    /// while has to be given back by the host first, and who copies when would decide who waits for that.
    fn fill(&self) -> Outcome<()> {
        let place = self.tree.with_extension("fill");
        let mut file = std::fs::File::create(&place)?;
        let chunk = vec![1; 1 << 20];
        for _ in 0..self.bytes.div_ceil(1 << 20) {
            file.write_all(&chunk)?;
        }
        Ok(std::fs::remove_file(&place)?)
    }

    /// Copies the tree, and then does something with the copy.
    fn copies(&self, then: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("cp -r \"$0\" \"$1\"{then}")).args([&self.tree, &self.copy]);
        command
    }

    fn hashes(&self) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{} \"$0\"/* > /dev/null", self.hash)).arg(&self.tree);
        command
    }

    /// Removes what a work made, and waits until the disk has nothing left to do for it.
    fn clear(&self, folder: &Path) -> Outcome<()> {
        std::fs::remove_dir_all(folder)?;
        ended(vec![synced(&self.tree)]).map(drop)
    }
}

fn synced(folder: &Path) -> Command {
    let mut command = Command::new("sync");
    command.arg("-f").arg(folder);
    command
}

/// This program, to push or to pull.
fn ours(arguments: &[&Path]) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    Ok(command)
}

/// Runs commands at the same time: until when the last one ended, and what the first one said.
fn ended(commands: Vec<Command>) -> Outcome<(Duration, String)> {
    let started = Instant::now();
    let mut running = Vec::new();
    for mut command in commands {
        let child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{command:?}: {error}"))?;
        running.push((command, child));
    }
    let mut said = Vec::new();
    for (command, child) in running {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("{command:?} ended with {}", output.status).into());
        }
        said.push(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Ok((started.elapsed(), said.swap_remove(0)))
}

/// What a child says: its peak memory in bytes, and what its parent needs.
fn heard(said: &str) -> Outcome<(u64, String)> {
    let (memory, rest) = said.trim().split_once(' ').ok_or("a child that said nothing")?;
    Ok((memory.parse()?, rest.to_owned()))
}

impl Works {
    fn print(&self, shape: &Shape) -> Vec<Bar> {
        let row = |name: &str, rounds: &Rounds, memory: Option<u64>| {
            vec![
                name.to_owned(),
                format!("{:.2}", rounds.median()),
                format!("{:.2}", rounds.best()),
                format!("{:.2}", rounds.worst()),
                format!("{:.2}", rounds.median() / self.peer.median()),
                format!("{:.2}", rounds.median() / self.synced.median()),
                memory.map(|bytes| format!("{}", bytes / MIB)).unwrap_or_default(),
            ]
        };
        report::print_table(
            &[shape.name, "median s", "best", "worst", "of peer", "of synced", "peak MiB"],
            &[
                row("push: hashed, copied, synced, registered", &self.push, Some(self.push_memory)),
                row("pull: copied and hashed", &self.pull, Some(self.pull_memory)),
                row("peer: cp -r and sha256sum at once", &self.peer, None),
                row("      the same, and what cp -r wrote is synced", &self.synced, None),
                row("      cp -r alone", &self.copy, None),
                row("      sha256sum alone", &self.hash, None),
            ],
        );
        println!();
        let bar = |what: &str, rounds: &Rounds, memory: u64| {
            let ratio = rounds.median() / self.peer.median();
            let asked =
                format!("{what} of {} within {RATIO_MAX} of the peer, under {} MiB", shape.name, MEMORY_MAX / MIB);
            let found = format!("{ratio:.2} and {} MiB", memory / MIB);
            (asked, found, ratio <= RATIO_MAX && memory < MEMORY_MAX)
        };
        vec![bar("push", &self.push, self.push_memory), bar("pull", &self.pull, self.pull_memory)]
    }
}
