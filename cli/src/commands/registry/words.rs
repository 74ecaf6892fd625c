//! What a log says, in words.

use std::collections::{BTreeMap, BTreeSet};

use fairway_registry::{Entry, Kept, Operation, Retention};
use indicatif::HumanBytes;

/// A size for people.
pub fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// `1 version`, `2 versions`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Where an alias points.
pub fn target(version: Option<u64>) -> String {
    version.map_or_else(|| "none".to_owned(), |version| format!("version {version}"))
}

/// What an entry did. `before` is the entry before it, which tells whether an alias moved along.
pub fn operation(entry: &Entry, before: Option<&Entry>) -> String {
    match &entry.operation {
        Operation::Registered { version } => format!("registered version {version}{}", moved_along(entry, before)),
        Operation::Aliased { alias, from, to: None, .. } => format!("removed @{alias}, which was {}", target(*from)),
        Operation::Aliased { alias, from, to, .. } => format!("@{alias}: {} -> {}", target(*from), target(*to)),
        Operation::Judged { version, approved: true, .. } => format!("approved version {version}"),
        Operation::Judged { version, approved: false, .. } => format!("rejected version {version}"),
        Operation::Withdrawn { version, .. } => format!("took back what was said of version {version}"),
        Operation::Held { version, held: true } => format!("put version {version} under a legal hold"),
        Operation::Held { version, held: false } => format!("lifted the legal hold of version {version}"),
        Operation::Protected { alias, actors } => format!("@{alias}: {}", protection(actors)),
        Operation::Retained { retention } => format!("retention: {}", retention_of(retention.as_ref())),
        Operation::Signed { version, key } => {
            format!("signed version {version} with key {}", key.chars().take(12).collect::<String>())
        }
        Operation::Condemned { versions, digests } => {
            let numbers: Vec<String> = versions.iter().map(u64::to_string).collect();
            let trees = count(digests.len(), "tree");
            match versions.len() {
                0 => format!("condemned {trees} that were never registered"),
                1 => format!("deleted version {} ({trees} to remove)", numbers[0]),
                _ => format!("deleted versions {} ({trees} to remove)", numbers.join(", ")),
            }
        }
        Operation::Swept { digests } => format!("removed the bytes of {}", count(digests.len(), "tree")),
    }
}

/// The aliases that a registration moved.
fn moved_along(entry: &Entry, before: Option<&Entry>) -> String {
    let none = BTreeMap::new();
    let before = match before {
        Some(before) => &before.state.aliases,
        None if entry.seq == 1 => &none,
        None => return String::new(),
    };
    let moved = entry.state.aliases.iter().filter(|(alias, to)| before.get(*alias) != Some(to));
    moved.map(|(alias, _)| format!(", @{alias} moved to it")).take(1).collect()
}

/// Who may move an alias.
pub fn protection(actors: &BTreeSet<String>) -> String {
    if actors.is_empty() {
        return "everybody may move it".to_owned();
    }
    format!("only {} may move it", actors.iter().cloned().collect::<Vec<_>>().join(", "))
}

/// Which versions are kept.
pub fn retention_of(rule: Option<&Retention>) -> String {
    let Some(rule) = rule else { return "every version is kept".to_owned() };
    let mut kept = vec![if rule.versions == 1 {
        "the newest version".to_owned()
    } else {
        format!("the newest {} versions", rule.versions)
    }];
    if rule.days > 0 {
        kept.push(format!("those registered within {}", count(rule.days as usize, "day")));
    }
    if rule.rollback_days > 0 {
        kept.push(format!("those that were @champion within {}", count(rule.rollback_days as usize, "day")));
    }
    format!("keeps {}", kept.join(", "))
}

/// Why a version is kept.
pub fn kept(reasons: &BTreeSet<Kept>) -> String {
    let word = |reason: &Kept| match reason {
        Kept::Everything => "no retention is set".to_owned(),
        Kept::Alias { alias } => format!("@{alias}"),
        Kept::Held { reason } => format!("legal hold: {reason}"),
        Kept::InUse => "in use by an endpoint or a run".to_owned(),
        Kept::Newest => "one of the newest".to_owned(),
        Kept::Young => "registered lately".to_owned(),
        Kept::Reigned => "was @champion lately".to_owned(),
    };
    reasons.iter().map(word).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_in_words() {
        assert_eq!(retention_of(None), "every version is kept");
        let mut rule = Retention { versions: 1, days: 0, rollback_days: 0 };
        assert_eq!(retention_of(Some(&rule)), "keeps the newest version");
        rule = Retention { versions: 3, days: 1, rollback_days: 30 };
        let words =
            "keeps the newest 3 versions, those registered within 1 day, those that were @champion within 30 days";
        assert_eq!(retention_of(Some(&rule)), words);
    }
}
