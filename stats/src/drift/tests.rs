//! Known values, and the rule on invented features.

use proptest::prelude::*;

use super::homogeneity::pool_small_bins;
use super::*;
use crate::bins::{Bins, Histogram};
use crate::categories::Categories;
use crate::portable_stream::{Stream, drift_samples};

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
    close(chi_square(&A, &B).statistic, 15.245280852083058, 1e-11);
    assert_eq!(chi_square(&A, &B).freedom, 9);
    close(js_divergence(&A, &B), 0.006166780082061463, 1e-15);
    close(js_distance(&A, &B), 0.0785288487249206, 1e-14);
}

#[test]
fn golden_values_on_raw_samples() {
    let (a, b) = drift_samples();
    let ks = kolmogorov_smirnov(&a, &b).unwrap();
    close(ks.d, 0.08575, 1e-15);
    close(ks.p / 0.0027364686125040086, 1.0, 1e-11);
    let u = mann_whitney(&a, &b).unwrap();
    assert_eq!(u.u, 428_496.0);
    close(u.p, 0.009307470368408122, 1e-12);
    close(u.auc, 0.53562, 1e-15);
    close(u.p_greater, 0.009307470368408122 / 2.0, 1e-12);
    let swapped = mann_whitney(&b, &a).unwrap();
    assert_eq!((swapped.u, swapped.p), (800_000.0 - u.u, u.p));
    close(swapped.p_greater, 1.0 - u.p_greater, 1e-4);
}

#[test]
fn distances_on_bins_are_near_those_of_the_raw_samples() {
    let (a, b) = drift_samples();
    let bins = Bins::from_quantiles(&mut a.clone(), 10);
    let (mut in_a, mut in_b) = (Histogram::new(&bins), Histogram::new(&bins));
    a.iter().for_each(|&x| in_a.add(bins.index_of(Some(x))));
    b.iter().for_each(|&x| in_b.add(bins.index_of(Some(x))));
    let Bins::Quantiles { edges } = &bins else { unreachable!() };
    // Raw: D .08575, W1 / sd .12703.
    let ks = ks_on_bins(in_a.counts(), in_b.counts());
    assert!(0.07 < ks && ks <= 0.08575 + 1e-12, "{ks}");
    let w1 = w1_over_sd(edges, in_a.counts(), in_b.counts()).unwrap();
    close(w1, 0.12702735119566252, 0.01);
}

