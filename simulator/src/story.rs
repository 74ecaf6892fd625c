//! The document that tells a demo what to play: which shop, how fast, what happens on which day. Only the type; the
//! command line reads the document and plays it.

use serde::{Deserialize, Serialize};

use crate::{Error, ShopConfig};

/// The accepted value of `apiVersion`.
const API_VERSION: &str = "simulator.fairway.dev/v1alpha1";
/// The accepted value of `kind`.
const KIND: &str = "Story";

/// A story. Parse it from YAML or JSON with serde, then [`StoryConfig::check`] it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoryConfig {
    /// `simulator.fairway.dev/v1alpha1`.
    pub api_version: String,
    /// `Story`.
    pub kind: String,
    /// Its name.
    pub metadata: Metadata,
    /// The story itself.
    #[serde(default)]
    pub spec: StorySpec,
}

/// How a story is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Name, for messages.
    pub name: String,
}

/// What a story is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StorySpec {
    /// Name of the `ModelEndpoint` that the shop asks.
    pub endpoint: String,
    /// Simulated seconds a real second, 1 to 100,000.
    pub speed: f64,
    /// Seed of everything, the shop included; replaces the shop's own.
    pub seed: u64,
    /// Days of purchases before the start, 1 to 3,650.
    pub history_days: u32,
    /// Visitors at once, 1 to 1,024.
    pub workers: u32,
    /// The shop.
    pub shop: ShopConfig,
}

impl Default for StorySpec {
    fn default() -> Self {
        Self {
            endpoint: "shop".to_owned(),
            speed: 10_000.0,
            seed: 7,
            history_days: 60,
            workers: 32,
            shop: ShopConfig::default(),
        }
    }
}

impl StoryConfig {
    /// Says what is wrong with the document, first field first.
    pub fn check(&self) -> Result<(), Error> {
        let spec = &self.spec;
        need(self.api_version == API_VERSION, "apiVersion", &self.api_version, API_VERSION)?;
        need(self.kind == KIND, "kind", &self.kind, KIND)?;
        need(!self.metadata.name.is_empty(), "metadata.name", "\"\"", "a name")?;
        need(!spec.endpoint.is_empty(), "spec.endpoint", "\"\"", "the name of a ModelEndpoint")?;
        need((1.0..=1e5).contains(&spec.speed), "spec.speed", spec.speed, "1 to 100000")?;
        need((1..=3_650).contains(&spec.history_days), "spec.historyDays", spec.history_days, "1 to 3650")?;
        need((1..=1_024).contains(&spec.workers), "spec.workers", spec.workers, "1 to 1024")?;
        self.shop().check().map_err(|error| match error {
            Error::Config { field, found, allowed } => Error::Config { field: format!("spec.{field}"), found, allowed },
            other => other,
        })
    }

    /// The shop, under the story's seed.
    pub fn shop(&self) -> ShopConfig {
        ShopConfig { seed: self.spec.seed, ..self.spec.shop.clone() }
    }
}

fn need(fine: bool, field: &str, found: impl ToString, allowed: &'static str) -> Result<(), Error> {
    if fine {
        return Ok(());
    }
    Err(Error::Config { field: field.to_owned(), found: found.to_string(), allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(spec: &str) -> Result<StoryConfig, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"apiVersion": "simulator.fairway.dev/v1alpha1", "kind": "Story", "metadata": {{"name": "s"}}, "spec": {spec}}}"#
        ))
    }

    #[test]
    fn an_empty_story_is_whole() {
        let story = story("{}").unwrap();
        story.check().unwrap();
        assert_eq!(story.spec, StorySpec::default());
        assert_eq!(serde_json::from_str::<StoryConfig>(&serde_json::to_string(&story).unwrap()).unwrap(), story);
    }

    #[test]
    fn mistakes_are_named_with_their_path() {
        let table = [
            (r#"{"speed": 0}"#, "spec.speed: 0 is"),
            (r#"{"historyDays": 0}"#, "spec.historyDays: 0 is"),
            (r#"{"shop": {"users": 0}}"#, "spec.shop.users: 0 is"),
        ];
        for (spec, start) in table {
            let said = story(spec).unwrap().check().unwrap_err().to_string();
            assert!(said.starts_with(start), "{spec}: {said}");
        }
        assert!(story(r#"{"sped": 1}"#).is_err());
    }

    #[test]
    fn the_storys_seed_rules() {
        assert_eq!(story(r#"{"seed": 99, "shop": {"seed": 1}}"#).unwrap().shop().seed, 99);
    }

    #[test]
    fn the_quickstart_is_a_story() {
        let text = include_str!("../../configs/quickstart/story.yaml");
        let story: StoryConfig = serde_saphyr::from_str(text).unwrap();
        story.check().unwrap();
        // What the file spells out is what the defaults are, but for the shift.
        let shifts = story.spec.shop.shifts.clone();
        assert_eq!(story.spec.shop, ShopConfig { shifts, ..ShopConfig::default() });
        assert_eq!(story.spec.shop.shifts.len(), 1);
    }
}
