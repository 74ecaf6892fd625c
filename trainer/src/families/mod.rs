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

/// What a fit learns from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The rows.
    pub data: &'a Interactions,
    /// Texts for item features.
    pub items: &'a ItemTexts,
    /// Which features there are.
    pub features: &'a FeatureDefinitions,
    /// Of initial weights and of the order of examples.
    pub seed: u64,
    /// Whose weights it begins from; `None`: from nothing. One that [`warm_start`] refuses is as good as none.
    pub from: Option<&'a dyn Recommender>,
}

/// Fits a family. `parameters` are checked before any work; the same arguments give the same model.
///
/// # Errors
/// An unknown family or parameter, too little data, or a cancellation.
pub fn fit(
    family: &str,
    parameters: &BTreeMap<String, String>,
    inputs: Inputs<'_>,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Box<dyn Recommender>, TrainError> {
    match Settings::parse(family, parameters)? {
        Settings::Popularity(settings) => {
            let model = popularity::fit(inputs.data, &settings)?;
            progress.advance(1);
            Ok(Box::new(model))
        }
        Settings::Ease(settings) => Ok(Box::new(ease::fit(inputs.data, &settings, progress, cancel)?)),
        Settings::TwoTower(settings) => Ok(Box::new(two_tower::fit(&settings, inputs, progress, cancel)?)),
    }
}

/// Whether a fit with these parameters and features can begin from a model's weights.
///
/// # Errors
/// In words, what keeps it from that; it begins from nothing then.
pub fn warm_start(
    family: &str,
    parameters: &BTreeMap<String, String>,
    features: &FeatureDefinitions,
    from: &dyn Recommender,
) -> Result<(), String> {
    match Settings::parse(family, parameters).map_err(|error| error.to_string())? {
        Settings::Popularity(_) | Settings::Ease(_) => {
            Err(format!("{family} is computed from the data alone, and no weights would change it"))
        }
        Settings::TwoTower(settings) => two_tower::warm(&settings, features, from).map(|_| ()),
    }
}

/// Whether the family exists and its parameters can be used, before any data is read.
///
/// # Errors
/// Names the family or the parameter and what is allowed.
pub fn check(family: &str, parameters: &BTreeMap<String, String>) -> Result<(), TrainError> {
    Settings::parse(family, parameters).map(|_| ())
}

/// How many units of progress a fit has, if it begins from weights or not; 0 for a family or parameters that do not exist.
pub fn steps(family: &str, parameters: &BTreeMap<String, String>, warm: bool) -> u64 {
    match Settings::parse(family, parameters) {
        Ok(Settings::Popularity(_)) => 1,
        Ok(Settings::Ease(_)) => 4,
        Ok(Settings::TwoTower(settings)) => u64::from(settings.epochs(warm)),
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
