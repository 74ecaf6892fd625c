//! The words for groups, rungs, reasons and kinds in metrics and in the decision log: those of the JSON.

use fairway_wire::{ErrorKind, EventKind, Reason, Rung, Track};

pub(crate) fn track(track: Track) -> &'static str {
    match track {
        Track::Stable => "stable",
        Track::Canary => "canary",
        Track::Holdback => "holdback",
        Track::Experiment => "experiment",
    }
}

pub(crate) fn rung(rung: Rung) -> &'static str {
    match rung {
        Rung::Assigned => "assigned",
        Rung::Stable => "stable",
        Rung::Cached => "cached",
        Rung::SegmentPopularity => "segmentPopularity",
        Rung::Popularity => "popularity",
    }
}

pub(crate) fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Ok => "ok",
        Reason::ModelError => "modelError",
        Reason::ModelTimeout => "modelTimeout",
        Reason::ModelInvalid => "modelInvalid",
        Reason::NoModel => "noModel",
        Reason::Holdback => "holdback",
        Reason::OptOut => "optOut",
        Reason::ServingBaseline => "servingBaseline",
        Reason::Overloaded => "overloaded",
        Reason::ColdStart => "coldStart",
    }
}

pub(crate) fn error(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Error => "error",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Invalid => "invalid",
    }
}

pub(crate) fn event(kind: EventKind) -> &'static str {
    match kind {
        EventKind::View => "view",
        EventKind::Click => "click",
        EventKind::Purchase => "purchase",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: impl serde::Serialize) -> String {
        serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn words_are_those_of_the_json() {
        for one in [Track::Stable, Track::Canary, Track::Holdback, Track::Experiment] {
            assert_eq!(track(one), json(one));
        }
        use Rung::{Assigned, Cached, Popularity, SegmentPopularity};
        for one in [Assigned, Rung::Stable, Cached, SegmentPopularity, Popularity] {
            assert_eq!(rung(one), json(one));
        }
        use Reason::{ModelError, ModelInvalid, ModelTimeout, NoModel, Ok, OptOut, Overloaded};
        let models = [Ok, ModelError, ModelTimeout, ModelInvalid, NoModel];
        let others = [Reason::Holdback, OptOut, Reason::ServingBaseline, Overloaded, Reason::ColdStart];
        for one in models.into_iter().chain(others) {
            assert_eq!(reason(one), json(one));
        }
        for one in [ErrorKind::Error, ErrorKind::Timeout, ErrorKind::Invalid] {
            assert_eq!(error(one), json(one));
        }
        for one in [EventKind::View, EventKind::Click, EventKind::Purchase] {
            assert_eq!(event(one), json(one));
        }
    }
}
