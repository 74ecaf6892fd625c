//! What goes into a model: the manifest's `features`, and how each is computed. Trainer and server both compute here, so
//! that a feature cannot mean one thing in training and another in serving.
//!
//! What it does not do: it reads no data. The manifest's SQL yields the columns.

mod duration;
mod recency;
mod tokens;

use serde::{Deserialize, Serialize};

pub use duration::Milliseconds;
pub use recency::{HISTORY_POOL_MAX, history_pool, recency_weight};
pub use tokens::{CATEGORY_BUCKETS, WORDS_MAX, category_bucket, hashed_tokens};

use crate::canonical;
use crate::error::Error;

/// Most buckets a text may be hashed into.
pub const TEXT_BUCKETS_MAX: u32 = 1 << 20;
/// Most features of users, and of items.
pub const FEATURES_MAX: usize = 64;

/// The manifest's `features`.
///
/// ```
/// use fairway_model::FeatureDefinitions;
///
/// let features: FeatureDefinitions = serde_json::from_str(
///     r#"{"user": [{"name": "lastSeen", "recency": {"halfLife": "30d"}}],
///         "item": [{"name": "description", "text": {"buckets": 4096}}]}"#,
/// )?;
/// assert!(features.digest().starts_with("sha256:"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", rename_all = "camelCase")]
pub struct FeatureDefinitions {
    /// Features of users.
    pub user: Vec<UserFeature>,
    /// Features of items.
    pub item: Vec<ItemFeature>,
}

/// As written, before names are compared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    user: Vec<UserFeature>,
    #[serde(default)]
    item: Vec<ItemFeature>,
}

/// A named feature of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawUserFeature")]
pub struct UserFeature {
    /// Its name: `segment` is the segment of the data, others are labels.
    pub name: String,
    /// How it is computed.
    #[serde(flatten)]
    pub kind: UserFeatureKind,
}

/// How a feature of users is computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum UserFeatureKind {
    /// One of a set of names.
    Category {},
    /// How long ago something was, as a weight: [`recency_weight`].
    #[serde(rename_all = "camelCase")]
    Recency {
        /// After how long the weight is one half.
        half_life: Milliseconds,
    },
}

/// A named feature of items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawItemFeature")]
pub struct ItemFeature {
    /// Its name: the column of the items SQL.
    pub name: String,
    /// How it is computed.
    #[serde(flatten)]
    pub kind: ItemFeatureKind,
}

/// How a feature of items is computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ItemFeatureKind {
    /// Words and pairs of words, hashed: [`hashed_tokens`].
    Text {
        /// How many buckets.
        buckets: u32,
    },
    /// One of a set of names, hashed: [`category_bucket`].
    Category {},
    /// Consumption in a window that ends now, decayed: see [`ItemFeatureKind::rolling_weight`].
    Rolling {
        /// How far back.
        window: Milliseconds,
        /// After how long an event counts half.
        decay: Milliseconds,
    },
}

impl ItemFeatureKind {
    /// What an event counts that is `age_ms` old: 2^(-age/decay) within the window, 0 beyond it (and for other kinds).
    /// An event in the future counts 1.
    pub fn rolling_weight(&self, age_ms: i64) -> f64 {
        match self {
            Self::Rolling { window, decay } if age_ms < window.0 => recency_weight(age_ms, decay.0),
            _ => 0.0,
        }
    }
}

impl FeatureDefinitions {
    /// `sha256:…` of the definitions as canonical JSON: sorted keys, durations in their shortest form. Two texts that
    /// mean the same have the same digest.
    pub fn digest(&self) -> String {
        let text = canonical::compact(self).expect("strings and whole numbers are always JSON");
        canonical::digest(text.as_bytes())
    }
}

impl TryFrom<Raw> for FeatureDefinitions {
    type Error = Error;

    fn try_from(raw: Raw) -> Result<Self, Error> {
        check_names(raw.user.iter().map(|feature| feature.name.as_str()))?;
        check_names(raw.item.iter().map(|feature| feature.name.as_str()))?;
        Ok(Self { user: raw.user, item: raw.item })
    }
}

fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Err(feature(name, "it has no name; give it one".to_owned()));
        }
        if !seen.insert(name) {
            return Err(feature(name, "the name is used twice; rename one of them".to_owned()));
        }
        if seen.len() > FEATURES_MAX {
            return Err(feature(name, format!("it is one of more than {FEATURES_MAX}; leave some out")));
        }
    }
    Ok(())
}

