//! From the manifest's notifications to what core needs to know of them: which findings are told at all, and which of the
//! manifest's words each of them is.

use std::collections::BTreeSet;

use fairway_core::escalation::{Channel, EscalationPolicy, Finding, Kind, Matches, Rule, findings};
use fairway_core::{Condition, Reason};

use super::{ModelEndpointSpec, Notification, NotificationEvent};

/// Conditions that are told while they hold. How the last rollout ended is told when it does.
const STATES: [&str; 4] = ["Ready", "Paused", "TelemetryMissing", "Degraded"];

impl NotificationEvent {
    /// The word for a finding; none for what nobody can ask to be told.
    pub fn of(finding: &Finding) -> Option<Self> {
        match (finding.code.as_str(), finding.kind) {
            ("RolloutStarted", _) => Some(Self::RolloutStarted),
            ("StepUp", _) => Some(Self::StepTaken),
            ("Promoted" | "FirstVersion", _) => Some(Self::Promoted),
            ("RolledBack" | "Undone", _) => Some(Self::RolledBack),
            ("Paused", _) => Some(Self::Paused),
            ("Degraded" | "NotReady", _) | ("BlockedByFailedLoad", Kind::State) => Some(Self::Degraded),
            // A candidate that cannot be loaded is a rollout that ended; without a version that serves it is a state.
            ("BlockedByFailedLoad", Kind::Event) => Some(Self::RolledBack),
            ("TelemetryMissing", _) => Some(Self::TelemetryMissing),
            _ => None,
        }
    }
}

impl Notification {
    /// Whether this webhook is told of a finding.
    pub fn tells(&self, finding: &Finding) -> bool {
        NotificationEvent::of(finding).is_some_and(|event| self.on.contains(&event))
    }

    /// What this webhook is known by while a notice waits for it.
    pub fn key(&self) -> String {
        format!("{}/{}", self.url_secret_ref.name, self.url_secret_ref.key)
    }
}

impl ModelEndpointSpec {
    /// Everything that some webhook is told of, goes to webhooks once. Which of them, [`Notification::tells`] says.
    pub fn escalation(&self) -> EscalationPolicy {
        let all =
            Rule { matches: Matches::Code("*".to_owned()), channels: BTreeSet::from([Channel::Webhook]), repeat: None };
        EscalationPolicy { rules: vec![all], ..EscalationPolicy::default() }
    }

    /// What a plan has found that some webhook is told of.
    pub fn escalated(
        &self,
        object: &str,
        evidence: &str,
        reasons: &[Reason],
        conditions: &[Condition],
    ) -> Vec<Finding> {
        if self.notifications.is_empty() {
            return Vec::new();
        }
        let lasting = conditions.iter().filter(|condition| STATES.contains(&condition.kind.as_str()));
        let mut found = findings(object, evidence, reasons, &lasting.cloned().collect::<Vec<_>>());
        // An end by undo is said twice, once with its numbers.
        if found.iter().any(|finding| finding.code == "RolledBack") {
            found.retain(|finding| finding.code != "Undone");
        }
        found.retain(|finding| self.notifications.iter().any(|one| one.tells(finding)));
        found
    }
}

#[cfg(test)]
mod tests {
    use fairway_core::escalation::severity;

    use super::*;

    fn spec(on: &str) -> ModelEndpointSpec {
        let hook = serde_json::json!({"urlSecretRef": {"name": "chat", "key": "url"}});
        let mut spec = serde_json::json!({"model": "shop", "notifications": [hook]});
        if !on.is_empty() {
            spec["notifications"][0]["on"] = serde_json::from_str(on).unwrap();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn condition(kind: &str, status: bool, code: &str) -> Condition {
        Condition { kind: kind.to_owned(), status, reason: Reason::new(code, format!("{code} message")) }
    }

    fn told(spec: &ModelEndpointSpec, reasons: &[&str], conditions: &[Condition]) -> Vec<String> {
        let reasons: Vec<Reason> = reasons.iter().map(|code| Reason::new(code, "why")).collect();
        let found = spec.escalated("modelendpoint/shop/shop", "", &reasons, conditions);
        found.iter().map(|finding| format!("{:?} {}", NotificationEvent::of(finding).unwrap(), finding.code)).collect()
    }

    #[test]
    fn what_each_word_of_the_manifest_stands_for() {
        let all =
            spec(r#"["RolloutStarted","StepTaken","Promoted","RolledBack","Paused","Degraded","TelemetryMissing"]"#);
        let table: [(&[&str], Vec<Condition>, &[&str]); 8] = [
            (&["RolloutStarted"], vec![], &["RolloutStarted RolloutStarted"]),
            (&["StepUp"], vec![], &["StepTaken StepUp"]),
            (&["FirstVersion"], vec![condition("Ready", true, "Serving")], &["Promoted FirstVersion"]),
            // The condition lasts until the next rollout: it is told by the reason, once.
            (&["RolledBack"], vec![condition("RolledBack", true, "Harmful")], &["RolledBack RolledBack"]),
            (&["Undone", "RolledBack"], vec![condition("RolledBack", true, "Undone")], &["RolledBack RolledBack"]),
            (&["Undone"], vec![condition("RolledBack", true, "Undone")], &["RolledBack Undone"]),
            (&["Paused"], vec![condition("Paused", true, "Paused")], &["Paused Paused"]),
            (&["Loading"], vec![condition("Ready", false, "StableNotLoaded")], &["Degraded NotReady"]),
        ];
        for (reasons, conditions, expected) in table {
            assert_eq!(told(&all, reasons, &conditions), expected, "{reasons:?}");
        }
        assert!(told(&all, &["NoVersion", "Baking", "Scaling"], &[condition("Ready", false, "NoVersion")]).is_empty());
    }

    #[test]
    fn only_what_somebody_asked_for() {
        let by_default = spec("");
        assert_eq!(told(&by_default, &["StepUp", "Promoted", "RolloutStarted"], &[]), ["Promoted Promoted"]);
        let none: ModelEndpointSpec = serde_json::from_value(serde_json::json!({"model": "shop"})).unwrap();
        assert!(told(&none, &["Promoted"], &[]).is_empty());
    }

    #[test]
    fn core_knows_every_code_that_is_told() {
        let codes = [
            "RolloutStarted",
            "StepUp",
            "Promoted",
            "FirstVersion",
            "RolledBack",
            "Undone",
            "Paused",
            "Degraded",
            "NotReady",
            "BlockedByFailedLoad",
            "TelemetryMissing",
        ];
        assert!(codes.iter().all(|code| severity(code).is_some()), "a code that core does not know goes to no webhook");
    }
}