#[test]
fn odd_samples_and_bins_have_an_answer() {
    assert!(kolmogorov_smirnov(&[], &[1.0]).is_none() && mann_whitney(&[f64::NAN], &[1.0]).is_none());
    let same = [2.0; 50];
    assert_eq!(kolmogorov_smirnov(&same, &same), Some(KolmogorovSmirnov { d: 0.0, p: 1.0 }));
    assert_eq!(mann_whitney(&same, &same), Some(MannWhitney { u: 1250.0, auc: 0.5, p: 1.0, p_greater: 1.0 }));
    let (zero, ends) = ([0.0, -0.0], [f64::INFINITY, f64::NEG_INFINITY]);
    assert_eq!(mann_whitney(&zero, &[-0.0, 0.0]).unwrap().auc, 0.5);
    assert_eq!(kolmogorov_smirnov(&zero, &[-0.0]).unwrap().d, 0.0);
    assert_eq!(kolmogorov_smirnov(&ends, &ends).unwrap().d, 0.0);
    let (low, high): (Vec<f64>, Vec<f64>) = (0..2000).map(|i| (f64::from(i), f64::from(i) + 1e6)).unzip();
    let apart = kolmogorov_smirnov(&low, &high).unwrap();
    assert!(apart.d == 1.0 && apart.p == 0.0, "{apart:?}");
    let apart = mann_whitney(&high, &low).unwrap();
    assert!(apart.auc == 1.0 && apart.p < 1e-300 && apart.p_greater < 1e-300);
    assert_eq!(w1_over_sd(&[1.0], &[5, 5], &[5, 5]), None);
    assert_eq!(w1_over_sd(&[1.0, 2.0], &[0, 9, 0], &[1, 1, 1]), None);
    assert_eq!(w1_over_sd(&[1.0, 2.0], &[1, 1, 1], &[]), None);
    assert_eq!(w1_over_sd(&[-f64::MAX, f64::MAX], &[1, 1, 1], &[1, 5, 1]), None);
    assert_eq!((js_divergence(&[9, 0], &[0, 3]), ks_on_bins(&[9, 0], &[0, 3])), (1.0, 1.0));
    assert_eq!((js_divergence(&[], &[]), ks_on_bins(&[0], &[3])), (0.0, 0.0));
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
    assert_eq!(adjusted_p(&[0.04, f64::NAN, 0.01]), [0.06, 1.0, 0.03]);
    assert_eq!(adjusted_p(&[]), [0.0; 0]);
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
fn importance_decides_how_many_features_are_enough() {
    let weighed = |importances: [f64; 4]| {
        let counts = [&MOVED, &STILL, &STILL, &STILL].map(|current| feature("x", &SAME, current));
        let features: Vec<_> = counts
            .into_iter()
            .zip(importances)
            .map(|(counts, importance)| Feature { importance, ..counts.into() })
            .collect();
        let report = assess_features(&DriftRule::default(), &features);
        (report.share, report.level())
    };
    assert_eq!(weighed([1.0; 4]), (0.25, Level::Warn));
    assert_eq!(weighed([3.0, 1.0, 1.0, 1.0]), (0.5, Level::Alarm));
    assert_eq!(weighed([0.0, 1.0, 1.0, 1.0]), (0.0, Level::Warn));
    // Without any importance, and with useless ones, all count the same; huge ones do not overflow.
    assert_eq!(weighed([0.0, f64::NAN, -1.0, f64::INFINITY]), (0.25, Level::Warn));
    assert_eq!(weighed([f64::MAX; 4]), (0.25, Level::Warn));
}

#[test]
fn bins_give_the_report_more_to_say() {
    let (numbers, names) = (Bins::Quantiles { edges: vec![1.0, 2.0, 3.0] }, Bins::from_top_categories(&[].into(), 0));
    let on = |bins| Feature { bins: Some(bins), ..feature("price", &SAME, &MOVED).into() };
    let report = assess_features(&DriftRule::default(), &[on(&numbers), on(&names)]);
    let [price, country] = &report.features[..] else { unreachable!() };
    assert!(country.ks.is_none() && country.w1_over_sd.is_none());
    close(price.ks.unwrap(), 0.25, 1e-12);
    // Bins a unit apart: the cumulative differences over the sd of four even bins, √1.25.
    close(price.w1_over_sd.unwrap(), (900.0 + 1300.0 + 1100.0) / 5200.0 / 1.25_f64.sqrt(), 1e-12);
    assert_eq!(price.adjusted_p, price.p);
    assert_eq!(
        price.evidence(),
        "price: PSI 0.367 (noise floor 0.004), JSD 0.0639 bits, KS 0.250, W1 0.568 sd, \
         chi-square 1333.8 on 3 degrees of freedom, p 6.85e-289 (adjusted 6.85e-289), 5200 against 20000 events"
    );
}

#[test]
fn unseen_names_are_drift_of_their_own() {
    let trained = [("a".to_owned(), 6_000), ("b".to_owned(), 3_000), ("c".to_owned(), 1_000)];
    let names = Categories::from_counts(&trained.clone().into(), 2);
    let (mut reference, mut same, mut flooded) = (names.histogram(), names.histogram(), names.histogram());
    for (name, n) in &trained {
        reference.add_n(names.index_of(Some(name)), *n);
        same.add_n(names.index_of(Some(name)), n / 5);
        // The rare name goes, new ones come: OTHER would be the same as before.
        flooded.add_n(names.index_of(Some(if name == "c" { "new" } else { name })), n / 5);
    }
    let level = |current: &Histogram| {
        assess(&DriftRule::default(), &[feature("name", reference.counts(), current.counts())]).level()
    };
    assert_eq!((level(&same), level(&flooded)), (Level::Steady, Level::Alarm));
}

#[test]
fn a_report_of_an_earlier_version_is_read() {
    let old = r#"{"features":[{"name":"price","psi":0.3,"noise_floor":0.01,"p":0.0,"reference_n":9000,"current_n":2000,
        "alarming":true,"warning":false}],"alarm":true,"enough":true,"rule":{"effect":0.25,"warn":0.1,
        "false_discovery_rate":0.05,"share_of_features":0.3,"minimum":1000}}"#;
    let report: DriftReport = serde_json::from_str(old).unwrap();
    assert_eq!((report.level(), report.features[0].importance, report.features[0].ks), (Level::Alarm, 1.0, None));
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

