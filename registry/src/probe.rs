//! Finds out what a store really does, and says in plain words whether it may hold a registry.
//!
//! A registry rests on one thing: of several who create the same object, one wins, and what it
//! wrote stays. Some stores accept the condition and ignore it, and some check first and write
//! afterwards, so that it is tried one after the other and at once. It decides nothing else.

use crate::store::Store;
use crate::{Error, Result};
use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Objects that are raced for, and how many race for each.
const RACES: usize = 8;
const RACERS: usize = 16;
/// Parts of an upload must have at least 5 MiB, but for the last one (Amazon S3 user guide).
const PART_BYTES: usize = 5 << 20;

/// What was found out about a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where.
    pub url: String,
    /// What was tried.
    pub checks: Vec<Check>,
    /// Whether names come in byte order.
    pub ordered: bool,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What.
    pub name: String,
    /// Whether the store did it right.
    pub passed: bool,
    /// Whether a registry cannot do without.
    pub needed: bool,
    /// What happened.
    pub found: String,
    /// How long it took.
    pub milliseconds: u64,
}

impl Report {
    /// Why the store may not hold a registry, if it may not.
    pub fn refusal(&self) -> Option<String> {
        let failed: Vec<String> = self
            .checks
            .iter()
            .filter(|check| check.needed && !check.passed)
            .map(|check| format!("{}: {}", check.name, check.found))
            .collect();
        (!failed.is_empty()).then(|| failed.join("; "))
    }
}

/// Tries everything in a folder of its own, which is removed afterwards.
pub(crate) async fn probe(store: &Store, root: &Path, url: &str) -> Result<Report> {
    let folder = root.clone().join("_probe").join(store.chance.transaction());
    let probe = Probe { store, folder: folder.clone() };
    let mut report = Report { url: url.to_owned(), checks: Vec::new(), ordered: false };
    // A store that cannot even be written to is no finding but an error, which says why.
    let began = Instant::now();
    let (passed, found) = probe.read_after_write().await?;
    report.add("what was written is read", true, began, passed, found);
    let began = Instant::now();
    let sequential = probe.create_twice().await;
    report.judge("an object is created once", true, began, sequential);
    let began = Instant::now();
    let race = probe.create_at_once().await;
    report.judge("of many who create at once, one wins", true, began, race);
    let began = Instant::now();
    let parts = probe.upload_in_parts().await;
    report.judge("large files arrive in parts", true, began, parts);
    let began = Instant::now();
    let listed = probe.list().await;
    report.judge("new objects are listed at once", true, began, listed);
    let began = Instant::now();
    let order = probe.order().await;
    report.ordered = matches!(order, Ok((true, _)));
    report.judge("names are listed in order", false, began, order);
    let began = Instant::now();
    let deleted = probe.delete().await;
    report.judge("what is deleted is gone", true, began, deleted);
    probe.tidy().await?;
    Ok(report)
}

type Finding = (bool, String);

impl Report {
    fn add(&mut self, name: &str, needed: bool, began: Instant, passed: bool, found: String) {
        let milliseconds = began.elapsed().as_millis() as u64;
        self.checks.push(Check { name: name.to_owned(), passed, needed, found, milliseconds });
    }

    fn judge(&mut self, name: &str, needed: bool, began: Instant, finding: Result<Finding>) {
        let (passed, found) = finding.unwrap_or_else(|error| (false, error.to_string()));
        self.add(name, needed, began, passed, found);
    }
}

struct Probe<'a> {
    store: &'a Store,
    folder: Path,
}

