//! How long one update of a verdict takes. The bar is a microsecond.

use std::hint::black_box;
use std::time::Instant;

use fairway_bench_stats::simulation::random::Random;
use fairway_bench_stats::{measures, setting};
use fairway_stats::Cells;
use fairway_stats::effect::{Effect, Estimate, Linear, Scale, alike};
use fairway_stats::odds::OddsGrid;
use fairway_stats::srm::SampleRatio;
use fairway_stats::verdict::{MeanGate, RateGate};

fn main() {
    if !measures() {
        return;
    }
    let rounds = setting("FAIRWAY_BENCH_UPDATES", 2000);
    let mut random = Random::new(1, 0);
    let looks: Vec<[u64; 2]> = (0..1024).map(|_| [random.binomial(500, 0.02), random.binomial(1500, 0.02)]).collect();
    let look = |i: u64| looks[i as usize % looks.len()];
    let (canary, stable) = (arm(&mut random), arm(&mut random));
    let (mut grid, mut rate) = (OddsGrid::harm(0.1), RateGate::new(0.1, 0.05));
    let (mut mean, mut ratio) = (MeanGate::new(0.0, 0.01, 0.05, 1e4), SampleRatio::new(&[0.25, 0.75]));
    let effect = |canary: &Cells, stable: &Cells| {
        let (canary, stable) = alike(Estimate::mean(canary)?, Estimate::mean(stable)?);
        Effect::between(canary, stable, Scale::Relative)
    };
    let fixed = effect(&canary, &stable);
    println!("| update | ns |\n|---|---|");
    time("odds grid, one claim", rounds, |i| grid.update(0.25, look(i)[0], look(i)[1]));
    time("rate gate, three claims", rounds, |i| rate.look([500, 1500], look(i)));
    time("mean gate, three claims", rounds, |_| fixed.iter().for_each(|effect| mean.look(black_box(effect))));
    time("effect from two arms of 256 cells", rounds, |_| {
        black_box(effect(black_box(&canary), &stable));
    });
    time("effect over strata, two arms of 256 cells", rounds, |_| {
        let strata = Linear::mean(black_box(&canary)).zip(Linear::mean(&stable));
        black_box(strata.and_then(|strata| Effect::over_strata(&[strata], Scale::Relative)));
    });
    time("sample ratio", rounds, |_| ratio.update(&[25, 75]));
    black_box((grid, rate, mean, ratio));
}

fn arm(random: &mut Random) -> Cells {
    let mut cells = Cells::new();
    for _ in 0..20_000 {
        cells.record((random.bits() >> 56) as u8, random.exponential());
    }
    cells
}

fn time(name: &str, rounds: u64, mut update: impl FnMut(u64)) {
    let mut best = f64::INFINITY;
    // Many short rounds, of which the quickest was disturbed least.
    for _ in 0..300 {
        let start = Instant::now();
        (0..rounds).for_each(&mut update);
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / rounds as f64);
    }
    println!("| {name} | {best:.0} |");
}
