//! The plan of every rollout: 5, 25 and 50 % of the traffic, each for the same time, then everybody. All methods have it,
//! Flagger with its own steps in the same time.

/// Percents of the traffic, step by step.
pub const STEPS: [u8; 3] = [5, 25, 50];
/// So long after an exposure its reward is known, in minutes.
pub const MATURE: usize = 60;
/// Traffic goes on for so long after the plan's end: late promotions, and the bake.
const AFTER: usize = 240;

/// How long the steps take, in minutes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Each of them.
    pub hold: usize,
}

impl Plan {
    /// From `FAIRWAY_BENCH_HOLD`, minutes; four hours if that is not set.
    pub fn from_environment() -> Self {
        Self { hold: crate::setting("FAIRWAY_BENCH_HOLD", 240) as usize }
    }

    /// When the last step is over.
    pub fn end(self) -> usize {
        self.hold * STEPS.len()
    }

    /// When the traffic ends.
    pub fn horizon(self) -> usize {
        self.end() + AFTER
    }

    /// The weights of a rollout that nothing holds up.
    pub fn schedule(self) -> Schedule {
        Schedule(STEPS.iter().enumerate().map(|(step, weight)| (step * self.hold, *weight)).collect())
    }
}

/// Weights of the candidate in percent, each with the minute from which it holds.
#[derive(Clone, Debug, Default)]
pub struct Schedule(pub Vec<(usize, u8)>);

impl Schedule {
    /// From `minute` on the weight is another.
    pub fn set(&mut self, minute: usize, weight: u8) {
        if self.0.last().map_or(0, |(_, before)| *before) != weight {
            self.0.push((minute, weight));
        }
    }

    /// Pieces of `[from, to)` in which the weight is the same, with that weight; those without a candidate are left out.
    pub fn pieces(&self, from: usize, to: usize) -> impl Iterator<Item = (usize, usize, u8)> + '_ {
        let ends = self.0.iter().skip(1).map(|(minute, _)| *minute).chain([usize::MAX]);
        let pieces =
            self.0.iter().zip(ends).map(move |((start, weight), end)| (from.max(*start), to.min(end), *weight));
        pieces.filter(|(start, end, weight)| start < end && *weight > 0)
    }

    /// The weight in each minute before `until`.
    pub fn by_minute(&self, until: usize) -> Vec<u8> {
        let mut weights = vec![0; until];
        for (start, end, weight) in self.pieces(0, until) {
            weights[start..end].fill(weight);
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_cut_where_the_weight_changes() {
        let schedule = Plan { hold: 10 }.schedule();
        assert_eq!(schedule.pieces(5, 22).collect::<Vec<_>>(), [(5, 10, 5), (10, 20, 25), (20, 22, 50)]);
        assert_eq!(schedule.by_minute(11)[9..], [5, 25]);
    }
}
