//! Tests of the sample-ratio check.

use proptest::prelude::*;

use super::*;

#[test]
fn golden_values() {
    let even = [0.5, 0.5];
    let table = [
        ([5000, 5300], even, [-0.025105396831349935, 2.0032682300243323, 2.770492147913501, 1.862908098490152]),
        ([4970, 5030], even, [-4.19947074745869, -2.1317989474173373, -1.035522856854186, -0.25658145512716146]),
        ([900, 9200], [0.1, 0.9], [2.342970349234747, 4.543599350878594, 5.085853186686563, 3.076176830436907]),
    ];
    for (counts, shares, expected) in table {
        for (k, expected) in [2.0, 100.0, 1000.0, 10_000.0].into_iter().zip(expected) {
            let value = ln_e(&counts, &shares, k);
            assert!((value - expected).abs() < 1e-8, "{value} {expected}");
        }
    }
}

#[test]
fn scale_of_the_shares_does_not_matter() {
    let percent = ln_e(&[900, 9200], &[10.0, 90.0], 1000.0);
    assert!((percent - ln_e(&[900, 9200], &[0.1, 0.9], 1000.0)).abs() < 1e-9);
}

#[test]
fn odd_inputs_have_an_answer() {
    assert_eq!(ln_e(&[], &[], 1000.0), 0.0);
    assert_eq!(ln_e(&[5, 5], &[0.5, 0.5], f64::NAN), 0.0);
    assert_eq!(ln_e(&[5, 5], &[f64::NAN, 0.0], 1000.0), 0.0);
    assert_eq!(ln_e(&[5, 5], &[1.0, 0.0], 1000.0), f64::INFINITY);
    assert_eq!(ln_e(&[5, 5], &[1.0], 1000.0), f64::INFINITY);
    assert!(ln_e(&[5, 0], &[1.0], 1000.0).abs() < 1e-9);
    assert!(ln_e(&[0, 0], &[0.5, 0.5], 1000.0).abs() < 1e-9);
    assert!((LN_E_FAIL - 1000.0_f64.ln()).abs() < 1e-15);
    assert!(ln_e(&[8000, 2000], &[0.5, 0.5], 1000.0) > LN_E_FAIL);
}

#[test]
fn chi_square_beside_it() {
    // Reference 3.4.
    let table = [
        ([5000, 5300], [0.5, 0.5], 0.003116693839866867),
        ([4970, 5030], [0.5, 0.5], 0.5485062355001471),
        ([900, 9200], [0.1, 0.9], 0.0002638070113647653),
    ];
    for (counts, shares, p) in table {
        assert!((chi_square_p(&counts, &shares) - p).abs() < 1e-12);
    }
    assert_eq!(chi_square_p(&[], &[]), 1.0);
    assert_eq!(chi_square_p(&[0, 0], &[0.5, 0.5]), 1.0);
    assert_eq!(chi_square_p(&[5], &[1.0]), 1.0);
    assert_eq!(chi_square_p(&[5, 1], &[1.0]), 0.0);
    assert_eq!(chi_square_p(&[u64::MAX, 1], &[0.5, 0.5]), 0.0);
    assert!(chi_square_p(&[500, 0], &[0.5, 0.5]) < 1e-90);
}

#[test]
fn stages_multiply_and_remember() {
    let mut check = SampleRatio::new(&[0.1, 0.9]);
    check.update(&[400, 4000]);
    check.update(&[500, 5200]);
    assert!((check.ln_e() - 5.085853186686563).abs() < 1e-8);
    check.stage(&[0.5, 0.5]);
    assert!((check.ln_e() - 5.085853186686563).abs() < 1e-8, "no users yet, no new evidence");
    check.update(&[5000, 5300]);
    assert!((check.ln_e() - 5.085853186686563 - 2.770492147913501).abs() < 1e-8);
    assert!(check.fails());
    let text = check.sentence();
    assert!(text.starts_with("users do not arrive") && text.contains("0.0031"), "{text}");
    check.stage(&[0.5, 0.5]);
    check.update(&[50_000, 50_000]);
    assert!(check.fails(), "what was proved stays proved");
    let back: SampleRatio = serde_json::from_str(&serde_json::to_string(&check).unwrap()).unwrap();
    assert_eq!(back, check);
}

#[test]
fn a_fair_split_says_so() {
    let mut check = SampleRatio::new(&[0.25, 0.75]);
    assert_eq!(check.sentence(), "no users yet under the shares in force");
    check.update(&[1010, 2990]);
    assert!(!check.fails());
    assert!(check.sentence().starts_with("users arrive in the shares set"), "{}", check.sentence());
}

proptest! {
    #[test]
    fn no_input_makes_a_nan(counts in prop::collection::vec(any::<u64>(), 0..4), shares in prop::collection::vec(prop::num::f64::ANY, 0..4)) {
        prop_assert!(!ln_e(&counts, &shares, 1000.0).is_nan());
        prop_assert!(!chi_square_p(&counts, &shares).is_nan());
        let mut check = SampleRatio::new(&shares);
        check.update(&counts);
        check.stage(&shares);
        check.update(&counts);
        prop_assert!(!check.ln_e().is_nan());
    }
}
