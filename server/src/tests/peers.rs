//! Two routers of one endpoint, over sockets: what one was told, both know.

use fairway_wire::{Event, PeerEvent, PeerEvents};
use hyper::StatusCode;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::polls::{admin, post, until};
use super::rewards::{WITHIN_MS, reward};
use super::*;
use crate::{AdminToken, tell_peers};

const TOKEN: &str = "a token of enough length";

fn named(name: &str) -> (Arc<Router>, Manual) {
    let (router, clock) = router_with(RouterConfig { replica: name.into(), ..config() }, Manner::Good);
    router.set_route(route(1, None));
    (router, clock)
}

async fn address(router: &Arc<Router>) -> String {
    format!("http://{}", admin(router, AdminToken::new(TOKEN)).await)
}

fn tells(router: &Arc<Router>) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    (stop.clone(), tokio::spawn(tell_peers(Arc::clone(router), TOKEN.to_owned(), stop)))
}

/// What a user is not shown any more, of `a` to `j`.
async fn consumed(router: &Arc<Router>, user: &str) -> Vec<&'static str> {
    let answer = router.recommend(asking(user, 10)).await.unwrap();
    ["a", "b", "c", "d"].into_iter().filter(|item| !names(&answer).contains(item)).collect()
}

fn heard(router: &Router) -> u64 {
    router.metrics.peer_events.get()
}

#[tokio::test]
async fn an_event_reaches_the_router_that_answered() {
    let ((one, clock), (other, other_clock)) = (named("one"), named("other"));
    let peers = [address(&one).await, address(&other).await];
    [&one, &other].into_iter().for_each(|router| router.meet(peers.to_vec()));
    let (stop, telling) = tells(&other);
    let answers = [one.recommend(asking("ann", 3)).await.unwrap(), one.recommend(asking("ann", 3)).await.unwrap()];
    clock.advance(HOUR_MS);
    other_clock.advance(HOUR_MS);
    let with_id = |item: &str| Event { id: Some(item.into()), segment: Some("FR".into()), ..bought("ann", item) };
    let of_the_second = Event { decision: Some(answers[1].decision.clone()), ..with_id("a") };
    for event in [of_the_second, with_id("b"), bought("bob", "c")] {
        other.event(event).await.unwrap();
    }
    until(|| heard(&one) == 3).await;
    for router in [&one, &other] {
        assert_eq!((consumed(router, "ann").await, consumed(router, "bob").await), (vec!["a", "b"], vec!["c"]));
    }
    // A client that was not sure says it again, to the other one.
    assert_eq!(one.events(vec![with_id("a")]).unwrap().repeated, 1);
    // The last words are told at the end.
    other.event(bought("ann", "d")).await.unwrap();
    stop.cancel();
    telling.await.unwrap();
    assert_eq!((heard(&one), heard(&other)), (4, 0), "and a router does not hear itself");
    assert_eq!(consumed(&one, "ann").await, ["a", "b", "d"]);

    clock.advance(WITHIN_MS - HOUR_MS);
    other_clock.advance(WITHIN_MS - HOUR_MS);
    let (mine, theirs) = (merged(one.flush_windows()), merged(other.flush_windows()));
    // `a` counts for the second answer alone, `b` for both; `d` was shown to nobody.
    let (shown, earned) = reward(&arm(&mine, 1, Track::Stable), 1);
    assert_eq!((shown, earned), (2, 3.0));
    assert_eq!(reward(&arm(&theirs, 1, Track::Stable), 1), (0, 0.0), "nobody had been shown anything there");
    let consumption = |window: &Window| window.consumed.as_ref().map_or(0, fairway_stats::Histogram::total);
    assert_eq!((consumption(&mine), consumption(&theirs)), (0, 4), "it is counted where it was taken");
}

#[tokio::test]
async fn a_router_that_comes_later_hears_of_the_last_minute() {
    let (other, clock) = named("other");
    other.meet(vec!["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()]);
    let (stop, telling) = tells(&other);
    other.event(bought("ann", "a")).await.unwrap();
    clock.advance(60_001);
    other.event(bought("ann", "b")).await.unwrap();
    let (one, _) = named("one");
    let peers = [address(&other).await, address(&one).await];
    other.meet(peers.to_vec());
    until(|| heard(&one) == 1).await;
    assert_eq!(consumed(&one, "ann").await, ["b"], "what is older is in a snapshot");
    stop.cancel();
    telling.await.unwrap();
}

#[tokio::test]
async fn a_peer_shows_a_token_and_is_not_believed_beyond_bounds() {
    let (one, _) = named("one");
    let address = admin(&one, AdminToken::new(TOKEN)).await;
    let event = |user: &str, item: &str| PeerEvent {
        user: user.into(),
        item: item.into(),
        time_ms: START_MS,
        segment: None,
        decision: None,
        id: None,
    };
    let user = "0f".repeat(16);
    let events = |events: Vec<PeerEvent>| {
        serde_json::to_string(&PeerEvents { replica: "other".into(), first: 0, events }).unwrap()
    };
    let good =
        events(vec![event(&user, "a"), event("nobody", "b"), event(&user, ""), event(&user, &"x".repeat(9_999))]);
    let token = format!("Bearer {TOKEN}");
    for wrong in [None, Some("Bearer wrong")] {
        assert_eq!(post(address, "/v1/peer-events", wrong, &good).await.0, StatusCode::UNAUTHORIZED);
    }
    let many = events((0..1_001).map(|_| event(&user, "a")).collect());
    for (body, expected) in [("{}", 400), (&*many, 400), (&*good, 200), (&*good, 200)] {
        let (status, answer) = post(address, "/v1/peer-events", Some(&token), body).await;
        assert_eq!(status.as_u16(), expected, "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(heard(&one), 1);
    let shut = admin(&one, None).await;
    assert_eq!(post(shut, "/v1/peer-events", Some(&token), &good).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn answers_that_wait_are_taken_up_where_nobody_else_can_count_them() {
    let (before, _) = named("before");
    before.recommend(asking("ann", 3)).await.unwrap();
    let snapshot = before.snapshot();
    let (alone, beside) = (named("alone").0, named("beside").0);
    beside.meet(vec!["http://127.0.0.1:1".to_owned()]);
    let waiting = |router: &Router| {
        router.restore(&snapshot).unwrap();
        router.exposures.counts().0
    };
    assert_eq!((waiting(&alone), waiting(&beside)), (1, 0));
}
