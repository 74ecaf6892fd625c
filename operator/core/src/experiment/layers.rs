//! Who takes part in which experiment: layers of a million buckets, nested hashes.
//!
//! Two questions, two hashes, as vendors learned (Unleash/unleash-python-sdk#282: with one hash for both, a tenth of the
//! users reaches a tenth of the arms). *Whether* a user takes part is the bucket by the layer's salt: experiments of one
//! layer own disjoint buckets. *Which arm* is the bucket by a salt of the experiment's own, so that a growing share
//! cannot move anybody from arm to arm, and an experiment that inherits buckets does not inherit the arms with them
//! (carry-over; Kohavi, Tang & Xu, "Trustworthy Online Controlled Experiments", 2020, ch. 23).
//!
//! It hashes nothing: the routers' `bucket(salt, user)` answers both. The holdback comes before all of it.

use std::collections::{BTreeMap, BTreeSet};

use fairway_wire::{Portion, Slice, Span, Weight};
use serde::{Deserialize, Serialize};

use super::error::ExperimentError;
use super::policy::{Arm, ExperimentPolicy};

/// Buckets of a layer, and of the arms of an experiment.
pub const BUCKETS: u32 = 1_000_000;
/// Most ranges of one experiment.
pub const RANGES_MAX: usize = 64;
/// Most experiments of one layer.
const EXPERIMENTS_MAX: usize = 100;

/// A slice without buckets yet.
fn fresh(policy: &ExperimentPolicy) -> Slice {
    let (experiment, layer) = (policy.name.clone(), policy.layer.clone());
    Slice { experiment, layer, spans: Vec::new(), arms: portions(&policy.arms) }
}

/// Gives back the buckets taken last.
fn shrink(slice: &mut Slice, to: u32) {
    let mut left = to;
    for span in &mut slice.spans {
        let kept = span.len().min(left);
        span.to = span.from.saturating_add(kept);
        left -= kept;
    }
    slice.spans.retain(|span| !span.is_empty());
}

/// Takes free buckets: those beside its own first, then from the largest gap on.
fn grow(slice: &mut Slice, to: u32, gaps: &mut [Span]) -> Result<(), ExperimentError> {
    let mut missing = to.saturating_sub(slice.len());
    let end = slice.spans.last().map(|last| last.to);
    gaps.sort_by_key(|gap| (Some(gap.from) != end, u32::MAX - gap.len(), gap.from));
    for gap in gaps.iter_mut().filter(|gap| !gap.is_empty()) {
        if missing == 0 {
            break;
        }
        let taken = Span { from: gap.from, to: gap.from + missing.min(gap.len()) };
        (gap.from, missing) = (taken.to, missing - taken.len());
        match slice.spans.last_mut().filter(|last| last.to == taken.from) {
            Some(last) => last.to = taken.to,
            None => slice.spans.push(taken),
        }
    }
    if slice.spans.len() > RANGES_MAX {
        let (layer, experiment) = (slice.layer.clone(), slice.experiment.clone());
        return Err(ExperimentError::Fragmented { layer, experiment, ranges: RANGES_MAX });
    }
    Ok(())
}

/// The arms' buckets, cut by the running sum of weights: they add up to all of them, whatever the weights.
fn portions(arms: &[Arm]) -> Vec<Portion> {
    let all: u64 = arms.iter().map(|arm| u64::from(arm.weight)).sum();
    let at = |sum: u64| (sum * u64::from(BUCKETS) / all.max(1)) as u32;
    let cut = |sum: &mut u64, arm: &Arm| {
        let from = at(*sum);
        *sum += u64::from(arm.weight);
        Some(Portion { arm: arm.name.clone(), treatment: arm.treatment.clone(), span: Span { from, to: at(*sum) } })
    };
    arms.iter().scan(0, cut).collect()
}

/// All experiments of an endpoint, and who is held back before them. Remembered: a new allocation follows from the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layers {
    /// Users on the baseline for ever, by a salt of their own.
    pub holdback: Weight,
    /// Experiments by layer.
    pub layers: BTreeMap<String, Vec<Slice>>,
}

impl Layers {
    /// The slice of an experiment.
    pub fn slice(&self, experiment: &str) -> Option<&Slice> {
        self.layers.values().flatten().find(|slice| slice.experiment == experiment)
    }

