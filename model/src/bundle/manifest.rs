//! `bundle.json`: what a version is, in words and numbers.
//!
//! What it does not do: it holds no weights and no times of writing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::features::FeatureDefinitions;

/// The format that is written and read.
pub const FORMAT: u32 = 1;
/// How equal scores are ordered; part of every answer and every metric.
pub const TIE_RULE: &str = "score desc, item id asc";

/// `bundle.json`. Times are milliseconds since 1970 UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleManifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The model's name.
    pub model: String,
    /// `popularity`, `ease` or `two-tower`.
    pub family: String,
    /// The training run that made it.
    pub run: String,
    /// What goes in.
    pub features: FeatureDefinitions,
    /// [`FeatureDefinitions::digest`].
    pub features_digest: String,
    /// How many items it knows.
    pub items: u32,
    /// [`TIE_RULE`].
    pub tie_rule: String,
    /// How far back interactions were used.
    pub history_ms: i64,
    /// Interactions from here on were used.
    pub trained_from_ms: i64,
    /// The newest interaction that was used.
    pub trained_through_ms: i64,
    /// What it reached, such as `recall@20`. Finite.
    pub metrics: BTreeMap<String, f64>,
    /// The family's parameters, as the manifest had them.
    pub parameters: BTreeMap<String, String>,
    /// `sha256:…` of `profile.json`.
    pub profile_digest: String,
    /// What randomness began with.
    pub seed: u64,
    /// When this is a refit on the whole history: the version of the same recipe that passed the gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gated_sibling: Option<String>,
}

impl BundleManifest {
    /// What JSON cannot hold is refused before it is written.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.metrics.iter().find(|(_, value)| !value.is_finite()) {
            None => Ok(()),
            Some((name, value)) => Err(Error::Domain {
                name: format!("metric {name}"),
                value: value.to_string(),
                domain: "finite; leave out what was not measured",
            }),
        }
    }
}

/// The published JSON Schema (draft 2020-12) of `bundle.json`.
pub fn bundle_schema() -> serde_json::Value {
    serde_json::from_str(include_str!("../../schema/bundle.schema.json"))
        .expect("the schema is compiled in and a test parses it")
}
