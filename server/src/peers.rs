//! The routers of an endpoint tell each other what users did: a user's requests and events reach any of them. What is told is
//! numbered, so that what comes twice counts once. Bounded: of a peer that does not listen for long the oldest is lost, and counted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairway_wire::{PeerEvent, PeerEvents, PeerHeard};
use tokio_util::sync::CancellationToken;

use crate::check;
use crate::connection::Connection;
use crate::pseudonym::UserKey;
use crate::router::Router;

/// Path on the admin port.
pub(crate) const PATH: &str = "/v1/peer-events";
/// Pause between two times that peers are told.
const TELLS_EVERY: Duration = Duration::from_millis(200);
/// Longest that a peer may take.
const DEADLINE: Duration = Duration::from_secs(1);
/// Longest answer.
const ANSWER_BYTES: usize = 4 * 1024;
/// Events that are kept for peers: at a thousand a second half a minute.
const KEPT_MAX: usize = 30_000;
/// Events that are told at once.
pub(crate) const AT_ONCE: usize = 1_000;
/// A peer that was just started begins with a snapshot of half a minute ago: it is told the last minute as well.
const BEGINS_MS: i64 = 60_000;
/// Incarnations of which is remembered what was heard.
const HEARD_MAX: usize = 256;
/// Most peers.
const PEERS_MAX: usize = 128;

/// What is told, and what was heard.
#[derive(Default)]
pub(crate) struct Peers {
    told: Mutex<Told>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Told {
    /// Addresses of the routers, this one perhaps among them.
    addresses: Vec<String>,
    /// With when they came.
    events: VecDeque<(i64, PeerEvent)>,
    /// Number of the first one that is kept.
    first: u64,
}

/// The number after the last that was heard, by incarnation, with the order in which they were met.
#[derive(Default)]
struct Heard {
    next: HashMap<String, u64>,
    order: VecDeque<String>,
}

impl Peers {
    /// These are the routers of the endpoint.
    pub(crate) fn meet(&self, mut addresses: Vec<String>) {
        addresses.truncate(PEERS_MAX);
        let mut told = self.told();
        if addresses.is_empty() {
            told.first += told.events.len() as u64;
            told.events.clear();
        }
        told.addresses = addresses;
    }

    /// Keeps an event for the others, if there are any.
    pub(crate) fn add(&self, now_ms: i64, event: impl FnOnce() -> PeerEvent) {
        let mut told = self.told();
        if told.addresses.is_empty() {
            return;
        }
        told.events.push_back((now_ms, event()));
        if told.events.len() > KEPT_MAX {
            told.events.pop_front();
            told.first += 1;
        }
    }

    /// Whether there are no others.
    pub(crate) fn is_empty(&self) -> bool {
        self.told().addresses.is_empty()
    }

    fn addresses(&self) -> Vec<String> {
        self.told().addresses.clone()
    }

    /// The number of the first event that somebody who is met now is told.
    fn begin(&self, now_ms: i64) -> u64 {
        let told = self.told();
        told.first + told.events.partition_point(|(came, _)| *came < now_ms - BEGINS_MS) as u64
    }

    /// Events from this number on, as far as they are kept: the number of the first one, and the events.
    fn after(&self, next: u64) -> (u64, Vec<PeerEvent>) {
        let told = self.told();
        let first = next.max(told.first);
        let skipped = usize::try_from(first - told.first).unwrap_or(usize::MAX);
        (first, told.events.iter().skip(skipped).take(AT_ONCE).map(|(_, event)| event.clone()).collect())
    }

