//! The registry under seeded schedules: several processes register, move aliases and collect on a
//! store that fails in every way, stall for days, and are killed at any await point. Afterwards
//! what they were told is held against what is there.
//!
//! A failing seed is printed; `FAIRWAY_SEED=n cargo test -p fairway-registry one_schedule` plays it
//! again. Planted mistakes prove that the invariants can fail.

use super::simulated::{Simulated, World};
use crate::gc::Collection;
use crate::model::Author;
use crate::store::{Chance, Limits, Listing, Planted, Store};
use crate::upload::Prepared;
use crate::{Digest, Entry, Error, ModelLog, Operation, Progress, Registration, Registry, Retention, State, Timestamp};
use bytes::Bytes;
use object_store::ObjectStoreExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// Schedules of one `cargo test`.
const SCHEDULES: u64 = 10_000;
/// Schedules in which a planted mistake must be found.
const PATIENCE: u64 = 4_000;

/// What the processes were told, and did.
#[derive(Debug, Default)]
struct Told {
    /// Version numbers by run.
    registered: BTreeMap<String, u64>,
    /// The reasons of alias moves that were acknowledged.
    moved: Vec<String>,
    /// The reasons of those that were refused: nothing was written, they were told.
    refused: Vec<String>,
    /// When each collection began, by its reason.
    collections: BTreeMap<String, Timestamp>,
}

type Shared = Arc<Mutex<Told>>;

/// One schedule: the world, and what is drawn for it.
struct Schedule {
    chance: StdRng,
    world: Arc<World>,
    told: Shared,
    planted: Option<Planted>,
    faults: u32,
    longest: Duration,
}

impl Schedule {
    fn new(seed: u64, planted: Option<Planted>) -> Schedule {
        let mut chance = StdRng::seed_from_u64(seed);
        let faults = *pick(&mut chance, &[0, 5, 15, 30]);
        let longest = *pick(&mut chance, &[HOUR / 60, HOUR * 3, HOUR * 24 * 9]);
        Schedule { chance, world: World::new(), told: Shared::default(), planted, faults, longest }
    }

    /// The model as a new process sees it.
    fn process(&mut self) -> Process {
        let seed = self.chance.random();
        let objects = Simulated::new(self.world.clone(), seed, self.faults, self.longest);
        let mut store = Store::new(objects, if self.chance.random() { Listing::Ordered } else { Listing::Avoid });
        store.chance = Chance::seeded(seed);
        store.planted = self.planted;
        // Some have the patience to find out that they were stopped for days.
        if self.chance.random() {
            let forever = Duration::from_secs(400 * 86_400);
            store.limits = Limits { deadline: forever, call: forever, ..Limits::default() };
        }
        let model = Registry::on(store, "memory://").model("a", "m").unwrap();
        Process { model, world: self.world.clone(), told: self.told.clone(), chance: StdRng::seed_from_u64(seed ^ 1) }
    }

    /// The model on a store that does what it is told.
    fn truth(&self) -> ModelLog {
        let objects = Simulated::new(self.world.clone(), 0, 0, HOUR);
        let store = Store { chance: Chance::seeded(0), ..Store::new(objects, Listing::Ordered) };
        Registry::on(store, "memory://").model("a", "m").unwrap()
    }

