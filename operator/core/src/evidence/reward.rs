//! Matured reward, stratum by stratum, and the difference between the sides under a tolerance.
//!
//! Strata are no independent crowds: a growing weight keeps its users, and takes others over from stable. So what each cell of
//! users pulls is added up over strata and sides before it is squared, as [`fairway_stats::Effect::over_strata`] does.

use fairway_stats::Cells;
use fairway_stats::cells::{CELLS, Mean};
use fairway_stats::confidence::{MINIMUM_CELLS, MINIMUM_UNITS};
use fairway_wire::Pair;
use serde::{Deserialize, Serialize};

use crate::policy::Margin;

/// Matured reward of users exposed under one weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Stratum {
    pub(super) canary: Cells,
    pub(super) stable: Cells,
    pub(super) pair: Pair,
}

/// Canary minus what a tolerance asks of it.
pub(super) struct Contrast {
    pub(super) estimate: f64,
    pub(super) canary: f64,
    pub(super) stable: f64,
    pub(super) standard_error: f64,
    pub(super) n: u64,
}

/// What a stratum's cells say, whatever tolerance is asked about: read once for all gates on reward.
pub(super) enum Matured {
    /// Two crowds without a user in common.
    Arms {
        canary: Mean,
        stable: Mean,
        /// The larger variance per unit of the two.
        variance: f64,
        /// How far each cell pulls the mean of either.
        pulls: Box<[[f64; CELLS]; 2]>,
    },
    /// The same requests answered twice.
    Pair { difference: Mean, error: f64, stable: f64, pulls: Box<[f64; CELLS]> },
}

impl Matured {
    pub(super) fn arms(stratum: &Stratum) -> Option<Self> {
        let enough = |cells: &Cells| cells.measure().filter(|mean| mean.occupied >= MINIMUM_CELLS);
        let (canary, stable) = (enough(&stratum.canary)?, enough(&stratum.stable)?);
        // A young arm underestimates its own error, which would raise false alarms: both get the larger variance per unit.
        let per_unit = |mean: &Mean| Some(mean.error?.powi(2) * mean.n as f64);
        let variance = per_unit(&canary)?.max(per_unit(&stable)?);
        let pulls = || Box::new([stratum.canary.pulls(&canary), stratum.stable.pulls(&stable)]);
        (variance > 0.0).then(|| Self::Arms { canary, stable, variance, pulls: pulls() })
    }

    pub(super) fn pair(stratum: &Stratum) -> Option<Self> {
        let cells = &stratum.pair.difference;
        let difference = cells.measure().filter(|mean| mean.occupied >= MINIMUM_CELLS)?;
        let stable = stratum.pair.base.mean()?;
        Some(Self::Pair { difference, error: difference.error?, stable, pulls: Box::new(cells.pulls(&difference)) })
    }

    /// Cells behind the smaller side.
    fn occupied(&self) -> usize {
        match self {
            Self::Arms { canary, stable, .. } => canary.occupied.min(stable.occupied),
            Self::Pair { difference, .. } => difference.occupied,
        }
    }

    /// Adds how far each cell pulls the contrast, `weight` times.
    fn pull(&self, tolerance: Margin, weight: f64, cells: &mut [f64; CELLS]) {
        match self {
            Self::Arms { pulls, .. } => {
                let of_stable = weight * factor(tolerance);
                let [canary, stable] = &**pulls;
                for (cell, (c, s)) in cells.iter_mut().zip(canary.iter().zip(stable)) {
                    *cell += weight * c - of_stable * s;
                }
            }
            Self::Pair { pulls, .. } => cells.iter_mut().zip(&**pulls).for_each(|(cell, pull)| *cell += weight * pull),
        }
    }

