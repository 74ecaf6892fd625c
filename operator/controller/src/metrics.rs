//! What the operator counts, for people (`/metrics`, OpenMetrics). Alerts and the dashboard of the chart rest on the names.

mod shown;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fairway_api::Condition;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use shown::Shown;

use crate::board::Key;
use crate::notify::Counted;
use crate::watch::Pulse;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    kind: String,
    result: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    kind: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: String,
}

/// Says how many objects of a kind there are.
type Count = Box<dyn Fn() -> usize + Send + Sync>;

/// See above.
pub(crate) struct Metrics {
    registry: Registry,
    /// By kind and the namespace that is led, if not all are at once. Asked when somebody reads.
    counts: Mutex<BTreeMap<(&'static str, Option<String>), Count>>,
    objects: Family<Kind, Gauge<i64, AtomicI64>>,
    reconciles: Family<Reconcile, Counter>,
    time: Family<Kind, Histogram>,
    decided: Family<Decided, Counter>,
    writes: Family<Kind, Counter>,
    shown: Shown,
    silent: Family<Kind, Gauge<i64, AtomicI64>>,
    leading: Gauge<i64, AtomicI64>,
    polls_failed: Counter<u64, AtomicU64>,
    notifications: Family<Outcome, Counter>,
}

fn histogram() -> Histogram {
    Histogram::new([0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("fairway_operator");
        let reconciles = Family::default();
        let time: Family<Kind, Histogram> = Family::new_with_constructor(histogram as fn() -> Histogram);
        let (decided, writes, silent) = (Family::default(), Family::default(), Family::default());
        let shown = Shown::default();
        let (leading, polls_failed) = (Gauge::default(), Counter::default());
        let (notifications, objects) = (Family::default(), Family::default());
        registry.register("objects", "Objects that are looked after, by kind", objects.clone());
        registry.register("notifications", "Attempts to tell a webhook, by result", notifications.clone());
        registry.register("reconciles", "Looks at objects, by kind and result", reconciles.clone());
        registry.register("reconcile_seconds", "Time of a look, by kind", time.clone());
        registry.register("decisions", "Reasons that decisions gave, by kind and reason", decided.clone());
        registry.register("writes", "Writes to the API server, by kind", writes.clone());
        registry.register_collector(Box::new(shown.clone()));
        registry.register("watch_silent_seconds", "Time since a watch was last heard of, by kind", silent.clone());
        registry.register("leading", "1 where this process leads", leading.clone());
        registry.register("router_polls_failed", "Polls that a router did not answer", polls_failed.clone());
        Self {
            registry,
            counts: Mutex::default(),
            objects,
            reconciles,
            time,
            decided,
            writes,
            shown,
            silent,
            leading,
            polls_failed,
            notifications,
        }
    }
}

impl Metrics {
    /// From now on `count` says how many objects of this kind there are where it leads; in other namespaces others say it.
    pub(crate) fn count(
        &self,
        kind: &'static str,
        namespace: Option<&str>,
        count: impl Fn() -> usize + Send + Sync + 'static,
    ) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.insert((kind, namespace.map(str::to_owned)), Box::new(count));
    }

    pub(crate) fn reconciled(&self, kind: &str, took: Duration, succeeded: bool) {
        let result = if succeeded { "ok" } else { "error" };
        self.reconciles.get_or_create(&Reconcile { kind: kind.to_owned(), result: result.to_owned() }).inc();
        self.time.get_or_create(&Kind { kind: kind.to_owned() }).observe(took.as_secs_f64());
    }

    pub(crate) fn decided(&self, kind: &str, reason: &str) {
        self.decided.get_or_create(&Decided { kind: kind.to_owned(), reason: reason.to_owned() }).inc();
    }

    pub(crate) fn write(&self, kind: &str) {
        self.writes.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// The conditions of an object as they stand.
    pub(crate) fn conditions(&self, kind: &str, key: &Key, conditions: &[Condition]) {
        self.shown.show(kind, key, conditions);
    }

    /// Forgets the conditions of objects that are gone: an alert of one must end.
    pub(crate) fn keep(&self, keeps: impl Fn(&str, &Key) -> bool) {
        self.shown.keep(keeps);
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    pub(crate) fn router_silent(&self) {
        self.polls_failed.inc();
    }

    pub(crate) fn notified(&self, counted: Counted) {
        let results = [("taken", counted.taken), ("failed", counted.failed), ("dropped", counted.dropped)];
        for (result, count) in results.into_iter().filter(|(_, count)| *count > 0) {
            self.notifications.get_or_create(&Outcome { result: result.to_owned() }).inc_by(count);
        }
    }

    pub(crate) fn text(&self, pulse: &Pulse) -> String {
        for (kind, silence) in pulse.silences() {
            self.silent.get_or_create(&Kind { kind }).set(silence);
        }
        let mut objects = BTreeMap::<&str, usize>::new();
        for ((kind, _), count) in &*self.counts.lock().unwrap_or_else(PoisonError::into_inner) {
            *objects.entry(kind).or_default() += count();
        }
        for (kind, count) in objects {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.objects.get_or_create(&Kind { kind: kind.to_owned() }).set(count);
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_shown_while_its_object_is_there() {
        let metrics = Metrics::default();
        let key = ("eu".to_owned(), "shop".to_owned());
        let conditions = serde_json::json!([{"type": "Degraded", "status": "True", "reason": "Unreachable", "message": "",
            "lastTransitionTime": "2026-11-01T00:00:00Z"}]);
        let conditions: Vec<Condition> = serde_json::from_value(conditions).unwrap();
        metrics.conditions("ModelEndpoint", &key, &conditions);
        let line =
            "fairway_operator_condition{kind=\"ModelEndpoint\",namespace=\"eu\",name=\"shop\",type=\"Degraded\"} 1";
        assert!(metrics.text(&Pulse::default()).contains(line), "{}", metrics.text(&Pulse::default()));
        metrics.keep(|kind, known| kind != "ModelEndpoint" || *known == key);
        assert!(metrics.text(&Pulse::default()).contains(line));
        metrics.keep(|kind, known| kind != "ModelEndpoint" || *known != key);
        assert!(!metrics.text(&Pulse::default()).contains("Degraded"));
    }

    #[test]
    fn objects_of_all_namespaces_are_one_number_a_kind() {
        let metrics = Metrics::default();
        metrics.count("model", Some("shop"), || 7);
        metrics.count("endpoint", Some("shop"), || 0);
        metrics.count("model", Some("news"), || 3);
        // Led again, it is counted by what is known now.
        metrics.count("model", Some("shop"), || 2);
        let text = metrics.text(&Pulse::default());
        for line in ["fairway_operator_objects{kind=\"model\"} 5", "fairway_operator_objects{kind=\"endpoint\"} 0"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
