//! Golden values (reference 3.8), the three answers, and coverage on invented logs.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::Stream;

#[track_caller]
fn close(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} {expected}");
}

fn row(i: usize, reward: f64, logged: f64, evaluated: f64) -> Row {
    Row { cluster: i as u64, position: 0, reward, logged, evaluated, unsupported: 0.0 }
}

fn normalised(weights: [f64; 5]) -> [f64; 5] {
    let sum: f64 = weights.iter().sum();
    weights.map(|w| w / sum)
}

/// The portable log of the golden values: contexts first, then an action and a reward a row.
fn portable_log() -> (Vec<Row>, Vec<Prediction>) {
    let mut stream = Stream::new(2024);
    let contexts: Vec<f64> = (0..500).map(|_| stream.uniform()).collect();
    let mut log = (Vec::new(), Vec::new());
    for (i, x) in contexts.into_iter().enumerate() {
        let k = [0.0, 1.0, 2.0, 3.0, 4.0];
        let logging = normalised(k.map(|k| 1.0 + (k + 1.0) * x));
        let evaluated = normalised(k.map(|k| 1.0 + (5.0 - k) * 2.0 * x));
        let truth = k.map(|k| 0.1 + 0.15 * k * x);
        let model = truth.map(|q| (q * 0.8 + 0.05_f64).clamp(0.0, 1.0));
        let (u, mut below) = (stream.uniform(), 0.0);
        let passes = |p: &f64| {
            below += p;
            below > u
        };
        let action = logging.iter().position(passes).unwrap_or(4);
        let reward = f64::from(u8::from(stream.uniform() < truth[action]));
        log.0.push(row(i, reward, logging[action], evaluated[action]));
        let policy = evaluated.iter().zip(model).map(|(p, q)| p * q).sum();
        log.1.push(Prediction { shown: model[action], policy });
    }
    log
}

#[test]
fn golden_values() {
    let (rows, model) = portable_log();
    assert_eq!(rows.iter().map(|r| r.reward).sum::<f64>(), 141.0);
    let with_model = [
        (Weighting::Model, 0.21974652536148703),
        (Weighting::Full, 0.21918469841854307),
        (Weighting::Normalised, 0.21918254877002197),
        (Weighting::Switch(1.5), 0.23117248514172348),
        (Weighting::Shrunk(2.0), 0.22376781331571444),
    ];
    let without = [
        (Weighting::Full, 0.21861244246489922),
        (Weighting::Normalised, 0.21944889205056378),
        (Weighting::Clipped(1.5), 0.20649908626461083),
        (Weighting::SubGaussian(0.1), 0.21722679162007202),
    ];
    for (weighting, expected) in with_model {
        close(estimate(&rows, Some(&model), weighting, 0.05).unwrap().value, expected, 1e-14);
    }
    for (weighting, expected) in without {
        close(estimate(&rows, None, weighting, 0.05).unwrap().value, expected, 1e-14);
    }
    let error = |model, weighting| estimate(&rows, model, weighting, 0.05).unwrap().standard_error;
    close(error(None, Weighting::Normalised), 0.02029935933145069, 1e-14);
    close(error(Some(&model), Weighting::Full), 0.01950698833649375, 1e-14);
    let found = assess(&Screen::default(), &rows, Some(&model)).unwrap();
    close(found.bernstein_lower.unwrap(), 0.11417550517155733, 1e-14);
    close(found.diagnostics.effective, 347.07523076934245, 1e-9);
    close(found.diagnostics.mean_weight, 0.9961884082537458, 1e-14);
    close(found.diagnostics.largest_weight, 3.136347536940629, 1e-14);
    assert_eq!(found.reasons, [Reason::Effective]);
    assert_eq!(found.decision, Decision::CannotSay);
}