    /// Canary minus what the tolerance asks of it. Of two crowds the error of both sides counts. Of pairs only the difference
    /// varies: a relative tolerance takes stable's mean as known, which leaves out a term of the order of the tolerance.
    fn contrast(&self, tolerance: Margin) -> Contrast {
        match *self {
            Self::Arms { canary, stable, variance, .. } => {
                let factor = factor(tolerance);
                let bound = match tolerance {
                    Margin::Relative(_) => 0.0,
                    Margin::Absolute(x) => x,
                };
                Contrast {
                    estimate: canary.value - factor * stable.value + bound,
                    canary: canary.value,
                    stable: stable.value,
                    standard_error: (variance / canary.n as f64 + factor * factor * variance / stable.n as f64).sqrt(),
                    n: canary.n,
                }
            }
            Self::Pair { difference, error, stable, .. } => {
                let bound = match tolerance {
                    Margin::Relative(x) => x * stable,
                    Margin::Absolute(x) => x,
                };
                Contrast {
                    estimate: difference.value + bound,
                    canary: stable + difference.value,
                    stable,
                    standard_error: error,
                    n: difference.n,
                }
            }
        }
    }
}

/// What is left of stable's mean where so much may be lost.
fn factor(tolerance: Margin) -> f64 {
    match tolerance {
        Margin::Relative(x) => 1.0 - x,
        Margin::Absolute(_) => 1.0,
    }
}

