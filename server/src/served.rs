//! An installed version: its server, its profile, and how the router's item numbers and the version's meet. Asking it
//! is guarded here: deadline, panics, and answers that are none.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use fairway_model::{NONE, Seen};
use fairway_wire::{Profile, Target};
use futures::FutureExt;

use crate::interner::Interner;
use crate::model_server::{ModelFailure, ModelServer, ScoreQuery};

/// One item of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) item: u32,
    pub(crate) name: String,
    pub(crate) score: f32,
}

/// A version that can be asked.
pub(crate) struct Served {
    pub(crate) target: Target,
    /// The digest as a number.
    pub(crate) version: u32,
    pub(crate) profile: Arc<Profile>,
    server: Arc<dyn ModelServer>,
    /// The router's number of each of the version's items.
    ours: Vec<u32>,
    /// The version's index of each of the router's items; items that came later are unknown to it by construction.
    theirs: Vec<u32>,
    /// Its items by the router's numbers, the most consumed first when it was trained, as far as its profile tells them apart.
    by_popularity: Vec<u32>,
}

impl Served {
    pub(crate) fn new(
        target: &Target,
        version: u32,
        server: Arc<dyn ModelServer>,
        profile: Arc<Profile>,
        items: &Interner,
    ) -> Self {
        let ours: Vec<u32> = server.items().iter().map(|name| items.add_trusted(name)).collect();
        let mut theirs = vec![NONE; items.len()];
        for (index, &id) in ours.iter().enumerate() {
            if let Some(slot) = theirs.get_mut(id as usize) {
                *slot = index as u32;
            }
        }
        let bin = |index: usize| profile.consumed_bin.get(index).copied().unwrap_or(u8::MAX);
        let mut order: Vec<usize> = (0..ours.len()).collect();
        order.sort_by_key(|&index| bin(index));
        let by_popularity = order.into_iter().map(|index| ours[index]).collect();
        Self { target: target.clone(), version, profile, server, ours, theirs, by_popularity }
    }

    /// The router's numbers of its items, the most consumed first when it was trained.
    pub(crate) fn by_popularity(&self) -> impl Iterator<Item = u32> + '_ {
        self.by_popularity.iter().copied()
    }

    /// The version's index of the router's item.
    pub(crate) fn index(&self, item: u32) -> Option<u32> {
        self.theirs.get(item as usize).copied().filter(|&index| index != NONE)
    }

    /// The part of a history that the version knows.
    pub(crate) fn known(&self, history: &[crate::users::Consumed]) -> Vec<Seen> {
        let known = |one: &crate::users::Consumed| self.index(one.item).map(|item| Seen { item, time_ms: one.time_ms });
        history.iter().filter_map(known).collect()
    }

    /// The items that may not be in an answer, as the version's indexes.
    pub(crate) fn excluded(&self, items: &[u32]) -> Vec<u32> {
        let mut indexes: Vec<u32> = items.iter().filter_map(|&item| self.index(item)).collect();
        indexes.sort_unstable();
        indexes
    }

    /// Asks and checks the answer. A panic counts as an error.
    pub(crate) async fn ask(&self, query: ScoreQuery, deadline: Duration) -> Result<Vec<Ranked>, ModelFailure> {
        let (k, exclude) = (query.k, query.exclude.clone());
        let asked = AssertUnwindSafe(async { self.server.score(query).await }).catch_unwind();
        match tokio::time::timeout(deadline, asked).await {
            Err(_) => Err(ModelFailure::Timeout),
            Ok(Err(_)) => Err(ModelFailure::Error("it panicked".to_owned())),
            Ok(Ok(answer)) => self.checked(answer?, &exclude, k),
        }
    }

    /// The answer in the protocol's order, or why it is none. What should have been left out is left out here.
    fn checked(&self, answer: Vec<(String, f32)>, exclude: &[u32], k: usize) -> Result<Vec<Ranked>, ModelFailure> {
        let invalid = |why: &str| Err(ModelFailure::Invalid(why.to_owned()));
        let items = self.server.items();
        let mut ranked: Vec<Ranked> = Vec::with_capacity(answer.len().min(k));
        for (name, score) in answer {
            if !score.is_finite() {
                return invalid("a score is not a finite number");
            }
            let Some(index) = items.get(&name) else {
                return invalid("it holds an item that the version does not know");
            };
            if exclude.binary_search(&index).is_err() {
                ranked.push(Ranked { item: self.ours[index as usize], name, score });
            }
        }
        let before = |a: &Ranked, b: &Ranked| b.score.total_cmp(&a.score).then_with(|| a.name.cmp(&b.name));
        if !ranked.is_sorted_by(|a, b| before(a, b).is_le()) {
            ranked.sort_by(before);
        }
        ranked.truncate(k);
        if (1..ranked.len()).any(|i| ranked[..i].iter().any(|one| one.item == ranked[i].item)) {
            return invalid("it holds an item twice");
        }
        if ranked.is_empty() && exclude.len() < items.len() {
            return invalid("it holds no items");
        }
        Ok(ranked)
    }
}
