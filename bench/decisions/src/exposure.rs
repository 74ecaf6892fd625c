//! What a rollout cost: who was answered by the candidate, and what was not answered, until it was taken back.
//!
//! One that was never taken back counts until its promotion, and at least until the plan's end: a rule that promotes within
//! minutes would else expose nobody.

use crate::plan::{Plan, Schedule};
use crate::table::{Split, Table, lot};
use crate::traffic::Traffic;

/// How a rollout went.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The minute in which it was taken back.
    pub rolled_back: Option<usize>,
    /// That was after the promotion.
    pub in_bake: bool,
    /// The weights that it had.
    pub schedule: Schedule,
    /// When it was promoted, if it was.
    pub promoted: Option<usize>,
}

/// What it cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// It was taken back.
    pub rolled_back: bool,
    /// That was after the promotion.
    pub in_bake: bool,
    /// Minutes until it was.
    pub minutes: Option<usize>,
    /// Minutes until its promotion.
    pub promoted: Option<usize>,
    /// Different users who were answered by the candidate, or should have been.
    pub users: u32,
    /// Errors of the candidate.
    pub bad: u32,
}

impl Ended {
    /// What counts ends here.
    fn until(&self, plan: Plan) -> usize {
        let promoted = self.promoted.unwrap_or(plan.horizon()).max(plan.end());
        self.rolled_back.unwrap_or(usize::MAX).min(promoted).min(plan.horizon())
    }

    /// What it cost on this traffic.
    pub fn cost(&self, plan: Plan, traffic: &Traffic, table: &Table, split: Split) -> Cost {
        let until = self.until(plan);
        Cost {
            rolled_back: self.rolled_back.is_some(),
            in_bake: self.in_bake,
            minutes: self.rolled_back,
            promoted: self.promoted,
            users: self.users(plan, traffic, split),
            bad: table.between(&self.schedule, 0, until).canary.errors,
        }
    }

    /// Different users who met the candidate.
    pub fn users(&self, plan: Plan, traffic: &Traffic, split: Split) -> u32 {
        let until = self.until(plan);
        first_meetings(traffic, split, &self.schedule, until).filter(|minute| *minute < until).count() as u32
    }
}

/// For each user who meets the candidate before `until`, the first minute in which that happens.
fn first_meetings<'a>(
    traffic: &'a Traffic,
    split: Split,
    schedule: &Schedule,
    until: usize,
) -> impl Iterator<Item = usize> + 'a {
    let weights = schedule.by_minute(until);
    let most = usize::from(weights.iter().copied().max().unwrap_or(0));
    let could = move |lot_of_user: u8| split == Split::Requests || usize::from(lot_of_user) < most;
    traffic.users.iter().filter(move |user| could(user.lot)).filter_map(move |user| {
        let meets = traffic.requests[user.start..user.end].iter().filter(|request| {
            let weight = weights.get(usize::from(request.minute)).copied().unwrap_or(0);
            lot(split, user.lot, request.lot) < usize::from(weight)
        });
        meets.map(|request| usize::from(request.minute)).min()
    })
}

/// Different users who have met the candidate before each minute, in a rollout that follows the plan.
pub fn curve(plan: Plan, traffic: &Traffic, split: Split) -> Vec<u32> {
    let mut new = vec![0; plan.end() + 1];
    first_meetings(traffic, split, &plan.schedule(), plan.end()).for_each(|minute| new[minute + 1] += 1);
    let mut sum = 0;
    new.iter()
        .map(|n: &u32| {
            sum += n;
            sum
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Crowd, GOOD};

    #[test]
    fn the_curve_agrees_with_the_count() {
        let plan = Plan { hold: 60 };
        let traffic = Traffic::new(plan, Crowd::Even, GOOD, 1);
        for split in [Split::Users, Split::Requests] {
            let curve = curve(plan, &traffic, split);
            for at in [10, 100, 180] {
                let ended = Ended { rolled_back: Some(at), in_bake: false, schedule: plan.schedule(), promoted: None };
                assert_eq!(ended.users(plan, &traffic, split), curve[at]);
            }
            assert!(curve[180] > curve[60] && curve[60] > 0);
        }
    }
}
