//! Who must be told what, once, with a link to the evidence.
//!
//! A plan says why it did, or did not do, something; most of that nobody wants to be woken for. [`findings`] picks from
//! its reasons and conditions what is worth telling, with a severity by code; [`tell`] turns findings into notices: each
//! once while it lasts, again only when it was over and came back or the rule's `repeat` has passed, and one when it is
//! over. "Why did it abort" is asked of every rollout tool (argoproj/argo-rollouts#404, #1832, #2276).
//!
//! It delivers nothing and knows no addresses. Notices carry an id that depends on what was remembered and not on the
//! clock, so that a receiver recognises one that is delivered again after a crash.

mod policy;
mod severity;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::{elapsed, spell};
pub use policy::{Channel, EscalationError, EscalationPolicy, Matches, Rule};
pub use severity::{Severity, findings, severity};

/// Most findings that are open at once; the less severe make room, then there is one notice about the rest.
pub const OPEN_MAX: usize = 256;
/// Longest text that is remembered of a finding, in characters.
const TEXT_MAX: usize = 500;
/// Code of the notice about findings that had no room.
const TOO_MANY: &str = "TooManyFindings";

/// Whether a finding lasts or happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// It lasts until it is over, and people are told then too.
    State,
    /// It happened.
    Event,
}

/// Something that people may have to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The reason's code.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// Whether it lasts.
    pub kind: Kind,
    /// The resource, for example `modelendpoint/shop/shop`.
    pub object: String,
    /// The reason's sentence.
    pub message: String,
    /// Where the numbers are: a plan's sequence, a window, a run's path.
    pub evidence: String,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NoticeKind {
    /// It began, or happened.
    Began,
    /// It still lasts.
    Lasts,
    /// It is over.
    Resolved,
}

/// One message to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The same for the same notice, whenever it is made: `object/code/occurrence`, then `/again-n` or `/resolved`.
    pub id: String,
    /// What it is about.
    pub kind: NoticeKind,
    /// Where it goes.
    pub channels: BTreeSet<Channel>,
    /// The finding.
    pub finding: Finding,
    /// Since when it was seen.
    pub since: Timestamp,
    /// In words.
    pub text: String,
}

/// A finding that people were told of and that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    finding: Finding,
    /// Wherever it was told, so that the end is told there too.
    channels: BTreeSet<Channel>,
    occurrence: u64,
    since: Timestamp,
    told: Timestamp,
    seen: Timestamp,
    repeats: u32,
}

/// What people were told; it is stored with the plan before notices are delivered. At most [`OPEN_MAX`] findings and one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Looks that had something to tell; numbers the occurrences of a code, and never goes back.
    generation: u64,
    open: Vec<Open>,
}

impl Told {
    /// For a process that cannot read what was told before: occurrences are numbered from here on, so that its notices have
    /// ids of their own. Seconds since 1970 are above every number that was counted.
    pub fn beginning(generation: u64) -> Self {
        Self { generation, open: Vec::new() }
    }

    /// How many findings are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}

/// Turns *all* findings of this look into notices. `told` must be of the same objects at each look: what is not among the
/// findings counts as gone.
pub fn tell(told: &mut Told, policy: &EscalationPolicy, findings: &[Finding], now: Timestamp) -> Vec<Notice> {
    let generation = told.generation.saturating_add(1);
    let mut look = Look { told, policy, now, generation, notices: Vec::new(), dropped: 0 };
    for finding in findings {
        look.see(finding);
    }
    look.tell_of_dropped();
    look.close();
    if !look.notices.is_empty() {
        look.told.generation = generation;
    }
    look.notices
}

struct Look<'a> {
    told: &'a mut Told,
    policy: &'a EscalationPolicy,
    now: Timestamp,
    generation: u64,
    notices: Vec<Notice>,
    dropped: usize,
}

