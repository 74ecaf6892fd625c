//! The simulation of the operator without end: schedules with faults of every kind, on all cores, until one breaks a promise.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fairway_bench_decisions::{measures, setting};
use fairway_sim::{Failure, STEPS, Tape, run, shrink};

const HELP: &str = "FAIRWAY_BENCH_MINUTES  ends after so many minutes (without: by Ctrl-C)
FAIRWAY_BENCH_SEED     the first seed (without: a random one, which is printed)";
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Tapes that are tried to shorten one that broke a promise.
const TRIES: usize = 400;

fn main() -> std::process::ExitCode {
    if !measures(HELP) {
        return std::process::ExitCode::SUCCESS;
    }
    let first = setting("FAIRWAY_BENCH_SEED", rand::random::<u64>() >> 16);
    let limit = std::env::var("FAIRWAY_BENCH_MINUTES").ok().and_then(|minutes| minutes.parse::<f64>().ok());
    println!("first seed {first}; FAIRWAY_BENCH_SEED={first} runs the same schedules");
    match schedules(first, limit.map(|minutes| Duration::from_secs_f64(60.0 * minutes))) {
        Some((seed, failure)) => {
            tell(seed, failure);
            std::process::ExitCode::FAILURE
        }
        None => std::process::ExitCode::SUCCESS,
    }
}

/// Runs schedules until one fails or the time is over.
fn schedules(first: u64, limit: Option<Duration>) -> Option<(u64, Failure)> {
    let begun = Instant::now();
    let (next, done, decisions) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let found: Mutex<Option<(u64, Failure)>> = Mutex::default();
    let has_failed = || found.lock().is_ok_and(|found| found.is_some());
    let is_over = || limit.is_some_and(|limit| begun.elapsed() >= limit) || has_failed();
    let work = || {
        while !is_over() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            match run(Tape::seeded(seed), STEPS) {
                Ok(stats) => {
                    decisions.fetch_add(stats.decisions, Ordering::Relaxed);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Err(failure) => {
                    if let Ok(mut found) = found.lock() {
                        found.get_or_insert((seed, failure));
                    }
                }
            }
        }
    };
    let report = |of: u64, span: Duration| {
        let hour = of as f64 / span.as_secs_f64() * 3_600.0;
        let (done, decisions) = (done.load(Ordering::Relaxed), decisions.load(Ordering::Relaxed));
        println!("{:.0?}: {done} schedules, {decisions} decisions; {hour:.0} schedules an hour", begun.elapsed());
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        (0..cores).for_each(|_| drop(scope.spawn(work)));
        let (mut since, mut before) = (Instant::now(), 0);
        while !is_over() {
            std::thread::sleep(Duration::from_millis(100));
            if since.elapsed() >= REPORT_EVERY {
                let now = done.load(Ordering::Relaxed);
                report(now - before, since.elapsed());
                (since, before) = (Instant::now(), now);
            }
        }
    });
    print!("in all ");
    report(done.load(Ordering::Relaxed), begun.elapsed());
    found.into_inner().ok().flatten()
}

/// The seed, the promise and the shortest tape found, with the end of its story.
fn tell(seed: u64, failure: Failure) {
    let again = |tape: &[u32]| run(Tape::played(tape.to_vec()), STEPS);
    let same = |tape: &[u32]| again(tape).is_err_and(|it| it.promise == failure.promise);
    let short = shrink(failure.tape.clone(), TRIES, same);
    let story = again(&short).err().map_or(failure.story, |it| it.story);
    println!("seed {seed}, step {}: {}", failure.step, failure.promise);
    println!("its tape, shortened from {} choices to {}:\n{short:?}", failure.tape.len(), short.len());
    println!("the end of its story:\n{}", story.join("\n"));
}
