//! What is on sale: a fixed number of places, each held by one item of one taste group. Within a group items are kept
//! in the order in which they are wanted. Items die and are replaced; now and then the range changes all at once.

use std::collections::HashMap;

use rand::Rng;
use rand::seq::SliceRandom;

use crate::sampling::Cumulative;

/// In a sudden change, this share of the moved places gets items that nobody has seen before.
const NEWCOMERS: f64 = 0.5;

/// A place of the catalogue. Places stay, items come and go.
pub(crate) type Place = usize;

/// The items on sale.
pub(crate) struct Catalogue {
    names: Vec<String>,
    /// Running number of the item at each place; never used twice.
    numbers: Vec<u32>,
    group: Vec<usize>,
    /// Rank of the item within its group, most wanted first.
    rank: Vec<usize>,
    /// Places of each group, most wanted first.
    groups: Vec<Vec<Place>>,
    /// How strongly each rank of a group is wanted. Groups never change their sizes.
    wanted: Vec<Cumulative>,
    places: HashMap<String, Place>,
    next: u32,
}

impl Catalogue {
    /// `items` items, dealt to `groups` groups in turn.
    pub(crate) fn new(items: usize, groups: usize, zipf: f64) -> Self {
        let mut members = vec![Vec::new(); groups];
        for place in 0..items {
            members[place % groups].push(place);
        }
        let mut catalogue = Self {
            names: vec![String::new(); items],
            numbers: vec![0; items],
            group: vec![0; items],
            rank: vec![0; items],
            wanted: members.iter().map(|group| Cumulative::zipf(group.len(), zipf)).collect(),
            groups: members,
            places: HashMap::new(),
            next: 0,
        };
        for place in 0..items {
            catalogue.replace(place);
        }
        (0..groups).for_each(|group| catalogue.renumber(group));
        catalogue
    }

    /// Number of items on sale.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The place of the item named `name`, if it is on sale.
    pub(crate) fn place(&self, name: &str) -> Option<Place> {
        self.places.get(name).copied()
    }

    /// The name of the item at `place`.
    pub(crate) fn name(&self, place: Place) -> &str {
        &self.names[place]
    }

    /// The running number of the item at `place`.
    pub(crate) fn number(&self, place: Place) -> u32 {
        self.numbers[place]
    }

    /// The taste group of the item at `place`.
    pub(crate) fn group(&self, place: Place) -> usize {
        self.group[place]
    }

    /// The rank of the item at `place` within its group, from 0.
    pub(crate) fn rank(&self, place: Place) -> usize {
        self.rank[place]
    }

    /// An item of `group`, drawn by how much it is wanted.
    pub(crate) fn draw(&self, group: usize, rng: &mut impl Rng) -> Place {
        self.groups[group][self.wanted[group].draw(rng)]
    }

    /// `births` items die; those that take their places start warm, in the upper half of their group.
    pub(crate) fn turn_over(&mut self, births: u32, rng: &mut impl Rng) {
        for _ in 0..births {
            let place = rng.random_range(0..self.names.len());
            let group = self.group[place];
            self.replace(place);
            let members = &mut self.groups[group];
            members.remove(self.rank[place]);
            let rank = rng.random_range(0..=members.len() / 2);
            members.insert(rank, place);
            self.renumber(group);
        }
    }

    /// A sudden change: `share` of each group's places go to other groups, half of them with new items, and what
    /// comes is wanted more than what stayed.
    pub(crate) fn shift(&mut self, share: f64, rng: &mut impl Rng) {
        let mut pool = Vec::new();
        let mut gaps = Vec::with_capacity(self.groups.len());
        for members in &mut self.groups {
            let mut order: Vec<usize> = (0..members.len()).collect();
            order.shuffle(rng);
            let moved = (share * members.len() as f64).round() as usize;
            order.truncate(moved);
            order.sort_unstable_by(|a, b| b.cmp(a));
            pool.extend(order.iter().map(|rank| members.remove(*rank)));
            gaps.push(moved);
        }
        pool.shuffle(rng);
        let newcomers = (NEWCOMERS * pool.len() as f64).round() as usize;
        pool[..newcomers].iter().for_each(|place| self.replace(*place));
        pool.shuffle(rng);
        for (group, gap) in gaps.into_iter().enumerate() {
            let coming = pool.drain(..gap);
            self.groups[group].splice(0..0, coming);
            self.renumber(group);
        }
    }

    fn replace(&mut self, place: Place) {
        self.next += 1;
        let name = format!("i{:05}", self.next);
        self.places.remove(&self.names[place]);
        self.places.insert(name.clone(), place);
        self.names[place] = name;
        self.numbers[place] = self.next;
    }

    fn renumber(&mut self, group: usize) {
        for (rank, place) in self.groups[group].iter().enumerate() {
            self.group[*place] = group;
            self.rank[*place] = rank;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::{Stream, stream};

    fn assert_whole(catalogue: &Catalogue, items: usize) {
        assert_eq!(catalogue.len(), items);
        assert_eq!(catalogue.groups.iter().map(Vec::len).sum::<usize>(), items);
        for place in 0..items {
            assert_eq!(catalogue.place(catalogue.name(place)), Some(place));
            assert_eq!(catalogue.groups[catalogue.group(place)][catalogue.rank(place)], place);
        }
    }

    #[test]
    fn births_and_deaths_keep_the_size() {
        let mut catalogue = Catalogue::new(100, 7, 0.8);
        let mut rng = stream(1, Stream::Founding);
        for _ in 0..50 {
            catalogue.turn_over(3, &mut rng);
            assert_whole(&catalogue, 100);
        }
        assert!(catalogue.place("i00001").is_none() || catalogue.place("i00002").is_none());
    }

    #[test]
    fn a_shift_keeps_the_size_and_changes_the_top() {
        let mut catalogue = Catalogue::new(120, 12, 0.8);
        let top: Vec<String> = catalogue.groups.iter().map(|group| catalogue.names[group[0]].clone()).collect();
        catalogue.shift(0.7, &mut stream(1, Stream::Founding));
        assert_whole(&catalogue, 120);
        let kept = top.iter().enumerate().filter(|(group, name)| {
            catalogue.place(name).is_some_and(|place| catalogue.group(place) == *group && catalogue.rank(place) == 0)
        });
        assert!(kept.count() <= 2);
        let new = (0..120).filter(|place| catalogue.number(*place) > 120).count();
        assert_eq!(new, 42);
    }

    #[test]
    fn the_edges_of_a_shift() {
        let mut catalogue = Catalogue::new(30, 3, 0.8);
        catalogue.shift(0.0, &mut stream(1, Stream::Founding));
        assert_eq!(catalogue.next, 30);
        catalogue.shift(1.0, &mut stream(1, Stream::Founding));
        assert_whole(&catalogue, 30);
    }
}
