//! What passes between the operator and a router in another process: orders one way, polls the other. In one process
//! the same things are method calls.

use serde::{Deserialize, Serialize};

use crate::{EventKind, FALLBACK, Route, Rung, Target, Window};

/// Key of the ConfigMap that holds an endpoint's [`Orders`] as JSON.
pub const ORDERS_KEY: &str = "orders.json";

/// What a router is to do: the route, and where the model servers are. Servers may be named before the route names
/// their version, so that routers know them when users come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Orders {
    /// Who gets which version; none before the first one.
    pub route: Option<Route>,
    /// The model servers.
    pub versions: Vec<ServedAt>,
    /// What it counts and keeps.
    #[serde(default)]
    pub settings: RouterSettings,
    /// The routers of the endpoint, by the URLs of their admin ports, this one among them: they tell each other what users did.
    /// Left out where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
}

/// What a router counts and keeps, from its manifests: the same for as long as it runs. A router that is told of others
/// says so and goes on with those that it began with, because what it has counted rests on them: it is to be restarted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RouterSettings {
    /// Which events count as consumption: they are the reward, the history and the popularity.
    pub reward_event: EventKind,
    /// How long after an exposure feedback counts for it, milliseconds.
    pub reward_within_ms: u64,
    /// Most reward that one exposure can earn.
    pub reward_cap: f64,
    /// Share of the decisions that is logged, 0 to 1.
    pub decision_sample: f64,
    /// Most items kept of a user's history.
    pub history_max: u32,
    /// Who is asked, in this order, when the assigned version has no answer. Left out where it is the usual one, which routers of
    /// before it could be said know too.
    #[serde(skip_serializing_if = "is_usual")]
    pub fallback: Vec<Rung>,
}

fn is_usual(fallback: &[Rung]) -> bool {
    fallback == FALLBACK
}

impl Default for RouterSettings {
    fn default() -> Self {
        Self {
            reward_event: EventKind::Purchase,
            reward_within_ms: 7 * 86_400_000,
            reward_cap: 10.0,
            decision_sample: 1.0,
            history_max: 500,
            fallback: FALLBACK.to_vec(),
        }
    }
}

impl RouterSettings {
    /// What cannot be used, if anything: the field, and what it may be.
    pub fn fault(&self) -> Option<&'static str> {
        if !(self.reward_cap.is_finite() && self.reward_cap > 0.0) {
            Some("settings.rewardCap must be above 0")
        } else if !(0.0..=1.0).contains(&self.decision_sample) {
            Some("settings.decisionSample must be from 0 to 1")
        } else if self.reward_within_ms == 0 {
            Some("settings.rewardWithinMs must be above 0")
        } else if !(1..=1_000_000).contains(&self.history_max) {
            Some("settings.historyMax must be from 1 to 1000000")
        } else if self.fallback.last() != Some(&Rung::Popularity) || self.fallback.contains(&Rung::Assigned) {
            Some("settings.fallback must end with popularity and cannot name assigned")
        } else {
            None
        }
    }
}

/// Where a version is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedAt {
    /// Which version.
    pub target: Target,
    /// URL of its servers, without a path.
    pub url: String,
}

/// What the operator asks a router, every few seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Poll {
    /// The incarnation whose windows `after` speaks of; another one forgets none.
    pub replica: String,
    /// Number of the last window that is safe in the bucket: the router forgets it and those before it. None at first.
    pub after: Option<u64>,
    /// The generation that the lease is for; another one in force does not take it.
    pub generation: u64,
    /// How long what is on trial under that generation may go on without another poll, milliseconds: a length, because clocks of
    /// two machines differ. Routers hold it to a few minutes. None leaves the lease as it is.
    pub lease_ms: Option<u64>,
    /// Most windows in the answer.
    pub limit: u32,
}

/// What a router answers. It may hold its windows otherwise than as a [`Window`], as long as they are written like one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Polled<W = Window> {
    /// The router's incarnation: after a restart windows are counted from 0 again, under another name.
    pub replica: String,
    /// Generation of the route in force.
    pub generation: u64,
    /// Digests of the versions that it can ask.
    pub installed: Vec<String>,
    /// A person has set the canary to 0 here, under this generation or an earlier one of the same rollout.
    #[serde(default)]
    pub aborted: bool,
    /// Closed windows after the one that was named, oldest first.
    pub windows: Vec<W>,
    /// Windows that were dropped because nobody took them.
    #[serde(default)]
    pub lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_before_there_were_settings_have_the_usual_ones() {
        let orders: Orders = serde_json::from_str(r#"{"route": null, "versions": []}"#).unwrap();
        assert_eq!((orders.settings.fault(), orders.settings), (None, RouterSettings::default()));
        let text = r#"{"route": null, "versions": [], "settings": {"rewardEvent": "click", "decisionSample": 0.1}}"#;
        let orders: Orders = serde_json::from_str(text).unwrap();
        assert_eq!((orders.settings.reward_event, orders.settings.history_max), (EventKind::Click, 500));
        assert!(serde_json::from_str::<Orders>(&text.replace("decisionSample", "sample")).is_err());
        // Routers of before the order could be said are told nothing of it that they do not know.
        assert!(!serde_json::to_string(&orders).unwrap().contains("fallback"));
        let text = r#"{"route": null, "versions": [], "settings": {"fallback": ["cached", "popularity"]}}"#;
        let orders: Orders = serde_json::from_str(text).unwrap();
        assert_eq!((orders.settings.fault(), orders.settings.fallback), (None, vec![Rung::Cached, Rung::Popularity]));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let usual = RouterSettings::default;
        for (settings, field) in [
            (RouterSettings { reward_cap: f64::NAN, ..usual() }, "rewardCap"),
            (RouterSettings { decision_sample: 1.1, ..usual() }, "decisionSample"),
            (RouterSettings { reward_within_ms: 0, ..usual() }, "rewardWithinMs"),
            (RouterSettings { history_max: 0, ..usual() }, "historyMax"),
            (RouterSettings { fallback: vec![], ..usual() }, "fallback"),
            (RouterSettings { fallback: vec![Rung::Stable], ..usual() }, "fallback"),
            (RouterSettings { fallback: vec![Rung::Assigned, Rung::Popularity], ..usual() }, "fallback"),
        ] {
            assert!(settings.fault().is_some_and(|fault| fault.contains(field)), "{field}");
        }
    }
}