    async fn play(mut self) -> Result<(), String> {
        let retention = Retention { versions: self.chance.random_range(1..3), days: 0, rollback_days: 0 };
        let first = self.truth();
        let trained = first.publish(&tree(0, "first"), &registration("first", self.world.now()), 0, &silent()).await;
        trained.map_err(|e| e.to_string())?;
        let author = Author { actor: "ops", reason: "policy", time: self.world.now() };
        first.retain(Some(retention), author).await.map_err(|e| e.to_string())?;
        let mut tasks = Vec::new();
        for run in 0..self.chance.random_range(2..5) {
            let (lives, content) = (self.lives(), self.chance.random_range(0..3));
            tasks.push(tokio::spawn(register(lives, format!("run-{run}"), content)));
        }
        for run in 0..self.chance.random_range(0..3) {
            let (trainer, registrar) = (self.lives(), self.lives());
            let (run, content) = (format!("ahead-{run}"), self.chance.random_range(0..3));
            tasks.push(tokio::spawn(train(trainer, run.clone(), content)));
            tasks.push(tokio::spawn(register_uploaded(registrar, run)));
        }
        for mover in 0..self.chance.random_range(1..3) {
            let lives = self.lives();
            tasks.push(tokio::spawn(move_champion(lives, mover)));
        }
        for collector in 0..self.chance.random_range(1..3) {
            let lives = self.lives();
            tasks.push(tokio::spawn(collect(lives, collector)));
        }
        for task in tasks {
            task.await.map_err(|e| e.to_string())?;
        }
        // Whatever was late lands now.
        tokio::time::sleep(self.longest * 2).await;
        self.judge().await
    }

    /// The same program in several processes, one after the other was killed.
    fn lives(&mut self) -> Vec<Process> {
        (0..self.chance.random_range(1..4)).map(|_| self.process()).collect()
    }

    async fn judge(&self) -> Result<(), String> {
        let model = self.truth();
        let mut entries = model.entries(10_000).await.map_err(|e| format!("the log cannot be read: {e}"))?;
        entries.reverse();
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        history_is_append_only(&entries)?;
        nobody_shares_a_number(&entries, &told)?;
        aliases_move_in_line(&entries, &told)?;
        self.pinned_trees_are_spared(&entries, &told)?;
        let state = entries.last().map(|entry| entry.state.clone()).unwrap_or_default();
        self.what_is_registered_is_whole(&model, &state).await?;
        self.deletion_is_honest(&model).await
    }

    /// Every version of the newest state has all its bytes, and every alias points to one.
    async fn what_is_registered_is_whole(&self, model: &ModelLog, state: &State) -> Result<(), String> {
        for version in state.versions.values() {
            self.whole(model, &version.digest).await.map_err(|e| format!("version {}: {e}", version.number))?;
        }
        if let Some((alias, number)) = state.aliases.iter().find(|(_, number)| !state.versions.contains_key(number)) {
            return Err(format!("@{alias} points to version {number}, which is gone"));
        }
        for tree in model.trees().await.map_err(|e| e.to_string())? {
            let condemned = state.condemned.contains_key(&tree.digest);
            let path = model.versions().join(tree.digest.directory()).join("manifest.json");
            if !condemned && self.world.objects.head(&path).await.is_ok() {
                self.whole(model, &tree.digest).await.map_err(|e| format!("a tree with a manifest: {e}"))?;
            }
        }
        Ok(())
    }

    async fn whole(&self, model: &ModelLog, digest: &Digest) -> Result<(), String> {
        let manifest = model.manifest(digest).await.map_err(|e| e.to_string())?;
        for file in &manifest.files {
            let path = model.versions().join(digest.directory()).join(file.path.as_str());
            let got = self.world.objects.get(&path).await.map_err(|e| format!("{} is lost: {e}", file.path))?;
            let bytes = got.bytes().await.map_err(|e| e.to_string())?;
            if crate::digest::sha256(&bytes) != file.sha256 {
                return Err(format!("{} has other bytes", file.path));
            }
        }
        Ok(())
    }

    /// A collection that began while a pin held its tree must not have condemned it.
    fn pinned_trees_are_spared(&self, entries: &[Entry], told: &Told) -> Result<(), String> {
        let pins = self.world.pins.lock().unwrap();
        for entry in entries {
            let Operation::Condemned { digests, .. } = &entry.operation else { continue };
            let began = told.collections[&entry.reason];
            for pin in pins.iter().filter(|pin| pin.from < began && pin.until > entry.time) {
                let text = String::from_utf8_lossy(&pin.body);
                if let Some(digest) = digests.iter().find(|digest| text.contains(digest.as_str())) {
                    return Err(format!("{digest} was condemned in entry {} under a pin", entry.seq));
                }
            }
        }
        Ok(())
    }

