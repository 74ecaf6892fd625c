//! What the operator counts, for people (`/metrics`, OpenMetrics). Alerts and the dashboard of the chart rest on the names.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use fairway_api::Condition;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

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
struct Holds {
    kind: String,
    namespace: String,
    name: String,
    r#type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: String,
}

/// See above.
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    time: Family<Kind, Histogram>,
    decided: Family<Decided, Counter>,
    writes: Family<Kind, Counter>,
    conditions: Family<Holds, Gauge<i64, AtomicI64>>,
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
        let (decided, writes, conditions, silent) =
            (Family::default(), Family::default(), Family::default(), Family::default());
        let (leading, polls_failed) = (Gauge::default(), Counter::default());
        let notifications = Family::default();
        registry.register("notifications", "Attempts to tell a webhook, by result", notifications.clone());
        registry.register("reconciles", "Looks at objects, by kind and result", reconciles.clone());
        registry.register("reconcile_seconds", "Time of a look, by kind", time.clone());
        registry.register("decisions", "Reasons that decisions gave, by kind and reason", decided.clone());
        registry.register("writes", "Writes to the API server, by kind", writes.clone());
        registry.register("condition", "1 where the condition is true", conditions.clone());
        registry.register("watch_silent_seconds", "Time since a watch was last heard of, by kind", silent.clone());
        registry.register("leading", "1 where this process leads", leading.clone());
        registry.register("router_polls_failed", "Polls that a router did not answer", polls_failed.clone());
        Self { registry, reconciles, time, decided, writes, conditions, silent, leading, polls_failed, notifications }
    }
}

impl Metrics {
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
    pub(crate) fn conditions(&self, kind: &str, namespace: &str, name: &str, conditions: &[Condition]) {
        for one in conditions {
            let labels = Holds {
                kind: kind.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                r#type: one.type_.clone(),
            };
            self.conditions.get_or_create(&labels).set(i64::from(one.status == "True"));
        }
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
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
