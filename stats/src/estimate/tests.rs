//! The values of NannyML's own tests, and odd scores.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::Stream;

// How often each score 0.00, 0.01 … 1.00 is in the synthetic sample that comes with NannyML 0.13.1 (Apache-2.0): the
// reference and its positive labels, and rows 0 to 19999 and 20000 to 49999 of the analysis.
const REFERENCE: [u32; 101] = [
    3803, 3929, 3264, 2488, 1896, 1465, 1080, 941, 698, 565, 410, 381, 375, 309, 238, 200, 195, 164, 143, 146, 122,
    116, 118, 109, 110, 82, 81, 80, 71, 76, 56, 75, 72, 54, 57, 79, 69, 62, 73, 52, 57, 50, 69, 53, 60, 62, 50, 42, 55,
    56, 56, 52, 66, 54, 42, 51, 50, 64, 53, 59, 66, 63, 66, 68, 79, 77, 85, 69, 90, 90, 99, 86, 112, 107, 104, 128,
    122, 117, 134, 147, 143, 186, 186, 184, 212, 244, 241, 353, 393, 417, 503, 609, 745, 958, 1144, 1536, 1863, 2587,
    3236, 3751, 3195,
];
const REFERENCE_POSITIVES: [u32; 101] = [
    84, 97, 87, 77, 49, 36, 43, 26, 24, 24, 13, 16, 21, 21, 6, 12, 20, 14, 14, 14, 17, 9, 9, 13, 13, 13, 16, 13, 6, 15,
    9, 15, 21, 12, 7, 21, 20, 16, 26, 16, 18, 19, 29, 18, 25, 30, 23, 20, 30, 29, 27, 29, 39, 33, 18, 24, 24, 38, 33,
    35, 39, 43, 50, 54, 60, 55, 60, 52, 64, 68, 73, 74, 94, 90, 85, 103, 106, 100, 117, 132, 129, 172, 170, 165, 196,
    225, 228, 329, 375, 387, 478, 588, 720, 928, 1116, 1492, 1809, 2516, 3151, 3655, 3105,
];
const FIRST: [u32; 101] = [
    1497, 1595, 1274, 1013, 744, 606, 466, 324, 321, 244, 164, 163, 120, 108, 95, 87, 65, 71, 59, 48, 51, 56, 39, 47,
    44, 37, 49, 34, 30, 34, 24, 29, 36, 32, 20, 23, 25, 35, 35, 22, 28, 25, 15, 21, 25, 23, 21, 20, 23, 18, 17, 21, 19,
    24, 17, 28, 20, 32, 23, 21, 24, 22, 32, 28, 29, 26, 29, 27, 31, 29, 38, 33, 35, 44, 54, 46, 45, 62, 53, 52, 48, 79,
    68, 63, 91, 98, 100, 131, 141, 163, 216, 252, 319, 359, 496, 595, 852, 1034, 1208, 1486, 1255,
];
const SECOND: [u32; 101] = [
    1208, 1454, 1308, 1124, 970, 774, 673, 607, 504, 431, 362, 373, 342, 283, 263, 211, 212, 215, 170, 176, 172, 140,
    139, 119, 113, 124, 85, 98, 104, 92, 95, 71, 86, 84, 80, 85, 75, 69, 89, 60, 79, 69, 66, 66, 78, 56, 74, 67, 68,
    60, 50, 60, 53, 61, 57, 62, 68, 79, 64, 60, 67, 75, 72, 75, 84, 73, 104, 83, 113, 95, 94, 89, 111, 129, 113, 101,
    137, 150, 167, 156, 205, 189, 227, 226, 266, 298, 302, 368, 397, 455, 465, 533, 592, 712, 765, 815, 1064, 1247,
    1398, 1419, 1032,
];

fn score(hundredths: usize) -> f64 {
    hundredths as f64 / 100.0
}

fn scores(counts: &[u32; 101]) -> Vec<f64> {
    counts.iter().enumerate().flat_map(|(i, &n)| std::iter::repeat_n(score(i), n as usize)).collect()
}

fn reference() -> Vec<(f64, bool)> {
    let labelled = REFERENCE.iter().zip(REFERENCE_POSITIVES).enumerate();
    labelled.flat_map(|(i, (&n, positives))| (0..n).map(move |k| (score(i), k < positives))).collect()
}

#[track_caller]
fn close(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} {expected}");
}

/// NannyML's tests long expected the curve with one more score, a certain positive. Version 0.13.1 has dropped that;
/// it rounds the curve to 5 decimals instead.
fn auc_of_older_versions(advice: &Advice) -> f64 {
    let positives = advice.true_positives + advice.false_negatives;
    (advice.auc.unwrap() * positives + 1.0) / (positives + 1.0)
}

#[test]
fn golden_estimates() {
    let calibrator = Calibrator::fit(&reference()).unwrap();
    // The sample's predictions are those from 0.48.
    let first = estimate(&scores(&FIRST), Some(&calibrator), 0.48).unwrap();
    close(auc_of_older_versions(&first), 0.9711057564966745, 1e-12);
    close(first.auc.unwrap(), 0.9711028571137201, 1e-9);
    close(first.f1(), 0.9479079222515973, 1e-12);
    close(first.precision(), 0.9436121782324026, 1e-12);
    close(first.recall(), 0.9522429574319092, 1e-12);
    close(first.specificity(), 0.9434949869571513, 1e-12);
    close(first.accuracy(), 0.9478536003143163, 1e-12);
    let second = estimate(&scores(&SECOND), Some(&calibrator), 0.48).unwrap();
    close(auc_of_older_versions(&second), 0.9636286015592977, 1e-12);
    close(second.auc.unwrap(), 0.9636262598813325, 1e-9);
    close(second.accuracy(), 0.9245926106862006, 1e-12);
    close(second.true_positives, 14537.180201036117, 1e-8);
    close(second.false_positives, 1267.8197989638852, 1e-8);
    close(second.false_negatives, 994.4018804500995, 1e-8);
    close(second.true_negatives, 13200.5981195499, 1e-8);
    let sentence = second.sentence();
    assert!(sentence.starts_with("estimated without labels from 30000 scores: rate 0.5177, log-loss"), "{sentence}");
    assert!(sentence.ends_with("AUC 0.9636, accuracy 0.9246; advice only, blind to concept drift"), "{sentence}");
}

