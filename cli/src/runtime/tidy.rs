//! Deletes versions that the model's retention no longer keeps, and local copies of those that do not serve, once a day,
//! beside the loop: it holds nothing up, and what goes wrong is told and tried again the next day. What may go from the
//! registry, and when, is the registry's to say.

use std::time::Instant;

use fairway_registry::{Author, Collected, ModelLog, Registry};
use jiff::Timestamp;

use super::effects::ACTOR;
use super::{Runtime, Spec};

impl Runtime {
    /// Starts a collection when one is due. Under a clock that runs faster than the store's no file has an age that
    /// could be compared, so that nothing is deleted; nor is anything while the manifest says that nothing is to happen.
    pub(super) fn tidy(&mut self, now: Timestamp) {
        if self.clock.speed() != 1.0 || self.spec.model_policy.suspended {
            return;
        }
        let first = self.upkeep.started + ModelLog::TIDY_FIRST;
        let due = self.upkeep.collected.map_or(first, |last| last + ModelLog::TIDY_EVERY);
        if Instant::now() < due {
            return;
        }
        self.upkeep.collected = Some(Instant::now());
        // A run that was taken up again may be reading a champion that serves no more.
        if self.training.is_none() {
            self.versions.evict();
        }
        let (registry, log, spec, journal) =
            (self.registry.clone(), self.model_log.clone(), self.spec.clone(), self.journal.clone());
        tokio::spawn(async move {
            match collect(&registry, &log, &spec, now).await.map(|collected| collected.told()) {
                Ok(None) => {}
                Ok(Some(told)) => journal.add(now, "registry", "VersionsDeleted", told),
                Err(error) => tracing::warn!("old versions were not deleted, tried again tomorrow: {error}"),
            }
        });
    }
}

async fn collect(
    registry: &Registry,
    log: &ModelLog,
    spec: &Spec,
    time: Timestamp,
) -> fairway_registry::Result<Collected> {
    let author = Author { actor: ACTOR, reason: "spec.retention of the model's manifest", time };
    log.tidy(spec.keeps, registry.in_use(&spec.namespace).await?, author).await
}
