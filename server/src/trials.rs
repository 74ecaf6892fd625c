//! The experiments of the route in force: which versions their arms answer with, and which users were counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fairway_wire::{Slice, Target, arm_name};

use crate::interner::Interner;
use crate::served::Served;

/// Places of users that are counted; see [`fairway_wire::Arm::new_users`].
const WORDS: usize = (1 << 16) / 64;

/// An experiment of the route.
#[derive(Clone)]
pub(crate) struct Trial {
    experiment: String,
    /// The salt of its arms.
    pub(crate) salt: String,
    pub(crate) arms: Vec<TrialArm>,
    /// The places that this router has told of. They outlast routes: a user is new once.
    places: Arc<[AtomicU64]>,
}

/// One of its arms.
#[derive(Clone)]
pub(crate) struct TrialArm {
    /// `experiment/arm` as a number.
    pub(crate) name: u32,
    /// Its version, if that is installed.
    pub(crate) served: Option<Arc<Served>>,
    /// Its version's digest as a number; [`UNKNOWN`](crate::interner::UNKNOWN) for the baseline.
    pub(crate) version: u32,
}

impl Trial {
    /// Finds each arm's version with `find`, and goes on from what the same experiment was `before`.
    pub(crate) fn new(
        slice: &Slice,
        before: &[Self],
        names: &Interner,
        find: impl Fn(Option<&Target>) -> (Option<Arc<Served>>, u32),
    ) -> Self {
        let same = before.iter().find(|trial| trial.experiment == slice.experiment);
        let places = same.map(|trial| Arc::clone(&trial.places));
        let arms = slice.arms.iter().map(|portion| {
            let (served, version) = find(portion.treatment.target());
            TrialArm { name: names.add_trusted(&arm_name(&slice.experiment, &portion.arm)), served, version }
        });
        Self {
            experiment: slice.experiment.clone(),
            salt: slice.arm_salt(),
            arms: arms.collect(),
            places: places.unwrap_or_else(|| (0..WORDS).map(|_| AtomicU64::new(0)).collect()),
        }
    }

    /// Takes a place; false if it was taken.
    pub(crate) fn is_new(&self, place: u16) -> bool {
        let bit = 1 << (place % 64);
        self.places[usize::from(place / 64)].fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}
