//! Planted moves and none, odd rows.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::Stream;

/// `n` rows of `d` roughly normal numbers, those of dimension `moved` shifted by `shift` standard deviations.
fn rows(stream: &mut Stream, n: usize, d: usize, moved: usize, shift: f64) -> Vec<f32> {
    let mut normal = || (0..12).map(|_| stream.uniform()).sum::<f64>() - 6.0;
    (0..n * d).map(|i| (normal() + if i % d == moved { shift } else { 0.0 }) as f32).collect()
}

#[test]
fn a_moved_dimension_is_found_and_named() {
    let mut stream = Stream::new(1);
    let (reference, current) = (rows(&mut stream, 1000, 8, 0, 0.0), rows(&mut stream, 600, 8, 5, 0.8));
    for seed in [None, Some(7)] {
        let found = c2st(&C2stRule { seed, ..C2stRule::default() }, &reference, &current, 8).unwrap();
        assert_eq!(found.level, Level::Alarm, "{found:?}");
        assert_eq!((found.reference_n, found.current_n, found.strongest), (500, 300, Some(5)));
        assert!(found.sentence().starts_with("embeddings moved: a classifier tells rows of today from training"));
        assert!(found.sentence().ends_with("300 against 500 scored rows; dimension 5 most)"), "{}", found.sentence());
    }
}

#[test]
fn a_joint_move_is_found_where_no_single_dimension_moves() {
    // The second dimension is nearly the first; today it is a little more. Either alone looks as before.
    let mut stream = Stream::new(2);
    let mut pairs = |lift: f64| -> Vec<f32> {
        let pair = |_| {
            let (a, b) = (stream.uniform() * 10.0, stream.uniform() * 0.2);
            [a as f32, (a + b + lift) as f32]
        };
        (0..1000).flat_map(pair).collect()
    };
    let (reference, current) = (pairs(0.0), pairs(0.1));
    let found = c2st(&C2stRule::default(), &reference, &current, 2).unwrap();
    assert_eq!(found.level, Level::Alarm, "{found:?}");
    let second: Vec<f32> = reference.chunks(2).map(|r| r[1]).collect();
    let second_now: Vec<f32> = current.chunks(2).map(|r| r[1]).collect();
    let alone = c2st(&C2stRule::default(), &second, &second_now, 1).unwrap();
    assert_eq!(alone.level, Level::Steady, "{alone:?}");
}

#[test]
fn clean_rows_do_not_alarm_and_their_p_values_are_uniform() {
    let mut stream = Stream::new(3);
    let mut below_half = 0;
    for seed in 0..40 {
        let (reference, current) = (rows(&mut stream, 400, 4, 0, 0.0), rows(&mut stream, 400, 4, 0, 0.0));
        let found = c2st(&C2stRule { seed: Some(seed), ..C2stRule::default() }, &reference, &current, 4).unwrap();
        assert_eq!(found.level, Level::Steady);
        assert!(found.sentence().starts_with("no drift of the embeddings: "));
        below_half += u32::from(found.p < 0.5);
    }
    // 40 fair coins.
    assert!((8..=32).contains(&below_half), "{below_half}");
}

#[test]
fn a_slight_move_warns_and_few_rows_are_not_judged() {
    let mut stream = Stream::new(4);
    let (reference, current) = (rows(&mut stream, 6000, 3, 0, 0.0), rows(&mut stream, 6000, 3, 1, 0.27));
    let found = c2st(&C2stRule::default(), &reference, &current, 3).unwrap();
    assert_eq!(found.level, Level::Warn, "{found:?}");
    let (reference, current) = (rows(&mut stream, 150, 3, 0, 0.0), rows(&mut stream, 900, 3, 1, 3.0));
    let found = c2st(&C2stRule::default(), &reference, &current, 3).unwrap();
    assert!(found.level == Level::Unjudged && found.auc > 0.9);
    assert_eq!(found.sentence(), "too few rows to judge drift of the embeddings: 75 scored, needs 100");
}

#[test]
fn odd_rows_have_an_answer() {
    let rule = C2stRule { minimum: 1, ..C2stRule::default() };
    let none = c2st(&rule, &[], &[], 2).unwrap();
    assert_eq!((none.auc, none.p, none.level, none.strongest), (0.5, 1.0, Level::Unjudged, None));
    let constant = c2st(&rule, &[0.1; 60], &[0.1; 60], 2).unwrap();
    assert_eq!((constant.auc, constant.p, constant.strongest), (0.5, 1.0, None));
    let odd = [f32::NAN, 1.0, f32::INFINITY, 2.0, f32::MAX, f32::MIN, 1e-45, 0.0];
    let found = c2st(&rule, &odd, &[f32::MAX; 8], 2).unwrap();
    assert_eq!((found.left_out, found.reference_n, found.current_n), (2, 1, 2));
    assert!(found.auc.is_finite() && found.p.is_finite());
    let error = c2st(&rule, &[1.0; 7], &[1.0; 8], 2).unwrap_err();
    assert_eq!(error.to_string(), "7 numbers are no whole rows of 2; give each row all its dimensions, at least 1");
    assert!(c2st(&rule, &[], &[1.0], 0).is_err());
}

#[test]
fn separable_rows_converge() {
    let (reference, current): (Vec<f32>, Vec<f32>) = ((0..400).map(|i| i as f32).collect(), vec![1e6; 400]);
    let found = c2st(&C2stRule { ridge: f64::NAN, ..C2stRule::default() }, &reference, &current, 1).unwrap();
    assert_eq!(found.auc, 1.0);
    assert!(found.level == Level::Alarm && found.p < 1e-30);
}

proptest! {
    #[test]
    fn the_answer_does_not_depend_on_the_unit_of_a_dimension(
        shift in 0.0..2.0_f32, scale in prop::sample::select(vec![-4.0_f32, 0.25, 1024.0]), seed in 0..99_u64,
    ) {
        let mut stream = Stream::new(seed);
        let (reference, mut current) = (rows(&mut stream, 60, 2, 0, 0.0), rows(&mut stream, 60, 2, 0, 0.0));
        current.iter_mut().step_by(2).for_each(|x| *x += shift);
        let rule = C2stRule::default();
        let scaled = |rows: &[f32]| rows.iter().enumerate().map(|(i, x)| if i % 2 == 0 { x * scale } else { *x }).collect();
        let (scaled_reference, scaled_current): (Vec<f32>, Vec<f32>) = (scaled(&reference), scaled(&current));
        let plain = c2st(&rule, &reference, &current, 2).unwrap();
        let other = c2st(&rule, &scaled_reference, &scaled_current, 2).unwrap();
        prop_assert!((plain.auc - other.auc).abs() < 0.01, "{} {}", plain.auc, other.auc);
    }

    #[test]
    fn nothing_is_nan(
        reference in prop::collection::vec(any::<f32>(), 0..60), current in prop::collection::vec(any::<f32>(), 0..60),
        seed in any::<Option<u64>>(), ridge in any::<f64>(),
    ) {
        let rule = C2stRule { seed, ridge, ..C2stRule::default() };
        let whole = |rows: &[f32]| rows.len() / 3 * 3;
        let found = c2st(&rule, &reference[..whole(&reference)], &current[..whole(&current)], 3).unwrap();
        prop_assert!((0.0..=1.0).contains(&found.auc) && (0.0..=1.0).contains(&found.p));
    }
}
