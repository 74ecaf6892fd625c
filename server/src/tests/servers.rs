//! Model servers on real sockets for the tests: ours, and such that misbehave.

use bytes::Bytes;
use fairway_model::{Bundle, BundleManifest, Ease, Vocabulary};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{Builtin, Inference, InferenceConfig, serve_model};

pub(crate) const MODEL: &str = "shop";

/// A model server that runs until it is stopped or dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) inference: Arc<Inference>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As a process that is killed: everything is cut off.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

pub(crate) fn quick() -> InferenceConfig {
    InferenceConfig { drain_pause: Duration::ZERO, deadline: Duration::from_secs(10), ..InferenceConfig::default() }
}

pub(crate) async fn start_at(
    address: SocketAddr,
    version: u64,
    server: Arc<dyn ModelServer>,
    config: InferenceConfig,
) -> Running {
    let profile = profile_of(&*server);
    let inference = Inference::new(MODEL, target(version), server, &profile, config).unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn(serve_model(listener, Arc::clone(&inference), shutdown.clone()));
    Running { address, inference, shutdown, task }
}

pub(crate) async fn start(version: u64, server: Arc<dyn ModelServer>) -> Running {
    start_at(([127, 0, 0, 1], 0).into(), version, server, quick()).await
}

/// A profile that bins each of the version's items.
pub(crate) fn profile_of(server: &dyn ModelServer) -> Arc<Profile> {
    let consumed_bin = (0..server.items().len()).map(|item| (item % 10) as u8).collect();
    Arc::new(Profile { consumed_bin, ..(*profile()).clone() })
}

/// An EASE version of made-up weights.
pub(crate) fn ease(items: usize, seed: u64) -> Arc<Builtin> {
    let mut random = StdRng::seed_from_u64(seed);
    let names = Vocabulary::from_names((0..items).map(|i| format!("i\"{i}é")));
    let weights = (0..items * items).map(|_| random.random_range(-1.0_f32..1.0)).collect();
    Arc::new(Builtin(Arc::new(Bundle {
        manifest: BundleManifest::default(),
        recommender: Box::new(Ease::new(names, weights).unwrap()),
        profile: Profile::default(),
    })))
}

/// Sends a request and reads its answer: status, whether the connection is to be closed, JSON.
pub(crate) async fn call(method: Method, url: &str, body: impl Into<Bytes>) -> (u16, bool, Value) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::builder().method(method).uri(url).body(Full::new(body.into())).unwrap();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let closes = head.headers.get("connection").is_some_and(|value| value == "close");
    (head.status.as_u16(), closes, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

pub(crate) fn question(history: &[&str], k: usize) -> Value {
    let times: Vec<i64> = (0..history.len() as i64).map(|i| START_MS + i).collect();
    let tensor = |name: &str, datatype: &str, n: usize, data: Value| serde_json::json!({"name": name, "datatype": datatype, "shape": [n], "data": data});
    serde_json::json!({"id": "q-1", "inputs": [
        tensor("history", "BYTES", history.len(), history.into()),
        tensor("history_time_ms", "INT64", history.len(), times.into()),
        tensor("exclude", "BYTES", history.len(), history.into()),
        tensor("segment", "BYTES", 1, ["UK"].as_slice().into()),
        tensor("now_ms", "INT64", 1, vec![START_MS].into()),
        tensor("k", "INT32", 1, vec![k].into()),
    ]})
}

/// A server that answers every request with the same bytes and closes, or hangs without any.
pub(crate) async fn canned(answer: Option<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 65_536]).await;
                match answer {
                    Some(bytes) => drop(stream.write_all(&bytes).await),
                    None => std::future::pending().await,
                }
            });
        }
    });
    url
}

pub(crate) fn http_answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}
