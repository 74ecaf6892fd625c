//! The registry under seeded schedules: several processes register, move aliases and collect on a
//! store that fails in every way, stall for days, and are killed at any await point. Afterwards
//! what they were told is held against what is there.
//!
//! A failing seed is printed; `FAIRWAY_SEED=n cargo test -p fairway-registry one_schedule` plays it
//! again. Planted mistakes prove that the invariants can fail.

mod programs;
mod promises;

use super::simulated::{Simulated, World};
use crate::model::Author;
use crate::store::{Chance, Limits, Listing, Planted, Store};
use crate::{ModelLog, Registry, Retention, Timestamp};
use programs::{Process, collect, move_champion, pick, register, register_uploaded, registration, silent, train, tree};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
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