/// The contrast over strata, weighted by matured canary exposures. Its error is the greater of that of strata without a user in
/// common and of what cells of users pull together.
pub(super) fn contrast(matured: &[Matured], tolerance: Margin) -> Option<Contrast> {
    let parts: Vec<Contrast> = matured.iter().map(|stratum| stratum.contrast(tolerance)).collect();
    let n: u64 = parts.iter().map(|part| part.n).sum();
    if n < MINIMUM_UNITS {
        return None;
    }
    let weight = |part: &Contrast| part.n as f64 / n as f64;
    let mean = |value: fn(&Contrast) -> f64| parts.iter().map(|part| weight(part) * value(part)).sum();
    let apart: f64 = parts.iter().map(|part| (weight(part) * part.standard_error).powi(2)).sum();
    let mut pulls = [0.0; CELLS];
    matured.iter().zip(&parts).for_each(|(stratum, part)| stratum.pull(tolerance, weight(part), &mut pulls));
    let groups = matured.iter().map(Matured::occupied).max().unwrap_or(0).max(2) as f64;
    let together = groups / (groups - 1.0) * pulls.iter().map(|pull| pull * pull).sum::<f64>();
    Some(Contrast {
        estimate: mean(|part| part.estimate),
        canary: mean(|part| part.canary),
        stable: mean(|part| part.stable),
        standard_error: apart.max(together).sqrt(),
        n,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What one gate on reward makes of a stratum when it reads the cells for itself.
    fn alone(stratum: &Stratum, tolerance: Margin, paired: bool) -> Option<[f64; 4]> {
        let (canary, stable, pair) = (&stratum.canary, &stratum.stable, &stratum.pair);
        let enough = |cells: &Cells| cells.occupied() >= MINIMUM_CELLS;
        if paired {
            let (difference, base) = (pair.difference.mean()?, pair.base.mean()?);
            let bound = match tolerance {
                Margin::Relative(x) => x * base,
                Margin::Absolute(x) => x,
            };
            let error = pair.difference.standard_error()?;
            return enough(&pair.difference).then_some([difference + bound, base + difference, base, error]);
        }
        let per_unit = |cells: &Cells| Some(cells.standard_error()?.powi(2) * cells.n() as f64);
        let variance = per_unit(canary)?.max(per_unit(stable)?);
        let (factor, bound) = match tolerance {
            Margin::Relative(x) => (1.0 - x, 0.0),
            Margin::Absolute(x) => (1.0, x),
        };
        let (of_canary, of_stable) = (canary.mean()?, stable.mean()?);
        let error = (variance / canary.n() as f64 + factor * factor * variance / stable.n() as f64).sqrt();
        (enough(canary) && enough(stable) && variance > 0.0).then_some([
            of_canary - factor * of_stable + bound,
            of_canary,
            of_stable,
            error,
        ])
    }

    fn cells() -> impl Strategy<Value = Cells> {
        prop::collection::vec((any::<u8>(), prop_oneof![Just(0.0), Just(1.0), -1.0..1.0_f64]), 0..150).prop_map(
            |values| {
                let mut cells = Cells::new();
                values.iter().for_each(|&(cell, value)| cells.record(cell, value));
                cells
            },
        )
    }

    proptest! {
        #[test]
        fn gates_that_share_the_means_find_what_each_would_alone(
            [canary, stable, difference, base] in prop::array::uniform4(cells()), x in 0.0..0.5_f64,
        ) {
            let stratum = Stratum { canary, stable, pair: Pair { difference, base } };
            for (paired, matured) in [(false, Matured::arms(&stratum)), (true, Matured::pair(&stratum))] {
                for tolerance in [Margin::Relative(x), Margin::Absolute(x)] {
                    let shared = matured.as_ref().map(|matured| matured.contrast(tolerance));
                    let shared = shared.map(|it| [it.estimate, it.canary, it.stable, it.standard_error].map(f64::to_bits));
                    let alone = alone(&stratum, tolerance, paired).map(|numbers| numbers.map(f64::to_bits));
                    prop_assert_eq!(shared, alone);
                }
            }
        }
    }

    /// 200 users of 256 cells, each with 20 exposures; of every other user all are rewarded.
    fn crowd(rewarded: u8) -> Cells {
        let mut cells = Cells::new();
        for user in 0..200_u8 {
            let value = f64::from(u8::from(user % 2 == rewarded));
            (0..20).for_each(|_| cells.record(user, value));
        }
        cells
    }

    #[test]
    fn the_same_users_under_three_weights_are_one_crowd() {
        let stratum = || Stratum { canary: crowd(0), stable: crowd(1), pair: Pair::default() };
        let paired = || {
            let mut stratum = stratum();
            (stratum.pair.difference, stratum.pair.base) = (crowd(0), crowd(1));
            stratum
        };
        for (of, strata) in [
            (Matured::arms as fn(&Stratum) -> Option<Matured>, [stratum(), stratum(), stratum()]),
            (Matured::pair, [paired(), paired(), paired()]),
        ] {
            for tolerance in [Margin::Relative(0.02), Margin::Absolute(0.01)] {
                let matured: Vec<Matured> = strata.iter().filter_map(of).collect();
                let [one, three] = [1, 3].map(|n| contrast(&matured[..n], tolerance).unwrap().standard_error);
                assert!((three / one - 1.0).abs() < 1e-9, "{tolerance:?}: {three}, and {one} of one stratum");
            }
        }
    }

    #[test]
    fn other_users_under_each_weight_make_it_surer() {
        let half = |from: u8| {
            let part = |parity: u8| {
                let mut cells = Cells::new();
                (from..from + 100).for_each(|user| cells.record(user, f64::from(u8::from(user % 2 == parity))));
                cells
            };
            Stratum { canary: part(0), stable: part(1), pair: Pair::default() }
        };
        let matured: Vec<Matured> = [half(0), half(100)].iter().filter_map(Matured::arms).collect();
        let [one, two] = [1, 2].map(|n| contrast(&matured[..n], Margin::Absolute(0.0)).unwrap().standard_error);
        assert!((two / one - 0.5_f64.sqrt()).abs() < 0.01, "{two}, and {one} of one stratum");
    }

    #[test]
    fn what_was_stored_when_all_cells_were_wide_is_read() {
        let text = r#"{"canary":[[3,2,750000],[200,1,1000000]],"stable":[[7,40000,9000000000]],
            "pair":{"difference":[[0,3,-250000]],"base":[]}}"#;
        let stratum: Stratum = serde_json::from_str(text).unwrap();
        assert_eq!((stratum.canary.n(), stratum.stable.sum(), stratum.pair.difference.sum()), (3, 9000.0, -0.25));
        let again = serde_json::to_string(&stratum).unwrap();
        assert_eq!(again, text.replace(char::is_whitespace, ""));
    }
}