fn feature(name: &str, what: String) -> Error {
    Error::Feature { name: name.to_owned(), what }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawRecency {
    half_life: Milliseconds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUserFeature {
    name: String,
    category: Option<Nothing>,
    recency: Option<RawRecency>,
}

impl TryFrom<RawUserFeature> for UserFeature {
    type Error = Error;

    fn try_from(raw: RawUserFeature) -> Result<Self, Error> {
        let kind = match (raw.category, raw.recency) {
            (Some(Nothing {}), None) => UserFeatureKind::Category {},
            (None, Some(RawRecency { half_life })) => {
                half_life.positive(&raw.name, "halfLife")?;
                UserFeatureKind::Recency { half_life }
            }
            _ => return Err(feature(&raw.name, "it needs exactly one kind; write category or recency".to_owned())),
        };
        Ok(Self { name: raw.name, kind })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawText {
    buckets: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRolling {
    window: Milliseconds,
    decay: Milliseconds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawItemFeature {
    name: String,
    text: Option<RawText>,
    category: Option<Nothing>,
    rolling: Option<RawRolling>,
}

impl TryFrom<RawItemFeature> for ItemFeature {
    type Error = Error;

    fn try_from(raw: RawItemFeature) -> Result<Self, Error> {
        let kind = match (raw.text, raw.category, raw.rolling) {
            (Some(RawText { buckets }), None, None) => {
                if !(1..=TEXT_BUCKETS_MAX).contains(&buckets) {
                    let what = format!("{buckets} buckets; use 1 to {TEXT_BUCKETS_MAX}");
                    return Err(feature(&raw.name, what));
                }
                ItemFeatureKind::Text { buckets }
            }
            (None, Some(Nothing {}), None) => ItemFeatureKind::Category {},
            (None, None, Some(RawRolling { window, decay })) => {
                window.positive(&raw.name, "window")?;
                decay.positive(&raw.name, "decay")?;
                ItemFeatureKind::Rolling { window, decay }
            }
            _ => {
                let what = "it needs exactly one kind; write text, category or rolling";
                return Err(feature(&raw.name, what.to_owned()));
            }
        };
        Ok(Self { name: raw.name, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{
        "user": [{"name": "segment", "category": {}}, {"name": "lastSeen", "recency": {"halfLife": "30d"}}],
        "item": [{"name": "description", "text": {"buckets": 4096}},
                 {"name": "popularity", "rolling": {"window": "30d", "decay": "7d"}},
                 {"name": "range", "category": {}}]}"#;

    fn parse(text: &str) -> Result<FeatureDefinitions, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn the_manifests_form_is_read_and_written() {
        let features = parse(EXAMPLE).unwrap();
        assert_eq!(features.user.len(), 2);
        assert_eq!(features.item[0].kind, ItemFeatureKind::Text { buckets: 4096 });
        let text = canonical::compact(&features).unwrap();
        assert_eq!(
            text,
            r#"{"item":[{"name":"description","text":{"buckets":4096}},{"name":"popularity","rolling":{"decay":"7d","window":"30d"}},{"category":{},"name":"range"}],"user":[{"category":{},"name":"segment"},{"name":"lastSeen","recency":{"halfLife":"30d"}}]}"#
        );
        assert_eq!(parse(&text).unwrap(), features);
        assert_eq!(features.digest(), canonical::digest(text.as_bytes()));
        assert_eq!(parse("{}").unwrap(), FeatureDefinitions::default());
    }

    #[test]
    fn the_digest_is_of_the_meaning() {
        let digest = |text: &str| parse(text).unwrap().digest();
        let hours = EXAMPLE.replace("\"30d\"", "\"720h\"");
        assert_eq!(digest(EXAMPLE), digest(&hours));
        assert_ne!(digest(EXAMPLE), digest(&EXAMPLE.replace("4096", "4097")));
    }

    #[test]
    fn what_cannot_be_computed_is_refused_with_its_name() {
        for (text, word) in [
            (r#"{"user": [{"name": "x"}]}"#, "exactly one kind"),
            (r#"{"user": [{"name": "x", "category": {}, "recency": {"halfLife": "1d"}}]}"#, "exactly one kind"),
            (r#"{"user": [{"name": "x", "recency": {"halfLife": "0d"}}]}"#, "halfLife"),
            (r#"{"user": [{"name": "x", "category": {}}, {"name": "x", "category": {}}]}"#, "twice"),
            (r#"{"item": [{"name": "x", "text": {"buckets": 0}}]}"#, "buckets"),
            (r#"{"item": [{"name": "x", "txt": {}}]}"#, "txt"),
            (r#"{"item": [{"name": "", "category": {}}]}"#, "no name"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_rolling_window_ends() {
        let kind = &parse(EXAMPLE).unwrap().item[1].kind;
        let day = 86_400_000;
        assert_eq!(kind.rolling_weight(7 * day), 0.5);
        assert_eq!(kind.rolling_weight(-1), 1.0);
        assert_eq!(kind.rolling_weight(30 * day), 0.0);
        assert_eq!(ItemFeatureKind::Category {}.rolling_weight(0), 0.0);
    }
}
