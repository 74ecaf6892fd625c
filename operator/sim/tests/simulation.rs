//! Long schedules with faults of every kind keep every promise, and come to rest when the faults stop; mistakes that are
//! planted on purpose are found.
//!
//! FAIRWAY_SEED=n runs one schedule and tells its story; FAIRWAY_SCHEDULES=n runs that many, and FAIRWAY_MINUTES=n for so
//! long at most.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fairway_core::planted::{Bug, plant};
use fairway_sim::{Failure, STEPS, Stats, Tape, run, shrink};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs schedules on all cores until one fails, all are done, or the time is over.
fn schedules(first: u64, count: u64, limit: Duration, bug: Option<Bug>) -> (Stats, u64, Option<(u64, Failure)>) {
    let begun = Instant::now();
    let (next, done) = (AtomicU64::new(first), AtomicU64::new(0));
    let found: Mutex<Option<(u64, Failure)>> = Mutex::default();
    let seen: Mutex<Stats> = Mutex::default();
    let work = || {
        plant(bug);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let over = seed >= first + count || begun.elapsed() > limit || found.lock().unwrap().is_some();
            if over {
                break plant(None);
            }
            match run(Tape::seeded(seed), STEPS) {
                Ok(stats) => {
                    let mut seen = seen.lock().unwrap();
                    seen.decisions += stats.decisions;
                    stats.sometimes.into_iter().for_each(|(what, n)| *seen.sometimes.entry(what).or_insert(0) += n);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Err(failure) => {
                    let mut found = found.lock().unwrap();
                    if found.as_ref().is_none_or(|(earlier, _)| seed < *earlier) {
                        *found = Some((seed, failure));
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        (0..cores).for_each(|_| drop(scope.spawn(work)));
    });
    (seen.into_inner().unwrap(), done.into_inner(), found.into_inner().unwrap())
}

#[test]
fn every_schedule_keeps_every_promise() {
    if let Some(seed) = std::env::var("FAIRWAY_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return told(seed, run(Tape::seeded(seed), STEPS));
    }
    let (count, minutes) = (setting("FAIRWAY_SCHEDULES", 20_000), setting("FAIRWAY_MINUTES", 3));
    let begun = Instant::now();
    let (stats, done, failure) = schedules(0, count, Duration::from_secs(60 * minutes), None);
    eprintln!("{done} schedules, {} decisions, {:.0?}: {:#?}", stats.decisions, begun.elapsed(), stats.sometimes);
    if let Some((seed, failure)) = failure {
        told(seed, Err(failure));
    }
    // What never happened was not tried.
    let expected = [
        "a candidate was superseded",
        "a controller was killed",
        "a router crashed",
        "a run was started",
        "a training was evicted",
        "a trigger was held back",
        "a version was promoted",
        "an approval was given or taken back",
        "an effect failed",
        "harm was found in a bake",
        "harm was rolled back",
        "the clock jumped",
        "the data turned bad or good",
    ];
    let missing: Vec<&str> = expected.into_iter().filter(|what| !stats.sometimes.contains_key(what)).collect();
    assert!(done < 300 || missing.is_empty(), "never seen: {missing:?}");
}

/// Fails with the seed, the promise, the length of the shortest tape found, and the story.
fn told(seed: u64, outcome: Result<Stats, Failure>) {
    let Err(failure) = outcome else { return };
    let again = |tape: &[u32]| run(Tape::played(tape.to_vec()), STEPS);
    let same = |tape: &[u32]| again(tape).is_err_and(|it| it.promise == failure.promise);
    let short = shrink(failure.tape.clone(), 200, same);
    let story = again(&short).err().map_or(failure.story, |it| it.story);
    panic!(
        "FAIRWAY_SEED={seed}, step {}: {}\nshortened from {} choices to {}; the end of its story:\n{}",
        failure.step,
        failure.promise,
        failure.tape.len(),
        short.len(),
        story.join("\n")
    );
}

#[test]
fn a_schedule_plays_the_same_again() {
    for seed in [1, 7, 12] {
        let (first, second) = (run(Tape::seeded(seed), STEPS), run(Tape::seeded(seed), STEPS));
        assert_eq!(first, second, "I6, and nothing but the tape decides");
    }
}

/// Every mistake of `fairway_core::planted` shows within so many schedules.
#[test]
fn planted_mistakes_are_found() {
    const MOST: u64 = 3_000;
    let mut missed = Vec::new();
    let mut found = BTreeMap::new();
    for bug in Bug::ALL.into_iter().filter(|bug| !BEYOND.contains(bug)) {
        let begun = Instant::now();
        let (_, done, failure) = schedules(0, MOST, Duration::from_secs(120), Some(bug));
        match failure {
            Some((seed, failure)) => {
                eprintln!("{bug:?}: seed {seed}, step {}, {:.1?}: {}", failure.step, begun.elapsed(), failure.promise);
                found.insert(format!("{bug:?}"), seed);
            }
            None => {
                eprintln!("{bug:?}: not found in {done} schedules");
                missed.push(bug);
            }
        }
    }
    eprintln!("{} of {} found", found.len(), Bug::ALL.len());
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// Only the explorer finds these (`tests/explorer.rs`).
const BEYOND: [Bug; 3] = [Bug::HarmIgnoredWhilePaused, Bug::BakeWithoutHarm, Bug::SilenceIgnored];
