//! Real HTTP on the loopback: every refusal, and the orderly end.

use axum::body::Body;
use bytes::Bytes;
use fairway_wire::{Reason, Rung};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;
use crate::http::{Front, Limits};
use crate::{Problem, serve_admin, serve_public};

struct Served {
    address: std::net::SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    router: Arc<Router>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn serve(canary: Manner, percent: Option<u8>) -> Served {
    let (router, _) = router(canary);
    router.set_route(route(1, percent));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn(serve_public(listener, Arc::clone(&router), shutdown.clone()));
    let client = Client::builder(TokioExecutor::new()).build_http();
    Served { address, client, router, shutdown, task }
}

impl Served {
    fn request(&self, method: Method, path: &str, kind: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, kind);
        request.body(Full::new(body.into())).unwrap()
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> (StatusCode, hyper::HeaderMap, Bytes) {
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        (head.status, head.headers, body.collect().await.unwrap().to_bytes())
    }

    async fn post(&self, path: &str, body: impl Into<Bytes>) -> (StatusCode, Bytes) {
        let request = self.request(Method::POST, path, "application/json", body);
        let (status, _, body) = self.send(request).await;
        (status, body)
    }

    /// Sends bytes as they are and reads until the other side closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // The peer may reset the connection after its answer.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test]
async fn a_valid_request_and_feedback_for_it() {
    let served = serve(Manner::Good, None).await;
    let (status, body) = served.post("/v1/recommend", r#"{"user":"ann","k":3}"#).await;
    let answer: RecommendResponse = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, names(&answer)), (StatusCode::OK, vec!["a", "b", "c"]));
    let one = format!(r#"{{"user":"ann","item":"a","kind":"purchase","decision":"{}"}}"#, answer.decision);
    let (status, body) = served.post("/v1/events", one).await;
    assert_eq!((status, &body[..]), (StatusCode::ACCEPTED, &br#"{"accepted":1,"repeated":0}"#[..]));
    let many = r#" [{"user":"ann","item":"b","kind":"purchase","id":"1"},{"user":"ann","item":"b","kind":"purchase","id":"1"}]"#;
    let (status, body) = served.post("/v1/events", many).await;
    assert_eq!((status, &body[..]), (StatusCode::ACCEPTED, &br#"{"accepted":1,"repeated":1}"#[..]));
    let (_, body) = served.post("/v1/recommend", r#"{"user":"ann","k":1}"#).await;
    let answer: RecommendResponse = serde_json::from_slice(&body).unwrap();
    assert_eq!(names(&answer), ["c"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_a_problem_that_names_the_field() {
    let served = serve(Manner::Good, None).await;
    let long = format!(r#"{{"user":"ann","exclude":["{}"]}}"#, "x".repeat(64 * 1024));
    let many = format!("[{}]", vec![r#"{"user":"a","item":"b","kind":"view"}"#; 1_001].join(","));
    let table = [
        ("/v1/recommend", "{", 400, None),
        ("/v1/recommend", "", 400, None),
        ("/v1/recommend", r#"{"k":3}"#, 400, Some("user")),
        ("/v1/recommend", r#"{"user":"ann","k":0}"#, 400, Some("k")),
        ("/v1/recommend", r#"{"user":"ann","k":"x"}"#, 400, Some("k")),
        ("/v1/recommend", r#"{"user":"ann","context":{"segment":3}}"#, 400, Some("context.segment")),
        ("/v1/recommend", r#"{"user":"ann","exclude":"x"}"#, 400, Some("exclude")),
        ("/v1/recommend", &long, 413, None),
        ("/v1/events", r#"{"user":"ann","item":"a","kind":"stolen"}"#, 400, Some("kind")),
        ("/v1/events", r#"{"user":"ann","item":"","kind":"view"}"#, 400, Some("item")),
        ("/v1/events", r#"{"user":"ann","item":"a","kind":"view","decision":"forged"}"#, 400, Some("decision")),
        ("/v1/events", r#"{"user":"ann","item":"a","kind":"view","time":"9999-01-01T00:00:00Z"}"#, 400, Some("time")),
        (
            "/v1/events",
            r#"[{"user":"ann","item":"a","kind":"view"},{"user":"","item":"a","kind":"view"}]"#,
            400,
            Some("[1].user"),
        ),
        ("/v1/events", &many, 400, Some(".")),
    ];
    for (path, body, status, field) in table {
        let request = served.request(Method::POST, path, "application/json", body.to_owned());
        let (got, headers, answer) = served.send(request).await;
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{body:.60}");
        let problem: Problem = serde_json::from_slice(&answer).unwrap();
        assert_eq!((got.as_u16(), problem.field.as_deref()), (status, field), "{body:.60}");
        assert_eq!(problem.status, status);
    }
    // None of it was the version's fault, and none of the events was taken.
    assert!(served.router.flush_windows().iter().all(|window| window.arms.is_empty()));
    assert!(!served.router.metrics_text().contains("fairway_events_total{"));
}

#[tokio::test]
async fn paths_methods_and_media_types() {
    let served = serve(Manner::Good, None).await;
    let table = [
        (Method::GET, "/", "application/json", 404),
        (Method::POST, "/v1/recommends", "application/json", 404),
        (Method::GET, "/v1/recommend", "application/json", 405),
        (Method::DELETE, "/v1/events", "application/json", 405),
        (Method::POST, "/healthz", "application/json", 405),
        (Method::POST, "/v1/recommend", "text/plain", 415),
        (Method::POST, "/v1/events", "application/x-www-form-urlencoded", 415),
        (Method::GET, "/metrics", "application/json", 404),
    ];
    for (method, path, kind, status) in table {
        let request = served.request(method.clone(), path, kind, r#"{"user":"ann"}"#);
        let (got, headers, body) = served.send(request).await;
        assert_eq!(got.as_u16(), status, "{method} {path}");
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem.status, problem.field), (status, None));
        if status == 405 {
            assert!(headers.contains_key(header::ALLOW), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn heads_are_bounded() {
    let served = serve(Manner::Good, None).await;
    let many: String = (0..80).map(|i| format!("x-{i}: 1\r\n")).collect();
    let long = "x".repeat(64 * 1024);
    for head in [many, format!("x-long: {long}\r\n")] {
        let answer = served.raw(format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{head}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer:.80}");
    }
    let answer = served.raw(b"BREW / COFFEE\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer:.80}");
    // A length that lies: the limit holds for what arrives, too.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(2);
    let head = "POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let answer = served.raw(format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer:.80}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let served = serve(Manner::Good, None).await;
    let head = "POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    let answer = served.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer:.80}");
    assert!(answer.contains("application/problem+json"));
}

#[tokio::test]
async fn a_broken_canary_is_a_200() {
    let served = serve(Manner::Panics, Some(100)).await;
    let (status, body) = served.post("/v1/recommend", r#"{"user":"ann"}"#).await;
    let answer: RecommendResponse = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, answer.served_by), (StatusCode::OK, Rung::Stable));
}

/// Sends a body to the public paths, without a socket.
async fn send(routes: &axum::Router, path: &str, body: impl Into<Body>) -> (StatusCode, hyper::HeaderMap, Bytes) {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap();
    let (head, body) = routes.clone().oneshot(request).await.unwrap().into_parts();
    (head.status, head.headers, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn without_places_there_is_a_cheap_answer_or_a_time_to_come_again() {
    let (router, _) = router(Manner::Good);
    router.set_route(route(1, None));
    let body = std::time::Duration::from_millis(50);
    let routes = Front::new(router, Limits { requests: 0, events: 0, body }).routes();
    let (status, _, body) = send(&routes, "/v1/recommend", r#"{"user":"ann","k":2}"#).await;
    assert_eq!(status, StatusCode::OK);
    let answer: RecommendResponse = serde_json::from_slice(&body).unwrap();
    assert_eq!((names(&answer), answer.reason), (vec!["j", "i"], Reason::Overloaded));
    let (status, headers, _) = send(&routes, "/v1/events", r#"{"user":"ann","item":"a","kind":"view"}"#).await;
    assert_eq!((status, headers[header::RETRY_AFTER].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "1"));
}

#[tokio::test]
async fn the_time_for_a_body_is_not_the_versions() {
    let (router, _) = router(Manner::Hangs);
    router.install(&target(1), fake(Manner::Hangs), profile());
    router.set_route(Route { deadline_ms: 100, ..route(1, Some(100)) });
    let limits = Limits { body: std::time::Duration::from_millis(20), ..Limits::default() };
    let (status, _, body) =
        send(&Front::new(router, limits).routes(), "/v1/recommend", r#"{"user":"ann","k":2}"#).await;
    let answer: RecommendResponse = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, answer.reason), (StatusCode::OK, Reason::ModelTimeout));
}

#[tokio::test]
async fn events_that_come_slowly_take_no_place() {
    let (router, _) = router(Manner::Good);
    router.set_route(route(1, None));
    let routes = Front::new(router, Limits { requests: 1, events: 1, ..Limits::default() }).routes();
    let never = Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>());
    let mut slow = Box::pin(send(&routes, "/v1/events", never));
    assert!(futures::FutureExt::now_or_never(&mut slow).is_none());
    let (_, _, body) = send(&routes, "/v1/recommend", r#"{"user":"ann","k":2}"#).await;
    assert_eq!(serde_json::from_slice::<RecommendResponse>(&body).unwrap().reason, Reason::Ok);
    let (status, ..) = send(&routes, "/v1/events", r#"{"user":"ann","item":"a","kind":"view"}"#).await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

/// A version that says when it is asked, and nothing else.
struct Mute {
    items: Vocabulary,
    asked: Notify,
}

#[async_trait]
impl ModelServer for Mute {
    fn items(&self) -> &Vocabulary {
        &self.items
    }

    async fn score(&self, _: ScoreQuery) -> Result<Vec<(String, f32)>, ModelFailure> {
        self.asked.notify_one();
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_caller_who_hangs_up_is_counted() {
    let served = serve(Manner::Good, None).await;
    let mute = Arc::new(Mute { items: fake(Manner::Good).items.clone(), asked: Notify::new() });
    served.router.install(&target(2), mute.clone(), profile());
    served.router.set_route(Route { deadline_ms: 300, ..route(2, Some(100)) });
    let body = r#"{"user":"ann","k":2}"#;
    let head = "POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    mute.asked.notified().await;
    drop(stream);
    // Not even the end leaves it out.
    served.shutdown.cancel();
    served.task.await.unwrap().unwrap();
    let canary = arm(&merged(served.router.flush_windows()), 2, Track::Canary);
    assert_eq!((canary.requests, canary.errors_total()), (1, 1));
}

#[tokio::test]
async fn admin_has_metrics_and_what_is_added() {
    let (router, _) = router(Manner::Good);
    router.set_route(route(3, Some(25)));
    router.recommend(asking("ann", 1)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let extra = axum::Router::new().route("/", axum::routing::get(async || "status page"));
    let task = tokio::spawn(serve_admin(listener, router, extra, shutdown.clone()));
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let get = async |path: &str| {
        let answer = client.get(format!("http://{address}{path}").parse().unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(get("/").await, (200, "status page".into()));
    assert_eq!(get("/healthz").await, (200, r#"{"status":"ok"}"#.into()));
    let (status, ready) = get("/readyz").await;
    let expected = r#"{"status":"ready","generation":3,"stable":1,"canary":2,"installed":["sha256:1","sha256:2"]}"#;
    assert_eq!((status, &*ready), (200, expected));
    let (_, metrics) = get("/metrics").await;
    for line in [
        "fairway_route_generation 3",
        "fairway_canary_weight 0.25",
        "fairway_pending_exposures 1",
        "fairway_decisions_dropped_total 0",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert!(metrics.contains("served_by=\"assigned\",reason=\"ok\"} 1"), "{metrics}");
    shutdown.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_end_waits_for_requests_in_flight() {
    let served = serve(Manner::Hangs, Some(100)).await;
    let mut waiting = Box::pin(served.post("/v1/recommend", r#"{"user":"ann"}"#));
    // Until the request is with the version that hangs.
    let before = tokio::time::timeout(std::time::Duration::from_millis(20), &mut waiting).await;
    served.shutdown.cancel();
    let (status, body) = match before {
        Ok(early) => early,
        Err(_) => (&mut waiting).await,
    };
    drop(waiting);
    let answer: RecommendResponse = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, answer.reason), (StatusCode::OK, Reason::ModelTimeout));
    assert_eq!(served.router.status().status, "draining");
    served.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}
