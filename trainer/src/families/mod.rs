//! The families that are built in, fitted by name.
//!
//! What it does not do: no search over parameters, and no family answers here; answering is `fairway_model`'s.

mod ease;
mod parameters;
mod popularity;
mod two_tower;

use std::collections::BTreeMap;

use fairway_model::{Ease, FeatureDefinitions, Interactions, ItemTexts, Popularity, Recommender, TwoTower};

pub use ease::{ITEMS_MAX, fit_ease};
pub use popularity::fit_popularity;
pub use two_tower::TwoTowerSettings;

use crate::error::TrainError;
use crate::progress::{CancelFlag, Progress};
use ease::EaseSettings;
use popularity::PopularitySettings;

/// Fits a family. `parameters` are checked before any work; the same arguments give the same model.
///
/// # Errors
/// An unknown family or parameter, too little data, or a cancellation.
#[allow(clippy::too_many_arguments, reason = "each is a part of the plan that callers hold apart")]
pub fn fit(
    family: &str,
    parameters: &BTreeMap<String, String>,
    data: &Interactions,
    items: &ItemTexts,
    features: &FeatureDefinitions,
    seed: u64,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Box<dyn Recommender>, TrainError> {
    match Settings::parse(family, parameters)? {
        Settings::Popularity(settings) => {
            let model = popularity::fit(data, &settings)?;
            progress.advance(1);
            Ok(Box::new(model))
        }
        Settings::Ease(settings) => Ok(Box::new(ease::fit(data, &settings, progress, cancel)?)),
        Settings::TwoTower(settings) => {
            let inputs = two_tower::Inputs { data, items, features, seed };
            Ok(Box::new(two_tower::fit(&settings, inputs, progress, cancel)?))
        }
    }
}

/// Whether the family exists and its parameters can be used, before any data is read.
///
/// # Errors
/// Names the family or the parameter and what is allowed.
pub fn check(family: &str, parameters: &BTreeMap<String, String>) -> Result<(), TrainError> {
    Settings::parse(family, parameters).map(|_| ())
}

/// How many units of progress a fit has; 0 for a family or parameters that do not exist.
pub fn steps(family: &str, parameters: &BTreeMap<String, String>) -> u64 {
    match Settings::parse(family, parameters) {
        Ok(Settings::Popularity(_)) => 1,
        Ok(Settings::Ease(_)) => 4,
        Ok(Settings::TwoTower(settings)) => u64::from(settings.epochs),
        Err(_) => 0,
    }
}

enum Settings {
    Popularity(PopularitySettings),
    Ease(EaseSettings),
    TwoTower(TwoTowerSettings),
}

impl Settings {
    fn parse(family: &str, parameters: &BTreeMap<String, String>) -> Result<Self, TrainError> {
        match family {
            Popularity::FAMILY => PopularitySettings::parse(parameters).map(Self::Popularity),
            Ease::FAMILY => EaseSettings::parse(parameters).map(Self::Ease),
            TwoTower::FAMILY => TwoTowerSettings::parse(parameters).map(Self::TwoTower),
            other => Err(TrainError::Family(other.chars().take(64).collect())),
        }
    }
}

/// How many different users each item has.
fn users_of_items(data: &Interactions) -> Vec<u32> {
    let by_user = crate::split::by_user(data);
    let mut counts = vec![0; data.items.len()];
    let mut last_user = vec![u32::MAX; data.items.len()];
    for user in 0..data.users.len() as u32 {
        for &row in by_user.rows(user) {
            let item = data.item[row as usize] as usize;
            if last_user[item] != user {
                last_user[item] = user;
                counts[item] += 1;
            }
        }
    }
    counts
}
