//! Golden values (reference 3.9 and 4), and trends over invented retrainings.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::Stream;

#[track_caller]
fn close(value: Option<f64>, expected: f64, tolerance: f64) {
    assert!(value.is_some_and(|x| (x - expected).abs() <= tolerance), "{value:?} {expected}");
}

const SHOWN: [u64; 10] = [50, 30, 10, 5, 3, 1, 1, 0, 0, 0];

#[test]
fn golden_values() {
    close(gini(&SHOWN), 0.724, 1e-15);
    close(gini(&SHOWN).map(|g| g * 10.0 / 9.0), 0.8044444444444445, 1e-15);
    close(gini(&SHOWN[..7]).map(|g| g * 7.0 / 6.0), 0.7066666666666667, 1e-15);
    close(coverage(&SHOWN), 0.7, 0.0);
    close(topic_entropy(&SHOWN.map(|n| n as f64)), 1.8540228269500678, 1e-14);
}

#[test]
fn as_other_tools_test_it() {
    // Evidently: three users with four items each; Gini .2 with m − 1.
    close(personalisation(&[3, 3, 3, 2, 1], 3, 4), 0.16666666, 1e-8);
    close(gini(&[1, 2, 2]).map(|g| g * 3.0 / 2.0), 0.2, 1e-15);
    // RecTools: items known to 3 and 1 of 3 users, and one to nobody.
    close(novelty(&[0], 3), 1.5849625, 1e-7);
    close(novelty(&[1, 0], 3), 1.5849625, 1e-7);
    close(novelty(&[3, 1], 3), 0.79248125, 1e-7);
    // Evidently leaves cold items out: the mean of two users.
    close(Some((novelty(&[1], 3).unwrap() + novelty(&[3, 1], 3).unwrap()) / 2.0), 1.188722, 1e-6);
    // RecTools, Hamming distance of two features.
    let features = [[0, 0], [0, 1], [1, 1]];
    let hamming = |i: usize, j: usize| (0..2).filter(|&f| features[i][f] != features[j][f]).count() as f64;
    close(intra_list_distance(2, hamming), 1.0, 0.0);
    close(intra_list_distance(3, hamming), 1.33333333, 1e-8);
}

#[test]
fn by_hand() {
    close(miscalibration(&[0.5, 0.5], &[1.0, 0.0]), 0.5 * (0.5 / 0.995_f64).ln() + 0.5 * 100.0_f64.ln(), 1e-14);
    close(miscalibration(&[2.0, 6.0], &[1.0, 3.0]), 0.0, 1e-15);
    assert_eq!(exposure_ratios(&[3.0, 1.0, 0.0], &[1.0, 1.0, 0.0]), [Some(1.5), Some(0.5), None]);
    assert_eq!(exposure_ratios(&[0.0], &[1.0]), []);
}

#[test]
fn nothing_says_nothing() {
    assert_eq!((coverage(&[]), gini(&[]), gini(&[0, 0])), (None, None, None));
    assert_eq!((intra_list_distance(1, |_, _| 1.0), intra_list_distance(0, |_, _| 1.0)), (None, None));
    assert_eq!(intra_list_distance(3, |_, _| f64::NAN), None);
    assert_eq!((novelty(&[], 3), novelty(&[1], 0)), (None, None));
    assert_eq!((personalisation(&[1], 1, 1), personalisation(&[1], 5, 0)), (None, None));
    assert_eq!((topic_entropy(&[f64::NAN, -1.0, 0.0]), miscalibration(&[0.0], &[1.0])), (None, None));
    assert_eq!(gini(&[u64::MAX, u64::MAX]), Some(0.0));
    assert_eq!(topic_entropy(&[f64::MAX, f64::MAX]), Some(1.0));
}

