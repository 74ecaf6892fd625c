//! Versions come in: a tree is uploaded under a pin and then registered by one entry of the log. The two may be done by
//! different people, a trainer that may not write to the log and whoever may: `upload`, later `register_uploaded`. It
//! moves no bytes itself (`upload.rs` does).

use crate::commit::{Next, Slot, Step, json};
use crate::digest::sha256;
use crate::model::{Author, compose};
use crate::pin::Pin;
use crate::progress::Progress;
use crate::state::{State, VERSIONS_MAX, Version};
use crate::store::Planted;
use crate::upload::Prepared;
use crate::{Digest, Error, ModelLog, Operation, Registration, Result, Timestamp, fetch, names};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;
use std::sync::Arc;

/// How often a writer looks again at its files because trees were condemned meanwhile.
const LOOKS_MAX: u32 = 5;

/// Where a registration stands before anything is uploaded.
enum Begun {
    /// The run has registered before.
    Registered(Box<Version>),
    /// It may go on; this is the fence under which the upload begins.
    Under(u64),
}

/// What became of a registration.
enum Added {
    /// It is registered, by this entry or by an earlier one of the same run.
    Version(Box<Version>, Option<u64>),
    /// Trees were condemned since the files were looked at; this is the fence now.
    LookAgain(u64),
}

/// Whose tree is uploaded, and what goes in beside its files.
#[derive(Clone, Copy, Debug)]
pub struct Uploading<'a> {
    /// The run that made it.
    pub run: &'a str,
    /// Who uploads, and when.
    pub author: Author<'a>,
    /// Extensions of further kinds of files, which the author vouches for: see `kinds.rs`.
    pub kinds: &'a BTreeSet<String>,
    /// Where it comes from; kept in the tree as `provenance.json`, and part of the digest.
    pub provenance: &'a serde_json::Value,
}

impl ModelLog {
    /// Uploads the tree in `dir` and registers it as the next version, in one commit. A run that
    /// has registered before gets its version back, and nothing is uploaded.
    pub async fn register(&self, dir: &FilePath, registration: Registration) -> Result<Version> {
        self.register_telling(dir, registration, None, &Progress::default()).await
    }

    /// [`ModelLog::register`], and tells how far it is. A `signature` of the tree of this digest is there before anybody can
    /// see the version, if that is the tree in `dir`; the caller has verified it.
    pub async fn register_telling(
        &self,
        dir: &FilePath,
        registration: Registration,
        signature: Option<(&Digest, &[u8])>,
        progress: &Progress,
    ) -> Result<Version> {
        let fence = match self.begin(&registration).await? {
            Begun::Registered(version) => return Ok(*version),
            Begun::Under(fence) => fence,
        };
        let prepared = Prepared::folder(dir, &registration.kinds, &registration.provenance, progress).await?;
        let signature = signature.filter(|(signed, _)| **signed == prepared.digest);
        let prepared = prepared.signed(signature.map(|(_, bytes)| bytes.to_vec().into()));
        self.publish(&prepared, &registration, fence, progress).await
    }

    /// Uploads the tree in `dir` and registers nothing: for a trainer that may write trees and not the log. Gives the digest
    /// under which [`ModelLog::register_uploaded`] registers it. Repeating it is harmless, and sends only what is missing. A
    /// run that has registered before gets the digest of its version, and nothing is uploaded.
    ///
    /// What keeps the tree until then: its youth (see `gc/mark.rs`), and once the run's result names it
    /// ([`crate::RunLog::put_result`]), that the run is not finished.
    pub async fn upload(&self, dir: &FilePath, work: Uploading<'_>, progress: &Progress) -> Result<Digest> {
        let Uploading { run, author, kinds, provenance } = work;
        names::name("run", run)?;
        author.check()?;
        let state = self.state().await?;
        if let Some(version) = state.by_run(run) {
            return Ok(version.digest.clone());
        }
        let prepared = Prepared::folder(dir, kinds, provenance, progress).await?;
        not_condemned(&state, &prepared.digest, author.time)?;
        self.send_ahead(&prepared, run, author, state.fence, progress).await?;
        Ok(prepared.digest)
    }

    /// Sends a tree under a pin. `fence` is the one that was seen before.
    pub(crate) async fn send_ahead(
        &self,
        prepared: &Prepared,
        run: &str,
        author: Author<'_>,
        fence: u64,
        progress: &Progress,
    ) -> Result<()> {
        let pin = Pin::set(&self.store, &self.folder, &prepared.digest, run, author.actor, author.time).await?;
        let sent = pin.hold(&self.store, self.send_whole(prepared, fence, author.time, progress)).await;
        pin.release(&self.store).await;
        sent
    }

