//! What a loop does about old versions now and then: the log is told how many the manifest keeps, and what no rule keeps
//! is collected. Every runtime does this in the same way, beside its loop; whom it tells is its own. How deleting is safe
//! is `gc.rs`'s to say.

use crate::model::Author;
use crate::{Collected, Collection, Digest, ModelLog, Result, Retention};
use std::collections::BTreeSet;
use std::time::Duration;

/// Longer than any download or run takes, and than a person needs to think again. Rollouts keep what they use themselves.
const GRACE: Duration = Duration::from_secs(7 * 86_400);
/// The most trees that go at a time.
const MOST: usize = 100;

impl ModelLog {
    /// How often this is to be done.
    pub const TIDY_EVERY: Duration = Duration::from_secs(86_400);
    /// The first time comes soon after a start, so that a process that is started every morning deletes as well.
    pub const TIDY_FIRST: Duration = Duration::from_secs(600);

    /// Keeps the newest `versions`, and whatever else a rule or somebody else keeps. Rules that the manifest has no word for
    /// (`fairway registry retention`) stay as people have set them. `in_use` are digests that something outside this model
    /// relies on: see [`Registry::in_use`](crate::Registry::in_use).
    pub async fn tidy(&self, versions: u32, in_use: BTreeSet<Digest>, author: Author<'_>) -> Result<Collected> {
        // A model that has nothing yet gets no log for that.
        if let Some(entry) = self.head().await? {
            let rule = Retention { versions, ..entry.state.retention.unwrap_or_default() };
            self.retain(Some(rule), author).await?;
        }
        let (actor, reason) = (author.actor.to_owned(), author.reason.to_owned());
        let request = Collection { grace: GRACE, dry_run: false, most: MOST, actor, reason, time: author.time, in_use };
        self.collect(&request).await
    }
}

impl Collected {
    /// What went, for people; none if nothing did.
    pub fn told(&self) -> Option<String> {
        let versions: Vec<String> = self.deleted.iter().flat_map(|it| it.versions.iter().map(u64::to_string)).collect();
        let mib = self.bytes_deleted >> 20;
        match (self.deleted.len(), versions.len()) {
            (0, _) => None,
            (trees, 0) => Some(format!("{trees} uploads that were never registered are gone, {mib} MiB")),
            (_, 1) => Some(format!("version {} is gone, {mib} MiB: no rule of the retention keeps it", versions[0])),
            _ => Some(format!(
                "versions {} are gone, {mib} MiB: no rule of the retention keeps them",
                versions.join(", ")
            )),
        }
    }
}
