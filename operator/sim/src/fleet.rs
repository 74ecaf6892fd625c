//! The modelled cluster: servers of versions start late, crash, are evicted, and come back; some versions cannot be
//! loaded at all, or never say so. An order of an older plan than the last one about the same version is refused, as a
//! write with an old resource version is.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::endpoint::Servers;
use fairway_core::scaling::Sample;
use jiff::Timestamp;

use crate::tape::Tape;

/// Requests of a step that are worth one in flight.
const REQUESTS_IN_FLIGHT: f64 = 10.0;

/// The servers of one version.
#[derive(Clone, Debug, Default)]
struct Group {
    ordered: u32,
    ready: u32,
    /// Steps until the next server is ready.
    starting: u32,
    /// The plan that spoke of it last.
    seq: usize,
    /// Requests since the last step.
    requests: u64,
    sample: Option<Sample>,
}

/// The servers of one endpoint.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    groups: BTreeMap<String, Group>,
    /// Versions that were tried and cannot be loaded.
    pub broken: BTreeMap<String, String>,
}

/// What versions do when they are loaded.
pub struct Kinds<Loads, Hangs> {
    /// It can be loaded.
    pub loads: Loads,
    /// It never says whether it is ready.
    pub hangs: Hangs,
}

impl Fleet {
    /// Digests that are loaded.
    pub fn ready(&self) -> BTreeSet<String> {
        self.groups.iter().filter(|(_, it)| it.ready > 0).map(|(digest, _)| digest.clone()).collect()
    }

    /// Servers of a version that are ready.
    pub fn ready_servers(&self, digest: &str) -> u32 {
        self.groups.get(digest).map_or(0, |it| it.ready)
    }

    /// The servers as a controller sees them.
    pub fn servers(&self) -> BTreeMap<String, Servers> {
        let seen = |it: &Group| Servers { ordered: it.ordered, ready: it.ready, sample: it.sample };
        self.groups.iter().map(|(digest, it)| (digest.clone(), seen(it))).collect()
    }

    /// Starts servers, unless there are some.
    pub fn load(&mut self, digest: &str, seq: usize, tape: &mut Tape) {
        let it = self.groups.entry(digest.to_owned()).or_default();
        if seq >= it.seq && it.ordered == 0 {
            (it.ordered, it.starting) = (1, tape.pick(6));
        }
        it.seq = it.seq.max(seq);
    }

    /// Orders so many servers, unless a newer plan has spoken of them.
    pub fn scale(&mut self, digest: &str, replicas: u32, seq: usize) {
        let it = self.groups.entry(digest.to_owned()).or_default();
        if seq >= it.seq {
            (it.ordered, it.ready, it.seq) = (replicas, it.ready.min(replicas), seq);
        }
    }

    /// Stops servers. False if a newer plan has spoken of them.
    pub fn unload(&mut self, digest: &str, seq: usize) -> bool {
        match self.groups.get(digest) {
            Some(it) if it.seq > seq => false,
            _ => {
                self.groups.remove(digest);
                true
            }
        }
    }

    /// A plan names this version in a route: what an older plan says of its servers does not count any more.
    pub fn named(&mut self, digest: &str, seq: usize) {
        if let Some(it) = self.groups.get_mut(digest) {
            it.seq = it.seq.max(seq);
        }
    }

    /// Users ask a version.
    pub fn asked(&mut self, digest: &str, requests: u64) {
        if let Some(it) = self.groups.get_mut(digest) {
            it.requests += requests;
        }
    }

    /// Time goes by.
    pub fn advance<Loads, Hangs>(&mut self, kinds: Kinds<Loads, Hangs>, now: Timestamp, tape: &mut Tape, faults: u32)
    where
        Loads: Fn(&str) -> bool,
        Hangs: Fn(&str) -> bool,
    {
        for (digest, it) in &mut self.groups {
            let requests = std::mem::take(&mut it.requests);
            if it.ready > 0 && tape.fault(faults / 4) {
                // Crashed or evicted: started again by whoever runs the pods.
                (it.ready, it.starting) = (it.ready - 1, 1 + tape.pick(8));
            }
            if it.ready < it.ordered && !(kinds.hangs)(digest) {
                match it.starting {
                    0 if (kinds.loads)(digest) => (it.ready, it.starting) = (it.ready + 1, tape.pick(2)),
                    0 => {
                        it.ordered = 0;
                        self.broken.insert(digest.clone(), "golden answers differ".to_owned());
                    }
                    left => it.starting = left - 1,
                }
            }
            let in_flight = requests as f64 / REQUESTS_IN_FLIGHT;
            let measured = !tape.fault(faults);
            it.sample =
                measured.then_some(Sample { at: now, in_flight, requests_per_second: 0.0, p95: None, ready: it.ready });
        }
    }
}
