//! Told once, stored before it is sent, sent again until it is taken; over a real connection to a receiver that is ours.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fairway_api::ModelEndpoint;
use fairway_core::{Condition, Reason};
use fairway_registry::events;
use http_body_util::Full;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};

use super::*;

const KEY: [u8; 32] = [7; 32];

/// A receiver that answers what it is told to, and keeps what came.
#[derive(Clone)]
struct Receiver {
    answers: Arc<Mutex<Vec<u16>>>,
    came: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    url: String,
}

impl Receiver {
    async fn new(answers: &[u16]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token-of-the-path", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(answers.iter().rev().copied().collect()));
        let receiver = Self { answers, came: Arc::default(), url };
        let router = axum::Router::new().route("/{*path}", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    fn came(&self) -> Vec<(HeaderMap, Bytes)> {
        self.came.lock().unwrap().clone()
    }

    fn ids(&self) -> Vec<String> {
        self.came().iter().map(|(headers, _)| headers[events::ID].to_str().unwrap().to_owned()).collect()
    }
}

/// Status 0: it takes its time.
async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.came.lock().unwrap().push((headers, body));
    let answer = receiver.answers.lock().unwrap().pop().unwrap_or(204);
    if answer == 0 {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    StatusCode::from_u16(answer).unwrap_or(StatusCode::NO_CONTENT)
}

/// An API server that has one Secret.
fn cluster(entries: &[(&str, String)]) -> Client {
    let data: BTreeMap<&str, String> = entries.iter().map(|(key, value)| (*key, STANDARD.encode(value))).collect();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "chat"}, "data": data}).to_string();
    let service = tower::service_fn(move |_: axum::http::Request<kube::client::Body>| {
        let body = Full::new(Bytes::from(secret.clone()));
        std::future::ready(Ok::<_, std::convert::Infallible>(axum::http::Response::new(body)))
    });
    Client::new(service, "shop")
}

fn endpoint(notification: Value) -> ModelEndpoint {
    serde_json::from_value(json!({
        "apiVersion": "fairway.dev/v1alpha1",
        "kind": "ModelEndpoint",
        "metadata": {"name": "shop.eu", "namespace": "shop", "uid": "0a1b2c3d-0000"},
        "spec": {"model": "recs", "notifications": [notification]},
    }))
    .unwrap()
}

fn signed() -> ModelEndpoint {
    endpoint(json!({
        "urlSecretRef": {"name": "chat", "key": "url"}, "signingSecretRef": {"name": "chat", "key": "keys"},
        "on": ["Promoted", "Paused", "Degraded"],
    }))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// A loop as the operator has it: what is stored, and what only this process knows.
struct Loop<'a> {
    endpoint: &'a ModelEndpoint,
    stored: String,
    deliveries: Deliveries,
    hooks: Hooks,
    client: Client,
}

impl<'a> Loop<'a> {
    fn new(endpoint: &'a ModelEndpoint, receiver: &Receiver) -> Self {
        let key = format!("whsec_{}\n", STANDARD.encode(KEY));
        let client = cluster(&[("url", format!("{}\n", receiver.url)), ("keys", key)]);
        let (deliveries, hooks) = (Deliveries::default(), Hooks::default());
        Self {
            endpoint,
            stored: "{\"told\":{\"generation\":0,\"open\":[]},\"waiting\":[]}".to_owned(),
            deliveries,
            hooks,
            client,
        }
    }

