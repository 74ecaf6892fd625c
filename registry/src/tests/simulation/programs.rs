//! What the processes do, each until it is done or killed.

use super::super::simulated::World;
use super::{HOUR, Shared};
use crate::gc::Collection;
use crate::model::Author;
use crate::upload::Prepared;
use crate::{Digest, Error, ModelLog, Progress, Registration, Timestamp};
use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// One process.
pub(super) struct Process {
    pub(super) model: ModelLog,
    pub(super) world: Arc<World>,
    pub(super) told: Shared,
    pub(super) chance: StdRng,
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

pub(super) async fn register(lives: Vec<Process>, run: String, content: u64) {
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
pub(super) async fn train(lives: Vec<Process>, run: String, content: u64) {
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
pub(super) async fn register_uploaded(lives: Vec<Process>, run: String) {
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

pub(super) async fn move_champion(lives: Vec<Process>, mover: u32) {
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

pub(super) async fn collect(lives: Vec<Process>, collector: u32) {
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

pub(super) fn collection(time: Timestamp, grace: Duration, reason: &str) -> Collection {
    let (actor, reason) = ("gc".to_owned(), reason.to_owned());
    Collection { grace, dry_run: false, most: 100, actor, reason, time, in_use: BTreeSet::new() }
}

pub(super) fn registration(run: &str, time: Timestamp) -> Registration {
    Registration { time, kinds: BTreeSet::new(), ..crate::tests::registration(run) }
}

/// A tree of some files. Content 0 is the same tree for every run, as when somebody pushes it again.
pub(super) fn tree(content: u64, run: &str) -> Prepared {
    let owner = if content == 0 { "everybody" } else { run };
    let files =
        (0..2 + content).map(|file| (format!("{file}.json"), Bytes::from(format!("\"{owner} {content} {file}\""))));
    Prepared::memory(files.collect(), &serde_json::json!({"run": owner})).unwrap()
}

pub(super) fn silent() -> Progress {
    Progress::default()
}

pub(super) fn pick<'a, T>(chance: &mut StdRng, of: &'a [T]) -> &'a T {
    &of[chance.random_range(0..of.len())]
}
