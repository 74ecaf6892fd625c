//! Known values, and the rule on invented features.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::Stream;

const A: [u64; 10] = [100; 10];
const B: [u64; 10] = [107, 110, 74, 80, 67, 74, 72, 60, 76, 80];

#[track_caller]
fn close(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} {expected}");
}

#[test]
fn golden_values() {
    close(psi(&A, &B), 0.03389409624480151, 1e-14);
    close(psi_noise_floor(1000, 800, 10), 0.06272362096032728, 1e-10);
    close(chi_square_p(&A, &B), 0.0844151400844236, 1e-10);
}

#[test]
fn odd_counts_have_an_answer() {
    assert_eq!(psi(&[0, 0], &[5, 5]), 0.0);
    assert_eq!(psi(&[], &[]), 0.0);
    assert_eq!(psi(&[5, 5], &[5, 5, 0]), psi(&[5, 5, 0], &[5, 5]));
    assert_eq!(psi_noise_floor(10, 10, 1), 0.0);
    assert!(psi_noise_floor(0, 10, 5).is_finite());
    assert_eq!(chi_square_p(&[10, 0], &[0, 0]), 1.0);
    assert_eq!(chi_square_p(&[3], &[9]), 1.0);
    assert_eq!(chi_square_p(&[], &[]), 1.0);
    assert!(chi_square_p(&[u64::MAX, 0], &[0, u64::MAX]) < 1e-9);
}

#[test]
fn small_bins_are_pooled() {
    // The three small bins hold too little even together and join the smallest other one.
    let pooled = pool_small_bins(&[50, 1, 1, 40, 0], &[50, 1, 0, 41, 1]);
    assert_eq!(pooled, [(50.0, 50.0), (42.0, 43.0)]);
    let pooled = pool_small_bins(&[50, 4, 4, 4], &[50, 4, 4, 4]);
    assert_eq!(pooled, [(50.0, 50.0), (12.0, 12.0)]);
    close(chi_square_p(&[50, 4, 4, 4, 0], &[50, 2, 3, 2, 0]), chi_square_p(&[50, 12], &[50, 7]), 0.0);
}

#[test]
fn benjamini_hochberg_table() {
    // The 15 p-values of the 1995 paper: the four smallest are significant at 5 %.
    let paper = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590,
        1.0000,
    ];
    let found = benjamini_hochberg(&paper, 0.05);
    assert_eq!(found.iter().filter(|&&f| f).count(), 4);
    assert!(found[..4].iter().all(|&f| f));
    // A step-up procedure: .04 fails its own step for rank 1, but rank 2 passes.
    assert_eq!(benjamini_hochberg(&[0.04, 0.04], 0.05), [true, true]);
    assert_eq!(benjamini_hochberg(&[f64::NAN, 0.01], 0.05), [false, true]);
    assert!(benjamini_hochberg(&[], 0.05).is_empty());
}

fn feature<'a>(name: &'a str, reference: &'a [u64], current: &'a [u64]) -> FeatureCounts<'a> {
    FeatureCounts { name, is_score: false, reference, current }
}

const SAME: [u64; 4] = [5000, 5000, 5000, 5000];
const MOVED: [u64; 4] = [400, 900, 1500, 2400];
const STILL: [u64; 4] = [1010, 990, 1005, 995];
const SLIGHTLY: [u64; 4] = [700, 900, 1100, 1300];

#[test]
fn a_moved_feature_alarms_and_says_so() {
    let report =
        assess(&DriftRule::default(), &[feature("consumed items", &SAME, &MOVED), feature("country", &SAME, &STILL)]);
    assert!(report.alarm && report.enough);
    assert!(report.features[0].alarming && !report.features[1].alarming);
    let psi = report.features[0].psi;
    assert_eq!(
        report.sentence(),
        format!("consumed items moved: PSI {psi:.2} against 0.25 (noise floor 0.00, 5200 against 20000 events)")
    );
}