    /// One look; true if its plan had to be stored for the notices' sake.
    async fn look(&mut self, reasons: &[&str], paused: bool, now: Timestamp) -> (bool, Vec<Reason>) {
        let before: Outbox = serde_json::from_str(&self.stored).unwrap();
        let reasons: Vec<Reason> = reasons.iter().map(|code| Reason::new(code, format!("{code} happened"))).collect();
        let pause = Condition { kind: "Paused".to_owned(), status: true, reason: Reason::new("Paused", "by ann") };
        let conditions: Vec<Condition> = paused.then_some(pause).into_iter().collect();
        let spec = &self.endpoint.spec;
        let found = spec.escalated(&object(self.endpoint), "plan 7", &reasons, &conditions);
        let after = before.after(spec, &found, self.deliveries.done(), now);
        let is_news = after.is_news(&before);
        self.stored = serde_json::to_string(&after).unwrap();
        let waiting: Vec<&Waiting> = after.waiting().iter().collect();
        self.deliveries.are_kept(&waiting);
        let registry = "s3://KEY:SECRET@models/team";
        let route = Route { client: &self.client, hooks: &self.hooks, endpoint: self.endpoint, registry };
        (is_news, self.deliveries.deliver(&route, &waiting, now).await)
    }
}

#[tokio::test]
async fn a_notice_is_a_signed_cloud_event_and_is_told_once() {
    let (receiver, endpoint) = (Receiver::new(&[]).await, signed());
    let mut looped = Loop::new(&endpoint, &receiver);
    // The attempt has the clock's time; the receiver's is that.
    let now = crate::clock::now();
    assert_eq!(looped.look(&["Promoted", "StepUp"], false, now).await, (true, vec![]));
    let second = looped.look(&[], false, now + Duration::from_secs(2)).await;
    assert_eq!(second, (true, vec![]), "stored again without what was taken");
    assert_eq!(looped.look(&[], false, now + Duration::from_secs(4)).await, (false, vec![]));
    let came = receiver.came();
    let [(headers, body)] = &came[..] else { panic!("{came:?}") };
    let text = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(text("content-type"), events::CONTENT_TYPE);
    let secret: events::Secret = format!("whsec_{}", STANDARD.encode(KEY)).parse().unwrap();
    let sent = events::Headers {
        id: text(events::ID),
        timestamp: text(events::TIMESTAMP),
        signature: text(events::SIGNATURE),
    };
    events::verify(&[secret], &sent, body, now).unwrap();
    let event: Value = serde_json::from_slice(body).unwrap();
    let expected = json!({
        "specversion": "1.0", "id": "modelendpoint/shop/shop_eu/Promoted/1-0a1b2c3d",
        "source": "s3://models/team/shop/endpoints/shop.eu", "type": "dev.fairway.endpoint.version.promoted.v1",
        "subject": "endpoints:/shop.eu", "time": now, "datacontenttype": "application/json",
        "data": {
            "namespace": "shop", "endpoint": "shop.eu", "model": "recs", "event": "Promoted", "kind": "began",
            "code": "Promoted", "severity": "info", "message": "Promoted happened", "evidence": "plan 7", "since": now,
            "text": "info: modelendpoint/shop/shop.eu: Promoted: Promoted happened (evidence: plan 7)",
        },
    });
    assert_eq!(event, expected);
    assert_eq!(looped.deliveries.counted, Counted { taken: 1, failed: 0, dropped: 0 });
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_and_survives_the_operator() {
    let (receiver, endpoint) = (Receiver::new(&[503, 500]).await, signed());
    let mut looped = Loop::new(&endpoint, &receiver);
    let (_, said) = looped.look(&[], true, at(0)).await;
    assert!(said[0].message.contains("is tried again: 503"), "{said:?}");
    assert!(!said[0].message.contains("token-of-the-path"), "{said:?}");
    assert_eq!(looped.look(&[], true, at(0)).await, (false, vec![]), "not before the pause is over");
    assert_eq!(receiver.ids().len(), 1);
    // Another operator takes over: it knows what is stored, and nothing of pauses.
    let mut other = Loop { stored: looped.stored, ..Loop::new(&endpoint, &receiver) };
    assert_eq!(other.look(&[], true, at(30)).await.1.len(), 1);
    assert_eq!(other.look(&[], true, at(400)).await, (false, vec![]));
    let (is_news, _) = other.look(&[], true, at(402)).await;
    assert!(is_news, "taken: that is stored");
    assert_eq!(receiver.ids(), ["modelendpoint/shop/shop_eu/Paused/1-0a1b2c3d"; 3]);
    // The pause is over, and calm for a while.
    other.look(&[], false, at(500)).await;
    other.look(&[], false, at(900)).await;
    assert_eq!(receiver.ids()[3..], ["modelendpoint/shop/shop_eu/Paused/1/resolved-0a1b2c3d"]);
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_holds_no_look_up() {
    let (receiver, endpoint) = (Receiver::new(&[0]).await, signed());
    let mut looped = Loop::new(&endpoint, &receiver);
    let started = Instant::now();
    let (_, said) = looped.look(&["Promoted"], true, at(0)).await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(said[0].message.contains("no answer within 3 s"), "{said:?}");
    looped.look(&[], true, at(20)).await;
    let ids = receiver.ids();
    let paused = ids.iter().filter(|id| id.contains("/Paused/")).count();
    assert_eq!((ids.len(), paused), (3, 2), "the first again, then the other: {ids:?}");
}

#[tokio::test]
async fn a_refusal_is_said_and_not_repeated() {
    let (receiver, endpoint) = (Receiver::new(&[410]).await, signed());
    let mut looped = Loop::new(&endpoint, &receiver);
    let (_, said) = looped.look(&["Promoted"], false, at(0)).await;
    assert!(said[0].message.ends_with("for good: 410 Gone: it wants no more events"), "{said:?}");
    looped.look(&[], false, at(900)).await;
    assert_eq!(receiver.ids().len(), 1);
}

#[tokio::test]
async fn what_is_too_old_is_given_up_and_said() {
    let (receiver, endpoint) = (Receiver::new(&[500, 500]).await, signed());
    let mut looped = Loop::new(&endpoint, &receiver);
    looped.look(&["Promoted"], false, at(0)).await;
    let (_, said) = looped.look(&[], false, at(90_000)).await;
    assert!(said[0].message.contains("within 1d: 500"), "{said:?}");
    looped.look(&[], false, at(100_000)).await;
    assert_eq!(receiver.ids().len(), 2);
}

#[tokio::test]
async fn text_for_a_chat_without_a_signature() {
    let receiver = Receiver::new(&[]).await;
    let endpoint = endpoint(json!({"urlSecretRef": {"name": "chat", "key": "url"}, "format": "Text"}));
    Loop::new(&endpoint, &receiver).look(&["RolledBack"], false, at(0)).await;
    let (headers, body) = &receiver.came()[0];
    assert!(headers.get(events::SIGNATURE).is_none());
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(
        body,
        json!({"text": "warning: modelendpoint/shop/shop.eu: RolledBack: RolledBack happened (evidence: plan 7)"})
    );
}

#[tokio::test]
async fn a_secret_without_the_entry_says_which() {
    let receiver = Receiver::new(&[]).await;
    let endpoint = endpoint(json!({"urlSecretRef": {"name": "chat", "key": "address"}}));
    let (_, said) = Loop::new(&endpoint, &receiver).look(&["Promoted"], false, at(0)).await;
    let expected = "spec.notifications[0].urlSecretRef: the Secret shop/chat has no entry address: add it";
    assert!(said[0].message.ends_with(expected), "{said:?}");
}

#[test]
fn trouble_is_told_when_it_lasts() {
    let (endpoint, done) = (signed(), Default::default());
    let mut trouble = Trouble::default();
    let mut look = |error: Option<&str>, second: i64| {
        trouble.after(&endpoint, error.map(str::to_owned), &done, at(second));
        trouble.waiting().iter().map(|waiting| waiting.notice.text.clone()).collect::<Vec<_>>()
    };
    assert!(look(Some("away"), 0).is_empty());
    assert!(look(Some("away"), 59).is_empty());
    assert_eq!(
        look(Some("the bucket is away"), 60),
        ["critical: modelendpoint/shop/shop.eu: Degraded: the bucket is away"]
    );
    assert_eq!(look(None, 70).len(), 1);
    let all = look(None, 400);
    assert!(all.len() == 2 && all[1].starts_with("over after 5m 40s: "), "{all:?}");
}
