//! Who takes part in which experiment, as routers are told: slices of layers of a million buckets.
//!
//! Two questions, two hashes. *Whether* a user takes part is the bucket by the layer's name: experiments of one layer own
//! disjoint buckets. *Which arm* is the bucket by a salt of the experiment's own. It hashes nothing: the routers'
//! `bucket(salt, user)` answers both.

use serde::{Deserialize, Serialize};

use crate::{Target, Weight};

/// Buckets from `from`, up to but not including `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// The first.
    pub from: u32,
    /// The first that is not in it.
    pub to: u32,
}

impl Span {
    /// How many.
    pub fn len(self) -> u32 {
        self.to.saturating_sub(self.from)
    }

    /// None.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether `bucket` is in it.
    pub fn contains(self, bucket: u32) -> bool {
        (self.from..self.to).contains(&bucket)
    }
}

/// What users of an arm get.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Treatment {
    /// Answers of this version.
    Version(Target),
    /// What everybody gets without a model: a holdback.
    Baseline,
}

impl Treatment {
    /// The version, unless it is the baseline.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Version(target) => Some(target),
            Self::Baseline => None,
        }
    }
}

/// An arm's part of its experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Portion {
    /// The arm's name.
    pub arm: String,
    /// What its users get.
    pub treatment: Treatment,
    /// Its buckets by the salt of the arms.
    pub span: Span,
}

/// An experiment's part of its layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slice {
    /// Its name.
    pub experiment: String,
    /// Its layer: the salt of who takes part.
    pub layer: String,
    /// Its buckets by that salt, in the order in which they were taken; the last taken are given back first.
    pub spans: Vec<Span>,
    /// Its arms. A user in none of them (a stopped arm) is not in the experiment.
    pub arms: Vec<Portion>,
}

impl Slice {
    /// The salt of its arms.
    pub fn arm_salt(&self) -> String {
        format!("{}/{}", self.layer, self.experiment)
    }

    /// Its buckets.
    pub fn len(&self) -> u32 {
        self.spans.iter().map(|span| span.len()).sum()
    }

    /// Share of the layer's users in an arm.
    pub fn share(&self, arm: &Portion) -> Weight {
        let weight = |buckets: u32| Weight::from_ppm(buckets).unwrap_or(Weight::FULL);
        weight(self.len()).of(weight(arm.span.len()))
    }

    /// Nobody takes part.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 || self.arms.is_empty()
    }

    /// Whether the user with this bucket by the layer's salt takes part.
    pub fn takes_part(&self, by_layer: u32) -> bool {
        self.spans.iter().any(|span| span.contains(by_layer))
    }

    /// The arm of a user with these buckets by the layer's salt and by [`Self::arm_salt`]; `None` for whoever does not
    /// take part.
    pub fn arm(&self, by_layer: u32, by_arm: u32) -> Option<&Portion> {
        let takes_part = self.takes_part(by_layer);
        self.arms.iter().find(|portion| takes_part && portion.span.contains(by_arm))
    }
}

/// How windows, answers and the decision log name an arm: `experiment/arm`.
pub fn arm_name(experiment: &str, arm: &str) -> String {
    format!("{experiment}/{arm}")
}
