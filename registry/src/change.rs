//! Changes to what is registered: aliases move, people judge, holds and rules come and go. Each is one
//! entry of the log, and says who did it and why. Which changes are allowed is in `state.rs`.

use crate::commit::{Step, json};
use crate::model::{Author, compose};
use crate::state::{State, Verdict, text};
use crate::store::Planted;
use crate::{Digest, Entry, Error, ModelLog, Operation, Reference, Result, Retention, Timestamp, fetch, names};
use std::collections::BTreeSet;
use std::sync::Arc;

impl ModelLog {
    /// Moves an alias from `expected` to `to` (`None`: absent) in one commit, and returns the entry
    /// after it. Moving `champion` makes the former champion `previous`. Where `expected` and `to`
    /// are the same and true, nothing is written and the newest entry is returned.
    pub async fn move_alias(
        &self,
        alias: &str,
        expected: Option<u64>,
        to: Option<u64>,
        actor: &str,
        reason: &str,
        time: Timestamp,
    ) -> Result<Entry> {
        names::name("alias", alias)?;
        let author = Author { actor, reason, time };
        self.change(author, |state, time| {
            let found = state.aliases.get(alias).copied();
            if found != expected && !self.store.planted(Planted::AliasWithoutCas) {
                return Err(Error::Conflict { what: format!("@{alias} of {}", self.folder), expected, found });
            }
            if found == to {
                return Ok(None);
            }
            state.point(alias, to, actor, time)?;
            Ok(Some(Operation::Aliased { alias: alias.to_owned(), from: found, to, reason: reason.to_owned() }))
        })
        .await
    }

    /// Says who may move an alias from now on; nobody named: everybody. The names are those that
    /// callers give themselves: whom the store lets write the log is the store's to enforce.
    pub async fn protect(&self, alias: &str, actors: &BTreeSet<String>, author: Author<'_>) -> Result<Entry> {
        names::name("alias", alias)?;
        self.change(author, |state, _| {
            if state.protected.get(alias).unwrap_or(&BTreeSet::new()) == actors {
                return Ok(None);
            }
            state.protect(alias, actors)?;
            Ok(Some(Operation::Protected { alias: alias.to_owned(), actors: actors.clone() }))
        })
        .await
    }

    /// Approves or rejects a version, which must still have the digest that the person saw.
    pub async fn judge(&self, number: u64, digest: &Digest, approved: bool, author: Author<'_>) -> Result<Entry> {
        self.change(author, |state, time| {
            let version = state.resolve(&Reference::number(number), self.name())?;
            if version.digest != *digest {
                let what = format!("version {number} of {}", self.name());
                return Err(Error::Invalid { what, reason: format!("has digest {}, not {digest}", version.digest) });
            }
            let (actor, reason) = (author.actor.to_owned(), author.reason.to_owned());
            if version.verdicts.iter().any(|it| it.actor == actor && it.approved == approved && it.reason == reason) {
                return Ok(None);
            }
            state.judge(number, Verdict { actor, approved, time, reason })?;
            Ok(Some(Operation::Judged { version: number, digest: version.digest, approved }))
        })
        .await
    }

    /// Takes the author's word about a version back, be it a yes or a no: it is as if they had never spoken. The log says that
    /// they had.
    pub async fn withdraw(&self, number: u64, author: Author<'_>) -> Result<Entry> {
        self.change(author, |state, _| {
            let version = state.resolve(&Reference::number(number), self.name())?;
            if !state.withdraw(number, author.actor) {
                return Ok(None);
            }
            Ok(Some(Operation::Withdrawn { version: number, digest: version.digest }))
        })
        .await
    }

    /// Puts a version under a legal hold (the author's reason says why) or lifts it.
    pub async fn hold(&self, number: u64, held: bool, author: Author<'_>) -> Result<Entry> {
        self.change(author, |state, _| {
            let before = state.resolve(&Reference::number(number), self.name())?.hold;
            let hold = held.then(|| author.reason.to_owned());
            if before == hold {
                return Ok(None);
            }
            if let Some(version) = state.versions.get_mut(&number) {
                version.hold = hold;
            }
            Ok(Some(Operation::Held { version: number, held }))
        })
        .await
    }

    /// Says which versions are kept; `None`: all. Nothing is deleted before the next collection.
    pub async fn retain(&self, retention: Option<Retention>, author: Author<'_>) -> Result<Entry> {
        retention.iter().try_for_each(Retention::check)?;
        self.change(author, |state, _| {
            if state.retention == retention {
                return Ok(None);
            }
            state.retention = retention;
            Ok(Some(Operation::Retained { retention }))
        })
        .await
    }

    /// Puts a signature beside a version's tree, in place of an older one, and notes it. The caller
    /// has verified it.
    pub async fn put_signature(&self, number: u64, key: &str, bundle: Vec<u8>, author: Author<'_>) -> Result<Entry> {
        text("key", key)?;
        if bundle.len() as u64 > fetch::SIGNATURE_BYTES_MAX {
            let reason = format!("{} bytes, the most is {}", bundle.len(), fetch::SIGNATURE_BYTES_MAX);
            return Err(Error::Invalid { what: "signature".to_owned(), reason });
        }
        let version = self.resolve(&Reference::number(number)).await?;
        self.store.overwrite(&self.signature_path(&version.digest), bundle.into()).await?;
        self.change(author, |state, _| {
            state.resolve(&Reference::number(number), self.name())?;
            Ok(Some(Operation::Signed { version: number, key: key.to_owned() }))
        })
        .await
    }

    /// Appends what `change` does to the state; the newest entry is the answer when it does nothing.
    async fn change(
        &self,
        author: Author<'_>,
        mut change: impl FnMut(&mut State, Timestamp) -> Result<Option<Operation>>,
    ) -> Result<Entry> {
        author.check()?;
        self.append(|head, next| {
            let before = head.map(|slot| self.entry(slot)).transpose()?;
            let time = author.not_before(before.as_deref());
            let mut state = before.as_ref().map(|entry| entry.state.clone()).unwrap_or_default();
            match (change(&mut state, time)?, before) {
                (Some(operation), _) => {
                    let entry = compose(next, &author, time, operation, state);
                    Ok(Step::Append(json(&self.folder, &entry)?, entry))
                }
                (None, Some(entry)) => Ok(Step::Done(Arc::unwrap_or_clone(entry))),
                (None, None) => Err(Error::NotFound(format!("an entry in the log of {}", self.folder))),
            }
        })
        .await
    }
}
