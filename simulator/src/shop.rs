//! The shop itself: who comes, what she looks at, what she buys. Everything follows from the configuration, the seed
//! and the order of the calls; the clock is an argument. The world of a day (what is on sale, who likes what) depends
//! only on the seed and the day, whatever was bought before.

use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::catalogue::{Catalogue, Place};
use crate::sampling::{Cumulative, Stream, stream};
use crate::users::{MAIN, Users};
use crate::{Error, ShopConfig, Transaction};

const DAY_SECONDS: i64 = 86_400;
/// Most purchases of a visit beside the list.
const ORGANIC_MAX: u32 = 3;
/// Draws of an item that the user has not bought yet, before she gives up.
const TRIES: usize = 8;
/// How much an item's rank in its group tells on a user who already looks at it.
const APPEAL: f64 = 0.4;
/// Chance to buy an examined item that does not fit at all, as a share of the chance for one that does.
const WHIM: f64 = 0.05;
/// In a sudden change, users whose taste changes for each item that changes places: people move less than ranges do.
const MOVED_USERS: f64 = 0.5;
/// Chances of buying 1, 2, 3, … pieces.
const QUANTITIES: [f64; 6] = [0.62, 0.18, 0.08, 0.06, 0.03, 0.03];

/// A shop with its users, at a point of simulated time.
pub struct Shop {
    config: ShopConfig,
    start: Timestamp,
    users: Users,
    catalogue: Catalogue,
    quantities: Cumulative,
    /// The day that the world is in, counted from `start`; none before the first call.
    day: Option<i64>,
    rng: ChaCha8Rng,
}

/// A user who has come to the shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Who.
    pub user: String,
    /// Her segment.
    pub segment: String,
    pub(crate) index: usize,
}

/// Something bought in a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// What.
    pub item: String,
    /// Its rank in the list that was shown, from 0; none if she came for it by herself.
    pub rank: Option<usize>,
    /// How many, 1 or more.
    pub quantity: u32,
}

impl Shop {
    /// Founds a shop that goes live at `start`; day 0 begins then. Fails on a configuration that is out of range.
    pub fn new(config: ShopConfig, start: Timestamp) -> Result<Self, Error> {
        config.check()?;
        let mut rng = stream(config.seed, Stream::Founding);
        Ok(Self {
            users: Users::new(&config, &mut rng)?,
            catalogue: Catalogue::new(config.items as usize, config.taste_groups as usize, config.zipf),
            quantities: Cumulative::new(QUANTITIES),
            day: None,
            rng: stream(config.seed, Stream::Visits),
            start,
            config,
        })
    }

    /// The configuration it was founded with.
    pub fn config(&self) -> &ShopConfig {
        &self.config
    }

    /// When it goes live.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// The purchases of the last `days` days before the start, oldest first: visits without a list. To be called
    /// before the first visit; days that have passed already are not made again.
    pub fn history(&mut self, days: u32) -> Vec<Transaction> {
        let mut rows = Vec::new();
        let first = self.day.map_or(i64::MIN, |day| day + 1).max(-i64::from(days));
        for day in first..0 {
            self.advance(day);
            let visits = (self.config.history_visits_per_day * self.volume(day as f64)).round() as usize;
            let mut seconds: Vec<i64> = (0..visits).map(|_| self.rng.random_range(0..DAY_SECONDS)).collect();
            seconds.sort_unstable();
            for second in seconds {
                let now = self.start + SignedDuration::from_secs(day * DAY_SECONDS + second);
                let visit = self.visit(now);
                let bought = self.buy(&visit, &[], now);
                rows.extend(bought.into_iter().map(|purchase| visit.transaction(purchase, now)));
            }
        }
        rows
    }

    /// Somebody comes at `now`. Days begin (births, deaths, shifts) as `now` reaches them; time never runs back.
    pub fn visit(&mut self, now: Timestamp) -> Visit {
        self.advance(self.days_since_start(now).floor() as i64);
        let index = self.users.draw(&mut self.rng);
        Visit {
            user: self.users.name(index).to_owned(),
            segment: self.config.segments[self.users.segment(index)].name.clone(),
            index,
        }
    }