#[test]
fn calibration_only_where_it_helps() {
    // NannyML calibrates this sample; scores that are true probabilities are left alone.
    assert_eq!(Calibrator::fit_if_better(&reference(), 42), Calibrator::fit(&reference()));
    let mut stream = Stream::new(9);
    let mut draw = |power: i32| -> Vec<(f64, bool)> {
        let labelled = |_| {
            let p = stream.uniform();
            (p, stream.uniform() < p.powi(power))
        };
        (0..3000).map(labelled).collect()
    };
    let (good, bad) = (draw(1), draw(3));
    assert_eq!(Calibrator::fit_if_better(&good, 1), None);
    let calibrator = Calibrator::fit_if_better(&bad, 1).unwrap();
    close(calibrator.calibrate(0.5), 0.125, 0.05);
    assert_eq!(Calibrator::fit_if_better(&[], 1), None);
}

#[test]
fn violators_are_pooled() {
    let labelled = [(1.0, false), (2.0, true), (3.0, false), (3.0, false), (4.0, true), (f64::NAN, true)];
    let calibrator = Calibrator::fit(&labelled).unwrap();
    // 2 and 3 share a third of a click.
    let table = [(0.0, 0.0), (1.0, 0.0), (1.5, 1.0 / 6.0), (2.0, 1.0 / 3.0), (2.7, 1.0 / 3.0), (3.0, 1.0 / 3.0)];
    table.into_iter().for_each(|(score, expected)| close(calibrator.calibrate(score), expected, 1e-15));
    assert_eq!((calibrator.calibrate(9.0), calibrator.calibrate(f64::NAN)), (1.0, 0.0));
    assert_eq!(Calibrator::fit(&[(f64::NAN, true)]), None);
}

#[test]
fn odd_scores_have_an_answer() {
    assert_eq!(estimate(&[], None, 0.5), None);
    assert_eq!(estimate(&[f64::NAN, f64::INFINITY], None, 0.5), None);
    let sure = estimate(&[1.0, 2.0, f64::NAN], None, 0.5).unwrap();
    assert_eq!((sure.n, sure.positive_rate, sure.log_loss, sure.auc), (2, 1.0, 0.0, None));
    assert_eq!((sure.accuracy(), sure.recall(), sure.specificity()), (1.0, 1.0, 0.0));
    let right = estimate(&[0.0, 1.0], None, f64::NAN).unwrap();
    assert_eq!((right.auc, right.precision(), right.f1()), (Some(1.0), 0.0, 0.0));
}

proptest! {
    #[test]
    fn the_estimate_is_the_mean_over_labels_drawn_from_the_scores(p in prop::collection::vec(0.0..1.0_f64, 1..60)) {
        let advice = estimate(&p, None, 0.5).unwrap();
        let n = p.len() as f64;
        prop_assert!((advice.positive_rate - p.iter().sum::<f64>() / n).abs() < 1e-12);
        let total = advice.true_positives + advice.false_positives + advice.false_negatives + advice.true_negatives;
        prop_assert!((total - n).abs() < 1e-9);
        // P(wrong) = |predicted - p|.
        let wrong: f64 = p.iter().map(|&p| (f64::from(u8::from(p >= 0.5)) - p).abs()).sum();
        prop_assert!((advice.accuracy() - (1.0 - wrong / n)).abs() < 1e-9);
        // The concordance, pair by pair, each score with itself as half a tie.
        let pair = |i: usize, j: usize| {
            let order = f64::from(u8::from(p[i] > p[j])) + f64::from(u8::from(p[i] == p[j])) / 2.0;
            (p[i] * (1.0 - p[j]), order)
        };
        let pairs = (0..p.len()).flat_map(|i| (0..p.len()).map(move |j| pair(i, j)));
        let (hits, all) = pairs.fold((0.0, 0.0), |(hits, all), (weight, order)| (hits + weight * order, all + weight));
        if let Some(auc) = advice.auc {
            prop_assert!((auc - hits / all).abs() < 1e-9);
        }
    }

    #[test]
    fn calibration_rises_within_the_unit_and_survives_json(
        labelled in prop::collection::vec((prop_oneof![any::<f64>(), (0..5_i32).prop_map(f64::from)], any::<bool>()), 1..60),
        probes in prop::collection::vec(any::<f64>(), 2),
    ) {
        let Some(calibrator) = Calibrator::fit(&labelled) else { return Ok(()) };
        let text = serde_json::to_string(&calibrator).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Calibrator>(&text).unwrap(), &calibrator);
        let (low, high) = (probes[0].min(probes[1]), probes[0].max(probes[1]));
        let (p, q) = (calibrator.calibrate(low), calibrator.calibrate(high));
        prop_assert!(0.0 <= p && p <= q && q <= 1.0, "{p} {q}");
        // Fitting what was fitted changes nothing: the mean of the labels is kept.
        let finite: Vec<_> = labelled.iter().filter(|l| l.0.is_finite()).collect();
        let fitted: f64 = finite.iter().map(|l| calibrator.calibrate(l.0)).sum();
        prop_assert!((fitted - finite.iter().filter(|l| l.1).count() as f64).abs() < 1e-9);
    }
}
