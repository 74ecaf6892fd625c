//! Scalars of the manifests: durations, shares, tolerances, numbers, metrics, versions, digests, names, quantities. Each is parsed from
//! text, prints itself back, and explains what is allowed. It does not know where in a file it was written.

mod duration;
mod fraction;
mod moment;
mod names;

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

pub use duration::Duration;
pub use fraction::{Number, Share, Tolerance};
pub use moment::{Moment, Time};
pub use names::{Digest, MetricName, Name, Quantity, VersionRef};
use serde::de::{Error as _, Visitor};
use thiserror::Error;

/// A scalar that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem} ({help})")]
pub struct ValueError {
    /// What is wrong, naming what was found.
    pub problem: String,
    /// What is allowed.
    pub help: String,
}

impl ValueError {
    pub(crate) fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { problem: problem.into(), help: help.into() }
    }
}

/// Checks a scalar by the title of its schema; `None` if the title is not one of ours.
pub(crate) fn check(title: &str, text: &str) -> Option<Result<(), ValueError>> {
    fn parsed<T: FromStr<Err = ValueError>>(text: &str) -> Result<(), ValueError> {
        text.parse::<T>().map(drop)
    }
    Some(match title {
        "Duration" => parsed::<Duration>(text),
        "Share" => parsed::<Share>(text),
        "Tolerance" => parsed::<Tolerance>(text),
        "Number" => parsed::<Number>(text),
        "Moment" => parsed::<Moment>(text),
        "Time" => parsed::<Time>(text),
        "Metric" => parsed::<MetricName>(text),
        "Version" => parsed::<VersionRef>(text),
        "Quantity" => parsed::<Quantity>(text),
        "Digest" => parsed::<Digest>(text),
        "Name" => parsed::<Name>(text),
        _ => return None,
    })
}

/// Takes a YAML or JSON scalar, text or number, by its text.
struct ScalarVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err = ValueError>> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a number")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

/// Reads any of the scalars.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err = ValueError>,
    D: serde::Deserializer<'de>,
{
    deserializer.deserialize_any(ScalarVisitor(PhantomData)).map_err(D::Error::custom)
}

/// Serde and schema of a scalar: text in the API, by way of `Display` and `FromStr`. `int_or_string` scalars may be
/// written as a whole number too.
macro_rules! scalar {
    ($type:ident, $title:literal, $pattern:literal, $($keyword:literal: $value:tt),+) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::values::deserialize(deserializer)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $title.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "title": $title, "pattern": $pattern, $($keyword: $value),+ })
            }
        }
    };
}
pub(crate) use scalar;
