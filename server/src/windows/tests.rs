//! Windows by a manual clock: alignment, generations, watermark, idle stretches.

use std::time::Duration;

use super::*;

const ARM: ArmId = ArmId { version: UNKNOWN, track: Track::Stable, segment: UNKNOWN, arm: UNKNOWN };

fn windows(lateness: u64) -> Windows {
    let lateness = Duration::from_millis(lateness);
    let config = RouterConfig {
        window: Duration::from_millis(10),
        trial_window: Duration::from_millis(2),
        lateness,
        ..RouterConfig::default()
    };
    Windows::new(&config, 3)
}

/// Start, end, generation, requests and number of each window taken.
fn take(windows: &Windows, now_ms: i64) -> Vec<(i64, i64, u64, u64, u64)> {
    let (versions, segments) = (Interner::new(9), Interner::new(9));
    let names = WindowNames { replica: "r", versions: &versions, segments: &segments, arms: &versions };
    let taken = windows.take(now_ms, &names).into_iter();
    taken
        .map(|w| {
            let requests = w.arms.values().map(|arm| arm.requests).sum();
            (w.start.as_millisecond(), w.end.as_millisecond(), w.generation, requests, w.seq)
        })
        .collect()
}

fn request(windows: &Windows, now_ms: i64, generation: u64) {
    windows.observe(now_ms, generation, ARM, Observation::default());
}

#[test]
fn windows_are_aligned_numbered_and_without_gaps() {
    let windows = windows(0);
    request(&windows, 4, 0);
    request(&windows, 10, 0);
    assert_eq!(take(&windows, 19), [(3, 10, 0, 1, 0)]);
    // Nobody came from 20 to 57.
    request(&windows, 57, 0);
    assert_eq!(take(&windows, 60), [(10, 20, 0, 1, 1), (20, 50, 0, 0, 2), (50, 60, 0, 1, 3)]);
    assert_eq!(take(&windows, 95), [(60, 90, 0, 0, 4)]);
    assert_eq!(take(&windows, 96), []);
}

#[test]
fn the_watermark_waits_for_late_counts_of_a_route_that_is_past() {
    let windows = windows(5);
    request(&windows, 4, 0);
    request(&windows, 12, 0);
    assert_eq!(take(&windows, 13), [(3, 10, 0, 1, 0)], "nobody counts there any more");
    windows.begin(14, 1, false);
    request(&windows, 15, 0);
    request(&windows, 16, 1);
    assert_eq!(take(&windows, 18), []);
    assert_eq!(take(&windows, 19), [(10, 14, 0, 2, 1)]);
    assert_eq!(take(&windows, 20), [(14, 20, 1, 1, 2)]);
}

#[test]
fn while_a_canary_has_users_windows_are_short() {
    let windows = windows(0);
    request(&windows, 4, 0);
    windows.begin(5, 1, true);
    for now in [5, 6, 9, 11] {
        request(&windows, now, 1);
    }
    assert_eq!(
        take(&windows, 12),
        [(3, 5, 0, 1, 0), (5, 6, 1, 1, 1), (6, 8, 1, 1, 2), (8, 10, 1, 1, 3), (10, 12, 1, 1, 4)]
    );
    windows.begin(13, 2, false);
    request(&windows, 13, 2);
    assert_eq!(take(&windows, 20), [(12, 13, 1, 0, 5), (13, 20, 2, 1, 6)]);
    // Nobody takes them for long: then they are as long as ever, so that a day of them fits.
    windows.begin(20, 3, true);
    for now in (20..1_000).step_by(2) {
        request(&windows, now, 3);
    }
    let lengths: Vec<i64> = take(&windows, 1_000).iter().map(|window| window.1 - window.0).collect();
    assert_eq!((lengths[2], lengths.iter().filter(|&&length| length == 2).count()), (2, TRIAL_WINDOWS_MAX - 1));
    assert_eq!(lengths.last(), Some(&10));
}

#[test]
fn a_route_closes_the_window_and_late_answers_count_under_theirs() {
    let windows = windows(20);
    request(&windows, 4, 0);
    windows.begin(6, 1, false);
    request(&windows, 7, 0);
    request(&windows, 7, 1);
    windows.begin(7, 2, false);
    // The same generation again changes nothing.
    windows.begin(8, 2, false);
    assert_eq!(take(&windows, 30), [(3, 6, 0, 2, 0), (6, 7, 1, 1, 1), (7, 30, 2, 0, 2)]);
    // That window is gone: nothing is counted under another route.
    request(&windows, 31, 1);
    assert_eq!(take(&windows, 120), [(30, 120, 2, 0, 3)]);
}

