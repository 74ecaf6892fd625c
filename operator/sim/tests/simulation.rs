//! Long schedules with faults of every kind keep every promise, and come to rest when the faults stop.
//! FAIRWAY_SEED=n runs one schedule, and FAIRWAY_SCHEDULES=n that many.

use fairway_sim::{STEPS, Tape, run};

#[test]
fn every_schedule_keeps_every_promise() {
    let begun = std::time::Instant::now();
    let mut sometimes = std::collections::BTreeMap::new();
    let only = std::env::var("FAIRWAY_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..300, |seed| seed..seed + 1) {
        match run(Tape::seeded(seed), STEPS) {
            Ok(stats) => stats.sometimes.into_iter().for_each(|(what, n)| *sometimes.entry(what).or_insert(0) += n),
            Err(failure) => {
                panic!("seed {seed}, step {}: {}\n{}", failure.step, failure.promise, failure.story.join("\n"));
            }
        }
    }
    eprintln!("{:?} {sometimes:#?}", begun.elapsed());
}
