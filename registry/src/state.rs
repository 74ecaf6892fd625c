//! What a model's log says: versions, aliases, and the one thing that each entry did.
//! Pure: it checks and applies changes; it reads and writes nothing.

use crate::{Digest, Error, Reference, Result, Retention, Target, Timestamp, names};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format of the entries that this version writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;
/// The most live versions of one model: each entry carries them all.
pub(crate) const VERSIONS_MAX: usize = 1_000;
/// The most deleted versions of which each entry says where their tombstone is.
const TOMBSTONES_MAX: usize = 1_000;
const ALIASES_MAX: usize = 100;
const ACTORS_MAX: usize = 50;
const VERDICTS_MAX: usize = 20;
const PAIRS_MAX: usize = 100;
const TEXT_MAX: usize = 1_024;
/// Two aliases that the registry itself gives a meaning.
pub(crate) const CHAMPION: &str = "champion";
const PREVIOUS: &str = "previous";

/// A registered version. Its tree never changes; verdicts, holds and signatures come to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1. Never given twice.
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
    /// Who approved or rejected it, oldest first; the last word of each person counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
    /// Why it must not be deleted, while there is such a reason (a legal hold).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// When it last stopped being `champion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reigned: Option<Timestamp>,
}

/// What a person thinks of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Who.
    pub actor: String,
    /// Yes or no.
    pub approved: bool,
    /// When.
    pub time: Timestamp,
    /// Why.
    pub reason: String,
}

impl Version {
    /// A version of which nothing matters but its tree and its time.
    #[cfg(test)]
    pub(crate) fn plain(digest: Digest, registered: Timestamp) -> Version {
        Version {
            number: 0,
            digest,
            run: "run".to_owned(),
            registered,
            bytes: 1,
            files: 1,
            metrics: BTreeMap::new(),
            labels: BTreeMap::new(),
            verdicts: Vec::new(),
            hold: None,
            reigned: None,
        }
    }

    /// People whose last word on it was yes, unless anybody's was no.
    pub fn approvals(&self) -> BTreeSet<&str> {
        let last: BTreeMap<&str, bool> = self.verdicts.iter().map(|v| (v.actor.as_str(), v.approved)).collect();
        if last.values().any(|approved| !approved) {
            return BTreeSet::new();
        }
        last.into_keys().collect()
    }

    /// Whether anybody's last word on it was no.
    pub fn rejected(&self) -> bool {
        let last: BTreeMap<&str, bool> = self.verdicts.iter().map(|v| (v.actor.as_str(), v.approved)).collect();
        last.values().any(|approved| !approved)
    }
}

/// All that is live of a model: carried whole by every entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Versions by number.
    pub versions: BTreeMap<u64, Version>,
    /// Version numbers by alias.
    pub aliases: BTreeMap<String, u64>,
    /// The highest number that was ever given.
    #[serde(default)]
    pub last_number: u64,
    /// Who may move an alias, for those that not everybody may.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub protected: BTreeMap<String, BTreeSet<String>>,
    /// Which versions are kept; without it none is ever deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Trees that are being deleted or were, and when that was decided. None may be registered until
    /// it is certain that nobody is still deleting it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub condemned: BTreeMap<Digest, Condemned>,
    /// The number of the entry that last condemned a tree, 0 before the first. Whoever uploaded
    /// under another one must look again whether everything is there.
    #[serde(default)]
    pub fence: u64,
    /// The entry that says when and by whom a version was deleted, by its number; the newest ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tombstones: BTreeMap<u64, u64>,
}

/// A tree that must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condemned {
    /// When that was decided.
    pub time: Timestamp,
    /// Whether its bytes are gone.
    pub swept: bool,
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
    /// When, by the clock of the one who did it; never before the entry before.
    pub time: Timestamp,
    /// What was done.
    pub operation: Operation,
    /// What is live afterwards.
    pub state: State,
}

