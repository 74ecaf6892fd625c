//! On which cells of users requests and bad answers fall, as they did in the record. Gates weaken their evidence by how far bad
//! answers come clumped by user; where nothing clumps a backtest would find harm sooner than routers can.
//!
//! Users of a cell are alike: what comes clumped is what some cells have more of than others, all over the record. A session
//! that fails as a whole, and whose user has no trouble otherwise, is not told apart.

use fairway_stats::cells::CELLS;
use fairway_stats::{Cells, Fixed};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::users::binomial;

/// Up to so many are drawn one by one; more, cell by cell.
const ONE_BY_ONE_MAX: u64 = 512;
const ONE: Fixed = Fixed(1_000_000);

/// Where the requests of one side and of one segment fall, and its bad answers.
#[derive(Clone, Debug)]
pub(super) struct Clumps {
    requests: Falls,
    errors: Falls,
    slow: Falls,
}

/// Weights of the cells, each with those of all before it.
#[derive(Clone, Debug)]
struct Falls(Vec<f64>);

impl Clumps {
    /// From what stable's requests were by cell, each 1 if it failed or was late, and the part of each cell's users that the side
    /// has. None where the record does not tell.
    pub(super) fn of([errors, slow]: &[Cells; 2], part: impl Fn(usize) -> f64 + Copy) -> Option<Self> {
        let weights = |of: &dyn Fn((u64, Fixed)) -> f64, cells: &Cells| {
            Falls::new(cells.parts().enumerate().map(|(cell, parts)| of(parts) * part(cell)))
        };
        let requests = weights(&|(n, _)| n as f64, errors)?;
        let bad = |cells: &Cells| weights(&|(_, bad)| bad.to_f64(), cells).unwrap_or_else(|| requests.clone());
        Some(Self { errors: bad(errors), slow: bad(slow), requests })
    }

    /// Errors of so many requests by cell: `usual` of the `failed` fall where stable's did, the others on anybody.
    pub(super) fn errors(&self, chance: &mut ChaCha8Rng, requests: u64, failed: u64, usual: u64) -> Cells {
        self.bad(&self.errors, chance, requests, failed, usual)
    }

    /// The same of late answers.
    pub(super) fn slow(&self, chance: &mut ChaCha8Rng, requests: u64, late: u64, usual: u64) -> Cells {
        self.bad(&self.slow, chance, requests, late, usual)
    }

    fn bad(&self, falls: &Falls, chance: &mut ChaCha8Rng, requests: u64, bad: u64, usual: u64) -> Cells {
        let mut cells = Cells::new();
        let worth = |bad: u64| Fixed(ONE.0.saturating_mul(i64::try_from(bad).unwrap_or(i64::MAX)));
        falls.draw(chance, usual.min(bad), |cell, n| cells.add(cell, n, worth(n)));
        self.requests.draw(chance, bad.saturating_sub(usual), |cell, n| cells.add(cell, n, worth(n)));
        self.requests.draw(chance, requests.saturating_sub(bad), |cell, n| cells.add(cell, n, Fixed::ZERO));
        cells
    }
}

impl Falls {
    fn new(weights: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sum = 0.0;
        let sums: Vec<f64> = weights
            .map(|weight| {
                sum += weight.max(0.0);
                sum
            })
            .collect();
        (sum > 0.0).then_some(Self(sums))
    }

    /// Tells on which cells `n` fall, and how many on each.
    fn draw(&self, chance: &mut ChaCha8Rng, n: u64, mut tell: impl FnMut(u8, u64)) {
        let all = self.0[CELLS - 1];
        if n <= ONE_BY_ONE_MAX {
            for _ in 0..n {
                let at = chance.random::<f64>() * all;
                tell(self.0.partition_point(|sum| *sum <= at).min(CELLS - 1) as u8, 1);
            }
            return;
        }
        let (mut left, mut before) = (n, 0.0);
        for (cell, sum) in (0_u8..=u8::MAX).zip(&self.0) {
            let here = if *sum >= all { left } else { binomial(chance, left, (sum - before) / (all - before)) };
            if here > 0 {
                tell(cell, here);
            }
            (left, before) = (left - here, *sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use fairway_stats::odds::design_effect;
    use rand::SeedableRng;

    use super::*;

    /// 4 cells of 256 have half of the errors, of 1 % in all; and nobody is late.
    fn recorded() -> [Cells; 2] {
        let (mut errors, mut slow) = (Cells::new(), Cells::new());
        for cell in 0..=u8::MAX {
            let bad = if cell < 4 { 320 } else { 5 };
            errors.add(cell, 1_000, Fixed(ONE.0 * bad));
            slow.add(cell, 1_000, Fixed::ZERO);
        }
        [errors, slow]
    }

    #[test]
    fn what_falls_is_as_clumped_as_it_was_and_adds_up() {
        let mut chance = ChaCha8Rng::seed_from_u64(4);
        for part in [1.0, 0.25] {
            let clumps = Clumps::of(&recorded(), |_| part).unwrap();
            for (requests, failed) in [(100_000, 1_000), (200, 20), (0, 0), (600, 600)] {
                let cells = clumps.errors(&mut chance, requests, failed, failed);
                assert_eq!((cells.n(), cells.sum()), (requests, failed as f64));
            }
        }
        let clumps = Clumps::of(&recorded(), |_| 1.0).unwrap();
        let mut effect = |usual: u64| design_effect(&clumps.errors(&mut chance, 100_000, 1_000, usual), &Cells::new());
        assert!(effect(1_000) > 10.0 && effect(0) < 1.6, "{} {}", effect(1_000), effect(0));
        let late = clumps.slow(&mut chance, 100_000, 1_000, 1_000);
        assert!(design_effect(&late, &Cells::new()) < 1.6, "where nobody was late it falls on anybody");
    }

    #[test]
    fn a_side_that_has_nobody_of_a_cell_has_nothing_there() {
        let mut chance = ChaCha8Rng::seed_from_u64(5);
        let clumps = Clumps::of(&recorded(), |cell| f64::from(u8::from(cell % 2 == 1))).unwrap();
        for requests in [100, 100_000] {
            let cells = clumps.errors(&mut chance, requests, requests / 10, requests / 10);
            assert!(cells.parts().step_by(2).all(|(n, _)| n == 0));
        }
        assert!(Clumps::of(&recorded(), |_| 0.0).is_none());
        assert!(Clumps::of(&[Cells::new(), Cells::new()], |_| 1.0).is_none());
    }
}
