//! The story that a folder of manifests may bring: a shop with users, a shift of taste, and two bad candidates. It
//! drives real HTTP requests and registers real bundles; the loop that it plays against knows nothing of it.

mod candidates;
mod summary;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairway_api::Manifests;
use fairway_core::endpoint::{Ended, RolloutResult};
use fairway_registry::Registry;
use fairway_simulator::{Load, LoadHandle, Shop, StoryConfig, TransactionWriter};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::exit::Invalid;
use crate::output;
use crate::runtime::{Clock, Spec};
pub use summary::Act;

/// 2025-01-06, a Monday: stories begin on a day of their own, so that each run is the same.
const START_SECONDS: i64 = 1_736_121_600;
/// An act that takes longer in real time has not gone as told, unless the story is given more.
const ACT_WITHIN: Duration = Duration::from_secs(150);

/// A story that was found beside the manifests.
pub struct Story {
    config: StoryConfig,
    act_within: Duration,
}

/// A story with its shop, ready to play.
pub struct Prepared {
    config: StoryConfig,
    act_within: Duration,
    shop: Shop,
    writer: TransactionWriter,
    work: PathBuf,
}

/// What a story plays against.
pub struct Stage {
    /// Base URL of the public port.
    pub public: String,
    /// The registry, to bring in candidates as a CI pipeline would.
    pub registry: Registry,
    /// The model and its endpoint.
    pub spec: Spec,
    /// The time.
    pub clock: Clock,
}

impl Story {
    /// Looks for a story among the documents beside the manifests.
    ///
    /// # Errors
    /// It is invalid, or there are two.
    pub fn find(manifests: &Manifests) -> Result<Option<Self>> {
        let mut stories = manifests.others.iter().filter(|other| other.value.kind == "Story");
        let Some(found) = stories.next() else { return Ok(None) };
        if let Some(second) = stories.next() {
            bail!(Invalid(format!("two stories, in {} and {}: keep one", found.file, second.file)));
        }
        let invalid = |error: &dyn std::fmt::Display| Invalid(format!("{}: {error}", found.file));
        let config: StoryConfig =
            serde_json::from_value(found.value.document.clone()).map_err(|error| invalid(&error))?;
        config.check().map_err(|error| invalid(&error))?;
        Ok(Some(Self { config, act_within: ACT_WITHIN }))
    }

    /// Simulated seconds a real second.
    pub fn speed(&self) -> f64 {
        self.config.spec.speed
    }

    /// The simulated time at which it begins.
    pub fn start(&self) -> Timestamp {
        Timestamp::from_second(START_SECONDS).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The shop's day on which tastes first shift; 0 if they never do.
    pub fn first_shift(&self) -> i64 {
        self.config.spec.shop.shifts.iter().map(|shift| shift.day).min().unwrap_or(0)
    }

    /// With another limit for each act.
    #[must_use]
    pub fn acts_within(self, act_within: Duration) -> Self {
        Self { act_within, ..self }
    }

    /// Opens the shop as of `start`; on the first time it writes the purchases of the days before.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn prepare(self, state: &Path, start: Timestamp) -> Result<Prepared> {
        let folder = state.join("shop/transactions");
        let mut shop = Shop::new(self.config.shop(), start)?;
        let history = shop.history(self.config.spec.history_days);
        if !folder.exists() {
            // Under another name first: a folder that is there is whole, whenever the process is killed.
            let unfinished = state.join("shop/unfinished");
            if unfinished.exists() {
                std::fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))?;
            }
            TransactionWriter::open(&unfinished)?.append(history)?;
            std::fs::rename(&unfinished, &folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        let writer = TransactionWriter::open(&folder)?;
        Ok(Prepared { config: self.config, act_within: self.act_within, shop, writer, work: state.join("story") })
    }
}

