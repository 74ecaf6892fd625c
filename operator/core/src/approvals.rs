//! Who must agree before a version may serve, and who has. The words are the registry's; what they come to is decided here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Reason;

/// What a person said of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// Who.
    pub actor: &'a str,
    /// Yes or no.
    pub approves: bool,
    /// Of which artifact: a word about another one says nothing.
    pub digest: &'a str,
    /// When.
    pub time: Timestamp,
    /// Until when it stands; `None`: for ever.
    pub expires: Option<Timestamp>,
}

/// The code of a standing no.
const REJECTED: &str = "Rejected";

/// What the words come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approvals {
    /// People who must agree.
    pub required: u32,
    /// Who agrees, in order of names. The producer does not count.
    pub by: Vec<String>,
    /// What is still missing: a standing no, or people. Empty: approved.
    pub waiting_for: Vec<Reason>,
    /// When so many approvals have run out that it is approved no more; `None` if it never is, or is not approved now.
    pub until: Option<Timestamp>,
}

impl Approvals {
    /// Whether nothing is missing.
    pub fn approved(&self) -> bool {
        self.waiting_for.is_empty()
    }

    /// Whether somebody's standing word is no: this version is not waited for.
    pub fn objected(&self) -> bool {
        self.waiting_for.iter().any(|reason| reason.code == REJECTED)
    }
}

/// Counts the words about `digest`. The last word of each person counts (a later one of the same moment wins by its
/// place), while it stands; one standing no outweighs every yes, even the producer's own; a yes of the producer is none.
/// With nobody required a no is still heard.
pub fn count(required: u32, digest: &str, producer: &str, words: &[Word<'_>], now: Timestamp) -> Approvals {
    let mut last: BTreeMap<&str, &Word<'_>> = BTreeMap::new();
    for word in words.iter().filter(|word| word.digest == digest) {
        let earlier = last.entry(word.actor).or_insert(word);
        if word.time >= earlier.time {
            *earlier = word;
        }
    }
    let stands = |word: &&Word<'_>| word.expires.is_none_or(|expires| now < expires);
    let standing: Vec<&Word<'_>> = last.values().copied().filter(stands).collect();
    let yes: Vec<&Word<'_>> = standing.iter().copied().filter(|word| word.approves && word.actor != producer).collect();
    let mut waiting_for: Vec<Reason> =
        standing.iter().filter(|word| !word.approves).map(|word| objection(word)).collect();
    if yes.len() < required as usize {
        let expired = last.len() - standing.len();
        let own = standing.iter().any(|word| word.approves && word.actor == producer);
        waiting_for.push(missing(required, digest, &yes, expired, own.then_some(producer)));
    }
    let until = if waiting_for.is_empty() { runs_out(required, &yes) } else { None };
    let by = yes.iter().map(|word| word.actor.to_owned()).collect();
    Approvals { required, by, waiting_for, until }
}

/// How far a version has come at an endpoint: the farther, the less it needs of people to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It serves nobody yet: everybody who is required must agree, and still do.
    Waiting,
    /// It is on trial: an approval that runs out meanwhile stays one.
    OnTrial,
    /// It was promoted, and the version before it is kept: whoever had to agree has; a no takes it back.
    Baking,
    /// It serves, and there is nothing to go back to by itself: it was agreed to.
    Final,
}