    /// When everybody has gone and every quarantine is over, nothing is left that nothing keeps.
    async fn deletion_is_honest(&self, model: &ModelLog) -> Result<(), String> {
        // A run without an end keeps what its result names; whoever should have ended it is gone.
        for run in model.unfinished().await.map_err(|e| e.to_string())? {
            model.run(&run).unwrap().finish(&"over").await.map_err(|e| e.to_string())?;
        }
        for round in 0..3 {
            tokio::time::sleep(HOUR * 24 * 40).await;
            let request = collection(self.world.now(), Duration::ZERO, &format!("last-{round}"));
            model.collect(&request).await.map_err(|e| format!("the last collection: {e}"))?;
        }
        let state = model.state().await.map_err(|e| e.to_string())?;
        let live: BTreeSet<&Digest> = state.versions.values().map(|version| &version.digest).collect();
        let trees = model.trees().await.map_err(|e| e.to_string())?;
        match trees.iter().find(|tree| !live.contains(&tree.digest)) {
            Some(tree) => Err(format!("{} is left, {} objects", tree.digest, tree.objects)),
            None => self.what_is_registered_is_whole(model, &state).await,
        }
    }
}

fn history_is_append_only(entries: &[Entry]) -> Result<(), String> {
    let numbered = entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq);
    if !numbered || !entries.is_sorted_by(|a, b| a.time <= b.time) {
        return Err("entries are not numbered from 1 on, or time goes back".to_owned());
    }
    Ok(())
}

/// Each run has one number, each number one run, numbers only grow, and what was told is true.
fn nobody_shares_a_number(entries: &[Entry], told: &Told) -> Result<(), String> {
    let mut by_run: BTreeMap<&str, u64> = BTreeMap::new();
    let mut last = 0;
    for entry in entries {
        let Operation::Registered { version } = entry.operation else { continue };
        let run = entry.state.versions[&version].run.as_str();
        if version <= last || by_run.insert(run, version).is_some() {
            return Err(format!("run {run} got number {version} after {last}, or has two"));
        }
        last = version;
    }
    match told.registered.iter().find(|(run, number)| by_run.get(run.as_str()) != Some(number)) {
        Some((run, number)) => Err(format!("run {run} was told {number}, the log says {:?}", by_run.get(run.as_str()))),
        None => Ok(()),
    }
}

fn aliases_move_in_line(entries: &[Entry], told: &Told) -> Result<(), String> {
    let (mut at, mut kept) = (None, Vec::new());
    for entry in entries {
        if let Operation::Aliased { alias, from, to, reason } = &entry.operation {
            if alias == "champion" && *from != at {
                return Err(format!("entry {} moves @champion from {from:?}, which was at {at:?}", entry.seq));
            }
            if alias == "champion" && !reason.contains(&format!("from {:?} ", at)) {
                return Err(format!("entry {} was decided on something else: {reason}, at {at:?}", entry.seq));
            }
            at = *to;
            kept.push(reason.clone());
        }
    }
    for reason in &told.moved {
        if kept.iter().filter(|it| *it == reason).count() != 1 {
            return Err(format!("a move that was acknowledged is not there once: {reason}"));
        }
    }
    match told.refused.iter().find(|reason| kept.contains(reason)) {
        Some(reason) => Err(format!("a move that was refused is there: {reason}")),
        None => Ok(()),
    }
}

/// One process.
struct Process {
    model: ModelLog,
    world: Arc<World>,
    told: Shared,
    chance: StdRng,
}

