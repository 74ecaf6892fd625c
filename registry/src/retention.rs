//! Which versions are kept, and why. Pure: it deletes nothing (`gc.rs` does).

use crate::state::State;
use crate::{Digest, Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Which versions of a model are kept. A version that no rule keeps is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retention {
    /// This many of the newest versions; at least 1.
    pub versions: u32,
    /// Versions registered within so many days; 0: age keeps none.
    #[serde(default)]
    pub days: u32,
    /// Versions that were `champion` within so many days, to go back to.
    #[serde(default = "rollback_days")]
    pub rollback_days: u32,
}

fn rollback_days() -> u32 {
    30
}

impl Default for Retention {
    /// The newest 20, and whatever was champion within 30 days.
    fn default() -> Retention {
        Retention { versions: 20, days: 0, rollback_days: rollback_days() }
    }
}

impl Retention {
    pub(crate) fn check(&self) -> Result<()> {
        const DAYS_MAX: u32 = 36_500;
        if self.versions == 0 || self.days > DAYS_MAX || self.rollback_days > DAYS_MAX {
            let reason = format!("must keep at least 1 version, and name at most {DAYS_MAX} days");
            return Err(Error::Invalid { what: "retention".to_owned(), reason });
        }
        Ok(())
    }
}

/// Why a version is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Kept {
    /// No retention was set, so that everything is kept.
    Everything,
    /// An alias points to it.
    Alias {
        /// The alias.
        alias: String,
    },
    /// It is under a legal hold.
    Held {
        /// Why.
        reason: String,
    },
    /// An endpoint's newest plan or an unfinished run names its digest.
    InUse,
    /// It is one of the newest.
    Newest,
    /// It was registered lately.
    Young,
    /// It was champion lately.
    Reigned,
}

/// Why each live version is kept; one without a reason may go. `in_use` are digests that somebody
/// outside the log relies on.
pub fn kept(state: &State, in_use: &BTreeSet<Digest>, now: Timestamp) -> BTreeMap<u64, BTreeSet<Kept>> {
    let within = |time: Timestamp, days: u32| {
        let age = now.duration_since(time);
        days > 0 && age.as_secs() <= i64::from(days) * 86_400
    };
    let newest_from = state.retention.and_then(|rule| state.versions.keys().rev().nth(rule.versions as usize - 1));
    let reasons = |number: u64, version: &crate::Version| {
        let mut reasons = BTreeSet::new();
        reasons.extend(state.aliases_of(number).into_iter().map(|alias| Kept::Alias { alias: alias.to_owned() }));
        reasons.extend(version.hold.iter().map(|reason| Kept::Held { reason: reason.clone() }));
        if in_use.contains(&version.digest) {
            reasons.insert(Kept::InUse);
        }
        let Some(rule) = state.retention else {
            reasons.insert(Kept::Everything);
            return reasons;
        };
        if newest_from.is_none_or(|from| number >= *from) {
            reasons.insert(Kept::Newest);
        }
        if within(version.registered, rule.days) {
            reasons.insert(Kept::Young);
        }
        if version.reigned.is_some_and(|time| within(time, rule.rollback_days)) {
            reasons.insert(Kept::Reigned);
        }
        reasons
    };
    state.versions.iter().map(|(number, version)| (*number, reasons(*number, version))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    const DAY: i64 = 86_400;

    fn version(day: i64) -> Version {
        Version::plain(Digest::of(&day.to_le_bytes()), Timestamp::from_second(day * DAY).unwrap())
    }

    /// Ten versions, one a day from day 0.
    fn state(rule: Option<Retention>) -> State {
        let mut state = State { retention: rule, ..State::default() };
        for day in 0..10 {
            state.add(version(day));
        }
        state
    }

    fn gone(state: &State, in_use: &[Digest], day: i64) -> Vec<u64> {
        let now = Timestamp::from_second(day * DAY).unwrap();
        let in_use = in_use.iter().cloned().collect();
        kept(state, &in_use, now).into_iter().filter(|(_, why)| why.is_empty()).map(|(number, _)| number).collect()
    }

    #[test]
    fn every_rule_keeps_what_it_says() {
        let rule = Retention { versions: 3, days: 0, rollback_days: 30 };
        assert!(gone(&state(None), &[], 1_000).is_empty(), "no rule, nothing goes");
        assert_eq!(gone(&state(Some(rule)), &[], 10), [1, 2, 3, 4, 5, 6, 7]);
        let young = Retention { days: 5, ..rule };
        assert_eq!(gone(&state(Some(young)), &[], 10), [1, 2, 3, 4, 5], "version 6 is of day 5");
        assert_eq!(gone(&state(Some(Retention { versions: 50, ..rule })), &[], 10), [0; 0]);

        let mut state = state(Some(rule));
        state.aliases.insert("mine".to_owned(), 2);
        state.versions.get_mut(&4).unwrap().hold = Some("case 7".to_owned());
        state.versions.get_mut(&5).unwrap().reigned = Some(Timestamp::from_second(8 * DAY).unwrap());
        let in_use = [state.versions[&1].digest.clone()];
        assert_eq!(gone(&state, &in_use, 10), [3, 6, 7]);
        assert_eq!(gone(&state, &in_use, 38), [3, 6, 7], "30 days after day 8");
        assert_eq!(gone(&state, &in_use, 39), [3, 5, 6, 7]);
    }

    #[test]
    fn rules_without_sense_are_refused() {
        for rule in
            [Retention { versions: 0, ..Retention::default() }, Retention { days: 40_000, ..Retention::default() }]
        {
            assert!(rule.check().is_err());
        }
        Retention::default().check().unwrap();
    }
}
