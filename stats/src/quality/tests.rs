//! Each fault alone, none on healthy windows, and what a finding does to drift.

use proptest::prelude::*;

use super::*;
use crate::drift::{DriftRule, FeatureCounts, assess};
use crate::portable_stream::Stream;

const TRAFFIC: Traffic = Traffic { events: 10_000, usual: 10_000, future: 0, stale: 0 };

fn column<'a>(name: &'a str, reference: &'a [u64], current: &'a [u64]) -> Column<'a> {
    Column { name, reference, current, new_names: None }
}

#[track_caller]
fn only(findings: &[QualityFinding], fault: Fault, sentence: &str) {
    assert_eq!(findings.iter().map(|f| (f.fault, f.sentence())).collect::<Vec<_>>(), [(fault, sentence.to_owned())]);
}

#[test]
fn each_fault_has_its_sentence() {
    let examine = |traffic, columns: &[Column<'_>]| examine(&QualityRule::default(), &traffic, columns);
    let trained = [5_000, 4_900, 100];
    only(
        &examine(TRAFFIC, &[column("price", &trained, &[])]),
        Fault::MissingColumn,
        "price is gone: missing in all 10000 events, 1.0 % at training",
    );
    only(
        &examine(TRAFFIC, &[column("price", &trained, &[0, 0, 9_000])]),
        Fault::MissingColumn,
        "price is gone: missing in all 9000 events, 1.0 % at training",
    );
    only(
        &examine(TRAFFIC, &[column("price", &trained, &[4_000, 4_000, 2_000])]),
        Fault::NullBurst,
        "price is missing in 2000 of 10000 events (20.0 %); 1.0 % at training, tolerated to 6.0 %",
    );
    let country = Column { new_names: Some(1), ..column("country", &[9_800, 200, 0], &[5_000, 5_000, 0]) };
    only(
        &examine(TRAFFIC, &[country]),
        Fault::NewCategories,
        "country has names without a bin in 5000 of 10000 events (50.0 %); 2.0 % at training, tolerated to 12.0 %",
    );
    only(
        &examine(Traffic { future: 300, ..TRAFFIC }, &[]),
        Fault::FutureTimes,
        "300 of 10000 events (3.0 %) carry a time in the future, tolerated to 1.0 %",
    );
    only(
        &examine(Traffic { stale: 1_000, ..TRAFFIC }, &[]),
        Fault::StaleTimes,
        "1000 of 10000 events (10.0 %) are older than the window allows, tolerated to 5.0 %",
    );
    only(
        &examine(Traffic { events: 4_000, ..TRAFFIC }, &[]),
        Fault::VolumeDrop,
        "only 4000 events where 10000 are usual, tolerated down to 50.0 %",
    );
}

#[test]
fn at_the_limit_within_noise_and_with_too_little_there_is_no_finding() {
    let quiet = |traffic, columns: &[Column<'_>]| assert_eq!(examine(&QualityRule::default(), &traffic, columns), []);
    // 6 % is the limit; 6.5 % of 10000 may be 6 %.
    quiet(TRAFFIC, &[column("price", &[9_900, 100], &[9_350, 650])]);
    // 4900 of 10000 may be 5000.
    quiet(Traffic { events: 4_950, ..TRAFFIC }, &[]);
    quiet(Traffic { events: 0, usual: 10, ..TRAFFIC }, &[]);
    quiet(Traffic { events: 99, usual: 0, future: 99, stale: 99 }, &[column("price", &[9, 1], &[])]);
    // Always rare, or never trained on: nothing is gone.
    quiet(TRAFFIC, &[column("coupon", &[100, 9_900], &[]), column("new", &[0, 0], &[0, 10_000])]);
    quiet(TRAFFIC, &[column("none", &[], &[])]);
}

#[test]
fn drift_does_not_see_what_is_faulty() {
    let (trained, broken, moved) = ([5_000, 5_000, 0], [1_000, 1_000, 8_000], [9_000, 1_000, 0]);
    let columns = [column("broken", &trained, &broken), column("moved", &trained, &moved)];
    let findings = examine(&QualityRule::default(), &TRAFFIC, &columns);
    assert!(!is_sound(&findings, "broken") && is_sound(&findings, "moved"));
    let drift = |findings: &[QualityFinding], columns: &[Column<'_>]| {
        let sound = columns.iter().filter(|c| is_sound(findings, c.name));
        let counts: Vec<FeatureCounts<'_>> = sound
            .map(|c| FeatureCounts { name: c.name, is_score: true, reference: c.reference, current: c.current })
            .collect();
        assess(&DriftRule::default(), &counts)
    };
    assert!(drift(&[], &columns[..1]).alarm);
    assert!(!drift(&findings, &columns[..1]).alarm);
    assert!(drift(&findings, &columns).alarm);
    let skewed = examine(&QualityRule::default(), &Traffic { stale: 5_000, ..TRAFFIC }, &[]);
    assert!(!drift(&skewed, &columns).enough);
}

#[test]
fn healthy_windows_are_quiet_and_findings_survive_json() {
    let mut stream = Stream::new(5);
    let mut window = |n: u64| {
        let mut counts = [0; 4];
        (0..n).for_each(|_| counts[(stream.uniform() * 4.0) as usize] += 1);
        counts
    };
    let trained = window(5_000);
    for size in [100, 300, 1_000, 3_000].repeat(50) {
        let now = window(size);
        let traffic = Traffic { events: size, usual: size, future: 0, stale: size / 100 };
        let columns = [Column { new_names: Some(2), ..column("healthy", &trained, &now) }];
        assert_eq!(examine(&QualityRule::default(), &traffic, &columns), []);
    }
    let findings = examine(&QualityRule::default(), &Traffic { events: 1, ..TRAFFIC }, &[]);
    let text = serde_json::to_string(&findings).unwrap();
    assert!(text.starts_with(r#"[{"fault":"volumeDrop","feature":null,"count":1,"of":10000"#));
    assert_eq!(serde_json::from_str::<Vec<QualityFinding>>(&text).unwrap(), findings);
}

proptest! {
    #[test]
    fn odd_counts_never_panic_and_never_give_nan(
        reference in prop::collection::vec(any::<u64>(), 0..5), current in prop::collection::vec(any::<u64>(), 0..5),
        new_names in prop::option::of(0..6_usize), events in any::<u64>(), times in any::<(u64, u64, u64)>(),
        limit in prop_oneof![any::<f64>(), Just(f64::NAN)],
    ) {
        let rule = QualityRule { null_burst: limit, new_categories: limit, future: limit, stale: limit, ..Default::default() };
        let traffic = Traffic { events, usual: times.0, future: times.1, stale: times.2 };
        let column = Column { name: "x", reference: &reference, current: &current, new_names };
        for finding in examine(&rule, &traffic, &[column]) {
            prop_assert!(!finding.limit.is_nan() && !finding.usual.is_nan() && !finding.sentence().contains("NaN"));
        }
        let (low, high) = wilson(times.0.min(events), events);
        prop_assert!(0.0 <= low && low <= high && high <= 1.0);
    }
}