    /// How many of these events of an incarnation were heard before.
    fn known(&self, events: &PeerEvents) -> usize {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let after = events.first.saturating_add(events.events.len() as u64);
        if let Some(next) = heard.next.get_mut(&events.replica) {
            let known = next.saturating_sub(events.first).min(events.events.len() as u64);
            *next = after.max(*next);
            return usize::try_from(known).unwrap_or(usize::MAX);
        }
        heard.next.insert(events.replica.clone(), after);
        heard.order.push_back(events.replica.clone());
        if heard.order.len() > HEARD_MAX
            && let Some(oldest) = heard.order.pop_front()
        {
            heard.next.remove(&oldest);
        }
        0
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Router {
    /// The routers of the endpoint, by the URLs of their admin ports; this one may be among them. With none nothing is told.
    pub fn meet(&self, addresses: Vec<String>) {
        self.peers.meet(addresses);
    }

    /// Takes what another router took: histories, popularity and rewards know it then, windows count it where it was taken.
    pub(crate) fn hear(&self, events: PeerEvents) -> PeerHeard {
        let heard = PeerHeard { replica: self.config.replica.clone() };
        if events.replica == heard.replica {
            return heard;
        }
        let known = self.peers.known(&events);
        let now_ms = self.now().as_millisecond();
        for event in events.events.into_iter().skip(known) {
            let Some(user) = UserKey::from_hex(&event.user) else { continue };
            if !check::is_valid(&event) || event.id.as_ref().is_some_and(|id| !self.event_ids.is_new(id)) {
                continue;
            }
            self.metrics.peer_events.inc();
            if let Some(item) = self.items.add(&event.item) {
                self.consumed(&user, item, event.segment.as_deref(), (event.time_ms, now_ms), event.decision);
            }
        }
        heard
    }
}

/// One peer, as it is told.
struct Peer {
    connection: Option<Connection>,
    next: u64,
    /// It is this router.
    is_self: bool,
}

/// Tells the other routers what users did, until `stop` and once more then. `token`: what opens their admin ports.
pub async fn tell_peers(router: Arc<Router>, token: String, stop: CancellationToken) {
    let mut peers: HashMap<String, Peer> = HashMap::new();
    loop {
        let is_last = stop.is_cancelled();
        let addresses = router.peers.addresses();
        peers.retain(|address, _| addresses.contains(address));
        for address in addresses {
            peers.entry(address).or_insert_with_key(|address| Peer {
                connection: Connection::new(address).ok().map(|it| it.with_token(&token)),
                next: router.peers.begin(router.now().as_millisecond()),
                is_self: false,
            });
        }
        futures::future::join_all(peers.values_mut().map(|peer| peer.tell(&router))).await;
        if is_last {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(TELLS_EVERY) => {}
        }
    }
}

impl Peer {
    /// Tells what it was not told yet, until it does not listen.
    async fn tell(&mut self, router: &Router) {
        let Some(connection) = self.connection.as_ref().filter(|_| !self.is_self) else { return };
        loop {
            let (first, events) = router.peers.after(self.next);
            router.metrics.peer_events_lost.inc_by(first - self.next);
            self.next = first;
            if events.is_empty() {
                return;
            }
            let after = first + events.len() as u64;
            let body = PeerEvents { replica: router.config.replica.clone(), first, events };
            let Ok(body) = serde_json::to_vec(&body) else { return };
            let heard = connection.post(PATH, body, ANSWER_BYTES, DEADLINE).await;
            match heard.map(|answer| serde_json::from_slice::<PeerHeard>(&answer)) {
                Ok(Ok(heard)) => {
                    self.next = after;
                    self.is_self = heard.replica == router.config.replica;
                    if self.is_self {
                        return;
                    }
                }
                Ok(Err(_)) => return,
                Err(failure) => {
                    tracing::debug!(peer = connection.base(), "does not listen: {failure}");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: usize) -> PeerEvent {
        let (item, user) = (n.to_string(), "0".repeat(32));
        PeerEvent { user, item, time_ms: 0, segment: None, decision: None, id: None }
    }

    fn two() -> Vec<String> {
        ["http://a", "http://b"].map(str::to_owned).into()
    }

    fn items((first, events): (u64, Vec<PeerEvent>)) -> (u64, Vec<String>) {
        (first, events.into_iter().map(|event| event.item).collect())
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let peers = Peers::default();
        peers.add(0, || unreachable!("nobody is to be told"));
        peers.meet(two());
        peers.add(0, || event(1));
        peers.add(0, || event(2));
        assert_eq!(items(peers.after(0)), (0, vec!["1".into(), "2".into()]));
        peers.meet(Vec::new());
        peers.meet(two());
        assert_eq!(items(peers.after(1)), (2, vec![]), "numbers go on");
    }

    #[test]
    fn the_oldest_is_lost_and_a_new_peer_begins_with_the_last_minute() {
        let peers = Peers::default();
        peers.meet(two());
        for n in 0..KEPT_MAX + 5 {
            peers.add(n as i64 * 10, || event(n));
        }
        let (first, some) = peers.after(2);
        assert_eq!((first, some.len(), some[0].item.as_str()), (5, AT_ONCE, "5"));
        let now_ms = (KEPT_MAX + 5) as i64 * 10;
        assert_eq!(peers.begin(now_ms), (KEPT_MAX + 5 - 6_000) as u64);
        assert_eq!(peers.begin(now_ms + BEGINS_MS), (KEPT_MAX + 5) as u64);
    }

    #[test]
    fn what_comes_twice_is_known_by_its_number() {
        let peers = Peers::default();
        let of = |replica: &str, first: u64, n: usize| {
            peers.known(&PeerEvents { replica: replica.into(), first, events: (0..n).map(event).collect() })
        };
        let known = [of("a", 3, 4), of("a", 3, 4), of("a", 5, 4), of("b", 5, 4), of("a", 20, 1), of("a", 3, 4)];
        assert_eq!(known, [0, 4, 2, 0, 0, 4]);
        for n in 0..HEARD_MAX {
            of(&format!("c{n}"), 0, 1);
        }
        assert_eq!(of("a", 3, 4), 0, "one that was met so long ago is gone");
    }
}
