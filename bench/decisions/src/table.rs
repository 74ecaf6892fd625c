//! Counts of a rollout's requests by time and by lot, added up beforehand, so that what a rule asks of any window under any
//! weight is read and not counted.

use crate::plan::Schedule;
use crate::traffic::Traffic;

/// Who is assigned to the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// A share of the users, always the same ones: Fairway's own, lent to the peers.
    Users,
    /// A share of the requests, whose ever they are: what a service mesh's weights do.
    Requests,
}

/// Weights up to 50 % one by one, and everybody.
const LEVELS: usize = 52;
const EVERYBODY: usize = LEVELS - 1;

/// What one side saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Side {
    /// Requests.
    pub requests: u32,
    /// Of which failed.
    pub errors: u32,
    /// Of which were rewarded.
    pub rewards: u32,
}

/// What both sides saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sides {
    /// The candidate.
    pub canary: Side,
    /// Stable.
    pub stable: Side,
}

/// Requests, their errors and rewards under stable, and those under the candidate.
type Counts = [u32; 5];

/// The counts of one rollout.
#[derive(Clone, Debug)]
pub struct Table {
    /// At `[minute][level]`: requests before that minute with a lot below that level.
    sums: Vec<[Counts; LEVELS]>,
}

impl Table {
    /// Counts `traffic` as `split` assigns it.
    pub fn new(traffic: &Traffic, split: Split) -> Self {
        let mut sums = vec![[[0; 5]; LEVELS]; traffic.horizon + 1];
        for request in &traffic.requests {
            let lot = lot(split, traffic.users[usize::from(request.user)].lot, request.lot);
            let counts = &mut sums[usize::from(request.minute) + 1][(lot + 1).min(EVERYBODY)];
            let one =
                [true, request.stable.error, request.stable.reward, request.candidate.error, request.candidate.reward];
            counts.iter_mut().zip(one).for_each(|(count, counts)| *count += u32::from(counts));
        }
        let mut before = [[0; 5]; LEVELS];
        for levels in &mut sums {
            let mut below = [0; 5];
            for (counts, before) in levels.iter_mut().zip(&before) {
                add(&mut below, counts);
                *counts = below;
                add(counts, before);
            }
            before = *levels;
        }
        Self { sums }
    }

    fn counts(&self, from: usize, to: usize, level: usize) -> Counts {
        std::array::from_fn(|count| self.sums[to][level][count] - self.sums[from][level][count])
    }

    /// What both sides saw in the minutes `[from, to)` of a rollout with these weights.
    pub fn between(&self, schedule: &Schedule, from: usize, to: usize) -> Sides {
        let mut sides = Sides::default();
        for (from, to, weight) in schedule.pieces(from, to.min(self.sums.len() - 1)) {
            let level = if weight > 50 { EVERYBODY } else { usize::from(weight) };
            let (canary, all) = (self.counts(from, to, level), self.counts(from, to, EVERYBODY));
            sides.canary.requests += canary[0];
            sides.canary.errors += canary[3];
            sides.canary.rewards += canary[4];
            sides.stable.requests += all[0] - canary[0];
            sides.stable.errors += all[1] - canary[1];
            sides.stable.rewards += all[2] - canary[2];
        }
        sides
    }
}

fn add(sums: &mut Counts, more: &Counts) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// The lot that counts.
pub fn lot(split: Split, of_user: u8, of_request: u8) -> usize {
    usize::from(if split == Split::Users { of_user } else { of_request })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::traffic::{Crowd, HARMS};

    #[test]
    fn what_is_read_is_what_one_would_count() {
        let plan = Plan { hold: 60 };
        let traffic = Traffic::new(plan, Crowd::Clumped, HARMS[2], 3);
        let schedule = plan.schedule();
        for split in [Split::Users, Split::Requests] {
            let (from, to) = (30, 130);
            let read = Table::new(&traffic, split).between(&schedule, from, to);
            let weights = schedule.by_minute(to);
            let (mut canary, mut errors, mut stable_rewards) = (0, 0, 0);
            for request in traffic.requests.iter().filter(|r| (from..to).contains(&usize::from(r.minute))) {
                let lot = lot(split, traffic.users[usize::from(request.user)].lot, request.lot);
                if lot < usize::from(weights[usize::from(request.minute)]) {
                    canary += 1;
                    errors += u32::from(request.candidate.error);
                } else {
                    stable_rewards += u32::from(request.stable.reward);
                }
            }
            let found = (read.canary.requests, read.canary.errors, read.stable.rewards);
            assert_eq!(found, (canary, errors, stable_rewards));
        }
    }
}
