//! Tests of the combination of gates.

use proptest::prelude::*;

use super::*;
use crate::verdict::{LnE, RateGate};

fn verdict(harm: f64, non_inferior: f64, better: f64) -> Verdict {
    let ln_e = LnE { harm, non_inferior, better };
    Verdict { now: ln_e, most: ln_e, outcome: ln_e.outcome(0.05), ..RateGate::new(0.1, 0.05).verdict("gate") }
}

#[test]
fn harm_is_the_weighted_total() {
    let mut family = Family::equal(0.05, 2);
    // Neither reaches ln(1/.025) = 3.69, but their mean reaches 20.
    let judged = family.judge(&[verdict(3.1, 0.0, 0.0), verdict(3.2, 0.0, 0.0)]);
    assert_eq!(judged.outcome, Outcome::Harmful);
    assert!((judged.ln_e - ((3.1_f64.exp() + 3.2_f64.exp()) / 2.0).ln()).abs() < 1e-12);
    assert_eq!(judged.gates, [1], "the greater share is to blame");
    assert!(judged.sentence.starts_with("harm is proved at 5 % over all gates"), "{}", judged.sentence);
    // What was proved stays proved.
    assert_eq!(family.judge(&[verdict(0.0, 9.0, 9.0), verdict(0.0, 9.0, 9.0)]).outcome, Outcome::Harmful);
    let judged = Family::equal(0.05, 2).judge(&[verdict(3.8, 0.0, 0.0), verdict(-50.0, 9.0, 9.0)]);
    assert_eq!((judged.outcome, judged.gates), (Outcome::Harmful, vec![0]), "no less than splitting the level");
}

#[test]
fn promotion_needs_every_gate_and_better_a_share_of_the_level() {
    let judge = |a: Verdict, b: Verdict| {
        let judged = Family::equal(0.05, 2).judge(&[a, b]);
        (judged.outcome, judged.gates)
    };
    assert_eq!(judge(verdict(0.0, 3.1, 0.0), verdict(0.0, 3.0, 0.0)), (Outcome::NonInferior, vec![]));
    assert_eq!(judge(verdict(0.0, 3.1, 0.0), verdict(0.0, 2.9, 0.0)), (Outcome::Inconclusive, vec![1]));
    assert_eq!(judge(verdict(0.0, 5.0, 3.5), verdict(0.0, 5.0, 0.0)), (Outcome::NonInferior, vec![]));
    assert_eq!(judge(verdict(0.0, 5.0, 3.7), verdict(0.0, 5.0, 0.0)), (Outcome::Better, vec![0]));
}

#[test]
fn odd_families_prove_nothing() {
    let proof = || verdict(0.0, 9.0, 9.0);
    assert_eq!(Family::equal(0.05, 0).judge(&[]).outcome, Outcome::Inconclusive);
    let missing = Family::equal(0.05, 2).judge(&[proof()]);
    assert_eq!(missing.outcome, Outcome::Inconclusive);
    assert!(missing.sentence.contains("1 of 2 gates"), "{}", missing.sentence);
    for alpha in [0.0, 1.0, f64::NAN] {
        assert_eq!(Family::equal(alpha, 1).judge(&[verdict(1e9, 9.0, 9.0)]).outcome, Outcome::Inconclusive);
    }
    let mut weightless = Family::new(0.05, &[0.0, -1.0, f64::NAN, 2.0]);
    assert_eq!(weightless.alpha_of(3), 0.05);
    assert_eq!((weightless.alpha_of(0), weightless.alpha_of(9)), (0.0, 0.0));
    let judged = weightless.judge(&[verdict(99.0, 9.0, 0.0), proof(), proof(), proof()]);
    assert_eq!(judged.outcome, Outcome::Better, "a gate without weight proves no harm");
}

#[test]
fn e_bh_by_hand() {
    // m = 4, q = .1: the k-th greatest needs 40/k.
    let e = [41.0_f64, 1.0, 21.0, 13.0].map(f64::ln);
    assert_eq!(e_benjamini_hochberg(&e, 0.1), [true, false, true, false]);
    let e = [14.0_f64, 1.0, 14.0, 13.5].map(f64::ln);
    assert_eq!(e_benjamini_hochberg(&e, 0.1), [true, false, true, true]);
    assert_eq!(e_benjamini_hochberg(&[9.0, f64::NAN], 0.1), [true, false]);
    assert!(e_benjamini_hochberg(&[], 0.1).is_empty());
    assert_eq!(e_benjamini_hochberg(&[9.0], f64::NAN), [false]);
}

#[test]
fn a_p_value_becomes_evidence() {
    // Reference 3.5.
    assert!((ln_e_of_p(0.01) - 4.45099226008582_f64.ln()).abs() < 1e-12);
    let values: Vec<f64> = [1e-300, 1e-5, 0.5, 0.9998, 0.999_900_1, 0.999_999_9].map(ln_e_of_p).to_vec();
    assert!(values.windows(2).all(|pair| pair[0] > pair[1]), "{values:?}");
    assert!((values[3] - values[4]).abs() < 1e-4);
    assert_eq!([0.0, 1.0, -1.0, f64::NAN].map(ln_e_of_p), [0.0; 4]);
}

proptest! {
    /// The total proves at least what a split of the level does, and at most what the greatest evidence does.
    #[test]
    fn the_total_is_between_its_parts(ln_es in prop::collection::vec(-1e3..1e3_f64, 1..6)) {
        let weight = 1.0 / ln_es.len() as f64;
        let total = ln_weighted(ln_es.iter().copied(), std::iter::repeat(weight));
        let greatest = ln_es.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        prop_assert!(total <= greatest + 1e-9 && total >= greatest + weight.ln() - 1e-9);
    }

    #[test]
    fn no_evidence_makes_a_nan(ln_es in prop::collection::vec(prop::num::f64::ANY, 0..6), weights in prop::collection::vec(prop::num::f64::ANY, 0..6)) {
        let mut family = Family::new(0.05, &weights);
        let verdicts: Vec<Verdict> = ln_es.iter().map(|&e| verdict(e, e, e)).collect();
        let judged = family.judge(&verdicts);
        prop_assert!(!judged.ln_e.is_nan());
        prop_assert_eq!(e_benjamini_hochberg(&ln_es, 0.1).len(), ln_es.len());
    }
}
