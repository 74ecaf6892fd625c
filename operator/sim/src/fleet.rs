//! The modelled cluster: servers of versions start late, crash, are evicted, and come back; some versions cannot be
//! loaded at all. An order of an older plan than the last one about the same version is refused, as a write with an old
//! resource version is.

use std::collections::{BTreeMap, BTreeSet};

use crate::tape::Tape;

/// The servers of one version.
#[derive(Clone, Debug, Default)]
struct Servers {
    /// Looks until it is ready; none if it is not wanted.
    starting: Option<u32>,
    ready: bool,
    /// The plan that spoke of it last.
    seq: usize,
}

/// The servers of one endpoint.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    servers: BTreeMap<String, Servers>,
    /// Versions that were tried and cannot be loaded.
    pub broken: BTreeMap<String, String>,
}

impl Fleet {
    /// Digests that are loaded.
    pub fn ready(&self) -> BTreeSet<String> {
        self.servers.iter().filter(|(_, it)| it.ready).map(|(digest, _)| digest.clone()).collect()
    }

    /// Whether this one is loaded.
    pub fn is_ready(&self, digest: &str) -> bool {
        self.servers.get(digest).is_some_and(|it| it.ready)
    }

    /// Starts servers, unless there are some.
    pub fn load(&mut self, digest: &str, seq: usize, tape: &mut Tape) {
        let it = self.servers.entry(digest.to_owned()).or_default();
        if seq >= it.seq && !it.ready && it.starting.is_none() {
            it.starting = Some(tape.pick(6));
        }
        it.seq = it.seq.max(seq);
    }

    /// Stops servers. False if a newer plan has spoken of them.
    pub fn unload(&mut self, digest: &str, seq: usize) -> bool {
        match self.servers.get(digest) {
            Some(it) if it.seq > seq => false,
            _ => {
                self.servers.remove(digest);
                true
            }
        }
    }

    /// A plan names this version in a route: what an older plan says of its servers does not count any more.
    pub fn named(&mut self, digest: &str, seq: usize) {
        if let Some(it) = self.servers.get_mut(digest) {
            it.seq = it.seq.max(seq);
        }
    }

    /// Time goes by.
    pub fn advance(
        &mut self,
        loads: impl Fn(&str) -> bool,
        hangs: impl Fn(&str) -> bool,
        tape: &mut Tape,
        faults: u32,
    ) {
        for (digest, it) in &mut self.servers {
            if it.ready && tape.fault(faults / 4) {
                // Crashed or evicted: started again by whoever runs the pods.
                (it.ready, it.starting) = (false, Some(1 + tape.pick(8)));
            }
            match it.starting {
                Some(0) if hangs(digest) => {}
                Some(0) if loads(digest) => (it.ready, it.starting) = (true, None),
                Some(0) => {
                    it.starting = None;
                    self.broken.insert(digest.clone(), "golden answers differ".to_owned());
                }
                Some(left) => it.starting = Some(left - 1),
                None => {}
            }
        }
    }
}
