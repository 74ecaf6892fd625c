//! Deletes versions that the model's retention no longer keeps, once a day, beside the loop: it holds nothing up, and
//! what goes wrong is told and tried again the next day. What may go, and when, is the registry's to say.

use std::time::{Duration, Instant};

use fairway_registry::{Author, Collected, Collection, ModelLog, Registry};
use jiff::Timestamp;

use super::effects::ACTOR;
use super::{Runtime, Spec};

/// The first time comes soon after the start, so that a process that is restarted every night deletes as well.
const FIRST_AFTER: Duration = Duration::from_secs(600);
const EVERY: Duration = Duration::from_secs(86_400);
/// Longer than any download, rollout or run takes.
const GRACE: Duration = Duration::from_secs(7 * 86_400);
const MOST: usize = 100;

impl Runtime {
    /// Starts a collection when one is due. Under a clock that runs faster than the store's no file has an age that
    /// could be compared, so that nothing is deleted.
    pub(super) fn tidy(&mut self, now: Timestamp) {
        if self.clock.speed() != 1.0 {
            return;
        }
        let due = self.upkeep.collected.map_or(self.upkeep.started + FIRST_AFTER, |last| last + EVERY);
        if Instant::now() < due {
            return;
        }
        self.upkeep.collected = Some(Instant::now());
        let (registry, log, spec, journal) =
            (self.registry.clone(), self.model_log.clone(), self.spec.clone(), self.journal.clone());
        tokio::spawn(async move {
            match collect(&registry, &log, &spec, now).await {
                Ok(collected) if collected.deleted.is_empty() => {}
                Ok(collected) => journal.add(now, "registry", "VersionsDeleted", told(&collected)),
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
    log.retain(Some(spec.retention), author).await?;
    let in_use = registry.in_use(&spec.namespace).await?;
    let (actor, reason) = (ACTOR.to_owned(), author.reason.to_owned());
    log.collect(&Collection { grace: GRACE, dry_run: false, most: MOST, actor, reason, time, in_use }).await
}

fn told(collected: &Collected) -> String {
    let versions: Vec<String> =
        collected.deleted.iter().flat_map(|it| it.versions.iter().map(u64::to_string)).collect();
    let mib = collected.bytes_deleted >> 20;
    if versions.is_empty() {
        return format!("{} uploads that were never registered are gone, {mib} MiB", collected.deleted.len());
    }
    format!("versions {} are gone, {mib} MiB: no rule of the retention keeps them", versions.join(", "))
}