#[test]
fn weights_at_their_limits() {
    for w in [0.0, 1e-12, 0.3, 1.0, 7.0, 1e12] {
        assert_eq!(Weighting::Shrunk(0.0).of(w), 0.0);
        assert_eq!(Weighting::Shrunk(f64::INFINITY).of(w), w);
        assert_eq!(Weighting::Switch(f64::INFINITY).of(w), w);
        assert_eq!(Weighting::Clipped(f64::INFINITY).of(w), w);
        assert_eq!(Weighting::SubGaussian(0.0).of(w), w);
        assert_eq!(Weighting::SubGaussian(9.0).of(w), if w > 0.0 { 1.0 } else { 0.0 });
        for odd in [f64::NAN, -1.0] {
            assert_eq!(Weighting::Switch(odd).of(w), 0.0);
            assert_eq!(Weighting::Shrunk(odd).of(w), 0.0);
            assert_eq!(Weighting::Clipped(odd).of(w), 0.0);
        }
    }
}

#[test]
fn positions_are_averaged_whatever_their_number_of_rows() {
    let mut rows: Vec<Row> = (0..40).map(|i| row(i, f64::from(u8::from(i % 2 == 0)), 0.5, 0.5)).collect();
    rows.iter_mut().skip(30).for_each(|r| (r.position, r.reward) = (7, 1.0));
    let value = estimate(&rows, None, Weighting::Full, 0.05).unwrap();
    close(value.value, 0.75, 1e-15);
    // Half of the first position's error: the second has none.
    close(value.standard_error, 0.5 * (0.25 / 30.0_f64).sqrt(), 1e-15);
    rows[39].evaluated = 0.0;
    rows.iter_mut().filter(|r| r.position == 7).for_each(|r| r.evaluated = 0.0);
    assert_eq!(estimate(&rows, None, Weighting::Normalised, 0.05), Err(OpeError::NoWeight(7)));
}

#[test]
fn a_user_who_comes_often_does_not_make_us_surer() {
    let (once, _) = portable_log();
    let often: Vec<Row> = once.iter().copied().cycle().take(5000).collect();
    let of = |rows: &[Row]| estimate(rows, None, Weighting::Normalised, 0.05).unwrap();
    close(of(&often).standard_error, of(&once).standard_error, 1e-14);
    assert_eq!(of(&often).clusters, 500);
}

#[test]
fn wrong_input_is_named() {
    let good = row(0, 1.0, 0.5, 0.5);
    let table = [
        Row { reward: f64::NAN, ..good },
        Row { logged: 0.0, ..good },
        Row { logged: f64::MIN_POSITIVE, ..good },
        Row { evaluated: 1.5, ..good },
        Row { unsupported: f64::NAN, ..good },
    ];
    for bad in table {
        let error = estimate(&[good, bad], None, Weighting::Full, 0.05).unwrap_err();
        assert!(matches!(error, OpeError::Row(1, _)) && error.to_string().starts_with("row 1: "), "{error}");
    }
    let of = |rows: &[Row], model: Option<&[Prediction]>, alpha| estimate(rows, model, Weighting::Full, alpha);
    let other = Row { cluster: 1, ..good };
    assert_eq!(of(&[good, good], None, 0.05), Err(OpeError::OneCluster));
    assert_eq!(of(&[], None, 0.05), Err(OpeError::OneCluster));
    assert_eq!(of(&[good, other], Some(&[]), 0.05), Err(OpeError::Lengths(2, 0)));
    assert_eq!(of(&[good, other], None, 1.0), Err(OpeError::Level));
    let infinite = Prediction { shown: f64::INFINITY, policy: 0.0 };
    assert!(matches!(of(&[good, other], Some(&[infinite; 2]), 0.05), Err(OpeError::Row(0, _))));
    assert_eq!(bernstein_lower_bound(&[1.0, f64::NAN], 1.0, 0.05), None);
    assert_eq!(bernstein_lower_bound(&[1.0, 2.0], 1.0, 0.05), None);
    assert_eq!(assess(&Screen::default(), &[], None), Err(OpeError::OneCluster));
}

#[test]
fn each_row_is_predicted_by_the_model_that_has_not_seen_it() {
    let of = |fold: f64| (0..4).map(|i| Prediction { shown: fold, policy: f64::from(i) }).collect::<Vec<_>>();
    let picked = out_of_fold(&[0, 1, 1, 0], &[of(0.0), of(1.0)]).unwrap();
    assert_eq!(
        picked.iter().map(|p| (p.shown, p.policy)).collect::<Vec<_>>(),
        [(0., 0.), (1., 1.), (1., 2.), (0., 3.)]
    );
    assert_eq!(out_of_fold(&[0, 2], &[of(0.0), of(1.0)]), Err(OpeError::Fold(1)));
}

