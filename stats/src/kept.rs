//! Summaries as they are kept for long: with what they are and the version of their form, so that a program of another
//! version refuses them by name instead of misreading them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bins::{Bins, Histogram};
use crate::categories::Categories;
use crate::cells::Cells;
use crate::decay::ForwardDecay;
use crate::latency::LatencyHistogram;
use crate::moments::Moments;
use crate::sketches::{Distinct, HeavyHitters};

/// A summary with a stable written form. When the form of one changes, its version goes up and its golden file stays.
pub trait Summary {
    /// What it is, in the written form.
    const KIND: &'static str;
    /// The version of its form.
    const VERSION: u32 = 1;
}

impl Summary for Bins {
    const KIND: &'static str = "bins";
}
impl Summary for Histogram {
    const KIND: &'static str = "histogram";
}
impl Summary for Categories {
    const KIND: &'static str = "categories";
}
impl Summary for Cells {
    const KIND: &'static str = "cells";
}
impl Summary for ForwardDecay {
    const KIND: &'static str = "forward-decay";
}
impl Summary for LatencyHistogram {
    const KIND: &'static str = "latency";
}
impl Summary for Moments {
    const KIND: &'static str = "moments";
}
impl Summary for Distinct {
    const KIND: &'static str = "distinct";
}
impl Summary for HeavyHitters {
    const KIND: &'static str = "heavy-hitters";
}

/// A summary in its kept form: `{"kind":"histogram","version":1,"state":…}`.
///
/// Reading another kind or version fails and says which was found and which was expected.
#[derive(Serialize, Deserialize, Clone, PartialEq)]
#[serde(bound(serialize = "T: Summary + Serialize", deserialize = "T: Summary + Deserialize<'de>"))]
pub struct Kept<T> {
    kind: Kind<T>,
    version: Version<T>,
    /// The summary.
    pub state: T,
}

impl<T> Kept<T> {
    /// `state`, to be kept.
    pub fn new(state: T) -> Self {
        Self { kind: Kind(PhantomData), version: Version(PhantomData), state }
    }
}

impl<T: fmt::Debug> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.state).finish()
    }
}

/// The kind of `T`, checked while it is read: before the state is.
#[derive(Clone, PartialEq)]
struct Kind<T>(PhantomData<T>);

impl<T: Summary> Serialize for Kind<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(T::KIND)
    }
}

impl<'de, T: Summary> Deserialize<'de> for Kind<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = String::deserialize(deserializer)?;
        let known = found == T::KIND;
        known.then_some(Self(PhantomData)).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&found), &T::KIND))
    }
}

/// The version of `T`'s form, checked as its kind is.
#[derive(Clone, PartialEq)]
struct Version<T>(PhantomData<T>);

impl<T: Summary> Serialize for Version<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(T::VERSION)
    }
}

impl<'de, T: Summary> Deserialize<'de> for Version<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = u32::deserialize(deserializer)?;
        let known = found == T::VERSION;
        known.then_some(Self(PhantomData)).ok_or_else(|| {
            let (kind, version) = (T::KIND, T::VERSION);
            D::Error::custom(format!(
                "{kind} of version {found}, but this program reads version {version}; read it with the program that wrote it"
            ))
        })
    }
}

#[cfg(test)]
mod tests;
