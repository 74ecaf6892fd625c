//! The one place that reads the time. Everything else gets it as an argument, so that the same manifests run in real
//! time, sped up, or under a clock that a replay moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A source of time; clones share it.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

enum Source {
    Real,
    Sped { from: Timestamp, since: Instant, speed: f64 },
    Manual(AtomicI64),
}

impl Clock {
    /// The time of day.
    pub fn real() -> Self {
        Self(Arc::new(Source::Real))
    }

    /// Starts at `from` and runs `speed` times as fast as real time.
    pub fn sped(from: Timestamp, speed: f64) -> Self {
        Self(Arc::new(Source::Sped { from, since: Instant::now(), speed }))
    }

    /// Stands at `at` until it is moved.
    pub fn manual(at: Timestamp) -> Self {
        Self(Arc::new(Source::Manual(AtomicI64::new(at.as_millisecond()))))
    }

    /// Moves a manual clock forward; other clocks and the past are left alone.
    pub fn move_to(&self, at: Timestamp) {
        if let Source::Manual(now) = &*self.0 {
            now.fetch_max(at.as_millisecond(), Ordering::Relaxed);
        }
    }

    /// Now.
    #[allow(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::Real => Timestamp::now(),
            Source::Sped { from, since, speed } => *from + since.elapsed().mul_f64(*speed),
            Source::Manual(now) => Timestamp::from_millisecond(now.load(Ordering::Relaxed)).unwrap_or(Timestamp::MAX),
        }
    }

    /// How many times as fast as real time it runs.
    pub fn speed(&self) -> f64 {
        match &*self.0 {
            Source::Sped { speed, .. } => *speed,
            _ => 1.0,
        }
    }

    /// How much of this clock's time passes while real work takes `real`: what limits computing is stretched by it, since
    /// a faster clock makes no faster processor.
    pub fn stretch(&self, real: Duration) -> Duration {
        real.mul_f64(self.speed().max(1.0))
    }

    /// The clock as the server takes it.
    pub fn for_server(&self) -> fairway_server::Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}