#[test]
fn what_is_never_shown_is_unsupported() {
    close(unsupported(&[0.2, 0.3, 0.5], &[0.5, 0.00001]), 0.8, 1e-15);
    assert_eq!(unsupported(&[0.2, 0.8], &[0.5, 0.5]), 0.0);
    assert_eq!(unsupported(&[f64::NAN], &[]), 0.0);
}

/// Two items of which the log shows the worse one in `1 - share` of the requests, the evaluated policy in 10 %.
fn two_items(stream: &mut Stream, n: usize, share: f64, rates: [f64; 2]) -> (Vec<Row>, Vec<Prediction>) {
    let draw = |i| {
        let item = usize::from(stream.uniform() < share);
        let reward = f64::from(u8::from(stream.uniform() < rates[item]));
        let (logged, evaluated) = ([1.0 - share, share][item], [0.1, 0.9][item]);
        let model = [0.12, 0.16];
        (row(i, reward, logged, evaluated), Prediction { shown: model[item], policy: 0.1 * model[0] + 0.9 * model[1] })
    };
    (0..n).map(draw).unzip()
}

#[test]
fn the_three_answers() {
    let mut stream = Stream::new(77);
    let screen = Screen::default();
    let mut of = |share, rates| {
        let (rows, model) = two_items(&mut stream, 20_000, share, rates);
        let (with, without) = (assess(&screen, &rows, Some(&model)).unwrap(), assess(&screen, &rows, None).unwrap());
        assert_eq!(with.decision, without.decision, "{} / {}", with.sentence(), without.sentence());
        with
    };
    let better = of(0.5, [0.10, 0.20]);
    assert_eq!((better.decision, better.reasons.len()), (Decision::Promising, 0));
    assert!(better.sentence().starts_with("promising: doubly robust 0.1"), "{}", better.sentence());
    let worse = of(0.5, [0.20, 0.10]);
    assert_eq!(worse.decision, Decision::Not);
    assert!(worse.sentence().starts_with("not promising: "));
    let equal = of(0.5, [0.15, 0.15]);
    assert_eq!(equal.reasons, [Reason::Interval]);
    assert!(equal.sentence().contains("the interval holds the limit, 0.1"), "{}", equal.sentence());
    let rare = of(0.001, [0.10, 0.90]);
    assert!(rare.reasons.contains(&Reason::Effective) && rare.decision == Decision::CannotSay);
    assert!(rare.sentence().contains("needs 1000"), "{}", rare.sentence());
}

