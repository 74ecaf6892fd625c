//! How often the drift rule alarms where it must not, and where it must: at reduced size. The full table, up to five
//! million events, is `support/drift_windows.rs::table`.

use fairway_stats::drift::DriftRule;

#[path = "support/drift_windows.rs"]
mod drift_windows;

use drift_windows::{Rates, Setting, WINDOWS_A_PROFILE, rates};

const WINDOWS: u32 = 100;

fn at(n: u64, features: usize, shift: f64, rule: &DriftRule) -> Rates {
    rates(&Setting { n, features, shift, rule: rule.clone() }, WINDOWS, 7 * n + features as u64)
}

#[test]
fn clean_and_harmlessly_shifted_windows_never_alarm() {
    // Also below the minimum, where the effect, the noise floor and the test must do it alone.
    let any_size = DriftRule { minimum: 1, ..DriftRule::default() };
    for rule in [&DriftRule::default(), &any_size] {
        for n in [500, 1_000, 5_000, 50_000] {
            for features in [1, 50] {
                for shift in [0.0, 0.02] {
                    let found = at(n, features, shift, rule);
                    let name = format!("n {n}, {features} features, shift {shift}: {found:?}");
                    assert_eq!((found.alarms, found.lasting, found.feature_alarms), (0, 0, 0), "{name}");
                    // With one feature or fifty, BH at .05 may warn in 5 % of the windows where nothing else holds it.
                    let may_warn = if rule.minimum > n {
                        0
                    } else if n < 1_000 {
                        WINDOWS / 10
                    } else {
                        WINDOWS / 100
                    };
                    assert!(found.warnings <= may_warn, "{name}");
                }
            }
        }
    }
}

#[test]
fn the_same_windows_alarm_often_by_a_p_value_alone() {
    // Any of 50 clean features below .05: 92 %. A harmless shift at a large size: always.
    let rule = DriftRule::default();
    assert!(at(5_000, 50, 0.0, &rule).any_p > WINDOWS * 8 / 10);
    assert!(at(500_000, 1, 0.02, &rule).any_p == WINDOWS);
    let one = at(5_000, 1, 0.0, &rule).any_p;
    assert!((WINDOWS / 100..=WINDOWS / 10).contains(&one), "{one}");
}

#[test]
fn a_shift_that_matters_always_alarms() {
    // A mean that moved by .7 sd has a PSI of about .45 on deciles.
    let rule = DriftRule::default();
    for n in [1_000, 5_000, 50_000] {
        for features in [1, 50] {
            let found = at(n, features, 0.7, &rule);
            assert_eq!(found.alarms, WINDOWS, "n {n}, {features} features: {found:?}");
            // The first window of each model cannot last.
            assert_eq!(found.lasting, WINDOWS - WINDOWS / WINDOWS_A_PROFILE, "n {n}, {features} features: {found:?}");
        }
    }
    // Below the minimum nothing is judged.
    assert_eq!(at(500, 1, 0.7, &rule).alarms, 0);
}
