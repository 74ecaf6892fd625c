//! Who comes: users with a segment, a taste, an activity and a memory of what they bought.

use std::collections::VecDeque;

use rand::Rng;
use rand_distr::{Distribution, LogNormal};

use crate::sampling::Cumulative;
use crate::{Error, ShopConfig};

/// Share of a user's purchases in the first and in the second group of her taste.
pub(crate) const MAIN: f64 = 0.60;
const SECOND: f64 = 0.20;
/// How uneven the groups are: the exponent of their shares by rank.
const GROUP_ZIPF: f64 = 0.5;
/// Spread of the logarithm of a segment's liking for a group.
const TILT: f64 = 0.5;
/// No user comes more often than this many times the median one.
const ACTIVITY_MAX: f64 = 6.0;

/// All users of a shop.
pub(crate) struct Users {
    names: Vec<String>,
    segment: Vec<usize>,
    /// First and second group of each user.
    favourites: Vec<(usize, usize)>,
    activity: Cumulative,
    memory: Vec<VecDeque<u32>>,
    memory_max: usize,
    /// Weight of each group within each segment; adds up to 1.
    tilts: Vec<Vec<f64>>,
}

impl Users {
    /// Draws the users of `config`.
    pub(crate) fn new(config: &ShopConfig, rng: &mut impl Rng) -> Result<Self, Error> {
        let bad = |_| Error::Config {
            field: "shop.activitySpread".to_owned(),
            found: config.activity_spread.to_string(),
            allowed: "0 to 2",
        };
        let liking = LogNormal::new(0.0, TILT).map_err(bad)?;
        let often = LogNormal::new(0.0, config.activity_spread).map_err(bad)?;
        let tilts = config.segments.iter().map(|_| tilt(config.taste_groups as usize, liking, rng)).collect();
        let shares = Cumulative::new(config.segments.iter().map(|segment| segment.share));
        let count = config.users as usize;
        let mut users = Self {
            names: (1..=count).map(|number| format!("u{number:05}")).collect(),
            segment: (0..count).map(|_| shares.draw(rng)).collect(),
            favourites: vec![(0, 0); count],
            activity: Cumulative::new((0..count).map(|_| often.sample(rng).min(ACTIVITY_MAX))),
            memory: vec![VecDeque::new(); count],
            memory_max: config.memory as usize,
            tilts,
        };
        users.change_tastes(1.0, rng);
        Ok(users)
    }

    /// The name of a user.
    pub(crate) fn name(&self, user: usize) -> &str {
        &self.names[user]
    }

    /// The index of a user's segment.
    pub(crate) fn segment(&self, user: usize) -> usize {
        self.segment[user]
    }

    /// A user, drawn by activity.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> usize {
        self.activity.draw(rng)
    }

    /// Draws the tastes of `share` of the users anew.
    pub(crate) fn change_tastes(&mut self, share: f64, rng: &mut impl Rng) {
        let likings: Vec<Cumulative> = self.tilts.iter().map(|tilt| Cumulative::new(tilt.iter().copied())).collect();
        for (favourites, segment) in self.favourites.iter_mut().zip(&self.segment) {
            if !rng.random_bool(share) {
                continue;
            }
            let main = likings[*segment].draw(rng);
            let groups = self.tilts[*segment].len();
            // One redraw, then the neighbour: bounded, and equal groups stay rare enough not to matter.
            let second = match likings[*segment].draw(rng) {
                same if same == main => (main + 1) % groups,
                other => other,
            };
            *favourites = (main, second);
        }
    }

    /// The chance that the user's next purchase falls into each group, with the groups' seasonal factors.
    pub(crate) fn taste(&self, user: usize, season: &[f64]) -> Vec<f64> {
        let (main, second) = self.favourites[user];
        let tilt = &self.tilts[self.segment[user]];
        let mut taste: Vec<f64> = tilt.iter().map(|share| share * (1.0 - MAIN - SECOND)).collect();
        taste[main] += MAIN;
        taste[second] += SECOND;
        let mut sum = 0.0;
        for (share, factor) in taste.iter_mut().zip(season) {
            *share *= factor;
            sum += *share;
        }
        taste.iter_mut().for_each(|share| *share /= sum);
        taste
    }

    /// Whether the user remembers having bought the item of this number.
    pub(crate) fn remembers(&self, user: usize, number: u32) -> bool {
        self.memory[user].contains(&number)
    }

    /// Notes a purchase; the oldest one is forgotten when the memory is full.
    pub(crate) fn remember(&mut self, user: usize, number: u32) {
        let memory = &mut self.memory[user];
        if memory.len() >= self.memory_max {
            memory.pop_front();
        }
        if self.memory_max > 0 {
            memory.push_back(number);
        }
    }
}

fn tilt(groups: usize, liking: LogNormal<f64>, rng: &mut impl Rng) -> Vec<f64> {
    let weight = |group: usize, rng: &mut _| ((group + 1) as f64).powf(-GROUP_ZIPF) * liking.sample(rng);
    let weights: Vec<f64> = (0..groups).map(|group| weight(group, rng)).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::{Stream, stream};

    fn users(config: &ShopConfig) -> Users {
        Users::new(config, &mut stream(config.seed, Stream::Founding)).unwrap()
    }

    #[test]
    fn segments_have_their_shares() {
        let config = ShopConfig { users: 20_000, ..ShopConfig::default() };
        let users = users(&config);
        for (index, segment) in config.segments.iter().enumerate() {
            let count = users.segment.iter().filter(|found| **found == index).count();
            let share = count as f64 / 20_000.0;
            assert!((share - segment.share).abs() < 0.015, "{}: {share}", segment.name);
        }
    }

    #[test]
    fn tastes_add_up_and_are_narrow() {
        let users = users(&ShopConfig::default());
        for user in 0..100 {
            let taste = users.taste(user, &[1.0; 12]);
            assert!((taste.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let (main, second) = users.favourites[user];
            assert_ne!(main, second);
            assert!(taste[main] + taste[second] > 0.8);
        }
    }

    #[test]
    fn some_users_come_often() {
        let config = ShopConfig::default();
        let users = users(&config);
        let mut rng = stream(1, Stream::Visits);
        let mut visits = vec![0_u32; config.users as usize];
        for _ in 0..40_000 {
            visits[users.draw(&mut rng)] += 1;
        }
        visits.sort_unstable_by(|a, b| b.cmp(a));
        let top: u32 = visits[..400].iter().sum();
        assert!((9_000..20_000).contains(&top), "the most active tenth makes {top} of 40000 visits");
    }

    #[test]
    fn memory_is_bounded() {
        let mut users = users(&ShopConfig { memory: 2, ..ShopConfig::default() });
        (1..=3).for_each(|number| users.remember(0, number));
        assert_eq!([1, 2, 3].map(|number| users.remembers(0, number)), [false, true, true]);
    }
}