#[test]
fn a_route_at_the_very_start_leaves_no_empty_window() {
    let windows = windows(0);
    windows.begin(3, 7, false);
    request(&windows, 3, 7);
    windows.begin(3, 8, false);
    assert_eq!(take(&windows, 10), [(3, 4, 7, 1, 0), (4, 10, 8, 0, 1)]);
}

#[test]
fn windows_that_nobody_takes_are_bounded() {
    let windows = windows(0);
    for i in 0..WINDOWS_MAX as i64 + 10 {
        request(&windows, 10 * i + 5, 0);
    }
    assert_eq!(windows.lost(), 9);
    // Taking closes two more: the last one, and the idle stretch after it.
    assert_eq!(take(&windows, i64::from(i32::MAX))[0].4, 11);
}

#[test]
fn whoever_counts_late_is_counted_even_if_two_routes_came_at_once() {
    let windows = windows(0);
    windows.begin(3, 1, false);
    // Somebody is being answered under the first route and has not been counted yet.
    windows.begin(3, 2, false);
    windows.observe(3, 1, ARM, Observation::default());
    windows.observe(4, 2, ARM, Observation::default());
    let taken = take(&windows, 100);
    let counted: Vec<(u64, u64)> = taken.iter().map(|window| (window.2, window.3)).filter(|it| it.1 > 0).collect();
    assert_eq!(counted, [(1, 1), (2, 1)]);
    assert!(taken.windows(2).all(|two| two[0].1 == two[1].0), "no gaps: {taken:?}");
}

#[test]
fn a_clock_that_is_put_back_holds_no_window_open() {
    let windows = windows(5);
    windows.begin(1_000, 1, false);
    request(&windows, 1_003, 1);
    windows.begin(1_004, 2, false);
    request(&windows, 1_005, 2);
    // It was ahead. A moment before a window that was just opened is no news: requests count by when they came.
    request(&windows, 996, 2);
    assert_eq!(take(&windows, 53), [(3, 1_000, 0, 0, 0), (1_000, 1_004, 1, 1, 1), (1_004, 1_010, 2, 2, 2)]);
    request(&windows, 54, 2);
    assert_eq!(take(&windows, 70), [(53, 60, 2, 1, 3), (60, 70, 2, 0, 4)]);
}

#[test]
fn an_answer_to_a_poll_holds_what_fits_and_one_window_at_least() {
    let windows = windows(0);
    let (versions, segments) = (Interner::new(9), Interner::new(9));
    let names = WindowNames { replica: "r", versions: &versions, segments: &segments, arms: &versions };
    // Names of 3 MiB, 6 MiB and 9 MiB.
    let text = |mib: usize| "x".repeat(mib << 20);
    for (end, mib) in [(10, 3), (20, 3), (30, 6), (40, 9), (50, 3)] {
        let version = versions.add_trusted(&text(mib));
        windows.observe(end - 5, 0, ArmId { version, ..ARM }, Observation::default());
    }
    let shown = |safe| windows.hand_out(50, safe, 9, &names).iter().map(|window| window.seq).collect::<Vec<_>>();
    assert_eq!((shown(None), shown(Some(1)), shown(Some(2)), shown(Some(3))), (vec![0, 1], vec![2], vec![3], vec![4]));
    assert!(shown(Some(4)).is_empty());
    assert_eq!((windows.lost(), windows.lock().packed_bytes), (0, 0));
}

#[test]
fn windows_that_nobody_takes_are_bounded_by_their_bytes_too() {
    let windows = windows(0);
    let (versions, segments) = (Interner::new(9), Interner::new(9));
    let names = WindowNames { replica: "r", versions: &versions, segments: &segments, arms: &versions };
    windows.lock().bytes_max = 40_000;
    let version = versions.add_trusted(&"x".repeat(10_000));
    for n in 0..6 {
        windows.observe(10 * n + 5, 0, ArmId { version, ..ARM }, Observation::default());
        windows.pack(10 * n + 10, &names);
    }
    // Each has a little beside the name, so that three fit.
    assert_eq!(windows.lost(), 3);
    let flushed: Vec<u64> = windows.flush(60, &names).iter().map(|window| window.seq).collect();
    assert_eq!(flushed, [3, 4, 5]);
}
