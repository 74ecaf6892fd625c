//! Durations as people write them: `30m`, `1h30m`, `180d`, `50ms`. No months and no years: they have no length.

use std::fmt;
use std::str::FromStr;

use super::{ValueError, scalar};

const HELP: &str = "a duration is written with units d, h, m, s or ms: 30m, 1h30m, 180d, 50ms";
/// A century: beyond it a duration is a mistake, and times would overflow.
const MAX_MS: u64 = 36_500 * DAY;
const DAY: u64 = 86_400_000;
/// Longest unit first: the order in which they may appear.
const UNITS: [(&str, u64); 5] = [("d", DAY), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A length of time in whole milliseconds, at most 36500 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(u64);

impl Duration {
    /// From days; more than a century counts as a century.
    pub const fn days(days: u32) -> Self {
        let ms = days as u64 * DAY;
        Self(if ms > MAX_MS { MAX_MS } else { ms })
    }

    /// From hours.
    pub const fn hours(hours: u16) -> Self {
        Self(hours as u64 * 3_600_000)
    }

    /// From minutes.
    pub const fn minutes(minutes: u16) -> Self {
        Self(minutes as u64 * 60_000)
    }

    /// From milliseconds.
    pub const fn millis(ms: u32) -> Self {
        Self(ms as u64)
    }

    /// From the standard library's, in whole milliseconds; more than a century counts as a century.
    pub fn from_std(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(MAX_MS).min(MAX_MS))
    }

    /// As the standard library has it.
    pub const fn std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.std()
    }
}

impl FromStr for Duration {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = |why: String| ValueError::new(format!("`{text}` is not a duration: {why}"), HELP);
        let (mut rest, mut total, mut next_unit) = (text.trim(), 0_u64, 0);
        if rest.is_empty() {
            return Err(wrong("it is empty".into()));
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if digits == 0 {
                return Err(wrong(format!("a whole number is expected at `{rest}`")));
            }
            let after = &rest[digits..];
            let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let unit = &after[..letters];
            if unit.is_empty() {
                return Err(wrong(format!("`{}` has no unit", &rest[..digits])));
            }
            let Some(at) = UNITS.iter().position(|(name, _)| *name == unit) else {
                return Err(wrong(format!("`{unit}` is not a unit")));
            };
            if at < next_unit {
                return Err(wrong(format!("`{unit}` comes after a unit that is as short or shorter")));
            }
            next_unit = at + 1;
            let part = rest[..digits].parse::<u64>().ok().and_then(|n| n.checked_mul(UNITS[at].1));
            total = part
                .and_then(|ms| total.checked_add(ms))
                .filter(|ms| *ms <= MAX_MS)
                .ok_or_else(|| wrong("it is longer than 36500d".into()))?;
            rest = &after[letters..];
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        // Whole days read as days; 36h stays 36h.
        let units = if self.0.is_multiple_of(DAY) { &UNITS[..1] } else { &UNITS[1..] };
        let mut rest = self.0;
        for (name, ms) in units {
            if rest >= *ms {
                write!(f, "{}{name}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

scalar!(
    Duration,
    "Duration",
    "^(([0-9]{1,4}|[12][0-9]{4}|3[0-5][0-9]{3}|36[0-4][0-9]{2}|36500)d)?([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,12}ms)?$",
    "type": "string",
    "minLength": 1,
    "maxLength": 32
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_back() {
        for (text, ms, printed) in [
            ("30m", 1_800_000, "30m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("180d", 180 * DAY, "180d"),
            ("36h", 36 * 3_600_000, "36h"),
            ("24h", DAY, "1d"),
            ("50ms", 50, "50ms"),
            ("1d2h3m4s5ms", 93_784_005, "26h3m4s5ms"),
            ("0s", 0, "0s"),
        ] {
            let parsed: Duration = text.parse().unwrap();
            assert_eq!((parsed.0, parsed.to_string().as_str()), (ms, printed), "{text}");
            assert_eq!(printed.parse::<Duration>().unwrap(), parsed);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("", "it is empty"),
            ("30", "`30` has no unit"),
            ("h", "a whole number is expected at `h`"),
            ("1.5h", "`1` has no unit"),
            ("2w", "`w` is not a unit"),
            ("30m1h", "`h` comes after a unit that is as short or shorter"),
            ("99999d", "it is longer than 36500d"),
            ("99999999999999999999d", "it is longer than 36500d"),
            ("-1h", "a whole number is expected at `-1h`"),
        ] {
            let error = text.parse::<Duration>().unwrap_err();
            assert_eq!(error.problem, format!("`{text}` is not a duration: {why}"));
        }
    }
}