#[test]
fn one_of_many_is_no_alarm_unless_it_is_the_score() {
    let mut features = vec![feature("score", &SAME, &MOVED)];
    features.extend((0..9).map(|_| feature("other", &SAME, &STILL)));
    let report = assess(&DriftRule::default(), &features);
    assert!(!report.alarm && report.features[0].alarming);
    assert!(report.sentence().starts_with("too few features for an alarm: score moved: "));
    features[0].is_score = true;
    let report = assess(&DriftRule::default(), &features);
    assert!(report.alarm);
    assert!(report.sentence().starts_with("score moved: "));
}

#[test]
fn a_slight_move_warns_and_no_move_is_no_drift() {
    let rule = DriftRule { warn: 0.04, ..DriftRule::default() };
    let report = assess(&rule, &[feature("price", &SAME, &SLIGHTLY)]);
    assert!(!report.alarm && report.features[0].warning && !report.features[0].alarming);
    assert!(report.sentence().starts_with("price moved a little: PSI 0.05 against 0.25"));
    let report = assess(&rule, &[feature("price", &SAME, &STILL)]);
    assert_eq!(
        report.sentence(),
        "no drift: largest is price: PSI 0.00 against 0.25 (noise floor 0.00, 4000 against 20000 events)"
    );
}

#[test]
fn too_little_is_never_an_alarm() {
    let few = [10, 20, 200, 700];
    let report = assess(&DriftRule::default(), &[feature("price", &SAME, &few)]);
    assert!(!report.alarm && !report.enough && !report.features[0].alarming);
    assert_eq!(report.sentence(), "too few events to judge drift: 930, needs 1000");
    let report = assess(&DriftRule::default(), &[feature("new", &[0; 4], &MOVED)]);
    assert!(!report.alarm && !report.enough);
    let report = assess(&DriftRule::default(), &[]);
    assert!(!report.alarm && !report.enough);
}

#[test]
fn the_reference_sample_is_below_the_rule() {
    let rule = DriftRule { minimum: 800, ..DriftRule::default() };
    let report = assess(&rule, &[feature("b", &A, &B)]);
    assert!(report.enough && !report.alarm && !report.features[0].warning);
}

#[test]
fn clean_windows_do_not_alarm() {
    let mut stream = Stream::new(11);
    let mut draw = |n: u32| {
        let mut counts = [0_u64; 10];
        (0..n).for_each(|_| counts[(stream.uniform() * 10.0) as usize] += 1);
        counts
    };
    let reference = draw(20_000);
    for _ in 0..20 {
        let windows: Vec<_> = (0..10).map(|_| draw(1000)).collect();
        let features: Vec<_> = windows.iter().map(|w| feature("clean", &reference, w)).collect();
        let report = assess(&DriftRule::default(), &features);
        assert!(report.features.iter().all(|f| !f.alarming && !f.warning));
    }
}

#[test]
fn many_features_are_named_briefly_and_a_report_survives_json() {
    let names = ["a", "b", "c", "d", "e"];
    let features = names.map(|name| feature(name, &SAME, &MOVED));
    let report = assess(&DriftRule::default(), &features);
    assert!(report.sentence().ends_with("; and 4 more"));
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<DriftReport>(&text).unwrap(), report);
}

#[test]
fn two_of_three_windows() {
    let mut persistence = Persistence::default();
    let pushed = [true, false, true, false, false, true, true];
    let holds = pushed.map(|happened| {
        persistence.push(happened);
        persistence.holds()
    });
    assert_eq!(holds, [false, false, true, false, false, false, true]);
    assert_eq!(persistence.recent.len(), 3);
    assert_eq!(Persistence::new(9, 2).needed, 2);
    assert!(!Persistence::new(0, 0).holds());
}

proptest! {
    #[test]
    fn psi_is_symmetric_up_to_smoothing_and_never_negative(
        a in prop::collection::vec(0..10_000_u64, 6), b in prop::collection::vec(0..10_000_u64, 6),
    ) {
        prop_assert!(psi(&a, &b) >= 0.0);
        prop_assert!((psi(&a, &b) - psi(&b, &a)).abs() < 1e-12);
        let p = chi_square_p(&a, &b);
        prop_assert!((0.0..=1.0).contains(&p));
        prop_assert!((p - chi_square_p(&b, &a)).abs() < 1e-9);
    }
}