#[test]
fn diagnostics_stop_what_looks_certain() {
    let mut stream = Stream::new(78);
    let (rows, _) = two_items(&mut stream, 20_000, 0.5, [0.1, 0.2]);
    let changed = |change: &dyn Fn(usize, &mut Row)| {
        let mut rows = rows.clone();
        rows.iter_mut().enumerate().for_each(|(i, row)| change(i, row));
        assess(&Screen::default(), &rows, None).unwrap()
    };
    assert_eq!(changed(&|_, row| row.logged *= 0.9).reasons, [Reason::MeanWeight]);
    assert_eq!(changed(&|_, row| row.unsupported = 0.02).reasons, [Reason::Unsupported]);
    let few = changed(&|i, row| row.cluster = i as u64 % 50);
    assert!(few.reasons.contains(&Reason::Clusters));
    let one = changed(&|i, row| {
        if i == 0 {
            row.logged = 1e-5
        }
    });
    assert!(one.reasons.contains(&Reason::LargestShare) && one.sentence().contains("one row has "));
    let same = changed(&|_, row| row.evaluated = row.logged);
    assert_eq!(same.diagnostics.effective, 20_000.0);
    assert!(!same.reasons.contains(&Reason::MeanWeight));
    let text = serde_json::to_string(&one).unwrap();
    assert!(text.contains(r#""decision":"cannotSay""#), "{text}");
}

#[test]
fn intervals_cover_and_false_promises_are_rare() {
    let mut stream = Stream::new(5);
    let (mut missed, mut promised, runs) = (0, 0, 400);
    let screen = Screen { margin: 0.0, effective: 100.0, ..Screen::default() };
    for _ in 0..runs {
        // True value 0.1 · 0.3 + 0.9 · 0.3: as good as the log, never better.
        let (rows, model) = two_items(&mut stream, 600, 0.3, [0.3, 0.3]);
        let found = assess(&screen, &rows, Some(&model)).unwrap();
        let e = found.doubly_robust.unwrap();
        missed += i32::from(!(e.lower..=e.upper).contains(&0.3));
        promised += i32::from(found.decision == Decision::Promising);
    }
    assert!(missed <= 34, "{missed} of {runs} intervals of 95 % missed the truth");
    assert!(promised <= 22, "{promised} of {runs}, about 2.5 % expected");
}

#[test]
fn the_smallest_error_bound_limits_weights_only_where_they_are_large() {
    let candidates = [Weighting::Model, Weighting::Switch(5.0), Weighting::Full];
    let (rows, model) = two_items(&mut Stream::new(9), 5000, 0.5, [0.1, 0.9]);
    // The model is far off and no weight beyond 5: both others are unbiased, and the first of equals is taken.
    assert_eq!(smallest_error(&rows, Some(&model), &candidates, 0.05), Some(Weighting::Switch(5.0)));
    assert_eq!(smallest_error(&rows, Some(&model), &[], 0.05), None);
    // Two rows with large weights whose errors cancel out: limiting them costs no bias and saves variance.
    let mut rows: Vec<Row> = (0..100).map(|i| row(i, 0.5, 0.5, 0.5)).collect();
    rows.extend([row(100, 0.0, 0.01, 0.5), row(101, 1.0, 0.01, 0.5)]);
    let model = vec![Prediction { shown: 0.5, policy: 0.5 }; 102];
    assert_eq!(smallest_error(&rows, Some(&model), &candidates[1..], 0.05), Some(Weighting::Switch(5.0)));
}

proptest! {
    #[test]
    fn never_nan(
        values in prop::collection::vec((-1e12..1e12_f64, 1e-12..1.0_f64, 0.0..=1.0_f64, 0..3_u32, 0..9_u64), 0..30),
        lambda in any::<f64>(),
    ) {
        let rows: Vec<Row> = values
            .iter()
            .map(|&(reward, logged, evaluated, position, cluster)| {
                Row { cluster, position, reward, logged, evaluated, unsupported: 0.0 }
            })
            .collect();
        let model = vec![Prediction { shown: 1e12, policy: -1e12 }; rows.len()];
        for model in [None, Some(&model[..])] {
            for weighting in [Weighting::Full, Weighting::Normalised, Weighting::Switch(lambda),
                Weighting::Shrunk(lambda), Weighting::Clipped(lambda), Weighting::SubGaussian(lambda)]
            {
                if let Ok(e) = estimate(&rows, model, weighting, 0.05) {
                    prop_assert!([e.value, e.standard_error, e.lower, e.upper].iter().all(|x| x.is_finite()), "{e:?}");
                    prop_assert!(e.lower <= e.value && e.value <= e.upper);
                }
            }
            if let Ok(found) = assess(&Screen::default(), &rows, model) {
                let d = found.diagnostics;
                prop_assert!([d.mean_weight, d.effective, d.largest_share].iter().all(|x| x.is_finite()));
                prop_assert!(d.effective <= rows.len() as f64 * (1.0 + 1e-12));
                prop_assert!(!found.sentence().contains("NaN"));
            }
        }
    }

    #[test]
    fn a_constant_added_to_rewards_moves_snips_by_it(shift in -10.0..10.0_f64) {
        let (rows, _) = portable_log();
        let moved: Vec<Row> = rows.iter().map(|r| Row { reward: r.reward + shift, ..*r }).collect();
        let of = |rows: &[Row]| estimate(rows, None, Weighting::Normalised, 0.05).unwrap();
        prop_assert!((of(&moved).value - of(&rows).value - shift).abs() < 1e-12);
        prop_assert!((of(&moved).standard_error - of(&rows).standard_error).abs() < 1e-12);
    }
}
