//! What the operator counts, for people (`/metrics`, OpenMetrics).

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Look {
    kind: String,
    result: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    kind: String,
    reason: String,
}

/// See above.
pub(crate) struct Metrics {
    registry: Registry,
    looks: Family<Look, Counter>,
    time: Family<Kind, Histogram>,
    decided: Family<Decided, Counter>,
    writes: Family<Kind, Counter>,
    leads: Gauge<i64, std::sync::atomic::AtomicI64>,
    routers_silent: Counter<u64, AtomicU64>,
}

fn histogram() -> Histogram {
    Histogram::new([0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("fairway_operator");
        let looks = Family::default();
        let time: Family<Kind, Histogram> = Family::new_with_constructor(histogram as fn() -> Histogram);
        let (decided, writes) = (Family::default(), Family::default());
        let (leads, routers_silent) = (Gauge::default(), Counter::default());
        registry.register("looks", "Looks at objects, by kind and result", looks.clone());
        registry.register("look_seconds", "Time of a look, by kind", time.clone());
        registry.register("decisions", "Reasons that decisions gave, by kind and reason", decided.clone());
        registry.register("writes", "Writes to the API server, by kind", writes.clone());
        registry.register("leads", "1 where this process leads", leads.clone());
        registry.register("router_polls_failed", "Polls that a router did not answer", routers_silent.clone());
        Self { registry, looks, time, decided, writes, leads, routers_silent }
    }
}

impl Metrics {
    pub(crate) fn look(&self, kind: &str, took: Duration, succeeded: bool) {
        let result = if succeeded { "done" } else { "failed" };
        self.looks.get_or_create(&Look { kind: kind.to_owned(), result: result.to_owned() }).inc();
        self.time.get_or_create(&Kind { kind: kind.to_owned() }).observe(took.as_secs_f64());
    }

    pub(crate) fn decided(&self, kind: &str, reason: &str) {
        self.decided.get_or_create(&Decided { kind: kind.to_owned(), reason: reason.to_owned() }).inc();
    }

    pub(crate) fn write(&self, kind: &str) {
        self.writes.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
    }

    pub(crate) fn router_silent(&self) {
        self.routers_silent.inc();
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
