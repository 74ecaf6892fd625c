//! Moments: one in time, and those of a freeze, which are once or every week.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::{ValueError, scalar};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A moment, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// `2026-11-27T18:00:00Z`.
    Once(Timestamp),
    /// `Fri 18:00`: minutes since Monday 00:00.
    Weekly(u32),
}

impl FromStr for Moment {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let trimmed = text.trim();
        if let Ok(timestamp) = trimmed.parse() {
            return Ok(Self::Once(timestamp));
        }
        let weekly = || {
            let (day, time) = trimmed.split_once(' ')?;
            let day = u32::try_from(DAYS.iter().position(|name| *name == day)?).ok()?;
            let (hour, minute) = time.split_once(':')?;
            let number = |text: &str, most: u32| -> Option<u32> {
                (text.len() == 2).then(|| text.parse().ok())?.filter(|number| *number <= most)
            };
            Some(Self::Weekly(day * 24 * 60 + number(hour, 23)? * 60 + number(minute, 59)?))
        };
        weekly().ok_or_else(|| {
            let help = "a time such as 2026-11-27T18:00:00Z, or one of every week such as Fri 18:00 (both UTC)";
            ValueError::new(format!("`{text}` is not a moment"), help)
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once(timestamp) => timestamp.fmt(f),
            Self::Weekly(minutes) => {
                let day = DAYS.get((minutes / (24 * 60)) as usize).unwrap_or(&"Sun");
                write!(f, "{day} {:02}:{:02}", minutes / 60 % 24, minutes % 60)
            }
        }
    }
}

scalar!(
    Moment,
    "Moment",
    r"^(\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[+-]\d{2}:\d{2})|(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([01]\d|2[0-3]):[0-5]\d)$",
    "type": "string",
    "maxLength": 40
);

/// A point in time: `2026-11-27T18:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl FromStr for Time {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let help = "a date and a time, such as 2026-11-27T18:00:00Z";
        text.trim().parse().map(Self).map_err(|_| ValueError::new(format!("`{text}` is not a time"), help))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

scalar!(
    Time,
    "Time",
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d{2}:\d{2})$",
    "type": "string",
    "format": "date-time",
    "maxLength": 40
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_printed_back() {
        assert_eq!("2026-11-27T18:00:00Z".parse::<Time>().unwrap().to_string(), "2026-11-27T18:00:00Z");
        assert_eq!("2026-11-27T19:00:00+01:00".parse::<Time>().unwrap().to_string(), "2026-11-27T18:00:00Z");
        for text in ["", "tomorrow", "2026-11-27", "Fri 18:00"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_read_and_printed_back() {
        for text in ["2026-11-27T18:00:00Z", "Mon 00:00", "Fri 18:30", "Sun 23:59"] {
            assert_eq!(text.parse::<Moment>().unwrap().to_string(), text);
        }
        assert_eq!("Tue 01:02".parse(), Ok(Moment::Weekly(24 * 60 + 62)));
        for text in ["", "Fri", "Fri 24:00", "Fri 7:00", "fri 07:00", "2026-11-27", "Friday 07:00", "Fri 07:0x"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