/// Runs a program in each process until it is done; each but the last is killed at some moment.
async fn until_killed<F: Future<Output = bool>>(lives: Vec<Process>, mut program: impl FnMut(Process) -> F) {
    let count = lives.len();
    for (index, mut process) in lives.into_iter().enumerate() {
        let scale = *pick(&mut process.chance, &[1.0, 60.0, 90_000.0, 700_000.0]);
        let life = Duration::from_secs_f64(process.chance.random::<f64>() * scale);
        tokio::time::sleep(Duration::from_secs_f64(process.chance.random::<f64>() * scale)).await;
        let run = program(process);
        let done = if index + 1 == count { run.await } else { tokio::time::timeout(life, run).await.unwrap_or(false) };
        if done {
            return;
        }
    }
}

async fn register(lives: Vec<Process>, run: String, content: u64) {
    until_killed(lives, |process| {
        let run = run.clone();
        async move {
            let Process { model, world, told, .. } = process;
            for _ in 0..4 {
                let Ok(state) = model.state().await else { continue };
                let registration = registration(&run, world.now());
                let published = model.publish(&tree(content, &run), &registration, state.fence, &silent()).await;
                match published {
                    Ok(version) => {
                        told.lock().unwrap().registered.insert(run, version.number);
                        return true;
                    }
                    Err(Error::Condemned { .. }) => return true,
                    Err(_) => {}
                }
            }
            false
        }
    })
    .await;
}

/// Uploads a tree and says so in the run's result: a trainer that may not write to the log.
async fn train(lives: Vec<Process>, run: String, content: u64) {
    until_killed(lives, |process| {
        let run = run.clone();
        async move {
            let Process { model, world, .. } = process;
            for _ in 0..4 {
                let Ok(state) = model.state().await else { continue };
                let (tree, author) = (tree(content, &run), Author { actor: "trainer", reason: "", time: world.now() });
                let record = model.run(&run).unwrap();
                match model.send_ahead(&tree, &run, author, state.fence, &silent()).await {
                    Ok(()) if record.create_plan(&run).await.is_err() => {}
                    Ok(()) if record.put_result(&tree.digest).await.is_err() => {}
                    Ok(()) | Err(Error::Condemned { .. }) => return true,
                    Err(_) => {}
                }
            }
            false
        }
    })
    .await;
}

/// Registers what a run's result names, as soon as there is one.
async fn register_uploaded(lives: Vec<Process>, run: String) {
    until_killed(lives, |process| {
        let run = run.clone();
        async move {
            let Process { model, world, told, .. } = process;
            for _ in 0..20 {
                tokio::time::sleep(HOUR).await;
                let record = model.run(&run).unwrap();
                let Ok(Some(digest)) = record.result::<Digest>().await else { continue };
                match model.register_uploaded(&digest, registration(&run, world.now())).await {
                    Ok(version) => {
                        told.lock().unwrap().registered.insert(run.clone(), version.number);
                        // What is finished keeps nothing.
                        return record.finish(&version.number).await.is_ok();
                    }
                    Err(Error::Condemned { .. } | Error::NotUploaded { .. }) => {
                        return record.finish(&"gone").await.is_ok();
                    }
                    Err(_) => {}
                }
            }
            // Nobody waits for ever: a run without an end keeps its tree.
            model.run(&run).unwrap().finish(&"given up").await.is_ok()
        }
    })
    .await;
}

async fn move_champion(lives: Vec<Process>, mover: u32) {
    let mut life = 0;
    until_killed(lives, |process| {
        life += 1;
        let life = life;
        async move {
            let Process { model, world, told, mut chance } = process;
            for step in 0..chance.random_range(1..5) {
                let Ok(state) = model.state().await else { continue };
                let numbers: Vec<u64> = state.versions.keys().copied().collect();
                let (from, to) = (state.aliases.get("champion").copied(), Some(*pick(&mut chance, &numbers)));
                if from == to {
                    continue;
                }
                let reason = format!("{mover}/{life}/{step} from {from:?} to {to:?}");
                match model.move_alias("champion", from, to, "ops", &reason, world.now()).await {
                    Ok(_) => told.lock().unwrap().moved.push(reason),
                    Err(Error::Conflict { .. }) => told.lock().unwrap().refused.push(reason),
                    Err(_) => {}
                }
            }
            true
        }
    })
    .await;
}