impl Prepared {
    /// Plays all acts and prints what happened. True if each went as told. The shop goes on until `stop`.
    ///
    /// # Errors
    /// The registry or the state folder cannot be used.
    pub async fn play(
        self,
        stage: Stage,
        report: watch::Receiver<Arc<Value>>,
        stop: CancellationToken,
    ) -> Result<bool> {
        let clock = stage.clock.clone();
        let load = Load::new(&stage.public, move || clock.now(), self.shop, self.config.spec.workers as usize)?;
        let handle = load.handle();
        let visiting = tokio::spawn(load.with_writer(self.writer).run(stop.clone()));
        let mut told = Told {
            stage,
            report,
            handle,
            work: self.work,
            act_within: self.act_within,
            begun: std::time::Instant::now(),
            acts: Vec::new(),
        };
        let played = tokio::select! {
            played = told.acts() => played,
            () = stop.cancelled() => Ok(()),
        };
        played?;
        let went_as_told = told.finish()?;
        if stop.is_cancelled() {
            visiting.await.context("the shop broke down")?;
        }
        Ok(went_as_told)
    }
}

struct Told {
    stage: Stage,
    report: watch::Receiver<Arc<Value>>,
    handle: LoadHandle,
    work: PathBuf,
    act_within: Duration,
    begun: std::time::Instant,
    acts: Vec<Act>,
}

impl Told {
    async fn acts(&mut self) -> Result<()> {
        // A story that was interrupted goes on: what is in the history has happened.
        self.wait("a first version is trained and serves", RolloutResult::Promoted, None).await?;
        self.wait(
            "tastes shift, drift is noticed, a successor is trained, proved and promoted",
            RolloutResult::Promoted,
            None,
        )
        .await?;
        self.until_calm().await?;
        let sabotaged = self.bring("sabotaged", candidates::with_shuffled_items).await?;
        self.wait("a candidate with shuffled items is taken back", RolloutResult::RolledBack, Some(sabotaged)).await?;
        self.until_calm().await?;
        let broken = self.bring("broken", candidates::without_numbers).await?;
        self.wait("a candidate that cannot answer is taken back", RolloutResult::RolledBack, Some(broken)).await
    }

    /// Waits for a rollout that ends as told: of a version of the loop's own, or of a named one.
    async fn wait(&mut self, what: &str, expected: RolloutResult, version: Option<u64>) -> Result<()> {
        let seen: BTreeSet<u64> =
            self.acts.iter().filter_map(|act| act.ended.as_ref().map(|ended| ended.target.version)).collect();
        let deadline = tokio::time::Instant::now() + self.act_within;
        loop {
            let found = self.history().into_iter().find(|ended| {
                version.map_or_else(|| !seen.contains(&ended.target.version), |version| ended.target.version == version)
                    && ended.result != RolloutResult::Superseded
            });
            if let Some(ended) = found {
                let as_told = ended.result == expected;
                self.acts.push(Act { what: what.to_owned(), as_told, ended: Some(ended) });
                return Ok(());
            }
            if !matches!(tokio::time::timeout_at(deadline, self.report.changed()).await, Ok(Ok(()))) {
                self.acts.push(Act { what: what.to_owned(), as_told: false, ended: None });
                return Ok(());
            }
        }
    }

    /// Waits until no rollout, bake or run is in progress.
    async fn until_calm(&mut self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + self.act_within;
        loop {
            let is_calm = {
                let report = self.report.borrow_and_update();
                report["rollout"].is_null() && report["bake"].is_null() && report["run"].is_null()
            };
            if is_calm || !matches!(tokio::time::timeout_at(deadline, self.report.changed()).await, Ok(Ok(()))) {
                return Ok(());
            }
        }
    }

    fn history(&mut self) -> Vec<Ended> {
        let report = self.report.borrow_and_update().clone();
        serde_json::from_value(report["history"].clone()).unwrap_or_default()
    }

    /// Registers a candidate made from the champion, as a pipeline with a bug would, and gives its number.
    async fn bring(&mut self, name: &str, make: candidates::Make) -> Result<u64> {
        let spec = &self.stage.spec;
        let log = self.stage.registry.model(&spec.namespace, &spec.model)?;
        candidates::register(&log, name, make, &self.work, self.stage.clock.now()).await
    }

    fn finish(&self) -> Result<bool> {
        let load = self.handle.report();
        output::line(&summary::text(&self.acts, &load, self.begun.elapsed()))?;
        Ok(self.acts.iter().all(|act| act.as_told) && load.failed == 0)
    }
}
