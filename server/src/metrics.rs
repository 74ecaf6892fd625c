//! Prometheus metrics, for people. Verdicts use windows, not these. No label holds a user, an item, a segment or
//! anything else that a caller chooses.

use std::fmt;
use std::sync::atomic::AtomicU64;

use fairway_wire::{ErrorKind, EventKind, Reason, Rung, Track};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::labels;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    track: &'static str,
    served_by: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    track: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Happened {
    kind: &'static str,
}

/// What the router counts for people.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    errors: Family<Failed, Counter>,
    events: Family<Happened, Counter>,
    latency: Histogram,
    pub(crate) shadow_errors: Counter,
    pub(crate) repeated_events: Counter,
    pub(crate) peer_events: Counter,
    pub(crate) peer_events_lost: Counter,
    pub(crate) decisions_dropped: Counter,
    pub(crate) pending: Gauge,
    pub(crate) pending_dropped: Gauge<u64, AtomicU64>,
    pub(crate) reward_users_share: Gauge<f64, AtomicU64>,
    pub(crate) windows_lost: Gauge<u64, AtomicU64>,
    pub(crate) generation: Gauge<u64, AtomicU64>,
    pub(crate) canary_weight: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // 50 µs to 2 s, each bucket 1.25 times the one before: quantiles to within an eighth.
        let latency = Histogram::new(exponential_buckets(50e-6, 1.25, 48));
        let mut metrics = Self {
            registry: Registry::with_prefix("fairway"),
            requests: Family::default(),
            errors: Family::default(),
            events: Family::default(),
            latency,
            shadow_errors: Counter::default(),
            repeated_events: Counter::default(),
            peer_events: Counter::default(),
            peer_events_lost: Counter::default(),
            decisions_dropped: Counter::default(),
            pending: Gauge::default(),
            pending_dropped: Gauge::default(),
            reward_users_share: Gauge::default(),
            windows_lost: Gauge::default(),
            generation: Gauge::default(),
            canary_weight: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let all = &mut self.registry;
        all.register("requests", "Answers, by group, rung and reason", self.requests.clone());
        all.register("errors", "Requests that the assigned version failed", self.errors.clone());
        all.register("request_seconds", "Time to an answer", self.latency.clone());
        all.register("events", "Events taken, by kind", self.events.clone());
        all.register("repeated_events", "Events left out as repeats", self.repeated_events.clone());
        all.register("peer_events", "Events heard from other routers of the endpoint", self.peer_events.clone());
        let lost = self.peer_events_lost.clone();
        all.register("peer_events_lost", "Events that another router did not listen to in time", lost);
        all.register("shadow_errors", "Unseen answers that failed", self.shadow_errors.clone());
        all.register("pending_exposures", "Exposures that wait for feedback", self.pending.clone());
        let dropped = self.pending_dropped.clone();
        all.register("pending_exposures_dropped", "Exposures dropped for want of room", dropped);
        let share = self.reward_users_share.clone();
        all.register("reward_users_share", "Share of users whose rewards are waited for, 0 to 1", share);
        all.register("windows_lost", "Windows dropped because nobody took them", self.windows_lost.clone());
        all.register("route_generation", "Generation of the route in force", self.generation.clone());
        let weight = self.canary_weight.clone();
        all.register("canary_weight", "Share of eligible users on the canary, 0 to 1", weight);
        let dropped = self.decisions_dropped.clone();
        all.register("decisions_dropped", "Decisions dropped for want of room", dropped);
    }

    pub(crate) fn answered(&self, track: Track, served_by: Rung, reason: Reason, seconds: f64) {
        let (track, served_by) = (labels::track(track), labels::rung(served_by));
        let labels = Answered { track, served_by, reason: labels::reason(reason) };
        self.requests.get_or_create(&labels).inc();
        self.latency.observe(seconds);
    }

    pub(crate) fn failed(&self, track: Track, kind: ErrorKind) {
        let labels = Failed { track: labels::track(track), kind: labels::error(kind) };
        self.errors.get_or_create(&labels).inc();
    }

    pub(crate) fn happened(&self, kind: EventKind) {
        self.events.get_or_create(&Happened { kind: labels::event(kind) }).inc();
    }

    /// All of it in the OpenMetrics text format.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
