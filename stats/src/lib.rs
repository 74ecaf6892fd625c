//! Statistics of Fairway: mergeable summaries, drift, sequential tests and confidence sequences.
//!
//! Everything here is pure: no IO, no clock, no randomness of its own. The same input gives the same output on every
//! machine, so that a verdict can be replayed. Summaries merge exactly (counts are `u64`, sums are fixed point), so that
//! any number of replicas gives the same verdict. No function panics: inputs outside a function's domain have a
//! documented, harmless answer ("no evidence", an infinite width, `None`).
//!
//! | question | module |
//! |---|---|
//! | which bin does a value fall in, how often was each bin hit | [`bins`] |
//! | how long do requests take | [`latency`] |
//! | what is the mean per exposure, and how sure is that when users come often | [`cells`], [`fixed`] |
//! | has a feature or a score moved since training | [`drift`] |
//! | does the canary answer badly more often than stable | [`odds`] |
//! | is the canary's mean metric better or worse, and by how much | [`confidence`] |
//! | how uncertain is the difference of two means over the same subjects | [`paired`] |
//! | do the arms get the share of users they should get | [`srm`] |
//! | what is the mean when old events count less | [`decay`] |
//! | how large and how spread is a number | [`moments`] |
//! | which names are rare, which are new | [`categories`] |
//! | how many different names, which come most (reports only) | [`sketches`] |
//! | are the data themselves broken | [`quality`] |
//! | has the mean of a stream moved | [`adwin`] |
//! | have embeddings moved | [`c2st`] |
//! | has the risk risen, with a guarantee | [`risk`] |
//! | how good are answers without labels (advice) | [`estimate`] |
//! | have scores changed in any way | [`martingale`] |
//! | how large is the effect between two arms (means, ratios, logged propensities, CUPED) | [`effect`] |
//! | what does one gate prove, in numbers and words | [`verdict`] |
//! | what do many gates prove together at one error rate | [`combine`] |
//! | bounds for looks that are fixed before | [`sequential`] |
//! | how much traffic until an effect is seen, and is there time for it | [`plan`] |
//! | would another policy have earned more on a log | [`ope`] |
//! | are all groups served alike, does a canary leave one behind | [`fairness`] |
//! | does variety shrink over retrainings | [`diversity`] |
//! | which arm to explore, with which exact probability | [`bandit`] |
//! | how is a summary kept | [`kept`] |
//!
//! What it does not do: it decides nothing. Policies (steps, holds, cooldowns) live with the operator.
//!
//! ```
//! use fairway_stats::OddsGrid;
//!
//! // Looks of a canary: its share of the requests in the look, its bad answers, the bad answers of stable.
//! let mut harm = OddsGrid::harm(0.10);
//! harm.update(0.05, 14, 110);
//! harm.update(0.25, 45, 75);
//! harm.update(0.50, 110, 52);
//! assert!(harm.rejects(0.05));
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod adwin;
pub mod bandit;
pub mod bins;
pub mod c2st;
pub mod categories;
pub mod cells;
pub mod combine;
pub mod confidence;
pub mod decay;
pub mod diversity;
pub mod drift;
pub mod effect;
pub mod estimate;
pub mod fairness;
pub mod fixed;
pub mod kept;
pub mod latency;
pub mod martingale;
pub mod moments;
pub mod odds;
pub mod ope;
pub mod paired;
pub mod plan;
pub mod quality;
pub mod risk;
pub mod sequential;
pub mod sketches;
pub mod srm;
pub mod verdict;

pub use bins::{Bins, Histogram, ShapeMismatch};
pub use categories::Categories;
pub use cells::Cells;
pub use confidence::Interval;
pub use decay::ForwardDecay;
pub use drift::{DriftReport, DriftRule, Feature, FeatureCounts, FeatureDrift, Level, Persistence};
pub use effect::Effect;
pub use fixed::Fixed;
pub use kept::{Kept, Summary};
pub use latency::LatencyHistogram;
pub use moments::Moments;
pub use odds::OddsGrid;
pub use paired::PairedSpread;
pub use quality::{QualityFinding, QualityRule};
pub use sketches::{Distinct, HeavyHitters};
pub use verdict::{MeanGate, Outcome, RateGate, Verdict};

#[cfg(test)]
mod portable_stream;
