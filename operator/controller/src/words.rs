//! A person's word as the registry's log has it where it was said as a ModelApproval. The log knows yes and no, when and why;
//! until when a word stands is in the reason.

use fairway_api::ModelApproval;
use fairway_api::approval::ApprovalWord;
use jiff::Timestamp;
use kube::ResourceExt;

/// How such a reason begins: a word that was said elsewhere begins otherwise.
const SAID: &str = "ModelApproval ";
/// Before the moment until which it stands.
const UNTIL: &str = " until ";
/// Longest reason in characters: the registry has room for these of any kind.
const REASON_MAX: usize = 250;

/// The reason of a word.
pub(crate) fn reason_of(word: &ModelApproval) -> String {
    let until = word.spec.expires.map_or_else(String::new, |expires| format!("{UNTIL}{}", expires.0));
    let why = word.spec.reason.as_deref().unwrap_or(match word.spec.word {
        ApprovalWord::Approve => "agreed",
        ApprovalWord::Reject => "objected",
    });
    let name: String = word.name_any();
    format!("{SAID}{name}{until}: {why}").chars().take(REASON_MAX.max(SAID.len() + name.len() + 40)).collect()
}

/// Whether a word was said as a ModelApproval.
pub(crate) fn is_mirrored(reason: &str) -> bool {
    reason.starts_with(SAID)
}

/// Until when a word stands, if it says so.
pub(crate) fn until(reason: &str) -> Option<Timestamp> {
    let (head, _) = reason.strip_prefix(SAID)?.split_once(": ")?;
    head.split_once(UNTIL)?.1.parse().ok()
}

/// A version of which nothing matters but what people said of it, each as who, yes or no, and why.
#[cfg(test)]
pub(crate) fn judged(verdicts: &[(&str, bool, &str)]) -> fairway_registry::Version {
    let verdict = |(actor, approved, reason): &(&str, bool, &str)| fairway_registry::Verdict {
        actor: (*actor).to_owned(),
        approved: *approved,
        time: Timestamp::UNIX_EPOCH,
        reason: (*reason).to_owned(),
    };
    fairway_registry::Version {
        number: 3,
        digest: fairway_registry::Digest::of(b"x"),
        run: "r".to_owned(),
        registered: Timestamp::UNIX_EPOCH,
        bytes: 1,
        files: 1,
        metrics: Default::default(),
        labels: Default::default(),
        verdicts: verdicts.iter().map(verdict).collect(),
        hold: None,
        reigned: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn word(name: &str, more: serde_json::Value) -> ModelApproval {
        let mut spec = json!({"model": "recs", "digest": format!("sha256:{}", "0".repeat(64)), "word": "Approve", "approver": "ann"});
        crate::pod::merge(&mut spec, more);
        let object = json!({"apiVersion": "fairway.dev/v1alpha1", "kind": "ModelApproval", "metadata": {"name": name}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_reason_says_where_the_word_stands_and_until_when() {
        let plain = reason_of(&word("a-1", json!({"reason": "looks right: until later"})));
        assert_eq!((plain.as_str(), until(&plain)), ("ModelApproval a-1: looks right: until later", None));
        let day = "2026-11-29T00:00:00Z";
        let short = reason_of(&word("a-2", json!({"expires": day})));
        assert_eq!(short, "ModelApproval a-2 until 2026-11-29T00:00:00Z: agreed");
        assert_eq!(until(&short), Some(day.parse().unwrap()));
        assert!(is_mirrored(&short));
        assert!(!is_mirrored("read the card until 2026-11-29T00:00:00Z: fine"));
        assert_eq!(until("read the card until 2026-11-29T00:00:00Z: fine"), None);
    }

    #[test]
    fn the_longest_reason_has_room_in_the_log_and_keeps_its_end() {
        let name = "n".repeat(253);
        let long =
            reason_of(&word(&name, json!({"expires": "2026-11-29T00:00:00Z", "reason": "\u{1F600}".repeat(256)})));
        assert!(long.len() <= 1_024 && until(&long).is_some(), "{} bytes", long.len());
        let wide = reason_of(&word("a", json!({"reason": "\u{1F600}".repeat(256)})));
        assert!(wide.len() <= 1_024, "{} bytes", wide.len());
    }
}