    /// What the visitor buys when `shown` (best first) is put before her: items of the list that she looks at and
    /// that fit, then 0 to 3 for which she came by herself. Items that are not on sale are not bought.
    pub fn buy(&mut self, visit: &Visit, shown: &[String], now: Timestamp) -> Vec<Purchase> {
        let taste = self.users.taste(visit.index, &self.season(self.days_since_start(now)));
        let mut bought = Vec::new();
        for (rank, name) in shown.iter().enumerate() {
            let examined = self.rng.random::<f64>() < examination(rank, self.config.position_bias);
            let tempted = self.rng.random::<f64>();
            let Some(place) = self.catalogue.place(name).filter(|_| examined) else {
                continue;
            };
            if tempted < self.chance(place, &taste) {
                bought.extend(self.take(visit.index, place, Some(rank)));
            }
        }
        let groups = Cumulative::new(taste);
        for _ in 0..ORGANIC_MAX {
            if self.rng.random::<f64>() < self.config.organic_purchases / f64::from(ORGANIC_MAX) {
                bought.extend(self.organic(visit.index, &groups));
            }
        }
        bought
    }

    /// Visits a simulated day at `now`, with the season.
    pub fn visits_per_day(&self, now: Timestamp) -> f64 {
        self.config.visits_per_day * self.volume(self.days_since_start(now))
    }

    fn days_since_start(&self, now: Timestamp) -> f64 {
        now.duration_since(self.start).as_secs_f64() / DAY_SECONDS as f64
    }

    /// Lets the days up to `day` begin, each with its own stream of random numbers.
    fn advance(&mut self, day: i64) {
        let Some(current) = self.day else {
            self.day = Some(day);
            return;
        };
        for day in current + 1..=day {
            let mut rng = stream(self.config.seed, Stream::Day(day));
            self.catalogue.turn_over(self.config.births_per_day, &mut rng);
            self.users.change_tastes(self.config.taste_changes_per_day, &mut rng);
            for shift in self.config.shifts.iter().filter(|shift| shift.day == day) {
                self.catalogue.shift(shift.share, &mut rng);
                self.users.change_tastes(shift.share * MOVED_USERS, &mut rng);
            }
            self.day = Some(day);
        }
    }

    fn volume(&self, day: f64) -> f64 {
        let season = &self.config.season;
        1.0 + season.volume * (std::f64::consts::TAU * day / season.period_days).sin()
    }

    fn season(&self, day: f64) -> Vec<f64> {
        let season = &self.config.season;
        let groups = f64::from(self.config.taste_groups);
        let phase = |group: u32| day / season.period_days + f64::from(group) / groups;
        let factor = |group| (season.tastes * (std::f64::consts::TAU * phase(group)).sin()).exp();
        (0..self.config.taste_groups).map(factor).collect()
    }

    /// The chance that an examined item is bought.
    fn chance(&self, place: Place, taste: &[f64]) -> f64 {
        let fit = (taste[self.catalogue.group(place)] / MAIN).clamp(WHIM, 1.0);
        let appeal = ((self.catalogue.rank(place) + 1) as f64).powf(-self.config.zipf * APPEAL);
        self.config.buy_probability * fit * appeal
    }

    fn organic(&mut self, user: usize, groups: &Cumulative) -> Option<Purchase> {
        let new = (0..TRIES).find_map(|_| {
            let group = groups.draw(&mut self.rng);
            let place = self.catalogue.draw(group, &mut self.rng);
            (!self.users.remembers(user, self.catalogue.number(place))).then_some(place)
        });
        self.take(user, new?, None)
    }

    fn take(&mut self, user: usize, place: Place, rank: Option<usize>) -> Option<Purchase> {
        let number = self.catalogue.number(place);
        if self.users.remembers(user, number) {
            return None;
        }
        self.users.remember(user, number);
        let quantity = self.quantities.draw(&mut self.rng) as u32 + 1;
        Some(Purchase { item: self.catalogue.name(place).to_owned(), rank, quantity })
    }
}

impl Visit {
    /// The sale of `purchase` in this visit.
    pub fn transaction(&self, purchase: Purchase, time: Timestamp) -> Transaction {
        let Purchase { item, quantity, .. } = purchase;
        Transaction { time, user: self.user.clone(), item, quantity, segment: self.segment.clone() }
    }
}

/// The chance that a user looks at rank `rank` (from 0) of a list.
fn examination(rank: usize, bias: f64) -> f64 {
    (1.0 + rank as f64).powf(-bias)
}

#[cfg(test)]
mod tests;