impl Look<'_> {
    fn see(&mut self, finding: &Finding) {
        let now = self.now;
        let finding = clipped(finding);
        let (channels, repeat) = self.policy.route(&finding);
        let same = |open: &&mut Open| open.finding.object == finding.object && open.finding.code == finding.code;
        let Some(open) = self.told.open.iter_mut().find(same) else {
            return self.begin(finding, channels);
        };
        open.seen = open.seen.max(now);
        open.finding = finding;
        if repeat.is_some_and(|repeat| elapsed(open.told, now) >= repeat) {
            open.told = now;
            open.repeats = open.repeats.saturating_add(1);
            open.channels.extend(&channels);
            self.notices.push(open.notice(NoticeKind::Lasts, channels, now));
        }
    }

    fn begin(&mut self, finding: Finding, channels: BTreeSet<Channel>) {
        if self.told.open.len() >= OPEN_MAX && finding.code != TOO_MANY && !self.make_room(finding.severity) {
            self.dropped += 1;
            return;
        }
        let (now, occurrence) = (self.now, self.generation);
        let open =
            Open { finding, channels: channels.clone(), occurrence, since: now, told: now, seen: now, repeats: 0 };
        self.notices.push(open.notice(NoticeKind::Began, channels, now));
        self.told.open.push(open);
    }

    /// Forgets the oldest of the least severe, if it is less severe than this.
    fn make_room(&mut self, severity: Severity) -> bool {
        let all = self.told.open.iter().enumerate().filter(|(_, open)| open.finding.code != TOO_MANY);
        let least = all.min_by_key(|(_, open)| open.finding.severity).filter(|(_, o)| o.finding.severity < severity);
        least.map(|(index, _)| index).map(|index| self.told.open.remove(index)).is_some()
    }

    fn tell_of_dropped(&mut self) {
        if self.dropped == 0 {
            return;
        }
        let message = format!("{} findings are not told: {OPEN_MAX} are open already", self.dropped);
        self.see(&Finding {
            code: TOO_MANY.to_owned(),
            severity: severity(TOO_MANY).map_or(Severity::Warning, |(severity, _)| severity),
            kind: Kind::State,
            object: "escalation".to_owned(),
            message,
            evidence: String::new(),
        });
    }

    /// What was not seen at this look is over: what happened at once and silently, a state after it has settled.
    fn close(&mut self) {
        let (now, settle) = (self.now, self.policy.settle);
        let notices = &mut self.notices;
        self.told.open.retain(|open| {
            let away = elapsed(open.seen, now);
            let over = open.seen < now && (open.finding.kind == Kind::Event || away >= settle);
            if over && open.finding.kind == Kind::State {
                notices.push(open.notice(NoticeKind::Resolved, open.channels.clone(), now));
            }
            !over
        });
    }
}

impl Open {
    fn notice(&self, kind: NoticeKind, channels: BTreeSet<Channel>, now: Timestamp) -> Notice {
        let Finding { code, severity, object, message, evidence, .. } = &self.finding;
        let id = format!("{object}/{code}/{}", self.occurrence);
        let lasted = spell(elapsed(self.since, now));
        let evidence = if evidence.is_empty() { String::new() } else { format!(" (evidence: {evidence})") };
        let (id, text) = match kind {
            NoticeKind::Began => (id, format!("{severity}: {object}: {code}: {message}{evidence}")),
            NoticeKind::Lasts => (
                format!("{id}/again-{}", self.repeats),
                format!("{severity}, for {lasted} now: {object}: {code}: {message}{evidence}"),
            ),
            NoticeKind::Resolved => (
                format!("{id}/resolved"),
                format!("over after {lasted}: {object}: {code}: it was: {message}{evidence}"),
            ),
        };
        Notice { id, kind, channels, finding: self.finding.clone(), since: self.since, text }
    }
}

fn clipped(finding: &Finding) -> Finding {
    let clip = |text: &str| text.chars().take(TEXT_MAX).collect();
    Finding {
        code: clip(&finding.code),
        object: clip(&finding.object),
        message: clip(&finding.message),
        evidence: clip(&finding.evidence),
        ..*finding
    }
}

#[cfg(test)]
mod tests;