    /// Sends a tree, and again what is missing as long as trees are condemned meanwhile: in the end it was there, whole,
    /// while the log condemned nothing.
    async fn send_whole(&self, prepared: &Prepared, mut fence: u64, now: Timestamp, progress: &Progress) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            let there = prepared.there(&self.store, &self.versions()).await?;
            prepared.send(&self.store, &self.versions(), &there, progress).await?;
            let state = self.state().await?;
            not_condemned(&state, &prepared.digest, now)?;
            if state.fence == fence {
                return Ok(());
            }
            fence = state.fence;
        }
        Err(Error::Contended { path: self.folder.to_string(), tries: LOOKS_MAX })
    }

    /// Registers a tree that was uploaded before ([`ModelLog::upload`]), if it is there and whole: a collection may have taken
    /// it since. `registration.provenance` is not looked at; the tree has its own.
    pub async fn register_uploaded(&self, digest: &Digest, registration: Registration) -> Result<Version> {
        let fence = match self.begin(&registration).await? {
            Begun::Registered(version) => return Ok(*version),
            Begun::Under(fence) => fence,
        };
        let (manifest, sealed) = match fetch::manifest(&self.store, &self.versions(), digest).await {
            Err(Error::NotFound(missing)) => return Err(self.gone(digest, missing, registration.time).await?),
            found => found?,
        };
        for file in manifest.files.iter() {
            if let Some(reason) = crate::kinds::undeclared(&file.path, &registration.kinds) {
                return Err(Error::refused(&file.path, reason));
            }
        }
        let prepared = Prepared::sent_before(manifest, sealed, digest.clone());
        self.publish(&prepared, &registration, fence, &Progress::default()).await
    }

    /// Why a tree is not there: a collection took it, or nobody has uploaded it.
    async fn gone(&self, digest: &Digest, missing: String, now: Timestamp) -> Result<Error> {
        not_condemned(&self.state().await?, digest, now)?;
        Ok(Error::NotUploaded { digest: digest.clone(), missing })
    }

    /// Registers a tree of another model or registry under the same digest, with its signature, which is there before anybody
    /// can see the version. Where both are in one store, the store copies it by itself. A run that has registered the tree
    /// before gets its version back, and the signature if there is none.
    pub async fn register_copy(
        &self,
        from: &ModelLog,
        digest: &Digest,
        registration: Registration,
        progress: &Progress,
    ) -> Result<Version> {
        let fence = match self.begin(&registration).await? {
            Begun::Registered(version) => {
                if version.digest == *digest && self.signature(digest).await?.is_none() {
                    self.sign_as(from, digest).await?;
                }
                return Ok(*version);
            }
            Begun::Under(fence) => fence,
        };
        let (manifest, sealed) = fetch::manifest(&from.store, &from.versions(), digest).await?;
        let folder = from.versions().join(digest.directory());
        let prepared = Prepared::copied(manifest, sealed, digest.clone(), from.store.clone(), folder)
            .signed(from.signature(digest).await?);
        self.publish(&prepared, &registration, fence, progress).await
    }

    /// Puts the signature that the tree has elsewhere beside it, if there is one.
    async fn sign_as(&self, from: &ModelLog, digest: &Digest) -> Result<()> {
        match from.signature(digest).await? {
            Some(signature) => self.store.overwrite(&self.signature_path(digest), signature).await,
            None => Ok(()),
        }
    }

    /// Looks whether the run has registered before and whether there is room, before anything is hashed or sent.
    async fn begin(&self, registration: &Registration) -> Result<Begun> {
        registration.check()?;
        let state = self.state().await?;
        if let Some(version) = state.by_run(&registration.run) {
            return Ok(Begun::Registered(Box::new(version.clone())));
        }
        self.room(&state)?;
        Ok(Begun::Under(state.fence))
    }

    /// Sends a tree and registers it, under a pin where that takes a while. `fence` is the one that was seen before the first
    /// byte goes out: if another one is found at the commit, trees were condemned since, and what
    /// was there may be gone.
    pub(crate) async fn publish(
        &self,
        prepared: &Prepared,
        registration: &Registration,
        fence: u64,
        progress: &Progress,
    ) -> Result<Version> {
        let there = prepared.there(&self.store, &self.versions()).await?;
        // A new and small tree is younger than any grace when it is registered: nobody takes it for an abandoned one.
        if there.is_empty() && !prepared.is_large() {
            let (version, seq) = self.send_and_add(prepared, registration, fence, there, progress).await?;
            self.hint(seq).await;
            return Ok(version);
        }
        let (run, actor) = (&registration.run, &registration.actor);
        let pin = Pin::set(&self.store, &self.folder, &prepared.digest, run, actor, registration.time).await?;
        // What was there before the pin may have gone meanwhile.
        let sent = async {
            let there = prepared.there(&self.store, &self.versions()).await?;
            self.send_and_add(prepared, registration, fence, there, progress).await
        };
        match pin.hold(&self.store, sent).await {
            Ok((version, seq)) => {
                futures::future::join(self.hint(seq), pin.release(&self.store)).await;
                Ok(version)
            }
            Err(error) => {
                pin.release(&self.store).await;
                Err(error)
            }
        }
    }

    async fn hint(&self, seq: Option<u64>) {
        if let Some(seq) = seq {
            self.log.leave_hint(seq).await;
        }
    }

    async fn send_and_add(
        &self,
        prepared: &Prepared,
        registration: &Registration,
        mut fence: u64,
        mut there: BTreeMap<String, u64>,
        progress: &Progress,
    ) -> Result<(Version, Option<u64>)> {
        let author = Author { actor: &registration.actor, reason: &registration.reason, time: registration.time };
        for _ in 0..LOOKS_MAX {
            prepared.send(&self.store, &self.versions(), &there, progress).await?;
            let add =
                |head: Option<&Slot>, next: Next<'_>| self.add(head, next, &author, prepared, registration, fence);
            match self.log.commit(add).await? {
                Added::Version(version, seq) => return Ok((*version, seq)),
                Added::LookAgain(found) => {
                    fence = found;
                    there = prepared.there(&self.store, &self.versions()).await?;
                }
            }
        }
        Err(Error::Contended { path: self.folder.to_string(), tries: LOOKS_MAX })
    }

    /// The entry that adds the version, unless its run was faster elsewhere or its bytes are in doubt.
    fn add(
        &self,
        head: Option<&Slot>,
        next: Next<'_>,
        author: &Author<'_>,
        prepared: &Prepared,
        registration: &Registration,
        fence: u64,
    ) -> Result<Step<Added>> {
        let before = head.map(|slot| self.entry(slot)).transpose()?;
        let time = author.not_before(before.as_deref());
        let mut state = before.map(|entry| entry.state.clone()).unwrap_or_default();
        if let Some(version) = state.by_run(&registration.run) {
            return Ok(Step::Done(Added::Version(Box::new(version.clone()), None)));
        }
        if !self.store.planted(Planted::NoFence) {
            not_condemned(&state, &prepared.digest, time)?;
            if state.fence != fence {
                return Ok(Step::Done(Added::LookAgain(state.fence)));
            }
            // It has come back after its quarantine.
            state.condemned.remove(&prepared.digest);
        }
        self.room(&state)?;
        let number = state.add(Version {
            number: 0,
            digest: prepared.digest.clone(),
            run: registration.run.clone(),
            registered: time,
            bytes: prepared.manifest.bytes(),
            files: prepared.manifest.files.len() as u32,
            metrics: registration.metrics.clone(),
            labels: registration.labels.clone(),
            verdicts: Vec::new(),
            hold: None,
            reigned: None,
        });
        if let Some(alias) = &registration.alias {
            state.point(alias, Some(number), author.actor, time)?;
        }
        let version = Box::new(state.versions[&number].clone());
        let seq = next.seq;
        let entry = compose(next, author, time, Operation::Registered { version: number }, state);
        let body = json(&self.folder, &entry)?;
        self.keep(sha256(&body), &Arc::new(entry));
        Ok(Step::Append(body, Added::Version(version, Some(seq))))
    }

    fn room(&self, state: &State) -> Result<()> {
        if state.versions.len() < VERSIONS_MAX {
            return Ok(());
        }
        Err(Error::Full { model: self.folder.to_string(), limit: VERSIONS_MAX })
    }
}

/// A condemned tree may not come back before it is certain that nobody is still deleting it.
fn not_condemned(state: &State, digest: &Digest, now: Timestamp) -> Result<()> {
    let Some(condemned) = state.condemned.get(digest) else { return Ok(()) };
    let until = condemned.time.checked_add(crate::gc::QUARANTINE).unwrap_or(Timestamp::MAX);
    if condemned.swept && now > until {
        return Ok(());
    }
    Err(Error::Condemned { digest: digest.clone(), until })
}