/// What a version that has come so far misses. See [`count`] for how words count.
pub fn missed_at(
    stage: Stage,
    required: u32,
    digest: &str,
    producer: &str,
    words: &[Word<'_>],
    now: Timestamp,
) -> Approvals {
    // Who runs out of time while users meet the version has not said no.
    let lasting = || -> Vec<Word<'_>> { words.iter().map(|word| Word { expires: None, ..*word }).collect() };
    match stage {
        Stage::Waiting => count(required, digest, producer, words, now),
        Stage::OnTrial => count(required, digest, producer, &lasting(), now),
        Stage::Baking => count(0, digest, producer, &lasting(), now),
        Stage::Final => Approvals::default(),
    }
}

fn objection(word: &Word<'_>) -> Reason {
    let message = format!(
        "{} rejected it at {:.0}; only {0} can take that back, with `fairway registry approve`",
        word.actor, word.time
    );
    Reason::new(REJECTED, message)
}

fn missing(required: u32, digest: &str, yes: &[&Word<'_>], expired: usize, own: Option<&str>) -> Reason {
    let names: Vec<&str> = yes.iter().map(|word| word.actor).collect();
    let by = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    let expired = if expired > 0 { format!(", {expired} more ran out") } else { String::new() };
    let own = own.map_or_else(String::new, |who| format!("; {who} made it and does not count"));
    let message = format!(
        "{} of {required} approvals{by}{expired}{own}: somebody else must `fairway registry approve {digest}`",
        yes.len()
    );
    Reason::new("ApprovalsMissing", message)
}

/// The moment at which fewer than `required` approvals stand.
fn runs_out(required: u32, yes: &[&Word<'_>]) -> Option<Timestamp> {
    let mut ends: Vec<Timestamp> = yes.iter().map(|word| word.expires.unwrap_or(Timestamp::MAX)).collect();
    ends.sort_unstable_by(|a, b| b.cmp(a));
    let needed = (required as usize).checked_sub(1)?;
    ends.get(needed).copied().filter(|end| *end < Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aa";

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    fn word(actor: &'static str, approves: bool, day: i64) -> Word<'static> {
        Word { actor, approves, digest: DIGEST, time: at(day), expires: None }
    }

    #[test]
    fn table() {
        let until = |word: Word<'static>, day| Word { expires: Some(at(day)), ..word };
        let other = Word { digest: "sha256:bb", ..word("bob", true, 1) };
        for (why, required, words, approved, by) in [
            ("nobody is asked", 0, vec![], true, vec![]),
            ("nobody has spoken", 1, vec![], false, vec![]),
            ("one is enough", 1, vec![word("ann", true, 1)], true, vec!["ann"]),
            ("one of two", 2, vec![word("ann", true, 1)], false, vec!["ann"]),
            ("twice is once", 2, vec![word("ann", true, 1), word("ann", true, 2)], false, vec!["ann"]),
            ("two", 2, vec![word("bob", true, 1), word("ann", true, 2)], true, vec!["ann", "bob"]),
            ("a no outweighs", 1, vec![word("ann", true, 1), word("bob", false, 2)], false, vec!["ann"]),
            ("a no is heard unasked", 0, vec![word("bob", false, 2)], false, vec![]),
            ("the last word counts", 1, vec![word("bob", false, 1), word("bob", true, 2)], true, vec!["bob"]),
            ("in time, not in the list", 1, vec![word("bob", true, 2), word("bob", false, 1)], true, vec!["bob"]),
            ("the producer's yes is none", 1, vec![word("fairway", true, 1)], false, vec![]),
            ("the producer's no is one", 0, vec![word("fairway", false, 1)], false, vec![]),
            ("another artifact", 1, vec![other], false, vec![]),
            ("run out", 1, vec![until(word("ann", true, 1), 3)], false, vec![]),
            ("not yet", 1, vec![until(word("ann", true, 1), 4)], true, vec!["ann"]),
            // What ann said before she spoke again is not her word any more.
            ("no way back", 1, vec![word("ann", true, 1), until(word("ann", true, 2), 3)], false, vec![]),
            ("a no runs out", 0, vec![until(word("ann", false, 1), 3)], true, vec![]),
        ] {
            let found = count(required, DIGEST, "fairway", &words, at(3));
            assert_eq!(found.objected(), why.contains(" no ") && !approved, "{why}");
            assert_eq!((found.approved(), found.by), (approved, by.into_iter().map(str::to_owned).collect()), "{why}");
            assert!(found.waiting_for.iter().all(|reason| reason.message.contains("fairway registry approve")));
        }
    }

    #[test]
    fn the_farther_a_version_has_come_the_less_it_needs() {
        use Stage::{Baking, Final, OnTrial, Waiting};
        let run_out = Word { expires: Some(at(2)), ..word("ann", true, 1) };
        let no = word("bob", false, 2);
        let approved = |stage, words: &[Word<'_>]| missed_at(stage, 1, DIGEST, "fairway", words, at(3)).approved();
        let stages = [Waiting, OnTrial, Baking, Final];
        assert_eq!(stages.map(|stage| approved(stage, &[])), [false, false, true, true], "more people are asked now");
        assert_eq!(stages.map(|stage| approved(stage, &[run_out])), [false, true, true, true]);
        assert_eq!(stages.map(|stage| approved(stage, &[run_out, no])), [false, false, false, true], "a no is heard");
        let taken_back = word("bob", true, 3);
        assert!(stages.map(|stage| approved(stage, &[no, taken_back])).into_iter().all(|approved| approved));
    }

    #[test]
    fn it_is_known_when_approvals_run_out() {
        let until = |actor, day| Word { expires: Some(at(day)), ..word(actor, true, 0) };
        let words = [until("ann", 5), until("bob", 9), until("eve", 7)];
        let of = |required| count(required, DIGEST, "p", &words, at(1)).until;
        assert_eq!((of(0), of(1), of(2), of(3)), (None, Some(at(9)), Some(at(7)), Some(at(5))));
        assert_eq!(count(2, DIGEST, "p", &words, at(7)).until, None);
        assert_eq!(count(1, DIGEST, "p", &[word("ann", true, 0)], at(7)).until, None);
    }
}
