//! Fractions and numbers as text: `2%` is relative, a bare number is absolute. Text, because a floating-point number in
//! an API object does not survive every client.

use std::fmt;
use std::str::FromStr;

use fairway_core::policy::Margin;
use fairway_wire::Weight;

use super::{ValueError, scalar};

/// A finite number, 0 or more; `inf`, `nan` and signs are refused.
fn non_negative(text: &str) -> Option<f64> {
    let digits = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    text.parse::<f64>().ok().filter(|n| digits && n.is_finite())
}

/// A part of a whole, 0% to 100%, to one part in a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(Weight);

impl Share {
    /// Nothing.
    pub const ZERO: Self = Self(Weight::ZERO);
    /// Everything.
    pub const FULL: Self = Self(Weight::FULL);

    /// From whole percents; above 100 counts as 100.
    pub fn percent(percent: u8) -> Self {
        Self(Weight::from_percent(percent))
    }

    /// As a share of users.
    pub fn weight(self) -> Weight {
        self.0
    }

    /// Between 0 and 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0.ppm()) / 1e6
    }
}

impl FromStr for Share {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let help = "a share is a percentage such as 5%, or a number from 0 to 1 such as \"0.05\"";
        let wrong = |why: &str| ValueError::new(format!("`{text}` is not a share: {why}"), help);
        let trimmed = text.trim();
        let (number, scale) = match trimmed.strip_suffix('%') {
            Some(percent) => (percent.trim_end(), 1e4),
            None => (trimmed, 1e6),
        };
        let ppm = non_negative(number).ok_or_else(|| wrong("it is not a number"))? * scale;
        if ppm > 1e6 {
            return Err(wrong("it is more than the whole"));
        }
        if (ppm - ppm.round()).abs() > 1e-6 {
            return Err(wrong("it is finer than one part in a million"));
        }
        // Rounded and within 0 to 1,000,000.
        Weight::from_ppm(ppm.round() as u32).map(Self).map_err(|_| wrong("it is more than the whole"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0.percent())
    }
}

/// How much worse, or better: `10%` of the other side's value, or `"0.005"` in the metric's own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// In percents of the other side's value.
    Percent(f64),
    /// In the metric's own unit.
    Absolute(f64),
}

impl Tolerance {
    /// As the policies have it.
    pub fn margin(self) -> Margin {
        match self {
            Self::Percent(percent) => Margin::Relative(percent / 100.0),
            Self::Absolute(bound) => Margin::Absolute(bound),
        }
    }
}

impl FromStr for Tolerance {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let help =
            "a percentage such as 10% is relative, a bare number such as \"0.005\" is absolute; neither is negative";
        let trimmed = text.trim();
        let (number, relative) = match trimmed.strip_suffix('%') {
            Some(percent) => (percent.trim_end(), true),
            None => (trimmed, false),
        };
        match non_negative(number) {
            Some(n) if relative => Ok(Self::Percent(n)),
            Some(n) => Ok(Self::Absolute(n)),
            None => Err(ValueError::new(format!("`{text}` is not a tolerance"), help)),
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(n) => write!(f, "{n}%"),
            Self::Absolute(n) => write!(f, "{n}"),
        }
    }
}

/// A finite number, 0 or more.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Number(f64);

impl Number {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// A small whole number.
    pub(crate) fn whole(n: u16) -> Self {
        Self(f64::from(n))
    }

    /// A quarter: the usual threshold of the population stability index.
    pub(crate) const QUARTER: Self = Self(0.25);
}

impl FromStr for Number {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        non_negative(text.trim()).map(Self).ok_or_else(|| {
            ValueError::new(
                format!("`{text}` is not a number"),
                "a number, 0 or more, such as \"0.25\"; no percent sign",
            )
        })
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

// Patterns are for texts only: whole numbers have a rule of their own.
scalar!(
    Share,
    "Share",
    r"^((100(\.0*)?|[0-9]{1,2}(\.[0-9]*)?|\.[0-9]+)\s*%|1(\.0*)?|0?\.[0-9]+|0(\.0*)?|[0-9.]+[eE]-[0-9]+)$",
    "x-kubernetes-int-or-string": true,
    "maxLength": 32,
    "x-kubernetes-validations": [{
        "rule": "!string(self).matches('^-?[0-9]+$') || string(self) in ['0', '1']",
        "message": "a share is a percentage such as 5%, or a number from 0 to 1 such as \"0.05\""
    }]
);
scalar!(
    Tolerance,
    "Tolerance",
    r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE]-?[0-9]{1,2})?\s*%?$",
    "x-kubernetes-int-or-string": true,
    "maxLength": 32,
    "x-kubernetes-validations": [{"rule": "!string(self).startsWith('-')", "message": "it is 0 or more"}]
);
scalar!(
    Number,
    "Number",
    r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE]-?[0-9]{1,2})?$",
    "x-kubernetes-int-or-string": true,
    "maxLength": 32,
    "x-kubernetes-validations": [{"rule": "!string(self).startsWith('-')", "message": "it is 0 or more"}]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (text, ppm, printed) in [
            ("5%", 50_000, "5%"),
            ("0.05", 50_000, "5%"),
            ("7 %", 70_000, "7%"),
            ("0.5%", 5000, "0.5%"),
            ("1", 1_000_000, "100%"),
        ] {
            let share: Share = text.parse().unwrap();
            assert_eq!((share.weight().ppm(), share.to_string().as_str()), (ppm, printed));
        }
        for (text, why) in [
            ("5", "it is more than the whole"),
            ("-1%", "it is not a number"),
            ("inf", "it is not a number"),
            ("nan%", "it is not a number"),
            ("0.0000001", "it is finer than one part in a million"),
        ] {
            assert_eq!(text.parse::<Share>().unwrap_err().problem, format!("`{text}` is not a share: {why}"));
        }
    }

    #[test]
    fn tolerances_keep_their_kind() {
        assert_eq!("10%".parse::<Tolerance>().unwrap().margin(), Margin::Relative(0.1));
        assert_eq!("0.005".parse::<Tolerance>().unwrap().margin(), Margin::Absolute(0.005));
        assert_eq!(serde_json::from_str::<Tolerance>("0.005").unwrap(), Tolerance::Absolute(0.005));
        assert_eq!(serde_json::from_str::<Tolerance>("0").unwrap(), Tolerance::Absolute(0.0));
        assert_eq!(serde_json::to_string(&Tolerance::Percent(2.5)).unwrap(), "\"2.5%\"");
        for text in ["", "%", "-0.1", "ten", "1e999", "NaN"] {
            assert!(text.parse::<Tolerance>().is_err(), "{text}");
        }
    }
}
