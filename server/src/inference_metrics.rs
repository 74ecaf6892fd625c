//! Metrics of a model server, for people and autoscalers.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What a model server counts.
pub(crate) struct InferenceMetrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    seconds: Histogram,
    in_flight: Gauge,
}

/// A request in flight, until it is dropped.
pub(crate) struct InFlight<'a>(&'a Gauge);

impl InferenceMetrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("fairway_server");
        let (requests, in_flight) = (Family::<Outcome, Counter>::default(), Gauge::default());
        // The same buckets as the router's.
        let seconds = Histogram::new(exponential_buckets(50e-6, 1.25, 48));
        // Refused ones count too: whoever scales by load must see what was turned away.
        registry.register("requests", "Questions, by outcome", requests.clone());
        registry.register("request_seconds", "Time to an answer", seconds.clone());
        registry.register("in_flight", "Questions that are worked on", in_flight.clone());
        Self { registry, requests, seconds, in_flight }
    }

    pub(crate) fn begin(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(&self.in_flight)
    }

    pub(crate) fn count(&self, outcome: &'static str, seconds: f64) {
        self.requests.get_or_create(&Outcome { outcome }).inc();
        self.seconds.observe(seconds);
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
