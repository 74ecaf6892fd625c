//! Durations as people write them in manifests: `30d`, `36h`, `250ms`.
//!
//! What it does not do: no months, no fractions, no signs and one unit at a time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// A duration in whole milliseconds, never negative when parsed. Its text has the largest unit that divides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Milliseconds(pub i64);

/// Units from the largest, in milliseconds.
const UNITS: [(&str, i64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Milliseconds {
    /// Refuses a duration of nothing.
    pub(super) fn positive(self, feature: &str, parameter: &str) -> Result<(), Error> {
        if self.0 > 0 {
            return Ok(());
        }
        Err(Error::Feature {
            name: feature.to_owned(),
            what: format!("{parameter} is {self}; it must be longer than nothing"),
        })
    }
}

impl FromStr for Milliseconds {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Duration(text.chars().take(40).collect());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: i64 = number.parse().map_err(|_| wrong())?;
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        number.checked_mul(*size).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let unit = UNITS.iter().find(|(_, size)| self.0 % size == 0);
        let (name, size) = unit.unwrap_or(&("ms", 1));
        write!(f, "{}{name}", self.0 / size)
    }
}

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_the_shortest_text_is_written() {
        for (text, ms, shortest) in [
            ("30d", 2_592_000_000, "30d"),
            ("36h", 129_600_000, "36h"),
            ("48h", 172_800_000, "2d"),
            ("10m", 600_000, "10m"),
            ("90s", 90_000, "90s"),
            ("250ms", 250, "250ms"),
            ("0d", 0, "0s"),
        ] {
            let duration: Milliseconds = text.parse().unwrap();
            assert_eq!((duration.0, duration.to_string().as_str()), (ms, shortest));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "d", "5", "5 d", "-5d", "1.5h", "5w", "1h30m", "99999999999999999999d", "999999999999d"] {
            assert!(text.parse::<Milliseconds>().is_err(), "{text}");
        }
    }
}
