//! The family's parameters and what they may be.

use std::collections::BTreeMap;

use fairway_model::TwoTower;

use crate::error::TrainError;
use crate::families::parameters::Parameters;

/// The parameters of two-tower, with the defaults that Online Retail was tuned on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwoTowerSettings {
    /// `dim`: length of user and item vectors.
    pub dim: usize,
    /// `hidden`: width of the user tower's hidden layer.
    pub hidden: usize,
    /// `epochs`: how often every example is seen by a fit that begins from nothing.
    pub epochs: u32,
    /// `warmEpochs`: the same by one that begins from weights.
    pub warm_epochs: u32,
    /// `batchSize`: examples of a step; their items are each other's negatives.
    pub batch_size: usize,
    /// `learningRate` of the tables (Adagrad).
    pub learning_rate: f64,
    /// `temperature`: scores are dot products divided by it.
    pub temperature: f32,
    /// `minUsers`: items with fewer users in training are not known to the model.
    pub min_users: u32,
}

/// The names, for messages.
const KNOWN: [&str; 8] =
    ["dim", "hidden", "epochs", "warmEpochs", "batchSize", "learningRate", "temperature", "minUsers"];

impl TwoTowerSettings {
    /// Reads parameters; what is left out has its default.
    ///
    /// # Errors
    /// Names the parameter and what is allowed.
    pub fn parse(parameters: &BTreeMap<String, String>) -> Result<Self, TrainError> {
        let values = Parameters::of(TwoTower::FAMILY, parameters, &KNOWN)?;
        let dim = values.whole("dim", 64, 4..=512)?;
        Ok(Self {
            dim: dim as usize,
            hidden: values.whole("hidden", 2 * dim, 1..=2_048)? as usize,
            epochs: values.whole("epochs", 5, 1..=1_000)?,
            warm_epochs: values.whole("warmEpochs", 2, 1..=1_000)?,
            batch_size: values.whole("batchSize", 2_048, 2..=65_536)? as usize,
            learning_rate: values.number("learningRate", 0.05, 1e-6..=10.0)?,
            temperature: values.number("temperature", 0.1, 1e-3..=100.0)? as f32,
            min_users: values.whole("minUsers", 5, 1..=1_000_000)?,
        })
    }

    /// How often every example is seen.
    pub fn epochs(&self, warm: bool) -> u32 {
        if warm { self.warm_epochs } else { self.epochs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_each_other() {
        let of = |pairs: &[(&str, &str)]| {
            TwoTowerSettings::parse(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        assert_eq!(of(&[]).unwrap().hidden, 128);
        assert_eq!(of(&[("dim", "32")]).unwrap().hidden, 64);
        assert!(of(&[("dim", "0")]).unwrap_err().to_string().contains("4 to 512"));
        assert!(of(&[("layers", "2")]).unwrap_err().to_string().contains("batchSize"));
    }
}
