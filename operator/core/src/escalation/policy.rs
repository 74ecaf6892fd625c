//! The rules: which findings go where, and how often.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Finding, Severity, severity};
use crate::plan::spell;

/// No rule repeats more often.
const REPEAT_MIN: Duration = Duration::from_secs(60);

/// A way to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// An event on the resource. Everything goes there, once.
    KubernetesEvent,
    /// A chat or an incident tool.
    Webhook,
    /// Somebody is woken.
    Page,
}

/// Which findings a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Matches {
    /// Codes, with `*` for any characters: `Harmful*`.
    Code(String),
    /// So severe, or more.
    AtLeast(Severity),
}

/// Where findings go. Rules add up: a finding goes to the channels of all that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Which.
    pub matches: Matches,
    /// Where to.
    pub channels: BTreeSet<Channel>,
    /// Told again while it lasts, after this; the shortest of the rules that match holds. Never without.
    pub repeat: Option<Duration>,
}

/// Who is told what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EscalationPolicy {
    /// The rules.
    pub rules: Vec<Rule>,
    /// A state is over when it has been away for so long: one that flickers is told once.
    pub settle: Duration,
}

/// A rule that cannot be used, and what is allowed instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EscalationError {
    /// Repeats that nobody could read.
    #[error("escalation.rules[{rule}].repeat {repeat} is shorter than 1m: raise it, or leave it out to be told once")]
    Repeat {
        /// Index of the rule, from 0.
        rule: usize,
        /// As asked.
        repeat: String,
    },
    /// A rule for nothing.
    #[error("escalation.rules[{0}].code is empty: a code, or a part of one with `*`")]
    NoCode(usize),
    /// A rule to nobody.
    #[error("escalation.rules[{0}].channels is empty: Webhook, KubernetesEvent or Page")]
    NoChannel(usize),
}

impl Default for EscalationPolicy {
    /// Critical findings page and do so again after 4 h; warnings go to the webhook, once; over after 5 minutes of calm.
    fn default() -> Self {
        let rule = |severity, channel, repeat| Rule {
            matches: Matches::AtLeast(severity),
            channels: BTreeSet::from([channel]),
            repeat,
        };
        let rules = vec![
            rule(Severity::Critical, Channel::Page, Some(Duration::from_secs(4 * 3_600))),
            rule(Severity::Warning, Channel::Webhook, None),
        ];
        Self { rules, settle: Duration::from_secs(300) }
    }
}

impl EscalationPolicy {
    /// Checks the rules.
    ///
    /// # Errors
    /// The first rule that cannot be used.
    pub fn checked(self) -> Result<Self, EscalationError> {
        for (index, rule) in self.rules.iter().enumerate() {
            match rule.repeat {
                Some(repeat) if repeat < REPEAT_MIN => {
                    return Err(EscalationError::Repeat { rule: index, repeat: spell(repeat) });
                }
                _ if rule.channels.is_empty() => return Err(EscalationError::NoChannel(index)),
                _ if rule.matches == Matches::Code(String::new()) => return Err(EscalationError::NoCode(index)),
                _ => {}
            }
        }
        Ok(self)
    }

    /// Where a finding goes, and how often. A code that this version does not know goes to an event and nowhere else, so
    /// that a new word in an upgrade wakes nobody.
    pub(super) fn route(&self, finding: &Finding) -> (BTreeSet<Channel>, Option<Duration>) {
        let mut channels = BTreeSet::from([Channel::KubernetesEvent]);
        let known = severity(&finding.code).is_some();
        let matching: Vec<&Rule> = self.rules.iter().filter(|rule| known && rule.matches.holds(finding)).collect();
        channels.extend(matching.iter().flat_map(|rule| &rule.channels));
        (channels, matching.iter().filter_map(|rule| rule.repeat).min().map(|repeat| repeat.max(REPEAT_MIN)))
    }
}

impl Matches {
    fn holds(&self, finding: &Finding) -> bool {
        match self {
            Self::Code(pattern) => glob(pattern, &finding.code),
            Self::AtLeast(least) => finding.severity >= *least,
        }
    }
}

/// Whether `text` is what `pattern` says, with `*` for any characters. Linear in both for one star, never exponential.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let table = [
            ("Harmful*", "HarmfulInBake", true),
            ("Harmful*", "Harmful", true),
            ("Harmful", "HarmfulInBake", false),
            ("*Missing", "TelemetryMissing", true),
            ("*", "", true),
            ("", "", true),
            ("", "A", false),
            ("A*A", "A", false),
            ("A*b*C", "AxxbyyC", true),
            ("A*b*C", "AxxyyC", false),
            ("**", "anything", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