fn reversed(values: &[i32]) -> Vec<i32> {
    values.iter().rev().copied().collect()
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
        let (js, ks) = (js_distance(&a, &b), ks_on_bins(&a, &b));
        prop_assert!((0.0..=1.0).contains(&js) && (0.0..=1.0).contains(&ks));
        prop_assert!((js - js_distance(&b, &a)).abs() < 1e-9 && (ks - ks_on_bins(&b, &a)).abs() < 1e-12);
        prop_assert_eq!(js_divergence(&a, &a), 0.0);
    }

    #[test]
    fn the_distance_is_a_metric(parts in prop::array::uniform3(prop::collection::vec(1..10_000_u64, 5))) {
        let [a, b, c] = parts;
        prop_assert!(js_distance(&a, &c) <= js_distance(&a, &b) + js_distance(&b, &c) + 1e-9);
    }

    #[test]
    fn nothing_is_nan(
        a in prop::collection::vec(any::<u64>(), 0..6), b in prop::collection::vec(any::<u64>(), 0..6),
        edges in prop::collection::vec(any::<f64>(), 0..5), importance in any::<f64>(),
    ) {
        let bins = Bins::Quantiles { edges };
        let feature = Feature { bins: Some(&bins), importance, ..feature("x", &a, &b).into() };
        let report = assess_features(&DriftRule::default(), &[feature]);
        prop_assert!(!report.features[0].evidence().contains("NaN") && !report.sentence().contains("NaN"));
        prop_assert!(!report.share.is_nan() && report.features[0].adjusted_p <= 1.0);
    }

    #[test]
    fn raw_tests_do_not_depend_on_scale_or_order(
        a in prop::collection::vec(-50..50_i32, 1..60), b in prop::collection::vec(-40..60_i32, 1..60),
    ) {
        let scaled = |values: &[i32], by: f64| values.iter().rev().map(|&x| f64::from(x) * by + 7.0).collect::<Vec<_>>();
        let (ks, u) = (kolmogorov_smirnov, mann_whitney);
        let (x, y) = (scaled(&a, 1.0), scaled(&b, 1.0));
        let (twice_x, twice_y) = (scaled(&reversed(&a), 2.0), scaled(&reversed(&b), 2.0));
        prop_assert_eq!(ks(&x, &y), ks(&twice_x, &twice_y));
        prop_assert_eq!(u(&x, &y), u(&twice_x, &twice_y));
        let (d, m) = (ks(&x, &y).unwrap(), u(&x, &y).unwrap());
        prop_assert!((0.0..=1.0).contains(&d.p) && (0.0..=1.0).contains(&m.p) && (0.0..=1.0).contains(&m.p_greater));
        prop_assert_eq!(Some(d), ks(&y, &x));
        prop_assert_eq!(m.p, u(&y, &x).unwrap().p);
    }
}
