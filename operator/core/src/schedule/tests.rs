use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    format!("{text}:00Z").parse().unwrap()
}

#[test]
fn next_and_previous() {
    for (cron, now, previous, next) in [
        ("0 3 * * 1", "2026-11-27T12:00", "2026-11-23T03:00", "2026-11-30T03:00"),
        ("0 3 * * mon", "2026-11-30T03:00", "2026-11-30T03:00", "2026-12-07T03:00"),
        ("*/15 * * * *", "2026-01-01T00:00", "2026-01-01T00:00", "2026-01-01T00:15"),
        ("5/20 * * * *", "2026-01-01T00:00", "2025-12-31T23:45", "2026-01-01T00:05"),
        ("59 23 31 12 *", "2026-01-01T00:00", "2025-12-31T23:59", "2026-12-31T23:59"),
        ("0 0 1,15 * *", "2026-02-16T00:00", "2026-02-15T00:00", "2026-03-01T00:00"),
        ("0 8-18/5 * * 1-5", "2026-11-27T18:01", "2026-11-27T18:00", "2026-11-30T08:00"),
        // Leap years: 2024 and 2028; 2100 is none, so 2096 is followed by 2104.
        ("0 0 29 2 *", "2026-01-01T00:00", "2024-02-29T00:00", "2028-02-29T00:00"),
        ("0 0 29 2 *", "2097-01-01T00:00", "2096-02-29T00:00", "2104-02-29T00:00"),
        // A star that steps is a star: both days must fit, so 29 February on an even weekday.
        ("0 0 29 2 */2", "2097-01-01T00:00", "2088-02-29T00:00", "2116-02-29T00:00"),
        // Both days given: the 13th or a Friday, whichever comes.
        ("0 0 13 * 5", "2026-11-08T00:00", "2026-11-06T00:00", "2026-11-13T00:00"),
        ("0 0 13 * 5", "2026-12-12T00:00", "2026-12-11T00:00", "2026-12-13T00:00"),
        // Sunday has two numbers.
        ("0 0 * * 0", "2026-11-27T00:00", "2026-11-22T00:00", "2026-11-29T00:00"),
        ("0 0 * * 7", "2026-11-27T00:00", "2026-11-22T00:00", "2026-11-29T00:00"),
        ("0 0 * * 5-7", "2026-11-27T00:00", "2026-11-27T00:00", "2026-11-28T00:00"),
    ] {
        let schedule: Cron = cron.parse().unwrap();
        assert_eq!(schedule.previous(at(now)), Some(at(previous)), "{cron} before {now}");
        assert_eq!(schedule.next(at(now)), Some(at(next)), "{cron} after {now}");
    }
}

#[test]
fn what_cannot_be_a_schedule() {
    for (cron, problem) in [
        ("", "`` has 0 fields, five are needed"),
        ("@daily", "`@daily` has 1 fields, five are needed"),
        ("0 0 3 * * 1", "`0 0 3 * * 1` has 6 fields, five are needed"),
        ("60 * * * *", "`60` is not a minute"),
        ("* 24 * * *", "`24` is not a hour"),
        ("* * 0 * *", "`0` is not a day of month"),
        ("* * * 13 *", "`13` is not a month"),
        ("* * * * 8", "`8` is not a day of week"),
        ("5-1 * * * *", "`5-1` is not a minute"),
        ("*/0 * * * *", "`*/0` is not a minute"),
        ("+5 * * * *", "`+5` is not a minute"),
        ("1, * * * *", "`` is not a minute"),
        ("1-2-3 * * * *", "`1-2-3` is not a minute"),
        ("* * L * *", "`L` is not a day of month"),
        ("* * * foo *", "`foo` is not a month"),
        ("0 0 30 2 *", "`0 0 30 2 *` never comes"),
        ("0 0 31 4,6,9,11 *", "`0 0 31 4,6,9,11 *` never comes"),
    ] {
        assert_eq!(cron.parse::<Cron>().unwrap_err().problem, problem);
    }
    // Or rule: there is no 30 February, but there are Mondays in it.
    assert!("0 0 30 2 1".parse::<Cron>().is_ok());
}

#[test]
fn travels_as_text() {
    let cron: Cron = serde_json::from_str("\"0  3 * *   MON\"").unwrap();
    assert_eq!(serde_json::to_string(&cron).unwrap(), "\"0 3 * * MON\"");
    assert!(serde_json::from_str::<Cron>("\"0 25 * * *\"").is_err());
    assert_eq!(cron.next(Timestamp::MAX), None);
}

#[test]
fn rhythms() {
    let day = Duration::from_secs(86_400);
    for (cron, gap, within_a_week) in [
        ("0 3 * * 1", 7 * day, 1),
        ("0 3 * * 1,5", 3 * day, 2),
        ("0 * * * *", day / 24, 168),
        ("0 0 29 2 *", 1461 * day, 1),
        ("0 0 1,31 * *", day, 2),
    ] {
        assert_eq!(cron.parse::<Cron>().unwrap().rhythm(7 * day), Some((gap, within_a_week)), "{cron}");
    }
}

proptest! {
    /// No tick lies between the last one and the next one, and both are ticks.
    #[test]
    fn neighbours(minute in 0..60_u8, hour in 0..24_u8, day in 1..29_u8, weekday in 0..8_u8, both in any::<bool>(), now in 0..4_000_000_000_i64) {
        let weekday = if both { weekday.to_string() } else { "*".to_owned() };
        let cron: Cron = format!("{minute} {hour} {day} * {weekday}").parse().unwrap();
        let now = Timestamp::from_second(now).unwrap();
        let (previous, next) = (cron.previous(now).unwrap(), cron.next(now).unwrap());
        prop_assert!(previous <= now && now < next);
        prop_assert_eq!(cron.next(previous), Some(next));
        prop_assert_eq!(cron.previous(next), Some(next));
    }

    #[test]
    fn never_panics(text in "[-0-9*/, a-z]{0,40}") {
        if let Ok(cron) = text.parse::<Cron>() {
            prop_assert!(cron.next(Timestamp::UNIX_EPOCH).is_some());
        }
    }
}