/// What an entry did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
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
    /// Somebody approved or rejected a version.
    Judged {
        /// Its number.
        version: u64,
        /// Its digest: what the person saw.
        digest: Digest,
        /// Yes or no.
        approved: bool,
    },
    /// Somebody took their word about a version back: they count as not having spoken.
    Withdrawn {
        /// Its number.
        version: u64,
        /// Its digest.
        digest: Digest,
    },
    /// A version was put under a legal hold, or the hold was lifted.
    Held {
        /// Its number.
        version: u64,
        /// Whether it is held now.
        held: bool,
    },
    /// From now on only these people may move the alias; none named: everybody.
    Protected {
        /// The alias.
        alias: String,
        /// Who may.
        actors: BTreeSet<String>,
    },
    /// Which versions are kept was decided; `None`: all.
    Retained {
        /// The rule.
        retention: Option<Retention>,
    },
    /// A signature was put beside a version's tree.
    Signed {
        /// Its number.
        version: u64,
        /// The hint of the public key that verifies it.
        key: String,
    },
    /// Versions were deleted and trees condemned. This is their tombstone; the bytes go afterwards.
    Condemned {
        /// The versions.
        versions: Vec<u64>,
        /// The trees: those of the versions that no other version has, and those that none ever had.
        digests: Vec<Digest>,
    },
    /// The bytes of condemned trees are gone.
    Swept {
        /// The trees.
        digests: Vec<Digest>,
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
    /// Extensions of further kinds of files in the tree, which its author vouches for: see `kinds.rs`.
    pub kinds: BTreeSet<String>,
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

    /// The version that a target means.
    pub fn find(&self, target: &Target) -> Option<&Version> {
        match target {
            Target::Alias(alias) => self.by_alias(alias),
            Target::Number(number) => self.versions.get(number),
            Target::Digest(digest) => self.by_digest(digest),
        }
    }

    /// The aliases of a version, sorted.
    pub fn aliases_of(&self, number: u64) -> Vec<&str> {
        self.aliases.iter().filter(|(_, at)| **at == number).map(|(alias, _)| alias.as_str()).collect()
    }

    /// Adds a version under the next number and says which that is. Whether there is room is the caller's to ask.
    pub(crate) fn add(&mut self, mut version: Version) -> u64 {
        // Logs of before deletion existed say nothing of the last number.
        let highest = self.versions.last_key_value().map_or(0, |(number, _)| *number);
        version.number = self.last_number.max(highest) + 1;
        self.last_number = version.number;
        self.versions.insert(version.number, version);
        self.last_number
    }

    /// Points an alias to a version, or removes it. The version that `champion` leaves becomes
    /// `previous`, the one to go back to.
    pub(crate) fn point(&mut self, alias: &str, to: Option<u64>, actor: &str, time: Timestamp) -> Result<()> {
        if let Some(actors) = self.protected.get(alias).filter(|actors| !actors.contains(actor)) {
            return Err(Error::Protected {
                alias: alias.to_owned(),
                actor: actor.to_owned(),
                actors: actors.iter().cloned().collect::<Vec<_>>().join(", "),
            });
        }
        if let Some(number) = to.filter(|number| !self.versions.contains_key(number)) {
            return Err(Error::NotFound(format!("version {number}")));
        }
        let former = match to {
            Some(number) => self.aliases.insert(alias.to_owned(), number),
            None => self.aliases.remove(alias),
        };
        if let (CHAMPION, Some(former)) = (alias, former.filter(|_| former != to)) {
            self.aliases.insert(PREVIOUS.to_owned(), former);
            if let Some(version) = self.versions.get_mut(&former) {
                version.reigned = Some(time);
            }
        }
        if self.aliases.len() > ALIASES_MAX {
            return invalid("aliases", format!("a model has at most {ALIASES_MAX}; remove one first"));
        }
        Ok(())
    }

    /// Says who may move an alias; nobody named: everybody.
    pub(crate) fn protect(&mut self, alias: &str, actors: &BTreeSet<String>) -> Result<()> {
        if actors.len() > ACTORS_MAX || self.protected.len() >= ALIASES_MAX {
            return invalid("actors", format!("at most {ACTORS_MAX} people, and {ALIASES_MAX} aliases"));
        }
        actors.iter().try_for_each(|actor| text("actor", actor))?;
        if actors.is_empty() {
            self.protected.remove(alias);
        } else {
            self.protected.insert(alias.to_owned(), actors.clone());
        }
        Ok(())
    }

    /// Adds what somebody thinks of a version. Only the last word of each person is kept.
    pub(crate) fn judge(&mut self, number: u64, verdict: Verdict) -> Result<()> {
        let Some(version) = self.versions.get_mut(&number) else {
            return Err(Error::NotFound(format!("version {number}")));
        };
        version.verdicts.retain(|earlier| earlier.actor != verdict.actor);
        if version.verdicts.len() >= VERDICTS_MAX {
            return invalid("verdicts", format!("a version has at most {VERDICTS_MAX}"));
        }
        version.verdicts.push(verdict);
        Ok(())
    }

    /// Forgets what somebody thought of a version; false if they never said.
    pub(crate) fn withdraw(&mut self, number: u64, actor: &str) -> bool {
        let Some(version) = self.versions.get_mut(&number) else { return false };
        let before = version.verdicts.len();
        version.verdicts.retain(|verdict| verdict.actor != actor);
        version.verdicts.len() < before
    }

    /// Whether a tree is condemned and its bytes may still be there.
    pub(crate) fn is_going(&self, digest: &Digest) -> bool {
        self.condemned.get(digest).is_some_and(|it| !it.swept)
    }

    /// Deletes versions and condemns trees; `seq` is the entry that does it.
    pub(crate) fn condemn(&mut self, versions: &[u64], digests: &[Digest], seq: u64, time: Timestamp) {
        for number in versions {
            self.versions.remove(number);
            self.tombstones.insert(*number, seq);
        }
        while self.tombstones.len() > TOMBSTONES_MAX {
            self.tombstones.pop_first();
        }
        for digest in digests {
            self.condemned.insert(digest.clone(), Condemned { time, swept: false });
        }
        if !digests.is_empty() {
            self.fence = seq;
        }
    }

    /// What a reference names, or the error that says why there is no such version.
    pub(crate) fn resolve(&self, reference: &Reference, model: &str) -> Result<Version> {
        if let Some(version) = self.find(&reference.target) {
            return Ok(version.clone());
        }
        match reference.target {
            Target::Number(number) if number <= self.last_number => Err(Error::Deleted {
                what: format!("version {number} of {model}"),
                entry: self.tombstones.get(&number).copied(),
            }),
            _ => Err(Error::NotFound(format!("version {reference} of {model}"))),
        }
    }
}
