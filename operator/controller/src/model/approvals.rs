//! What people said as ModelApproval, mirrored into the registry's log: the object is their word, and the log is where
//! everybody reads it. A word whose object is gone was taken back: it is neither yes nor no.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use fairway_api::ModelApproval;
use fairway_api::approval::{ApprovalWord, ModelApprovalStatus};
use fairway_core::{Condition, Reason};
use fairway_registry::{Author, State, Version};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{Opened, Subject};
use crate::context::Context;
use crate::names::MODEL;
use crate::{report, words};

/// What the log says of a word that is there no more.
const TAKEN_BACK: &str = "the ModelApproval was deleted";

/// Yes or no, and the log's reason.
type Said = (bool, String);

impl Opened {
    pub(super) async fn mirror(
        &self,
        context: &Context,
        subject: &Subject,
        registered: Option<&State>,
        now: Timestamp,
    ) -> Result<()> {
        let Some(state) = registered else { return Ok(()) };
        let words = context.approvals.of(MODEL, &subject.key);
        let words: Vec<ModelApproval> = words.iter().filter_map(|it| it.0.as_ref().ok().cloned()).collect();
        for version in state.versions.values() {
            let news = news(&words, version, now);
            for (actor, (approves, why)) in &news.said {
                let author = Author { actor, reason: why, time: now };
                let judged = self.log.judge(version.number, &version.digest, *approves, author).await;
                judged.context("mirroring an approval")?;
            }
            for actor in &news.taken_back {
                let author = Author { actor, reason: TAKEN_BACK, time: now };
                let withdrawn = self.log.withdraw(version.number, author).await;
                withdrawn.context("mirroring that an approval was taken back")?;
            }
        }
        for word in &words {
            let (before, generation) = (word.status.clone().unwrap_or_default(), word.metadata.generation);
            let conditions = report::conditions(&told(word, state, now), &before.conditions, generation, now);
            let status = ModelApprovalStatus { observed_generation: generation, conditions };
            let (before, after) = (serde_json::to_value(&word.status)?, serde_json::to_value(&status)?);
            report::status(context, word, &before, &after, false).await?;
        }
        Ok(())
    }
}

/// What has become of a word: whether the log has it, and whether it still stands.
fn told(word: &ModelApproval, state: &State, now: Timestamp) -> [Condition; 2] {
    let version = state.versions.values().find(|version| version.digest.as_str() == word.spec.digest.as_str());
    let recorded = match version {
        Some(version) => Reason::new("Recorded", format!("in the registry's log, of version {}", version.number)),
        None => Reason::new("NoSuchVersion", "no version of the model has this digest"),
    };
    let over = word.spec.expires.as_ref().filter(|expires| expires.0 <= now);
    let expired = match over {
        Some(expires) => Reason::new("Expired", format!("it stood until {}", expires.0)),
        None => Reason::new("Stands", "it has not run out"),
    };
    [("Recorded", version.is_some(), recorded), ("Expired", over.is_some(), expired)]
        .map(|(kind, status, reason)| Condition { kind: kind.to_owned(), status, reason })
}

/// What the log does not say yet, or says otherwise.
#[derive(Debug, PartialEq)]
struct News {
    said: BTreeMap<String, Said>,
    /// Whose word stands in the log and nowhere else.
    taken_back: BTreeSet<String>,
}

fn news(words: &[ModelApproval], version: &Version, now: Timestamp) -> News {
    let (mut said, mirrored) = (said_of(words, version, now), mirrored(version));
    let taken_back = mirrored.keys().filter(|actor| !said.contains_key(*actor)).cloned().collect();
    said.retain(|actor, word| mirrored.get(actor) != Some(word));
    News { said, taken_back }
}

/// Each person's word about a version. Of several that stand a no counts; of others the first by name, so that the log is
/// not written over and over. One that has run out says so itself.
fn said_of(words: &[ModelApproval], version: &Version, now: Timestamp) -> BTreeMap<String, Said> {
    let is_over = |word: &ModelApproval| word.spec.expires.is_some_and(|expires| expires.0 <= now);
    let approves = |word: &ModelApproval| word.spec.word == ApprovalWord::Approve;
    let mut about: Vec<&ModelApproval> =
        words.iter().filter(|it| it.spec.digest.as_str() == version.digest.as_str()).collect();
    about.sort_by_key(|it| (is_over(it), approves(it), it.name_any()));
    let mut said = BTreeMap::new();
    for word in about {
        said.entry(word.spec.approver.clone()).or_insert_with(|| (approves(word), words::reason_of(word)));
    }
    said
}

