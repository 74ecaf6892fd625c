//! What people said as ModelApproval, mirrored into the registry's log: the object is their word, and the log is where
//! everybody reads it. A word whose object is gone was taken back.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use fairway_api::ModelApproval;
use fairway_api::approval::ApprovalWord;
use fairway_registry::{Author, State, Version};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{Opened, Subject};
use crate::context::Context;

/// How a mirrored word begins in the log: one that was said elsewhere is none of ours to take back.
const MIRRORED: &str = "ModelApproval ";

impl Opened {
    pub(super) async fn mirror(
        &self,
        context: &Context,
        subject: &Subject,
        registered: Option<&State>,
        now: Timestamp,
    ) -> Result<()> {
        let Some(state) = registered else { return Ok(()) };
        let (namespace, model) = &subject.key;
        let words: Vec<ModelApproval> = context
            .approvals
            .state()
            .into_iter()
            .filter_map(|it| it.0.as_ref().ok().cloned())
            .filter(|it| it.namespace().as_ref() == Some(namespace) && it.spec.model == *model)
            .collect();
        for version in state.versions.values() {
            let said = said_of(&words, version, now);
            let mirrored = mirrored(version);
            for (actor, word) in &said {
                if mirrored.get(actor) != Some(word) {
                    self.judge(version, actor, word, now).await?;
                }
            }
            // Taken back: whoever approved and has no object any more counts as not having agreed.
            for (actor, (approved, _)) in mirrored.iter().filter(|(actor, _)| !said.contains_key(*actor)) {
                if *approved {
                    let why = format!("{MIRRORED}was deleted or has run out");
                    self.judge(version, actor, &(false, why), now).await?;
                }
            }
        }
        Ok(())
    }

    async fn judge(
        &self,
        version: &Version,
        actor: &str,
        (approves, why): &(bool, String),
        now: Timestamp,
    ) -> Result<()> {
        let author = Author { actor, reason: why, time: now };
        self.log.judge(version.number, &version.digest, *approves, author).await.context("mirroring an approval")?;
        Ok(())
    }
}

/// Each person's standing word about a version, with the log's reason.
fn said_of(words: &[ModelApproval], version: &Version, now: Timestamp) -> BTreeMap<String, (bool, String)> {
    let mut said = BTreeMap::new();
    for word in words.iter().filter(|it| it.spec.digest.as_str() == version.digest.as_str()) {
        if word.spec.expires.is_some_and(|expires| expires.0 <= now) {
            continue;
        }
        let approves = word.spec.word == ApprovalWord::Approve;
        let why = word.spec.reason.as_deref().unwrap_or("agreed");
        let why: String = format!("{MIRRORED}{}: {why}", word.name_any()).chars().take(300).collect();
        let standing = said.entry(word.spec.approver.clone()).or_insert((approves, why.clone()));
        // Of one person's words a no stands.
        if !approves {
            *standing = (false, why);
        }
    }
    said
}

/// Each person's last word in the log, where it is a mirrored one.
fn mirrored(version: &Version) -> BTreeMap<String, (bool, String)> {
    let mut last = BTreeMap::new();
    for verdict in &version.verdicts {
        last.insert(verdict.actor.clone(), (verdict.approved, verdict.reason.clone()));
    }
    last.retain(|_, (_, reason)| reason.starts_with(MIRRORED));
    last
}