#[test]
fn personalisation_is_the_mean_over_pairs() {
    let mut stream = Stream::new(8);
    let (k, items) = (5, 20);
    let lists: Vec<Vec<usize>> = (0..30)
        .map(|_| {
            let mut all: Vec<(f64, usize)> = (0..items).map(|i| (stream.uniform() * (i + 3) as f64, i)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            all[..k].iter().map(|x| x.1).collect()
        })
        .collect();
    let mut shown = vec![0; items];
    lists.iter().flatten().for_each(|&i| shown[i] += 1);
    let overlap = |a: &[usize], b: &[usize]| a.iter().filter(|i| b.contains(i)).count() as f64 / k as f64;
    let pairs = (0..30).flat_map(|i| (i + 1..30).map(move |j| (i, j)));
    let mean = pairs.map(|(i, j)| overlap(&lists[i], &lists[j])).sum::<f64>() / 435.0;
    close(personalisation(&shown, 30, k as u64), 1.0 - mean, 1e-12);
}

#[test]
fn thinning_keeps_the_number_and_the_proportions() {
    let thinned = thin(&SHOWN, 40, 1);
    assert_eq!(thinned.iter().sum::<u64>(), 40);
    assert!(thinned.iter().zip(&SHOWN).all(|(part, all)| part <= all));
    assert_eq!(thinned, thin(&SHOWN, 40, 1));
    assert_ne!(thinned, thin(&SHOWN, 40, 2));
    assert_eq!(thin(&SHOWN, 1000, 3), SHOWN);
    assert_eq!(thin(&SHOWN, 0, 3), [0; 10]);
    let first: u64 = (0..2000).map(|seed| thin(&SHOWN, 40, seed)[0]).sum();
    close(Some(first as f64 / 2000.0), 20.0, 0.25);
}

fn retrainings(stream: &mut Stream, n: usize, slope: f64, memory: f64) -> Vec<f64> {
    let mut noise = 0.0;
    let step = |i| {
        noise = memory * noise + (0..12).map(|_| stream.uniform() - 0.5).sum::<f64>();
        3.0 + slope * i as f64 + 0.1 * noise
    };
    (0..n).map(step).collect()
}

#[test]
fn a_narrowing_loop_is_seen() {
    let falling = retrainings(&mut Stream::new(21), 26, -0.03, 0.3);
    let found = trend(&falling, 0.05).unwrap();
    assert!(found.upper < 0.0 && found.lower < -0.03 && found.n == 26, "{found:?}");
    let sentence = found.sentence("topic entropy");
    assert!(
        sentence.starts_with("topic entropy falls: the feedback loop narrows") && sentence.contains("26 retrainings")
    );
    let rising = trend(&falling.iter().map(|x| -x).collect::<Vec<_>>(), 0.05).unwrap();
    assert!(rising.sentence("coverage").starts_with("coverage rises (+0.0"));
    let constant = trend(&[1.0; 8], 0.05).unwrap();
    assert_eq!((constant.slope, constant.lower, constant.upper), (0.0, 0.0, 0.0));
    assert!(constant.sentence("x").contains("has no clear trend"));
    assert_eq!(trend(&[1.0; 7], 0.05), None);
    assert_eq!(trend(&[f64::NAN; 9], 0.05), None);
    assert_eq!(trend(&[1.0; 9], 0.0), None);
}

#[test]
fn without_a_trend_one_is_rarely_seen() {
    let mut stream = Stream::new(22);
    // Independent noise keeps the level; noise that remembers costs a little of it, more with few retrainings.
    for (n, memory, most) in [(8, 0.0, 0.08), (12, 0.0, 0.08), (26, 0.0, 0.08), (52, 0.3, 0.11)] {
        let runs = 500;
        let wrong = (0..runs).filter(|_| {
            let found = trend(&retrainings(&mut stream, n, 0.0, memory), 0.05).unwrap();
            found.lower > 0.0 || found.upper < 0.0
        });
        let share = wrong.count() as f64 / f64::from(runs);
        assert!(share <= most, "n {n}, memory {memory}: {share}");
    }
}

proptest! {
    #[test]
    fn bounds_and_invariance(mut shown in prop::collection::vec(0..1000_u64, 1..40), by in 2..9_u64) {
        let scaled: Vec<u64> = shown.iter().map(|n| n * by).collect();
        prop_assert_eq!(gini(&shown).is_some(), gini(&scaled).is_some());
        if let (Some(g), Some(other)) = (gini(&shown), gini(&scaled)) {
            prop_assert!((0.0..1.0).contains(&g) && (g - other).abs() < 1e-12);
            shown.reverse();
            prop_assert_eq!(gini(&shown), Some(g));
            let weights: Vec<f64> = shown.iter().map(|&n| n as f64).collect();
            let bits = topic_entropy(&weights).unwrap();
            prop_assert!(bits >= 0.0 && bits <= (shown.len() as f64).log2() + 1e-9);
            prop_assert_eq!(miscalibration(&weights, &weights).map(|x| x < 1e-12), Some(true));
        }
    }

    #[test]
    fn never_nan(values in prop::collection::vec(any::<f64>(), 0..20), other in prop::collection::vec(any::<f64>(), 0..20)) {
        let found = [topic_entropy(&values), miscalibration(&values, &other)];
        prop_assert!(found.iter().flatten().all(|x| x.is_finite() && *x >= 0.0), "{found:?}");
        prop_assert!(exposure_ratios(&values, &other).iter().flatten().all(|x| x.is_finite()));
        if let Some(t) = trend(&values, 0.05) {
            prop_assert!(t.slope.is_finite() && t.lower.is_finite() && t.upper.is_finite() && t.lower <= t.upper);
        }
    }
}