/// Each person's last word in the log, where it is a mirrored one.
fn mirrored(version: &Version) -> BTreeMap<String, Said> {
    let mut last = BTreeMap::new();
    for verdict in &version.verdicts {
        last.insert(verdict.actor.clone(), (verdict.approved, verdict.reason.clone()));
    }
    last.retain(|_, (_, reason)| words::is_mirrored(reason));
    last
}

#[cfg(test)]
mod tests {
    use fairway_registry::Digest;
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn word(name: &str, who: &str, yes: bool, until: Option<i64>) -> ModelApproval {
        let word = if yes { "Approve" } else { "Reject" };
        let mut spec =
            json!({"model": "recs", "digest": Digest::of(b"x"), "word": word, "approver": who, "reason": "why"});
        if let Some(until) = until {
            spec["expires"] = Value::String(at(until).to_string());
        }
        let object = json!({"apiVersion": "fairway.dev/v1alpha1", "kind": "ModelApproval", "metadata": {"name": name}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    /// What is written to the log, as (who, yes, why); nothing is taken back.
    fn written(words: &[ModelApproval], verdicts: &[(&str, bool, &str)], now: i64) -> Vec<(String, bool, String)> {
        let news = news(words, &words::judged(verdicts), at(now));
        assert_eq!(news.taken_back, BTreeSet::new());
        news.said.into_iter().map(|(who, (yes, why))| (who, yes, why)).collect()
    }

    fn one(who: &str, yes: bool, why: &str) -> Vec<(String, bool, String)> {
        vec![(who.to_owned(), yes, why.to_owned())]
    }

    #[test]
    fn a_word_is_written_once() {
        for (yes, why) in [(true, "ModelApproval a: why"), (false, "ModelApproval a: why")] {
            let words = [word("a", "ann", yes, None)];
            assert_eq!(written(&words, &[], 5), one("ann", yes, why));
            assert!(written(&words, &[("ann", yes, why)], 5).is_empty());
            assert_eq!(written(&words, &[("ann", !yes, why)], 5), one("ann", yes, why));
        }
        let mut other = word("a", "ann", true, None);
        other.spec.digest = serde_json::from_value(json!(format!("sha256:{}", "cd".repeat(32)))).unwrap();
        assert!(written(&[other], &[], 5).is_empty(), "it is about another version");
    }

    #[test]
    fn its_conditions_say_what_has_become_of_a_word() {
        let state = State { versions: BTreeMap::from([(3, words::judged(&[]))]), ..State::default() };
        let holds = |word: &ModelApproval, state: &State, now| told(word, state, at(now)).map(|one| one.status);
        let ending = word("a", "ann", true, Some(10));
        assert_eq!(holds(&ending, &state, 5), [true, false]);
        assert_eq!(holds(&ending, &state, 15), [true, true]);
        assert_eq!(holds(&word("a", "ann", true, None), &State::default(), 5), [false, false]);
    }

    #[test]
    fn a_word_that_runs_out_is_no_other_word() {
        let words = [word("a", "ann", true, Some(10))];
        let why = "ModelApproval a until 1970-01-01T00:00:10Z: why";
        assert_eq!(written(&words, &[], 5), one("ann", true, why));
        assert!(written(&words, &[("ann", true, why)], 15).is_empty(), "the log knows when it ends");
    }

    #[test]
    fn a_word_whose_object_is_gone_is_taken_back() {
        for yes in [true, false] {
            let news = news(&[], &words::judged(&[("ann", yes, "ModelApproval a: why")]), at(5));
            assert_eq!(news, News { said: BTreeMap::new(), taken_back: BTreeSet::from(["ann".to_owned()]) });
        }
        assert!(written(&[], &[("ann", false, "coverage fell")], 5).is_empty(), "that was said elsewhere");
    }

    #[test]
    fn of_two_words_of_one_person_a_standing_no_counts_whatever_their_order() {
        let (yes, no) = (word("a", "ann", true, None), word("b", "ann", false, Some(10)));
        let why = "ModelApproval b until 1970-01-01T00:00:10Z: why";
        for words in [[yes.clone(), no.clone()], [no, yes]] {
            assert_eq!(written(&words, &[], 5), one("ann", false, why));
            assert_eq!(written(&words, &[("ann", false, why)], 15), one("ann", true, "ModelApproval a: why"));
        }
        let both = [word("d", "ann", true, None), word("c", "ann", true, None)];
        assert_eq!(written(&both, &[], 5), one("ann", true, "ModelApproval c: why"));
        let people = [word("a", "ann", true, None), word("b", "bob", false, None)];
        assert_eq!(written(&people, &[], 5).len(), 2, "each person has a word");
    }
}
