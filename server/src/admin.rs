//! The admin port of a router in another process than its operator: `POST /v1/poll`, `POST /v1/peer-events`,
//! `POST /admin/abort`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router as Routes;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use fairway_wire::{PeerEvents, Poll};
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::router::Router;
use crate::{Problem, body, peers};

/// Longest poll.
const POLL_BYTES: usize = 4 * 1024;
/// What is sent must have come whole within this.
const SENT_WITHIN: Duration = Duration::from_secs(2);
/// Polls at once: one operator leads, and answers may be long.
const POLLS: usize = 4;
/// Longest events of a peer.
const PEER_BYTES: usize = 4 * 1024 * 1024;
/// Peers that are listened to at once.
const PEERS: usize = 16;
/// Shortest token: one that nobody guesses.
const TOKEN_BYTES: usize = 16;

/// What a person must show to steer, and a peer to be listened to. Only its digest is kept.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// The token in a file's text, without blanks around it; none if it has fewer than 16 bytes.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (text.len() >= TOKEN_BYTES).then(|| Self(Sha256::digest(text.as_bytes()).into()))
    }

    /// Whether a request shows it: `authorization: Bearer` and the token.
    pub fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        shown.is_some_and(|shown| self.opens(shown))
    }

    /// Compares digests and looks at all of their bytes: the time it takes tells nothing.
    fn opens(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.0.iter().zip(shown).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

#[derive(Clone)]
struct Admin {
    router: Arc<Router>,
    /// Without one nobody can abort here.
    token: Option<AdminToken>,
    polls: Arc<Semaphore>,
    peers: Arc<Semaphore>,
}

impl Admin {
    fn is_opened_by(&self, request: &Request<Body>) -> bool {
        self.token.as_ref().is_some_and(|token| token.is_shown(request.headers()))
    }
}

/// `POST /v1/poll`, `POST /v1/peer-events` and `POST /admin/abort`, to be served beside the router's own admin paths. Without a
/// token the latter two are refused.
pub fn router_admin_routes(router: Arc<Router>, token: Option<AdminToken>) -> Routes {
    let (polls, peers) = (Arc::new(Semaphore::new(POLLS)), Arc::new(Semaphore::new(PEERS)));
    let admin = Admin { router, token, polls, peers };
    let routes = Routes::new().route("/v1/poll", post(poll)).route(peers::PATH, post(peer_events));
    routes.route("/admin/abort", post(abort)).with_state(admin)
}

async fn poll(State(admin): State<Admin>, request: Request<Body>) -> Response {
    let Ok(_place) = admin.polls.try_acquire() else {
        return Problem::overloaded().into_response();
    };
    match sent::<Poll>(request, POLL_BYTES).await {
        Ok(poll) => crate::http::json(StatusCode::OK, &admin.router.poll(poll)),
        Err(problem) => problem.into_response(),
    }
}

/// What was sent, if it came whole and in time.
async fn sent<T: DeserializeOwned>(request: Request<Body>, limit: usize) -> Result<T, Problem> {
    body::parse(&body::read_within(SENT_WITHIN, request, limit).await?)
}

async fn peer_events(State(admin): State<Admin>, request: Request<Body>) -> Response {
    if !admin.is_opened_by(&request) {
        return closed();
    }
    let Ok(_place) = admin.peers.try_acquire() else {
        return Problem::overloaded().into_response();
    };
    match sent::<PeerEvents>(request, PEER_BYTES).await {
        Ok(events) if events.events.len() > peers::AT_ONCE => {
            Problem::field("events", format!("may hold {} events", peers::AT_ONCE)).into_response()
        }
        Ok(events) => crate::http::json(StatusCode::OK, &admin.router.hear(events)),
        Err(problem) => problem.into_response(),
    }
}

fn closed() -> Response {
    let mut response = Problem::unauthorized().into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

async fn abort(State(admin): State<Admin>, request: Request<Body>) -> Response {
    if !admin.is_opened_by(&request) {
        return closed();
    }
    admin.router.abort();
    let generation = admin.router.status().generation;
    crate::http::json(StatusCode::OK, &json!({"aborted": true, "generation": generation}))
}

/// What stands after the word `Bearer`, which may be in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, shown) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| shown.trim_ascii())
}
