//! What a model's log says: versions, aliases, and the one thing that each entry did.
//! It checks and applies changes; it reads and writes nothing.

use crate::{Digest, Error, Result, Timestamp, names};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format of the entries that this version writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;
/// The most live versions of one model: each entry carries them all.
pub(crate) const VERSIONS_MAX: usize = 1_000;
const ALIASES_MAX: usize = 100;
const PAIRS_MAX: usize = 100;
const TEXT_MAX: usize = 1_024;
/// Two aliases that the registry itself gives a meaning.
const CHAMPION: &str = "champion";
const PREVIOUS: &str = "previous";

/// A registered version. It never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1.
    pub number: u64,
    /// The digest of its tree.
    pub digest: Digest,
    /// The run that made it.
    pub run: String,
    /// When it was registered.
    pub registered: Timestamp,
    /// The size of its files, in bytes.
    pub bytes: u64,
    /// The number of its files, `provenance.json` among them.
    pub files: u32,
    /// What the trainer measured.
    pub metrics: BTreeMap<String, f64>,
    /// Words for people and selectors.
    pub labels: BTreeMap<String, String>,
}

/// All that is live of a model: carried whole by every entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Versions by number.
    pub versions: BTreeMap<u64, Version>,
    /// Version numbers by alias.
    pub aliases: BTreeMap<String, u64>,
}

/// One entry of a model's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The format of this entry.
    pub format: u32,
    /// Its number, from 1.
    pub seq: u64,
    /// The sha-256 (hex) of the bytes of the entry before, `None` in the first.
    pub previous: Option<String>,
    /// Tells a writer its own write.
    pub txn: String,
    /// Who did it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When, by the clock of the one who did it.
    pub time: Timestamp,
    /// What was done.
    pub operation: Operation,
    /// What is live afterwards.
    pub state: State,
}

/// What an entry did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Operation {
    /// A version was registered, and an alias moved to it when the registration said so.
    Registered {
        /// Its number.
        version: u64,
    },
    /// An alias was moved, set or removed; with `champion`, `previous` moved along.
    Aliased {
        /// The alias.
        alias: String,
        /// Where it pointed.
        from: Option<u64>,
        /// Where it points now; `None`: removed.
        to: Option<u64>,
        /// Why.
        reason: String,
    },
}

/// What a trainer says of a tree that it registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The run that made it; one run registers one version.
    pub run: String,
    /// Who registers.
    pub actor: String,
    /// Now.
    pub time: Timestamp,
    /// What was measured; finite numbers.
    pub metrics: BTreeMap<String, f64>,
    /// Words for people and selectors.
    pub labels: BTreeMap<String, String>,
    /// Where it comes from; kept in the tree as `provenance.json`, and part of the digest.
    pub provenance: serde_json::Value,
    /// An alias to move to it in the same commit.
    pub alias: Option<String>,
    /// Why.
    pub reason: String,
}

impl Registration {
    pub(crate) fn check(&self) -> Result<()> {
        names::name("run", &self.run)?;
        if let Some(alias) = &self.alias {
            names::name("alias", alias)?;
        }
        text("actor", &self.actor)?;
        text("reason", &self.reason)?;
        if self.metrics.len() > PAIRS_MAX || self.labels.len() > PAIRS_MAX {
            return invalid("metrics and labels", format!("at most {PAIRS_MAX} each"));
        }
        for (name, value) in &self.metrics {
            text("metric name", name)?;
            // JSON has no NaN and no infinity: such an entry could never be read again.
            if !value.is_finite() {
                return invalid(&format!("metric `{name}`"), format!("is {value}, must be finite"));
            }
        }
        self.labels.iter().try_for_each(|(name, value)| text("label name", name).and(text("label value", value)))
    }
}

pub(crate) fn text(what: &str, value: &str) -> Result<()> {
    if value.len() > TEXT_MAX {
        return invalid(what, format!("{} bytes, the most is {TEXT_MAX}", value.len()));
    }
    Ok(())
}

fn invalid<T>(what: &str, reason: String) -> Result<T> {
    Err(Error::Invalid { what: what.to_owned(), reason })
}

impl State {
    /// The version that this run registered.
    pub fn by_run(&self, run: &str) -> Option<&Version> {
        self.versions.values().find(|version| version.run == run)
    }

    /// The newest version with this digest.
    pub fn by_digest(&self, digest: &Digest) -> Option<&Version> {
        self.versions.values().rev().find(|version| version.digest == *digest)
    }

    /// The version that an alias points to.
    pub fn by_alias(&self, alias: &str) -> Option<&Version> {
        self.versions.get(self.aliases.get(alias)?)
    }

    /// The number of the next version.
    pub(crate) fn next_number(&self) -> u64 {
        self.versions.last_key_value().map_or(1, |(number, _)| number + 1)
    }

    /// Points an alias to a version, or removes it. The version that `champion` leaves becomes
    /// `previous`, the one to go back to.
    pub(crate) fn point(&mut self, alias: &str, to: Option<u64>) -> Result<()> {
        if let Some(number) = to.filter(|number| !self.versions.contains_key(number)) {
            return Err(Error::NotFound(format!("version {number}")));
        }
        let former = match to {
            Some(number) => self.aliases.insert(alias.to_owned(), number),
            None => self.aliases.remove(alias),
        };
        if let (CHAMPION, Some(former)) = (alias, former.filter(|_| former != to)) {
            self.aliases.insert(PREVIOUS.to_owned(), former);
        }
        if self.aliases.len() > ALIASES_MAX {
            return invalid("aliases", format!("a model has at most {ALIASES_MAX}; remove one first"));
        }
        Ok(())
    }
}