async fn collect(lives: Vec<Process>, collector: u32) {
    let mut life = 0;
    until_killed(lives, |process| {
        life += 1;
        let life = life;
        async move {
            let Process { model, world, told, mut chance } = process;
            let grace = *pick(&mut chance, &[Duration::ZERO, HOUR, HOUR * 24 * 7]);
            for round in 0..chance.random_range(1..5) {
                let reason = format!("{collector}/{life}/{round}");
                told.lock().unwrap().collections.insert(reason.clone(), world.now());
                let _ = model.collect(&collection(world.now(), grace, &reason)).await;
                tokio::time::sleep(grace.mul_f64(chance.random()) + HOUR.mul_f64(chance.random::<f64>().powi(2))).await;
            }
            true
        }
    })
    .await;
}

fn collection(time: Timestamp, grace: Duration, reason: &str) -> Collection {
    let (actor, reason) = ("gc".to_owned(), reason.to_owned());
    Collection { grace, dry_run: false, most: 100, actor, reason, time, in_use: BTreeSet::new() }
}

fn registration(run: &str, time: Timestamp) -> Registration {
    Registration { time, kinds: BTreeSet::new(), ..super::registration(run) }
}

/// A tree of some files. Content 0 is the same tree for every run, as when somebody pushes it again.
fn tree(content: u64, run: &str) -> Prepared {
    let owner = if content == 0 { "everybody" } else { run };
    let files =
        (0..2 + content).map(|file| (format!("{file}.json"), Bytes::from(format!("\"{owner} {content} {file}\""))));
    Prepared::memory(files.collect(), &serde_json::json!({"run": owner})).unwrap()
}

fn silent() -> Progress {
    Progress::default()
}

fn pick<'a, T>(chance: &mut StdRng, of: &'a [T]) -> &'a T {
    &of[chance.random_range(0..of.len())]
}

/// Plays one schedule, and says what it broke.
fn play(seed: u64, planted: Option<Planted>) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let played = runtime.block_on(async { Schedule::new(seed, planted).play().await });
    played.map_err(|broken| format!("seed {seed}: {broken}"))
}

/// Plays schedules on all cores until one fails.
fn first_broken(seeds: std::ops::Range<u64>, planted: Option<Planted>) -> Option<String> {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let broken = Mutex::new(None);
    let work = || {
        loop {
            let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if seed >= seeds.end || broken.lock().unwrap().is_some() {
                return;
            }
            if let Err(found) = play(seed, planted) {
                broken.lock().unwrap().get_or_insert(found);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get());
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    broken.into_inner().unwrap()
}

#[test]
fn every_schedule_keeps_every_promise() {
    let from: u64 = std::env::var("FAIRWAY_SEEDS_FROM").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    if let Some(broken) = first_broken(from..from + SCHEDULES, None) {
        panic!("{broken}; play it again with FAIRWAY_SEED");
    }
}

#[test]
fn one_schedule() {
    let seed = std::env::var("FAIRWAY_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    play(seed, None).unwrap();
}

#[test]
fn a_schedule_plays_the_same_again() {
    for seed in 0..20 {
        let again = || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let schedule = Schedule::new(seed, None);
                let (truth, world) = (schedule.truth(), schedule.world.clone());
                schedule.play().await.unwrap();
                (truth.entries(10_000).await.unwrap(), world.now())
            })
        };
        assert!(again() == again(), "seed {seed}");
    }
}

#[test]
fn planted_mistakes_are_found() {
    let mistakes = [
        Planted::NoReadBack,
        Planted::NumberSkipped,
        Planted::NoFence,
        Planted::PinIgnored,
        Planted::AliasWithoutCas,
        Planted::ManifestFirst,
    ];
    for mistake in mistakes {
        let found = first_broken(0..PATIENCE, Some(mistake));
        let found = found.unwrap_or_else(|| panic!("{mistake:?} was not found in {PATIENCE} schedules"));
        eprintln!("{mistake:?}: {found}");
    }
}
