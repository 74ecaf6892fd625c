//! When visits are due: simulated time times visits a day, without a backlog that could grow for ever.

use jiff::Timestamp;

const DAY_SECONDS: f64 = 86_400.0;

/// Counts the visits that have become due since it was last asked.
pub(crate) struct Pace {
    last: Timestamp,
    /// The part of a visit that is not due yet, 0 to 1.
    rest: f64,
}

impl Pace {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { last: now, rest: 0.0 }
    }

    /// Visits due by `now` at `per_day` visits a simulated day. A clock that runs back makes none due.
    pub(crate) fn due(&mut self, now: Timestamp, per_day: f64) -> u64 {
        let days = now.duration_since(self.last).as_secs_f64() / DAY_SECONDS;
        self.last = self.last.max(now);
        self.rest += days.max(0.0) * per_day;
        let due = self.rest.floor();
        self.rest -= due;
        due as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_900_000_000 + seconds).unwrap()
    }

    #[test]
    fn nothing_is_lost_between_looks() {
        let mut pace = Pace::new(at(0));
        let total: u64 = (1..=86_400).map(|second| pace.due(at(second), 1_000.0)).sum();
        assert!((999..=1_000).contains(&total), "{total}");
    }

    #[test]
    fn a_clock_that_runs_back_makes_nothing_due_twice() {
        let mut pace = Pace::new(at(0));
        assert_eq!(pace.due(at(864), 1_000.0), 10);
        assert_eq!(pace.due(at(0), 1_000.0), 0);
        assert_eq!(pace.due(at(864), 1_000.0), 0);
        assert_eq!(pace.due(at(950), 1_000.0), 0);
        assert_eq!(pace.due(at(951), 1_000.0), 1);
    }
}
