//! How long what is on trial goes on without a word from whoever watches over it (invariant I3).

use std::time::{Duration, Instant};

use fairway_wire::Route;
use jiff::Timestamp;

/// The longest that one poll lets a trial go on, whatever it asks for.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Whether somebody watches over what is on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Somebody does, or the route asks for nobody.
    Held,
    /// The lease has run out: no canary, no experiment.
    Lapsed,
}

/// By what the lease of the route in force is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lease {
    /// By the time in the route: whoever set it has the router's own clock, which may be a simulated one.
    OfRoute,
    /// By the last poll, on a clock that nobody sets: those of two machines differ, and are put right at any time. None before
    /// the first poll.
    OfPolls(Option<Instant>),
}

impl Lease {
    /// Whether it holds at `now` for a route.
    pub(crate) fn watch(self, route: &Route, now: Timestamp) -> Watch {
        let holds = match (route.lease_until, self) {
            (None, _) => true,
            (Some(until), Self::OfRoute) => now <= until,
            (Some(_), Self::OfPolls(until)) => until.is_some_and(|until| Instant::now() <= until),
        };
        if holds { Watch::Held } else { Watch::Lapsed }
    }

    /// What it is after a poll came that lets the trial go on for `left`. It only grows: polls may overtake each other.
    pub(crate) fn renewed(self, left: Duration) -> Self {
        let until = Instant::now() + left.min(LONGEST);
        match self {
            Self::OfPolls(Some(before)) => Self::OfPolls(Some(before.max(until))),
            Self::OfPolls(None) | Self::OfRoute => Self::OfPolls(Some(until)),
        }
    }

    /// What it is for a route that comes after this one from a process elsewhere. What the last poll allowed goes on, so that
    /// no user changes groups and back between a route and the first poll for it; where there was none, the trial waits for it.
    pub(crate) fn handed_on(self) -> Self {
        match self {
            Self::OfRoute => Self::OfPolls(None),
            of_polls => of_polls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::route;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn in_one_process_the_route_says_until_when() {
        let free = route(1, Some(50));
        let leased = Route { lease_until: Some(at(60)), ..free.clone() };
        for (route, now, expected) in
            [(&leased, 60, Watch::Held), (&leased, 61, Watch::Lapsed), (&free, 1 << 33, Watch::Held)]
        {
            assert_eq!(Lease::OfRoute.watch(route, at(now)), expected, "{now}");
        }
    }

    #[test]
    fn elsewhere_polls_say_how_long_whatever_the_clocks_say() {
        let route = Route { lease_until: Some(at(60)), ..route(1, Some(50)) };
        let none = Lease::OfRoute.handed_on();
        let (held, over) = (none.renewed(Duration::from_secs(60)), none.renewed(Duration::ZERO));
        std::thread::sleep(Duration::from_millis(1));
        for (lease, expected) in [
            (none, Watch::Lapsed),
            (held, Watch::Held),
            (held.handed_on(), Watch::Held),
            (over, Watch::Lapsed),
            (held.renewed(Duration::ZERO), Watch::Held),
            (over.renewed(Duration::from_secs(60)), Watch::Held),
        ] {
            for now in [0, 1 << 33] {
                assert_eq!(lease.watch(&route, at(now)), expected, "{lease:?} at {now}");
            }
        }
    }

    #[test]
    fn no_poll_lets_a_trial_go_on_for_long() {
        let Lease::OfPolls(Some(until)) = Lease::OfPolls(None).renewed(Duration::MAX) else { unreachable!() };
        assert!(until <= Instant::now() + LONGEST);
    }
}
