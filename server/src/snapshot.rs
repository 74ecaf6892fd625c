//! The router's memory as bytes, so that a restart goes on where it stopped: histories, popularity and exposures that
//! wait. Users are keyed HMACs; only a router with the same key recognises them. Last answers and counts of windows are
//! not kept.

use fairway_wire::Track;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::exposures::{Exposure, Lists};
use crate::interner::{Interner, UNKNOWN};
use crate::popularity::ScopeDays;
use crate::pseudonym::UserKey;
use crate::router::Router;
use crate::windows::ArmId;

const FORMAT: u32 = 1;

/// The whole memory. Numbers are places in the lists of names.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    format: u32,
    items: Vec<String>,
    segments: Vec<String>,
    versions: Vec<String>,
    #[serde(default)]
    arms: Vec<String>,
    users: Vec<UserRow>,
    popularity: Vec<ScopeDays>,
    waiting: Vec<Waiting>,
}

/// User, segment, and items with the time of consumption.
type UserRow = (String, Option<u32>, Vec<(u32, i64)>);

#[derive(Serialize, Deserialize)]
struct Waiting {
    user: String,
    time_ms: i64,
    number: u32,
    generation: u64,
    version: u32,
    track: Track,
    segment: u32,
    #[serde(default = "unknown")]
    arm: u32,
    shown: Vec<u32>,
    lists: Option<Box<Lists>>,
    consumed: Vec<(u32, bool)>,
}

fn unknown() -> u32 {
    UNKNOWN
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl Router {
    /// The memory. The same memory gives the same bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let names = |names: &Interner| names.with_names(|all| all.iter().map(|name| name.to_string()).collect());
        let history = |all: &[crate::users::Consumed]| all.iter().map(|one| (one.item, one.time_ms)).collect();
        // Rows first: names that are added meanwhile are then in the lists.
        let users = self.users.all().into_iter();
        let users = users.map(|(key, segment, all)| (key.hex(), segment, history(&all))).collect();
        let popularity = self.popularity.all();
        let waiting = self.exposures.all().into_iter().map(Waiting::from).collect();
        let (items, segments) = (names(&self.items), names(&self.segments));
        let (versions, arms) = (names(&self.versions), names(&self.arms));
        let snapshot = Snapshot { format: FORMAT, items, segments, versions, arms, users, popularity, waiting };
        // Lists of numbers and strings always serialize.
        serde_json::to_vec(&snapshot).unwrap_or_default()
    }

    /// Takes up a memory, beside what is known already, and gives how many users it knows. Nothing is taken up from one that is
    /// damaged. Exposures that wait are taken up where this router has no peers ([`meet`](Self::meet)): one of those may have left
    /// them, and counts them itself.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if it is not whole, [`Error::SnapshotFormat`] if it is of another format.
    pub fn restore(&self, snapshot: &[u8]) -> Result<usize, Error> {
        let head: Head = serde_json::from_slice(snapshot)?;
        if head.format != FORMAT {
            return Err(Error::SnapshotFormat(head.format));
        }
        let snapshot: Snapshot = serde_json::from_slice(snapshot)?;
        let now_ms = self.now().as_millisecond();
        let items = Numbers::of(&snapshot.items, &self.items);
        let segments = Numbers::of(&snapshot.segments, &self.segments);
        let versions = Numbers::of(&snapshot.versions, &self.versions);
        let arms = Numbers::of(&snapshot.arms, &self.arms);
        let known = snapshot.users.len();
        for (user, segment, history) in snapshot.users {
            let Some(key) = UserKey::from_hex(&user) else {
                continue;
            };
            for (item, time_ms) in history {
                if let Some(item) = items.known(item) {
                    self.users.consume(&key, item, time_ms);
                }
            }
            if let Some(segment) = segment.and_then(|id| segments.known(id)) {
                self.users.set_segment(&key, segment);
            }
        }
        for (segment, days) in snapshot.popularity {
            let scope = segment.map(|id| segments.known(id));
            let days = days.into_iter().map(|(day, counts)| (day, items.renumber(counts))).collect();
            match scope {
                None => self.popularity.restore(&(None, days), now_ms),
                Some(Some(id)) => self.popularity.restore(&(Some(id), days), now_ms),
                Some(None) => {}
            }
        }
        self.popularity.renew(now_ms, &self.items);
        let waiting = if self.peers.is_empty() { snapshot.waiting } else { Vec::new() };
        for waiting in waiting {
            if let Some(key) = UserKey::from_hex(&waiting.user) {
                self.exposures.add(&key, waiting.renumber(&items, &segments, &versions, &arms));
            }
        }
        Ok(known)
    }
}

/// What the numbers of a snapshot are in this router.
struct Numbers(Vec<u32>);

impl Numbers {
    fn of(names: &[String], ours: &Interner) -> Self {
        Self(names.iter().map(|name| ours.add_trusted(name)).collect())
    }

    fn known(&self, id: u32) -> Option<u32> {
        self.0.get(id as usize).copied()
    }

    fn or_unknown(&self, id: u32) -> u32 {
        self.known(id).unwrap_or(UNKNOWN)
    }

    fn list(&self, ids: &[u32]) -> Vec<u32> {
        ids.iter().filter_map(|&id| self.known(id)).collect()
    }

    fn renumber<V>(&self, rows: Vec<(u32, V)>) -> Vec<(u32, V)> {
        let known = rows.into_iter().filter_map(|(id, value)| Some((self.known(id)?, value)));
        known.collect()
    }
}

impl From<(UserKey, Exposure)> for Waiting {
    fn from((user, one): (UserKey, Exposure)) -> Self {
        Self {
            user: user.hex(),
            time_ms: one.time_ms,
            number: one.number,
            generation: one.generation,
            version: one.arm.version,
            track: one.arm.track,
            segment: one.arm.segment,
            arm: one.arm.arm,
            shown: one.shown.into_vec(),
            lists: one.lists,
            consumed: one.consumed,
        }
    }
}

impl Waiting {
    fn renumber(self, items: &Numbers, segments: &Numbers, versions: &Numbers, arms: &Numbers) -> Exposure {
        let lists = self.lists.map(|lists| {
            let of = |(version, list): (u32, Vec<u32>)| (versions.or_unknown(version), items.list(&list));
            Box::new(Lists {
                stable: lists.stable.map(of),
                popularity: items.list(&lists.popularity),
                candidate: lists.candidate.map(of),
            })
        });
        Exposure {
            time_ms: self.time_ms,
            number: self.number,
            generation: self.generation,
            arm: ArmId {
                version: versions.or_unknown(self.version),
                track: self.track,
                segment: segments.or_unknown(self.segment),
                arm: arms.or_unknown(self.arm),
            },
            shown: items.list(&self.shown).into(),
            lists,
            consumed: items.renumber(self.consumed),
        }
    }
}