impl Probe<'_> {
    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.folder.clone(), |path, part| path.join(part))
    }

    async fn create(&self, path: &Path, body: Bytes) -> object_store::Result<()> {
        let options = PutOptions::from(PutMode::Create);
        let call = self.store.objects.put_opts(path, body.into(), options);
        let limit = self.store.limits.deadline;
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| Err(timed_out())).map(drop)
    }

    async fn read(&self, path: &Path) -> Result<Option<Bytes>> {
        self.store.read(path, 64 << 20).await
    }

    async fn read_after_write(&self) -> Result<Finding> {
        let path = self.path("plain");
        for body in ["one", "another one"] {
            self.store.overwrite(&path, body.into()).await?;
            if self.read(&path).await?.as_deref() != Some(body.as_bytes()) {
                return Ok((false, "an object was read back with other bytes than were just written".to_owned()));
            }
        }
        Ok((true, "written and overwritten; both were read back".to_owned()))
    }

    async fn create_twice(&self) -> Result<Finding> {
        let path = self.path("once");
        self.create(&path, "first".into()).await.map_err(|source| Error::Store { path: path.to_string(), source })?;
        let second = self.create(&path, "second".into()).await;
        let kept = self.read(&path).await?;
        Ok(match (second, kept.as_deref()) {
            (Err(_), Some(b"first")) => (true, "the second was refused, the first was kept".to_owned()),
            (Ok(()), _) => (false, "the store ignores the condition and wrote over the first".to_owned()),
            (Err(_), _) => (false, "the second was refused, and the first is not there".to_owned()),
        })
    }

    async fn create_at_once(&self) -> Result<Finding> {
        let (mut won, mut doubled) = (0, 0);
        for race in 0..RACES {
            let path = self.path(&format!("race-{race}"));
            let racers = (0..RACERS).map(|racer| self.create(&path, vec![racer as u8; 1024].into()));
            let answers = join_all(racers).await;
            let winners: Vec<u8> = (0..RACERS as u8).filter(|racer| answers[usize::from(*racer)].is_ok()).collect();
            let kept = self.read(&path).await?.and_then(|body| body.first().copied());
            match winners[..] {
                // Somebody may have won and been told otherwise: the log reads back and finds out.
                [] if kept.is_some() => won += 1,
                [winner] if kept == Some(winner) => won += 1,
                _ => doubled += 1,
            }
        }
        let told = format!("{won} of {RACES} races of {RACERS} had one winner whose bytes were kept");
        Ok((doubled == 0, told))
    }

    async fn upload_in_parts(&self) -> Result<Finding> {
        let path = self.path("parts");
        let objects = &self.store.objects;
        let mut upload = self.store.bounded(&path, objects.put_multipart(&path)).await?;
        let parts = [Bytes::from(vec![1; PART_BYTES]), Bytes::from(vec![2; 1000])];
        for part in &parts {
            self.store.bounded(&path, upload.put_part(PutPayload::from(part.clone()))).await?;
        }
        if self.store.exists(&path).await? {
            return Ok((false, "the object was there before it was complete".to_owned()));
        }
        self.store.bounded(&path, upload.complete()).await?;
        let whole = self.read(&path).await?.is_some_and(|body| body == parts.concat());
        Ok((whole, if whole { "two parts, whole when complete" } else { "read back with other bytes" }.to_owned()))
    }

    async fn listed(&self, folder: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut all = self.store.objects.list(Some(folder));
        let walk = async {
            while let Some(object) = futures::StreamExt::next(&mut all).await {
                names.extend(object?.location.filename().map(str::to_owned));
            }
            Ok(())
        };
        self.store.bounded(folder, walk).await?;
        Ok(names)
    }

    /// Names that a listing in any other than byte order would hardly give in order by chance.
    async fn list(&self) -> Result<Finding> {
        let names = ["07", "zz", "00", "a.json", "_hint", "19", "0a", "m-1", "12", "Z", "03", "k"];
        for name in names {
            self.store.overwrite(&self.path(&format!("list/{name}")), Bytes::new()).await?;
        }
        let mut listed = self.listed(&self.path("list")).await?;
        listed.sort();
        let mut written = names.map(str::to_owned);
        written.sort();
        Ok((listed == written, format!("{} of {} were listed", listed.len(), names.len())))
    }

    async fn order(&self) -> Result<Finding> {
        let ordered = self.listed(&self.path("list")).await?.is_sorted();
        let told = if ordered { "yes" } else { "no: logs are read in a way that does not need it" };
        Ok((ordered, told.to_owned()))
    }

    async fn delete(&self) -> Result<Finding> {
        let path = self.path("plain");
        self.store.delete(&path).await?;
        let (read, listed) = (self.read(&path).await?, self.listed(&self.folder).await?);
        let gone = read.is_none() && !listed.contains(&"plain".to_owned());
        Ok((gone, if gone { "neither read nor listed any more" } else { "still read or listed" }.to_owned()))
    }

    async fn tidy(&self) -> Result<()> {
        let mut paths = Vec::new();
        self.store.each(&self.folder, |object| paths.push(object.location)).await?;
        for path in paths {
            self.store.delete(&path).await?;
        }
        self.store.remove_leftovers(&self.folder).await
    }
}

fn timed_out() -> object_store::Error {
    object_store::Error::Generic { store: "probe", source: "no answer in time".into() }
}
