//! The decisions, tried before they run: every observation of a small world ([`explore`]), and long schedules of a large
//! one ([`run`]) with a bucket that answers wrongly, servers that crash, routers that are cut off, two controllers at once
//! that are killed between any two effects, a clock that jumps, and people. A schedule is a tape of choices: a seed fills
//! it, and a tape that broke a promise is shortened and can be played again.
//!
//! And the decisions on what was recorded: [`backtest`], which is no test but what `fairway backtest` shows.
#![forbid(unsafe_code)]

pub mod backtest;
mod bucket;
mod controller;
mod drawn;
pub mod explore;
mod fleet;
mod plane;
mod tape;
mod truth;
mod world;

pub use tape::{Tape, shrink};
pub use world::{Stats, World};

/// Steps in which things go wrong.
pub const STEPS: usize = 1_000;
/// Steps after which everything must have come to rest: two endpoints, one after the other, each with its longest rollout
/// and its longest pause.
pub const REST_WITHIN: usize = 4_000;

/// A promise that a schedule broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The promise.
    pub promise: String,
    /// The step in which it was broken.
    pub step: usize,
    /// The choices up to there.
    pub tape: Vec<u32>,
    /// What the last plans said.
    pub story: Vec<String>,
}

/// Runs one schedule: `steps` with faults, then calm, in which all must come to rest.
///
/// # Errors
/// The first promise that was broken.
pub fn run(tape: Tape, steps: usize) -> Result<Stats, Failure> {
    let mut world = World::new(tape);
    let fail = |world: &World, promise: String| Failure {
        promise,
        step: world.steps,
        tape: world.tape.choices().to_vec(),
        story: world.story.iter().cloned().collect(),
    };
    for _ in 0..steps {
        world.step();
        if let Some(promise) = world.violation.take() {
            return Err(fail(&world, promise));
        }
    }
    world.calm_down();
    let mut unrest = world.unrest();
    for _ in 0..REST_WITHIN {
        if unrest.is_none() {
            return Ok(world.stats);
        }
        world.step();
        if let Some(promise) = world.violation.take() {
            return Err(fail(&world, promise));
        }
        unrest = world.unrest();
    }
    match unrest {
        Some(why) => Err(fail(&world, format!("no rest after the faults had stopped: {why}"))),
        None => Ok(world.stats),
    }
}