    /// The next allocation, for the experiments that run or shall run, and nobody else: those not named give their
    /// buckets back. A share that grows adds users, one that shrinks removes those added last, and nobody ever moves
    /// from one arm to another. The same input gives the same allocation (invariant I6).
    ///
    /// # Errors
    /// The first policy that cannot be used, or does not go with the others or with the users it already has.
    pub fn allocate(&self, policies: &[ExperimentPolicy], holdback: Weight) -> Result<Self, ExperimentError> {
        if holdback == Weight::FULL && !policies.is_empty() {
            return Err(ExperimentError::Holdback);
        }
        let mut names = BTreeSet::new();
        let mut wanted: BTreeMap<&str, Vec<&ExperimentPolicy>> = BTreeMap::new();
        for policy in policies {
            policy.check()?;
            if !names.insert(policy.name.as_str()) {
                return Err(ExperimentError::Duplicate(policy.name.clone()));
            }
            self.check_unmoved(policy)?;
            wanted.entry(&policy.layer).or_default().push(policy);
        }
        let layers = wanted.into_iter().map(|(layer, policies)| Ok((layer.to_owned(), self.layer(layer, &policies)?)));
        Ok(Self { holdback, layers: layers.collect::<Result<_, ExperimentError>>()? })
    }

    fn check_unmoved(&self, policy: &ExperimentPolicy) -> Result<(), ExperimentError> {
        match self.slice(&policy.name) {
            Some(slice) if slice.layer != policy.layer => Err(ExperimentError::LayerChanged {
                experiment: policy.name.clone(),
                from: slice.layer.clone(),
                to: policy.layer.clone(),
            }),
            Some(slice) if slice.arms != portions(&policy.arms) => {
                Err(ExperimentError::ArmsChanged(policy.name.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Shrinks what shrinks, then grows what grows, so that what is given back can be taken.
    fn layer(&self, layer: &str, policies: &[&ExperimentPolicy]) -> Result<Vec<Slice>, ExperimentError> {
        check_room(layer, policies)?;
        let mut slices: Vec<Slice> = policies
            .iter()
            .map(|policy| {
                let mut slice = self.slice(&policy.name).cloned().unwrap_or_else(|| fresh(policy));
                shrink(&mut slice, policy.share.ppm());
                slice
            })
            .collect();
        let mut gaps = gaps(&slices);
        for (slice, policy) in slices.iter_mut().zip(policies) {
            grow(slice, policy.share.ppm(), &mut gaps)?;
        }
        Ok(slices)
    }
}

fn check_room(layer: &str, policies: &[&ExperimentPolicy]) -> Result<(), ExperimentError> {
    if policies.len() > EXPERIMENTS_MAX {
        return Err(ExperimentError::Count {
            experiment: policies[EXPERIMENTS_MAX].name.clone(),
            field: "layer",
            given: policies.len(),
            allowed: format!("{EXPERIMENTS_MAX} experiments at most in layer {layer}: use another layer"),
        });
    }
    let mut free = BUCKETS;
    for (index, policy) in policies.iter().enumerate() {
        let Some(left) = free.checked_sub(policy.share.ppm()) else {
            let others = policies[..index].iter().map(|other| format!("{} ({})", other.name, other.share));
            return Err(ExperimentError::LayerFull {
                layer: layer.to_owned(),
                experiment: policy.name.clone(),
                asked: policy.share,
                free: Weight::from_ppm(free).unwrap_or(Weight::FULL),
                others: others.collect::<Vec<_>>().join(", "),
            });
        };
        free = left;
    }
    Ok(())
}

/// What no slice owns.
fn gaps(slices: &[Slice]) -> Vec<Span> {
    let mut owned: Vec<Span> = slices.iter().flat_map(|slice| slice.spans.iter().copied()).collect();
    owned.sort_unstable();
    let mut from = 0;
    let mut gaps = Vec::new();
    for span in owned.into_iter().chain([Span { from: BUCKETS, to: BUCKETS }]) {
        if from < span.from {
            gaps.push(Span { from, to: span.from });
        }
        from = from.max(span.to);
    }
    gaps
}
