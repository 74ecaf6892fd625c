//! Texts that stand for a moment.
//!
//! What it does not do: it guesses no zones. A time without one is UTC.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Milliseconds since 1970 UTC of RFC 3339, or of a date (its midnight) or time without zone, with `T` or a space.
pub(super) fn parse_instant(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_millisecond());
    }
    let civil: DateTime = text.parse().ok()?;
    let zoned = civil.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_zone() {
        for (text, ms) in [
            ("1970-01-01T00:00:01Z", Some(1_000)),
            ("1970-01-01T01:00:00.5+01:00", Some(500)),
            ("1970-01-02", Some(86_400_000)),
            ("1970-01-01 00:00:02", Some(2_000)),
            (" 1970-01-01T00:00:03 ", Some(3_000)),
            ("yesterday", None),
            ("12/31/2010", None),
            ("", None),
        ] {
            assert_eq!(parse_instant(text), ms, "{text}");
        }
    }
}
